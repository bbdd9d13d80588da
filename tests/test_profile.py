"""Local and hosted: what a host refuses, before it looks at its own disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from mcore import presets, profile
from mcore.errors import McoreError, QuestionError
from mcore.limits import check, check_size
from mcore.profile import HOSTED, LIMITS, Profile, read, told, variable
from mcore.question import parse
from mcore.resolve import resolve

RECIPE = {"base": "builtin:austen@0", "task": {"task": "builtin:speech"}, "steps": 20}
SMALL = {
    "version": 1, "a": RECIPE, "b": "builtin:austen@7000", "tasks": [{"task": "builtin:speech", "limit": 64}], "points": 3,
}  # fmt: skip


def refused(limits: Profile = HOSTED, **changes: object) -> QuestionError:
    with pytest.raises(QuestionError) as found:
        check(parse(SMALL | changes), limits)
    return found.value


def test_a_persons_own_machine_has_no_limits():
    mine = read({})
    assert not mine.hosted
    assert all(getattr(mine, name) is None for name in LIMITS if name != "store")
    check(parse(SMALL | {"a": "local:/etc/passwd", "points": 1001, "tasks": [{"task": "builtin:speech"}] * 8}), mine)
    assert told(mine) == ""


@pytest.mark.parametrize("environment", [{"MCORE_PROFILE": "hosted"}, {"SPACE_ID": "somebody/explorer"}])
def test_a_space_or_the_word_hosted_means_hosted(environment: dict[str, str]):
    assert read(environment) == HOSTED


def test_a_space_may_be_told_that_it_is_local():
    assert not read({"SPACE_ID": "somebody/explorer", "MCORE_PROFILE": "local"}).hosted


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_has_its_variable_in_either_profile(name: str):
    assert getattr(read({variable(name): "7"}), name) == 7
    assert getattr(read({"MCORE_PROFILE": "hosted", variable(name): "7"}), name) == 7


@given(st.sampled_from(LIMITS), st.text(min_size=1).filter(lambda text: text.strip() and not text.strip().isdecimal()))
def test_a_limit_that_is_no_number_is_told_in_a_sentence(name: str, text: str):
    with pytest.raises(McoreError, match=variable(name)):
        read({variable(name): text})


def test_an_unknown_profile_is_told_with_the_known_ones():
    with pytest.raises(McoreError, match="'hostel'; give one of: local, hosted"):
        read({"MCORE_PROFILE": "hostel"})


def test_the_command_prints_the_limits_or_one_sentence():
    def run(**environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "mcore.profile"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )

    fine, wrong = run(MCORE_PROFILE="hosted"), run(MCORE_MOST_STEPS="many")
    assert (fine.returncode, fine.stdout.splitlines()[:2]) == (0, ["profile: hosted", "MCORE_MOST_STEPS: 1,000"])
    assert (wrong.returncode, wrong.stderr) == (2, "MCORE_MOST_STEPS is 'many'; give a whole number above 0, such as 1000.\n")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("a.steps", {"a": RECIPE | {"steps": 1001}}),
        ("a.batch_size", {"a": RECIPE | {"batch_size": 65}}),
        ("b.cartography", {"b": RECIPE | {"cartography": 2001}}),
        ("a.task.max_length", {"a": RECIPE | {"task": {"task": "builtin:speech", "max_length": 257}}}),
        ("points", {"points": 102}),
        ("points", {"points": [i / 200 for i in range(102)]}),
        ("tasks", {"tasks": [{"task": "builtin:speech"}] * 4}),
        ("tasks.1.limit", {"tasks": [{"task": "builtin:speech"}, {"task": "builtin:speech", "limit": 2001}]}),
        ("tasks.0.max_length", {"tasks": [{"task": "builtin:speech", "max_length": 257}]}),
    ],
)
def test_what_is_too_large_is_refused_by_its_field(field: str, changes: dict):
    wrong = refused(**changes)
    assert wrong.field == field
    assert "than this host carries out" in str(wrong) and "give at most" in str(wrong)


def test_what_is_just_within_the_limits_may_be_asked():
    most = RECIPE | {"steps": 1000, "batch_size": 64, "cartography": 2000}
    check(parse(SMALL | {"a": most, "b": most, "points": 101, "tasks": [{"task": "builtin:speech", "limit": 2000}] * 3}), HOSTED)


def test_the_first_question_fits_a_host():
    check(presets.first_question(), HOSTED)
    check_size(resolve(presets.first_question()), HOSTED)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("a", {"a": "local:/etc"}),
        ("b.base", {"b": RECIPE | {"base": "local:~/model"}}),
        ("b.task.task", {"b": RECIPE | {"task": {"task": "local:rows.csv"}}}),
        ("tasks.1.task", {"tasks": [{"task": "builtin:speech"}, {"task": "local:/etc/passwd"}]}),
    ],
)
def test_a_host_never_looks_for_a_file_that_a_link_names(field: str, changes: dict, monkeypatch: pytest.MonkeyPatch):
    """Whether it is there or not, the answer is the same, and the disk is not asked."""

    def touched(*_: object, **__: object) -> None:
        raise AssertionError("the disk was touched")

    for name in ("stat", "open", "exists", "is_file", "is_dir", "iterdir", "expanduser"):
        monkeypatch.setattr(Path, name, touched)
    wrong = refused(**changes)
    assert wrong.field == field
    assert "this host opens no files of its own" in str(wrong)


def test_names_of_labels_and_columns_are_no_addresses():
    words = {"labels": {"a": ["local:a", "b"]}, "tasks": [{"task": "builtin:speech", "label": "local:x", "text": "local:y"}]}
    words["tasks"].append({"task": "builtin:speech", "template": "local:{text}", "answers": ["local:", "hub:"]})
    check(parse(SMALL | words), HOSTED)


def test_rows_and_parameters_are_counted_when_the_names_are_resolved():
    whole = resolve(parse(SMALL | {"tasks": [{"task": "builtin:speech"}]}))
    with pytest.raises(QuestionError, match=r"tasks.0.limit: 1,500 rows .* give at most 1,000"):
        check_size(whole, Profile(hosted=True, rows=1000))
    with pytest.raises(QuestionError, match=r"a.base: .* parameters .* give at most 1,000"):
        check_size(whole, Profile(hosted=True, parameters=1000))
    check_size(whole, Profile())
    asked = {"task": "builtin:speech", "read": "answers", "template": "{text}", "answers": ["she", "you"], "limit": 501}
    words = resolve(parse(SMALL | {"a": "builtin:austen@0", "b": "builtin:austen@1000", "tasks": [asked | {"template": "{mask}: {text}"}]}))
    with pytest.raises(QuestionError, match=r"tasks.0.answers: 1,002 answers to all rows together .* give at most 1,000"):
        check_size(words, Profile(hosted=True, answers=1000))


def test_the_line_on_the_page_tells_the_limits():
    assert told(HOSTED).startswith("1,000 training steps, 64 rows in a batch, 101 points")


def test_the_profile_is_read_once(monkeypatch: pytest.MonkeyPatch):
    profile.profile.cache_clear()
    monkeypatch.setenv("MCORE_PROFILE", "hosted")
    assert profile.profile().hosted
    monkeypatch.delenv("MCORE_PROFILE")
    assert profile.profile().hosted
    profile.profile.cache_clear()
    assert not profile.profile().hosted
