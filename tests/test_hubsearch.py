"""Names are found on the Hub soon or not at all: the real client against a small Hub on this machine."""

from __future__ import annotations

import socket
import time

import pytest
from hub_server import Fault, hub

from mcore.hub import access
from mcore.hub import search as hubsearch
from mcore.hub.repositories import NoAnswer


@pytest.fixture
def server(monkeypatch):
    """A Hub with some repositories, and a search that knows nothing yet."""
    from huggingface_hub import constants

    with hub() as running:
        for name in ("connectivity/feather_berts_25", "connectivity/feather_berts_63", "org/other"):
            running.put(name, {"config.json": b"{}"})
        running.put("nyu-mll/glue", {"README.md": b""}, kind="datasets")
        running.put("org/feather-private", {"config.json": b"{}"}, token="hf_secret")
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        forget(monkeypatch)
        yield running


def forget(monkeypatch):
    for name, value in (("_kept", type(hubsearch._kept)()), ("_under_way", {}), ("_seen", None), ("_looking", None)):
        monkeypatch.setattr(hubsearch, name, value)


def names(found):
    return [one.repo for one in found]


def test_words_find_repositories_of_their_kind(server):
    assert names(hubsearch.search("feather berts", "model")) == ["connectivity/feather_berts_25", "connectivity/feather_berts_63"]
    assert names(hubsearch.search("glue", "dataset")) == ["nyu-mll/glue"]
    assert hubsearch.search("nothing like it", "model") == []


@pytest.mark.parametrize("words", ["", "fe", " f ", "   a   "])
def test_few_characters_are_not_searched_for(server, words):
    assert hubsearch.search(words, "model") == [] and not server.asked


def test_an_answer_is_kept_for_a_minute(server, monkeypatch):
    first = hubsearch.search("feather", "model")
    assert hubsearch.search(" Feather ", "model") == first and len(server.asked) == 1
    monkeypatch.setattr(hubsearch, "KEPT", 0.0)
    hubsearch.search("feather", "model")
    assert len(server.asked) == 2


def test_what_is_public_is_searched_and_no_token_is_sent(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with access.using("hf_secret"):
        assert "org/feather-private" not in names(hubsearch.search("feather", "model"))
        assert hubsearch.reachable()
    assert len(server.asked) == 2 and all(asked.token is None for asked in server.asked)


def test_a_slow_hub_is_given_up_and_gets_no_second_request_meanwhile(server, monkeypatch):
    monkeypatch.setattr(hubsearch, "TIMEOUT", 0.3)
    server.faults.append(Fault("api/models", wait=3.0, times=1))
    for words in ("feather", "feather berts"):
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="did not answer in time"):
            hubsearch.search(words, "model", "me")
        assert time.monotonic() - began < 1.5
    assert names(hubsearch.search("other", "model", "somebody else")) == ["org/other"]
    assert not any("search=feather" in asked.path for asked in server.asked)  # the first is not answered yet, the second was not sent


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"cut": 3}])
def test_a_hub_that_fails_is_answered_with_a_sentence(server, monkeypatch, fault):
    monkeypatch.setattr(hubsearch, "TIMEOUT", 0.5)
    server.faults.append(Fault("api/models", **fault))
    with pytest.raises(NoAnswer, match="^search: the Hub did not answer in time; "):
        hubsearch.search("feather", "model")


def test_whether_the_hub_answers_is_known_soon_and_remembered(server, monkeypatch):
    assert hubsearch.reachable() and hubsearch.reachable()
    assert [asked.method for asked in server.asked] == ["HEAD"]
    forget(monkeypatch)
    with socket.socket() as mute:  # takes a connection and says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
        began = time.monotonic()
        assert not hubsearch.reachable()
        first = time.monotonic() - began
        assert not hubsearch.reachable()
        assert first < 2.0 and time.monotonic() - began - first < 0.01
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    assert not hubsearch.reachable()  # remembered
    monkeypatch.setattr(hubsearch, "REMEMBERED", 0.0)
    assert hubsearch.reachable()


def test_a_machine_that_is_told_to_stay_offline_asks_nobody(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not hubsearch.reachable() and not server.asked
