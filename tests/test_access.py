"""A visitor's token: which requests carry it, who reads what was read with it, how it comes to the worker, and that it stands nowhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from app_in_apptest import page, words
from asking_runner import digest
from hub_server import Fault, hub
from test_hub import answer, question
from test_worker import TESTS, House, until

from mcore.database import held
from mcore.errors import QuestionError
from mcore.hub import access
from mcore.hub import cache as hubcache
from mcore.hub import repositories as hub_client
from mcore.jobs.handover import Giver, Taker
from mcore.jobs.keeper import Keeper
from mcore.jobs.queue import Jobs
from mcore.jobs.worker import LOST
from mcore.question import fingerprint, parse
from mcore.resolve import resolve
from mcore.sources import look
from mcore.store import Store
from mcore.ui import visitor
from mcore.ui.forms.token import NO_TOKEN

TOKEN, OTHER = "hf_onlyforthisvisitor123", "hf_anothervisitors456"


@pytest.fixture
def private(server, saved):
    """org/model-a is private, org/model-b public, org/gated gated; another token is known but may read nothing. The private one's commit."""
    server.tokens.add(OTHER)
    server.put("org/model-b", saved("bert", 2))
    server.put("org/gated", saved("bert", 3), token=TOKEN, gated=True)
    return server.put("org/model-a", saved("bert", 1), token=TOKEN)


def carried(server, repository: str) -> set[str | None]:
    """The tokens that requests for a repository carried."""
    return {asked.token for asked in server.asked if repository in asked.path}


@pytest.mark.parametrize("given", ["typed", "HF_TOKEN"])
def test_a_token_goes_only_with_requests_for_what_refused_to_be_read_without(server, private, rows, store, monkeypatch, given):
    if given == "HF_TOKEN":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    with access.using(TOKEN if given == "typed" else None):
        assert answer(question(rows), store)[1]["complete"]
    assert carried(server, "model-b") == {None} and carried(server, "model-a") == {None, TOKEN}
    refused = [asked for asked in server.asked if "model-a" in asked.path and asked.token is None]
    assert len(refused) == 1, "that it needs a token is remembered"
    server.asked.clear()
    hub_client._newest.clear()  # as in a worker
    with access.using(TOKEN):
        pinned = resolve(question(rows)).experiment
        server.asked.clear()
        assert answer(pinned, store)[1]["complete"] and not server.asked


def test_on_a_host_what_one_visitor_may_read_another_may_not(server, private, host):
    host()
    with access.using(TOKEN):
        looked = look("hub:org/model-a", "a")
    assert looked.parameters
    for token in (None, OTHER):
        for address in ("hub:org/model-a", f"hub:org/model-a@{private}"):
            with access.using(token), pytest.raises(QuestionError, match="there is no repository org/model-a"):
                look(address, "a")
    with access.using(TOKEN):
        server.asked.clear()
        assert look(f"hub:org/model-a@{private}", "a").folder == looked.folder and not server.asked


def test_on_a_host_the_files_of_a_gated_repository_are_kept_for_who_may_read_them(server, private, rows, store, host, tmp_path):
    host()
    with access.using(None), pytest.raises(QuestionError, match="org/gated is gated; accept its licence"):
        look("hub:org/gated", "a")  # it may be listed
    with access.using(TOKEN):
        assert answer(question(rows, a="hub:org/gated"), store)[1]["complete"]
    places = {path.relative_to(tmp_path / "cache").parts[0] for path in (tmp_path / "cache").rglob("*gated*/snapshots/*/*")}
    assert places == {"private"}
    with access.using(OTHER), pytest.raises(QuestionError, match="org/gated is gated, and the token that was typed may not read it yet"):
        look("hub:org/gated", "a")


def test_what_was_open_when_it_was_listed_and_is_private_now_is_asked_for_anew(server, saved, rows, store):
    for side, seed in (("a", 1), ("b", 2)):
        server.put(f"org/model-{side}", saved("bert", seed))
    with access.using(TOKEN):
        pinned = resolve(question(rows)).experiment
        server.repositories["models", "org/model-a"].token = TOKEN
        with pytest.raises(QuestionError):
            answer(pinned, store)
        assert answer(pinned, store)[1]["complete"]


@pytest.mark.parametrize(("visitor", "token", "address", "said"), [
    (False, None, "org/model-a", "there is no repository org/model-a that this machine may read; check the name; for a private one set HF_TOKEN or log in with: hf auth login"),
    (True, None, "org/model-a", "for a private one type a token here, or set HF_TOKEN"),
    (True, None, "org/gated", "org/gated is gated; accept its licence at {hub}/org/gated, then type a token here, or set HF_TOKEN"),
    (True, OTHER, "org/gated", "accept its licence at {hub}/org/gated, with the account that the token belongs to"),
    (True, OTHER, "org/model-a", "there is no repository org/model-a that the token that was typed may read"),
    (True, "hf_expired_1", "org/model-a", "the Hub does not know the token that was typed; it may have expired"),
    (False, "hf_expired_1", "org/model-a", "the Hub does not know the token of this machine .HF_TOKEN or the login's.; .* set HF_TOKEN or log in"),
])  # fmt: skip
def test_each_refusal_has_a_sentence_that_says_what_to_do(server, private, monkeypatch, visitor, token, address, said):
    if token and not visitor:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(hub_client.Refused, match=said.format(hub=server.address)) as told:
        if visitor:
            with access.using(token):
                look(f"hub:{address}", "a")
        else:
            look(f"hub:{address}", "a")
    assert not token or token not in str(told.value)


def test_another_host_that_the_hub_sends_on_to_gets_no_token(server, private, saved, rows, store):
    with hub() as other:
        other.put("org/model-a", saved("bert", 1))
        server.faults.append(Fault("model-a/resolve/.*safetensors", elsewhere=other.address))
        with access.using(TOKEN):
            assert answer(question(rows), store)[1]["complete"]
        assert {asked.method for asked in other.asked} >= {"GET"} and {asked.token for asked in other.asked} == {None}


def test_no_log_and_no_file_holds_a_token_however_much_is_logged(server, private, rows, store, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_DEBUG", True)
    server.faults.append(Fault("model-a/resolve/.*safetensors", cut=4000, times=1))
    with caplog.at_level(logging.DEBUG), access.using(TOKEN):
        for name in list(logging.root.manager.loggerDict):
            if name.startswith(("http", "huggingface")):
                monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
                monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        assert answer(question(rows), store)[1]["complete"]
    assert "/org/model-a/" in caplog.text and TOKEN not in caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if TOKEN.encode() in path.read_bytes() or TOKEN in str(path)]


def test_a_host_removes_what_earlier_apps_read_for_their_visitors_and_leaves_that_of_others(server, private, host, tmp_path):
    host()
    with access.using(TOKEN):
        mine = look("hub:org/model-a", "a").folder
    kept, gone = tmp_path / "cache/private/living/x", tmp_path / "cache/private/gone/x"
    for folder in (kept, gone):
        folder.mkdir(parents=True)
    with held(tmp_path / "cache/private/living.lock") as ours:
        assert ours
        hubcache.claim()
        try:
            assert kept.exists() and not gone.exists() and not mine.exists(), "this app had claimed nothing yet"
            with held(hubcache._private() / f"{access.house()}.lock") as free:
                assert not free
        finally:
            hubcache._claimed.close()


def test_what_is_kept_for_visitors_counts_towards_a_hosts_downloads(server, saved, rows, store, host, tmp_path):
    for number in (1, 2, 3, 4):
        server.put(f"org/model-{number}", saved("bert", number), token=TOKEN)
    size = look(f"local:{saved('bert', 1)}", "a").bytes
    host(MCORE_MOST_DOWNLOADS=str(int(2.9 * size)))
    with access.using(TOKEN):
        for a, b in ((1, 2), (3, 4)):
            assert answer(question(rows, a=f"hub:org/model-{a}", b=f"hub:org/model-{b}"), store)[1]["complete"]
    there = {path.parent.parent.name for path in (tmp_path / "cache/private").glob("*/*/models--*/blobs/*") if path.stat().st_size > size / 2}
    assert "models--org--model-4" in there and len(there) <= 2


# from the app to its worker


@pytest.fixture(autouse=True)
def the_runner_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{TESTS.parent}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class TokenHouse(House):
    """Visitors of one app submit in their names."""

    def ask(self, keeper: Keeper | None, name: str, token: str | None, behaviour: str = "tells", seed: int = 0) -> str:
        task = {"task": f"builtin:{behaviour}", "sample_seed": seed}
        asked = {"version": 1, "a": "builtin:austen@0", "b": "builtin:austen@7000", "tasks": [task]}
        submit = {"fingerprint": fingerprint(parse(asked)), "visitor": name, "keyed": token is not None}
        if keeper is None:
            return self.jobs.submit(asked, **submit)
        with keeper.lent(name, token):
            return self.jobs.submit(asked, **submit)

    def told(self, id: str) -> list[str]:
        """Whose token the job was carried out with, and the house."""
        until(lambda: self.jobs.events(id))
        return self.jobs.events(id)[0][1].what.split()


@pytest.fixture
def house(tmp_path):
    return TokenHouse(tmp_path / "store")


@pytest.fixture
def keeper(house):
    made = Keeper(house.root, runner="asking_runner:run")
    yield made
    made.stop()


def test_each_job_is_carried_out_with_the_token_of_who_asked_for_it(house, keeper):
    anna, ben, nobody = house.ask(keeper, "anna", TOKEN), house.ask(keeper, "ben", OTHER, seed=1), house.ask(keeper, "carl", None, seed=2)
    assert house.told(anna) == [digest(TOKEN), access.house()]
    assert house.told(ben) == [digest(OTHER), access.house()]
    assert house.told(nobody)[0] == "nobody"
    assert (house.ended(anna), house.ended(nobody)) == ("done", "failed")
    assert "type a token here" in house.jobs.job(nobody).sentence
    until(lambda: keeper._giver.empty())
    again = house.ask(None, "anna", TOKEN, seed=3)  # after all of hers was done it is forgotten, in the worker too
    assert house.told(again)[0] == "nobody" and house.ended(again) == "failed" and house.jobs.job(again).sentence == LOST


def test_who_joins_a_job_goes_on_with_their_own_token_when_the_first_leaves(house, keeper):
    busy = house.ask(keeper, "zoe", None, "waits")
    house.told(busy)
    id = house.ask(keeper, "anna", TOKEN)
    assert house.ask(keeper, "ben", OTHER) == id
    house.jobs.cancel(id, "anna")
    house.jobs.cancel(busy)
    assert house.told(id)[0] == digest(OTHER)


def test_a_worker_that_takes_the_place_of_one_that_died_is_told_all_over(house, keeper):
    first, second = house.ask(keeper, "anna", TOKEN, "dies"), house.ask(keeper, "anna", TOKEN)
    assert house.ended(first) == "failed"
    assert house.told(second)[0] == digest(TOKEN)


def test_a_token_that_is_forgotten_is_not_used_by_what_still_waits(house, keeper):
    house.told(house.ask(keeper, "zoe", None, "waits"))
    waiting = house.ask(keeper, "anna", TOKEN)
    with keeper.lent("anna", None):
        pass
    house.jobs.cancel(house.jobs.active()[0].id)
    assert house.ended(waiting) == "failed" and house.jobs.job(waiting).sentence == LOST


def test_the_worker_of_another_app_on_the_same_store_says_that_it_has_no_token(house, keeper):
    until(keeper.warm)
    other = Keeper(house.root, runner="asking_runner:run")
    try:
        id = house.ask(other, "anna", TOKEN)
        assert house.ended(id) == "failed" and house.jobs.job(id).sentence == LOST
    finally:
        other.stop()


def test_no_process_list_environment_or_file_holds_a_token(house, keeper):
    id = house.ask(keeper, "anna", TOKEN, "waits")
    assert house.told(id)[0] == digest(TOKEN)
    for pid in (keeper._process.pid, os.getpid()):
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    house.jobs.cancel(id)
    house.ended(id)
    assert not [path for path in house.root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_page_never_waits_for_a_worker_that_does_not_read():
    deaf = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE)
    try:
        giver, began = Giver(), time.monotonic()
        giver.to(deaf.stdin)
        for number in range(3000):
            giver.give(f"visitor-{number}", TOKEN)
        assert time.monotonic() - began < 5
    finally:
        deaf.kill()
        deaf.wait()
    giver.give("anna", TOKEN)  # nor for one that has gone


def test_what_comes_in_pieces_is_taken_whole():
    ear, mouth = os.pipe()
    taker = Taker(ear)
    os.write(mouth, b'{"visitor": "anna", "tok')
    assert taker.token("anna") is None
    os.write(mouth, b'en": "x"}\n')
    assert taker.token("anna") == "x"
    os.close(mouth)
    assert taker.token("anna") == "x"


# on the page


@pytest.fixture
def asked(server, private, app_store, monkeypatch):
    """A host's page whose A is private."""
    from mcore.profile import profile

    monkeypatch.setenv("MCORE_PROFILE", "hosted")
    profile.cache_clear()
    names = ["narrated", "spoken"]
    yield parse({
        "version": 1, "a": "hub:org/model-a", "b": "hub:org/model-b", "labels": {"a": names, "b": names},
        "tasks": [{"task": "builtin:speech", "limit": 16}], "points": 3,
    })  # fmt: skip
    profile.cache_clear()
    hubcache._claimed.close()


def give(app, token: str, key: str = "token-field-wrong-a"):
    app.text_input(key=key).set_value(token).run()
    assert not app.exception
    return app


def test_a_token_is_typed_where_a_repository_refuses_and_opens_it_for_this_session_alone(asked, app_store: Store, app_jobs: Jobs):
    mine, theirs = page(asked), page(asked)
    assert "for a private one type a token here" in words(mine)
    give(mine, TOKEN, "token-field-a")
    assert "there is no repository" not in words(mine) and mine.button(key="run").disabled is False
    assert mine.text_input(key="token-field-a").value == "", "what was typed leaves its field"
    assert "there is no repository" in words(theirs.run()) and theirs.button(key="run").disabled
    holds = [key for key in mine.session_state if TOKEN in str(mine.session_state[key])]
    assert holds == [visitor.TOKEN] and TOKEN not in str(dict(mine.query_params))
    mine.button(key="run").click().run()
    (job,) = app_jobs.active()
    assert app_jobs.keyed(job.id) and TOKEN not in str(job)
    mine.button(key="token-forget-a").click().run()
    assert visitor.TOKEN not in mine.session_state and "there is no repository" in words(mine)


def test_a_private_result_is_not_shown_to_who_cannot_read_its_models(asked, app_store: Store, rows):
    with access.using(TOKEN):
        from browser_fixtures import events

        resolved = resolve(asked)
        list(events(asked, app_store))
    mine, theirs = give(page(asked), TOKEN), page(asked)
    assert "from the store" in words(mine)
    pinned = page(resolved.experiment)
    for app in (theirs, pinned, give(page(asked), OTHER)):
        assert "from the store" not in words(app) and "there is no repository org/model-a" in words(app)
    assert resolved.fingerprint[:12] not in words(page(file="pages/6_Library.py"))


@pytest.mark.parametrize("typed", ["hf_with space", "hf_line\nbreak", "hf_ünïcode_12", "short", "x" * 201, '"quoted_token"'])
def test_what_is_no_token_is_said_and_kept_nowhere(asked, typed):
    app = give(page(asked), typed)
    assert NO_TOKEN in words(app)
    assert not [key for key in app.session_state if typed in str(app.session_state[key])]
    assert NO_TOKEN not in words(give(app, TOKEN))


def test_every_request_of_a_page_is_made_for_its_visitor(asked, server):
    app = give(page(asked), TOKEN)
    server.asked.clear()
    hub_client._newest.clear()
    app.text_input(key="in.points").set_value("5").run()
    assert not app.exception and carried(server, "model-b") == {None} and TOKEN in carried(server, "model-a")
    assert "there is no repository" not in words(app)
