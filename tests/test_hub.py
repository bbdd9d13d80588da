"""Checkpoints on the Hub: the real client against a small Hub on this machine, and everything that can go wrong with one."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import tiny
from hub_server import Fault

from mcore import events
from mcore.errors import Cancelled, QuestionError
from mcore.hub import repositories as hub_client
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.sources import look
from mcore.store import Store


@pytest.fixture
def pair(server, saved):
    """Two tuned models, in repositories of their own; their commits."""
    return [server.put(f"org/model-{side}", saved("bert", seed)) for side, seed in (("a", 1), ("b", 2))]


def question(rows, **changes):
    return parse({"version": 1, "a": "hub:org/model-a", "b": "hub:org/model-b", "tasks": [{"task": f"local:{rows}"}], "points": 3} | changes)


def answer(asked, store):
    told = list(run(asked, store))
    return told, collect(resolve(asked), store)


def test_two_names_are_joined_and_give_what_two_folders_give(server, pair, saved, rows, store, tmp_path):
    told, result = answer(question(rows), store)
    assert [event.repo for event in told if isinstance(event, events.Fetching) and event.done == event.of] == ["org/model-a", "org/model-b"]
    _, local = answer(question(rows, a=f"local:{saved('bert', 1)}", b=f"local:{saved('bert', 2)}"), Store(tmp_path / "other"))
    assert result["tasks"][0]["loss"] == local["tasks"][0]["loss"] and result["distance"] == local["distance"]


def test_the_commit_is_in_the_resolved_question_and_in_its_fingerprint(server, pair, saved, rows):
    before = resolve(question(rows))
    assert [before.experiment.a, before.experiment.b] == [f"hub:org/model-{side}@{commit}" for side, commit in zip("ab", pair, strict=True)]
    server.put("org/model-b", saved("bert", 3))
    hub_client._newest.clear()  # as after a minute
    after = resolve(question(rows))
    assert after.experiment.b != before.experiment.b and after.fingerprint != before.fingerprint
    assert resolve(before.experiment).fingerprint == before.fingerprint  # pinned, it stays


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/7"])
def test_a_branch_a_tag_and_a_proposal_lead_to_their_commit(server, saved, revision):
    server.put("org/model", saved("bert", 1), revision="elsewhere")
    commit = server.put("org/model", saved("bert", 2), revision=revision)
    for name in (revision, commit):
        assert look(f"hub:org/model@{name}", "a").address == f"hub:org/model@{commit}"


def test_looking_fetches_no_weights_and_little_else(server, saved):
    server.put("org/model", saved("bert", 1))
    looked = look("hub:org/model", "a")
    weights = [asked for asked in server.asked if asked.path.endswith(".safetensors") and asked.method == "GET"]
    assert weights and all(asked.range for asked in weights)
    assert sum(asked.sent for asked in server.asked) < 1_000_000
    here = look(f"local:{saved('bert', 1)}", "a")
    assert (looked.parameters, looked.labels, looked.tokenizer, looked.bytes) == (here.parameters, here.labels, here.tokenizer, here.bytes)


def test_a_second_run_with_the_same_commits_makes_no_request(server, pair, rows, store):
    pinned = resolve(question(rows)).experiment
    answer(pinned, store)
    server.asked.clear()
    assert answer(pinned, store)[1]["complete"] and not server.asked
    store.clear()
    assert answer(pinned, store)[1]["complete"] and not server.asked  # computed anew from what is on the disk


def test_weights_in_shards_are_one_model(server, saved, rows, store, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    for side, seed in (("a", 1), ("b", 2)):
        folder = tmp_path / side
        AutoModelForSequenceClassification.from_pretrained(saved("bert", seed)).save_pretrained(folder, max_shard_size="20KB")
        AutoTokenizer.from_pretrained(saved("bert", seed)).save_pretrained(folder)
        assert len(list(folder.glob("*.safetensors"))) > 1
        server.put(f"org/model-{side}", folder)
    _, result = answer(question(rows), store)
    _, whole = answer(question(rows, a=f"local:{saved('bert', 1)}", b=f"local:{saved('bert', 2)}"), store)
    assert result["tasks"][0]["loss"] == whole["tasks"][0]["loss"]


def test_a_recipe_may_start_from_a_repository(server, saved, store, tmp_path):
    server.put("org/base", saved("bert", 5))
    file = tiny.learnable(tmp_path / "t.csv", rows=80)
    recipe = {"base": "hub:org/base", "task": {"task": f"local:{file}"}, "steps": 2, "batch_size": 8}
    asked = parse({"version": 1, "a": recipe, "b": recipe | {"head_seed": 2}, "tasks": [{"task": f"local:{file}"}], "points": 2})
    told, result = answer(asked, store)
    assert result["complete"] and sum(isinstance(event, events.Fetching) and event.done == 0 for event in told) == 1
    assert "@" in resolve(asked).experiment.a.base


@pytest.mark.parametrize("fault", [{"cut": 4000}, {"status": 500}, {"status": 503}])
def test_a_network_that_fails_once_is_asked_again(server, pair, rows, store, fault):
    pinned = resolve(question(rows)).experiment
    server.faults.append(Fault("model-b/resolve/.*safetensors", times=1, **fault))
    assert answer(pinned, store)[1]["complete"]


@pytest.mark.parametrize(("fault", "said"), [
    ({"status": 500}, "did not answer"), ({"status": 429}, "asks for a pause"), ({"status": 403}, "did not answer"), ({"cut": 5}, "did not answer|no safetensors"),
    ({"length": 10**9, "cut": 5}, "did not answer|no safetensors"),
])  # fmt: skip
@pytest.mark.parametrize("what", ["api/models", "safetensors"])
def test_a_hub_that_fails_is_answered_with_a_sentence(server, pair, rows, fault, said, what, monkeypatch):
    monkeypatch.setattr(hub_client, "TIMEOUT", 2.0)
    server.faults.append(Fault(what, **fault))
    with pytest.raises(QuestionError, match=said) as told:
        resolve(question(rows))
    assert told.value.field == "a" and "Traceback" not in str(told.value) and "\n" not in str(told.value)


def test_what_is_not_there_is_said(server, saved):
    server.put("org/model", saved("bert", 1))
    server.put("org/empty", {"README.md": b"nothing"})
    server.put("org/headless", {"config.json": b"{}"})
    for address, said in (
        ("hub:org/other", "there is no repository org/other"), ("hub:org/model@nowhere", "has no revision 'nowhere'"),
        ("hub:org/empty", "no config.json"), ("hub:org/headless", "no model.safetensors"),
    ):
        with pytest.raises(QuestionError, match=said):
            look(address, "a")


def test_private_and_gated_repositories_ask_for_a_token_and_for_no_other(server, saved, monkeypatch):
    server.put("org/private", saved("bert", 1), token="hf_secret")
    server.put("org/gated", saved("bert", 1), token="hf_secret", gated=True)
    with pytest.raises(QuestionError, match="for a private one set HF_TOKEN"):
        look("hub:org/private", "a")
    with pytest.raises(QuestionError, match=f"is gated; accept its licence at {server.address}/org/gated"):
        look("hub:org/gated", "a")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert look("hub:org/private", "a").parameters and look("hub:org/gated", "a").parameters


@pytest.fixture
def hosted(monkeypatch):
    """host(**limits): this process is a host from then on."""
    from mcore.profile import HOSTED, profile

    def host(**limits):
        for module in ("hub.access", "hub.cache"):
            monkeypatch.setattr(f"mcore.{module}.profile", lambda: dataclasses.replace(HOSTED, **limits))

    yield host
    profile.cache_clear()


def test_a_hosts_own_token_is_lent_to_nobody(server, saved, monkeypatch, hosted):
    server.put("org/private", saved("bert", 1), token="hf_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hosted()
    with pytest.raises(QuestionError, match="there is no repository"):
        look("hub:org/private", "a")
    assert server.asked and all(asked.token is None for asked in server.asked)


def test_a_host_keeps_what_was_used_last_and_lets_go_of_the_rest(server, saved, rows, store, hosted, tmp_path):
    for seed in (1, 2, 3, 4):
        server.put(f"org/model-{seed}", saved("bert", seed))
    size = look(f"local:{saved('bert', 1)}", "a").bytes
    hosted(downloads=int(2.9 * size))
    for a, b in ((1, 2), (3, 4)):
        assert answer(question(rows, a=f"hub:org/model-{a}", b=f"hub:org/model-{b}"), store)[1]["complete"]
    there = {path.parent.parent.name for path in (tmp_path / "cache").glob("models--*/blobs/*") if path.stat().st_size > size / 2}
    assert "models--org--model-4" in there and len(there) <= 2


def test_two_tokenizers_too_large_to_be_read_before_are_compared_once_they_are_here(server, saved, rows, store, monkeypatch):
    monkeypatch.setattr("mcore.hub.remote.READ_WHOLE", 10)
    files = {file.name: file.read_bytes() for file in saved("bert", 2).iterdir()}
    tokenizer = json.loads(files["tokenizer.json"])
    words = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {word: len(words) - 1 - place for word, place in words.items()}
    server.put("org/model-a", saved("bert", 1))
    server.put("org/model-b", files | {"tokenizer.json": json.dumps(tokenizer).encode()})
    with pytest.raises(QuestionError, match="tokenizer or vocabulary is not that of A"):
        answer(question(rows), store)
    assert store.entries("responses") == []
    server.put("org/model-b", files | {"tokenizer.json": json.dumps(json.loads(files["tokenizer.json"]), indent=3).encode()})
    hub_client._newest.clear()
    assert answer(question(rows), store)[1]["complete"]  # other bytes, the same tokenizer


def test_a_download_that_is_cancelled_ends_soon_and_goes_on_from_there(server, pair, rows, store):
    pinned = resolve(question(rows)).experiment
    server.faults.append(Fault("model-b/resolve/.*safetensors", wait=20, times=1))
    told, began = [], time.monotonic()
    with pytest.raises(Cancelled):
        for event in run(pinned, store, stop=lambda: any(getattr(one, "endpoint", "") == "b" for one in told)):
            told.append(event)
    assert time.monotonic() - began < 10 and told[-1].repo == "org/model-b"
    server.faults.clear()
    assert answer(pinned, store)[1]["complete"]


def test_without_a_network_a_branch_is_what_it_was_last_known_to_be_and_the_answer_says_so(server, pair, rows, store, monkeypatch):
    before = resolve(question(rows))
    assert not before.notices
    answer(question(rows), store)
    hub_client._newest.clear()  # as after a minute
    server.faults.append(Fault("/api/", status=503))
    after = resolve(question(rows))
    assert after.fingerprint == before.fingerprint and [notice.partition(" is read as it was on ")[0] for notice in after.notices] == [
        f"The Hub did not answer: org/model-{side}@main" for side in "ab"
    ]
    assert answer(question(rows), store)[1]["complete"]
    server.faults.clear()
    hub_client._newest.clear()
    assert not resolve(question(rows)).notices


def test_a_page_without_a_network_uses_what_a_branch_was_last_known_to_be_and_asks_nothing(server, saved, monkeypatch):
    from mcore.hub import search as hubsearch

    server.put("org/model", saved("bert", 1))
    before = look("hub:org/model", "a").address
    monkeypatch.setattr(hub_client, "_newest", {})
    monkeypatch.setattr(hubsearch, "reachable", lambda: False)
    server.asked.clear()
    hubsearch.check_network("hub:org/model", "a")
    assert look("hub:org/model", "a").address == before and not server.asked
    assert hub_client.aged("hub:org/model", "model").startswith("The Hub did not answer: org/model@main is read as it was on")
    with pytest.raises(QuestionError, match="there is no network"):
        hubsearch.check_network("hub:org/model@other", "a")
