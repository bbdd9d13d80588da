"""A model goes to the Hub: the real client against a Hub on this machine, small files in the commit and weights by LFS (not by Xet)."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import tiny
from hub_server import Fault
from test_export import T, asked, charted, loss_alone
from test_worker import until
from transformers import AutoModelForSequenceClassification

from mcore import cli, taking
from mcore.errors import McoreError, QuestionError
from mcore.events import Done, Pushed
from mcore.export import export
from mcore.hub import access
from mcore.jobs.keeper import Keeper
from mcore.jobs.queue import Jobs
from mcore.question import as_written, parse
from mcore.resolve import resolve
from mcore.taking import Take

WRITER, READER = "hf_maywritehere123", "hf_mayonlyread456"


@pytest.fixture
def question(saved, rows):
    return asked(saved("bert", 0), saved("bert", 1), rows)


@pytest.fixture(params=["lfs"])
def receiving(request, server, monkeypatch):
    """A Hub that takes large files by LFS; or, for a client that has Xet and would send them by that, in the commit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", request.param == "lfs")
    server.inline = request.param == "inline"
    server.writers.add(WRITER)
    server.tokens.add(READER)
    return server


def pushed(question, store, token: str | None = WRITER, **how) -> str:
    with access.using(token) if token else nullcontext():
        *_, sent, done = export(question, Take(T, push="org/blend", **how), store)
    assert isinstance(done, Done) and isinstance(sent, Pushed)
    return sent.url


def files(server, revision="main", name="org/blend"):
    repository = server.repositories["models", name]
    return repository.commits[repository.revisions[revision]]


@pytest.mark.parametrize("receiving", ["lfs", "inline"], indirect=True)
def test_a_new_repository_is_private_and_holds_the_model(question, receiving, store, tmp_path):
    assert pushed(question, store) == f"{receiving.address}/org/blend"
    assert receiving.repositories["models", "org/blend"].token == WRITER
    for name, data in files(receiving).items():
        (tmp_path / name).write_bytes(data)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path).config.id2label == {0: "no", 1: "yes"}
    assert loss_alone(tmp_path, question) == pytest.approx(charted(question, store)[T], abs=1e-6)
    sent = [one for one in receiving.asked if one.method in ("POST", "PUT")]
    assert {one.token for one in sent if "/received/" not in one.path} <= {WRITER, None}
    assert all(one.token is None for one in sent if "/received/" in one.path), "where the weights go the token does not"


def test_the_command_line_takes_the_token_of_the_environment(receiving, saved, rows, store, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", WRITER)
    file = tiny.write(tmp_path / "e.json", tiny.experiment(saved("bert", 0), saved("bert", 1), rows))
    assert cli.main(["export", str(file), "--t", "0.4", "--push", "org/blend", "--store", str(store.root)]) == 0
    told = capfd.readouterr()
    assert f"it is at {receiving.address}/org/blend" in told.err and WRITER not in told.err + told.out
    assert "model.safetensors" in files(receiving) and receiving.repositories["models", "org/blend"].token == WRITER


def test_a_public_one_only_where_that_is_asked(question, receiving, store):
    pushed(question, store, private=False)
    assert receiving.repositories["models", "org/blend"].token is None


@pytest.mark.parametrize("receiving", ["lfs", "inline"], indirect=True)
def test_a_pull_request_leaves_what_is_there_as_it_is(question, receiving, store, saved):
    before = receiving.put("org/blend", {"README.md": b"mine", "notes.txt": b"kept"})
    assert pushed(question, store, pull_request=True) == f"{receiving.address}/org/blend/discussions/1"
    assert receiving.repositories["models", "org/blend"].revisions["main"] == before
    offered = files(receiving, "refs/pr/1")
    assert offered["notes.txt"] == b"kept" and b"t = 0.4" in offered["README.md"] and "model.safetensors" in offered


def test_a_repository_that_holds_something_is_refused_and_untouched(question, receiving, store):
    before = receiving.put("org/blend", {"README.md": b"mine"})
    with pytest.raises(QuestionError, match="push: org/blend is there already; name a new repository, or offer the model as a pull request"):
        pushed(question, store)
    assert receiving.repositories["models", "org/blend"].revisions == {"main": before}


def test_what_stopped_half_way_can_be_sent_again(question, receiving, store):
    receiving.faults.append(Fault("/commit/", status=500))
    with pytest.raises(McoreError, match=r"did not take org/blend \(status 500\)"):
        pushed(question, store)
    receiving.faults.clear()
    pushed(question, store)
    assert "model.safetensors" in files(receiving)


@pytest.mark.parametrize("how", [{}, {"pull_request": True}])
def test_a_token_without_the_right_to_write_is_a_sentence(how, question, receiving, store):
    receiving.put("org/other", {})
    if how:
        receiving.put("org/blend", {"README.md": b""})
    with pytest.raises(QuestionError, match="the token that was typed may not write to org/blend"):
        pushed(question, store, token=READER, **how)


def test_a_pull_request_needs_a_repository(question, receiving, store):
    with pytest.raises(QuestionError, match="there is no repository org/blend that the token that was typed may write to"):
        pushed(question, store, pull_request=True)


def test_without_a_token_nothing_is_made_or_asked(question, receiving, store, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(QuestionError, match="nothing is sent to the Hub without a token; set HF_TOKEN or log in"):
        pushed(question, store, token=None)
    assert not store.entries(taking.KIND) and not receiving.asked


def test_a_host_lends_its_own_token_to_nobody(question, receiving, store, host, monkeypatch):
    host()
    monkeypatch.setenv("HF_TOKEN", WRITER)
    builtin = {"version": 1, "a": "builtin:austen@0", "b": "builtin:austen@100", "tasks": [{"task": "builtin:speech", "limit": 8, "read": "fitted"}]}
    with access.using(None), pytest.raises(QuestionError, match="type a token here"):
        list(export(parse(builtin), Take(T, push="org/blend"), store))


def test_the_worker_sends_with_the_token_of_who_asked_and_keeps_it_nowhere(question, receiving, store, monkeypatch):
    for name, value in {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}.items():
        monkeypatch.setenv(name, value)
    take, jobs, keeper = Take(T, "float16", "org/blend"), Jobs(store.root), Keeper(store.root)
    try:
        with keeper.lent("one", WRITER):
            job = jobs.submit(as_written(question), taking.job_key(resolve(question), take, "one"), "one", keyed=True, take=take)
        until(lambda: jobs.job(job).state not in ("queued", "running"), seconds=60)
    finally:
        keeper.stop()
    told = [event for _, event in jobs.events(job)]
    assert jobs.job(job).state == "done" and Pushed(f"{receiving.address}/org/blend") in told, jobs.job(job).sentence
    assert receiving.repositories["models", "org/blend"].token == WRITER and "model.safetensors" in files(receiving)
    assert not [file for file in store.root.rglob("*") if file.is_file() and WRITER.encode() in file.read_bytes()]


def test_a_push_is_its_visitors_alone_and_a_folder_everybodys(question):
    resolved = resolve(question)
    plain, sent = Take(T), Take(T, push="org/blend")
    assert taking.job_key(resolved, plain, "one") == taking.job_key(resolved, plain, "other") == taking.key(resolved, plain)
    assert len({taking.job_key(resolved, sent, "one"), taking.job_key(resolved, sent, "other"), taking.key(resolved, sent)}) == 3
    assert taking.key(resolved, sent) == taking.key(resolved, plain)
