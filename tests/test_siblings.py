"""Other paths of the same pair are found in the store; other pairs, other rows and what a visitor may not see are not."""

from __future__ import annotations

import pytest
import tiny

from mcore.paths.siblings import MOST, siblings
from mcore.question import as_written, canonical, parse
from mcore.resolve import resolve


@pytest.fixture
def asked(saved, rows, store):
    """asked(path, **changes): a question about two small models, in the store as a run leaves it."""

    def put(path, first=0, second=1, **changes):
        question = parse(tiny.experiment(saved("bert", first), saved("bert", second), rows, path=path, **changes))
        store.put(resolve(question).fingerprint, canonical(as_written(question)).encode(), "experiment")
        return question

    return put


def kinds(found):
    return {question.path.kind for question in found}


def test_other_paths_of_the_same_pair_are_found(asked, store):
    line = asked({"kind": "linear"})
    asked({"kind": "slerp"})
    asked({"kind": "partial", "move": ["attention"]})
    assert kinds(siblings(resolve(line), store)) == {"slerp", "partial"}


def test_another_pair_other_rows_and_another_precision_are_not(asked, store, rows):
    line = asked({"kind": "linear"})
    asked({"kind": "slerp"}, second=2)
    asked({"kind": "slerp"}, first=1, second=0)
    asked({"kind": "slerp"}, precision="bfloat16")
    fewer = parse(as_written(asked({"kind": "slerp"}, second=2)) | {"b": line.b, "tasks": [{"task": f"local:{rows}", "limit": 7, "max_length": 16}]})
    store.put(resolve(fewer).fingerprint, canonical(as_written(fewer)).encode(), "experiment")
    assert siblings(resolve(line), store) == []


def test_of_one_path_asked_twice_the_one_with_more_points_counts_and_the_same_path_is_no_sibling(asked, store):
    line = asked({"kind": "linear"})
    asked({"kind": "linear"}, points=9)
    asked({"kind": "linear", "extend": 0.5})
    for points in (3, 9, 5):
        asked({"kind": "slerp"}, points=points)
    assert [question.points for question in siblings(resolve(line), store)] == [9]


def test_only_what_may_be_seen_is_listed(asked, store):
    line, sphere = asked({"kind": "linear"}), asked({"kind": "slerp"})
    hidden = resolve(sphere).fingerprint
    assert siblings(resolve(line), store, lambda key: key != hidden) == []
    assert siblings(resolve(line), store, lambda key: key == hidden) == [sphere]


def test_what_cannot_be_read_any_more_is_passed_over(asked, store):
    line = asked({"kind": "linear"})
    store.put("ab" * 16, b"no question", "experiment")
    gone = as_written(line) | {"a": "local:/no/such/folder", "path": {"kind": "slerp"}}
    store.put("cd" * 16, canonical(gone).encode(), "experiment")
    assert siblings(resolve(line), store) == []


def test_there_are_never_more_paths_than_a_chart_can_hold(asked, store):
    line = asked({"kind": "linear"})
    for scale in range(MOST + 3):
        asked({"kind": "partial", "move": [f"layers:0-{scale}"]})
    assert len(siblings(resolve(line), store)) == MOST
