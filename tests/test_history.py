"""Where the steps of a model's pre-training stand: families that ship, folders, branches and tags of a repository, families of repositories."""

from __future__ import annotations

import json

import pytest
from hub_server import Fault

from mcore.errors import QuestionError
from mcore.hub import access
from mcore.hub import info as hubinfo
from mcore.hub import search as hubsearch
from mcore.hub.refusals import NoAnswer, Refused
from mcore.models.checkpoints import families
from mcore.studies.history import by_step, filled, history, spread, step_of

EMPTY = {"config.json": b"{}"}


def repository(server, *revisions, name="org/model", **how):
    for i, revision in enumerate(("main", *revisions)):
        server.put(name, {"config.json": b"%d" % i}, revision, **how)
    return name


def test_a_family_that_ships_has_all_its_steps():
    found = history("builtin:austen")
    assert list(found.steps) == families()["austen"] and found.address(0) == "builtin:austen@0"
    assert found.bases([7000, 0]) == {0: "builtin:austen@0", 7000: "builtin:austen@7000"}
    with pytest.raises(QuestionError, match=r"^steps: builtin:austen has no step 5; use some of: 0, 100, "):
        found.bases([0, 5])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("step1000", ("step", 1000)), ("step_1000", ("step", 1000)), ("step-7", ("step", 7)), ("1000", ("", 1000)), ("checkpoint-500", ("checkpoint", 500)),
        ("step_20k", ("step", 20_000)), ("2M", ("", 2_000_000)), ("epoch_3", ("epoch", 3)), ("step1000-tokens4B", ("step", 1000)), ("Steps_5", ("step", 5)),
        ("main", None), ("v1.0", None), ("refs/pr/1", None), ("step", None), ("step1e3", None), ("mystep10x", None),
    ],
)  # fmt: skip
def test_a_name_tells_its_step_or_none(name, found):
    assert step_of(name) == found


def test_of_names_that_count_in_different_things_the_most_are_taken_and_of_two_of_one_step_the_first():
    assert by_step(["main", "step_2", "epoch_1", "step_10", "step2", "v2"]) == {2: "step_2", 10: "step_10"}
    assert by_step(["main"]) == {}


def test_a_pattern_is_filled_in_what_it_counts_in():
    assert filled("hub:google/multiberts-seed_0-step_{step}k", 20_000) == "hub:google/multiberts-seed_0-step_20k"
    assert filled("hub:google/multiberts-seed_0-step_{step}k", 0) == "hub:google/multiberts-seed_0-step_0k"
    assert filled("hub:org/model-{step}@v1", 7) == "hub:org/model-7@v1"
    assert filled("hub:org/model-{step}kids", 7) == "hub:org/model-7kids"


def test_few_steps_are_spread_over_the_decades_with_both_ends():
    steps = [0, *(10**i for i in range(7))]
    chosen = spread(steps, 4)
    assert chosen[0] == 0 and chosen[-1] == 10**6 and len(chosen) == 4 and max(chosen[1:3]) < 10**6
    assert spread([3, 1, 2], 5) == [1, 2, 3] and spread([0], 1) == [0]
    assert len(spread(range(0, 2_000_001, 20_000), 5)) == 5


def test_folders_by_step_are_found_by_their_names_or_by_a_pattern(tmp_path):
    for name in ("checkpoint-10", "checkpoint-2", "logs", "step-5"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-3").write_text("a file")
    assert history(f"local:{tmp_path}").steps == {2: f"local:{tmp_path}/checkpoint-2", 10: f"local:{tmp_path}/checkpoint-10"}
    assert history(f"local:{tmp_path}/step-{{step}}").bases([5]) == {5: f"local:{tmp_path}/step-5"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("austen", "is no history; name a family"), ("builtin:nobody", "nothing called 'nobody' ships"), ("local:/nowhere/at/all", "there is no folder"),
        ("hub:org/a-{step}-{step}", "braces other than one {step}"), ("hub:nothing", "is no repository"), ("hub:org/{other}", "braces other than one {step}"),
        ("local:/tmp/{step}/model", "holds others"), ("hub:org/model@main", "is one revision, not a history"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_history_is_answered_with_what_would_be_right(name, told, server):
    with pytest.raises(QuestionError, match="^base: ") as wrong:
        history(name)
    assert told in str(wrong.value)


def test_a_folder_without_steps_is_told(tmp_path):
    with pytest.raises(QuestionError, match=r"no folder in .* is named by a step"):
        history(f"local:{tmp_path}")


def test_branches_and_tags_of_a_repository_are_its_steps(server):
    repository(server, "step1", "step20", "refs/pr/1", "v1.0", "step300")
    server.repositories["models", "org/model"].tags.add("step300")
    found = history("hub:org/model")
    assert dict(found.steps) == {1: "hub:org/model@step1", 20: "hub:org/model@step20", 300: "hub:org/model@step300"}
    assert [one.path for one in server.asked] == ["/api/models/org/model/refs"] and server.asked[0].token is None


def test_a_pattern_picks_among_branches_that_are_named_in_two_ways(server):
    repository(server, "step1", "step2", "step3", "ema-1k", "ema-20k")
    assert dict(history("hub:org/model@ema-{step}k").steps) == {1000: "hub:org/model@ema-1k", 20_000: "hub:org/model@ema-20k"}


def test_a_repository_without_steps_says_what_it_has(server):
    repository(server, "v1.0")
    with pytest.raises(QuestionError, match=r"no branch or tag of org/model is named by a step: it has main, v1\.0; "):
        history("hub:org/model")
    with pytest.raises(Refused, match="there is no repository org/nothing"):
        history("hub:org/nothing")


def test_a_private_repository_is_listed_with_a_token_and_only_then(server):
    repository(server, "step1", "step2", token="hf_secret")
    with pytest.raises(Refused):
        history("hub:org/model")
    server.asked.clear()
    with access.using("hf_secret"):
        assert list(history("hub:org/model").steps) == [1, 2]
    assert [one.token for one in server.asked] == [None, "hf_secret"]


def test_names_of_branches_that_lead_elsewhere_are_left_out_and_a_flood_is_refused(server, monkeypatch):
    repository(server, "step1", "../step2", "step3")
    assert list(history("hub:org/model").steps) == [1, 3]
    monkeypatch.setitem(hubinfo.MOST_BYTES, "model", 50)
    with pytest.raises(QuestionError, match="too many branches"):
        history("hub:org/model")


@pytest.mark.parametrize("fault", [Fault("/refs", status=500), Fault("/refs", cut=20)])
def test_a_hub_that_fails_is_told_and_a_damaged_answer_too(server, fault):
    repository(server, "step1")
    server.faults.append(fault)
    with pytest.raises(NoAnswer, match="^base: the Hub did not answer for org/model"):
        history("hub:org/model")


def test_an_answer_of_another_form_is_told(server, monkeypatch):
    repository(server, "step1")
    monkeypatch.setattr(hubinfo, "_bounded", lambda *given: json.loads('{"branches": [{"nome": "step1"}]}'))
    with pytest.raises(QuestionError, match="list of the branches of org/model is damaged"):
        history("hub:org/model")


def test_a_family_of_repositories_is_found_by_its_pattern(server):
    for name in ("multi-seed_0-step_0k", "multi-seed_0-step_20k", "multi-seed_0-step_1000k", "multi-seed_1-step_0k", "multi-seed_0-step_20k-old"):
        server.put(f"org/{name}", EMPTY)
    server.put("other/multi-seed_0-step_40k", EMPTY)
    found = history("hub:org/multi-seed_0-step_{step}k")
    assert dict(found.steps) == {step: f"hub:org/multi-seed_0-step_{step // 1000}k" for step in (0, 20_000, 1_000_000)}
    assert dict(history("hub:org/multi-seed_0-step_{step}k@v2").steps)[0] == "hub:org/multi-seed_0-step_0k@v2"
    with pytest.raises(QuestionError, match=r"no public repository is named org/multi-seed_7-step_\{step\}k"):
        history("hub:org/multi-seed_7-step_{step}k")
    with pytest.raises(QuestionError, match="too short to look for"):
        history("hub:org/a{step}")


def test_without_a_network_a_pattern_still_writes_the_address_of_a_step(server, monkeypatch):
    found = history("hub:org/multi-step_{step}k", stranded=True)
    assert not found.steps and found.bases([0, 40_000]) == {0: "hub:org/multi-step_0k", 40_000: "hub:org/multi-step_40k"}
    assert not server.asked
    monkeypatch.setattr(hubsearch, "PATIENCE_FOR_A_FAMILY", 0.2)
    server.faults.append(Fault("/api/models", wait=1.0, times=1))
    with pytest.raises(NoAnswer, match="did not answer for the family org/multi-step_"):
        history("hub:org/multi-step_{step}k")
