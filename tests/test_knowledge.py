"""Forgotten and learned rows tell the whole story of what is mastered."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcore.knowledge.mastered import MEASURES, exchanged, knowledge


@st.composite
def mastery(draw):
    """t, right ``[points, rows]`` and row ids."""
    points, rows = draw(st.integers(1, 7)), draw(st.integers(0, 15))
    right = draw(st.lists(st.lists(st.booleans(), min_size=rows, max_size=rows), min_size=points, max_size=points))
    return np.linspace(0, 1, points).tolist(), right, [100 + 3 * row for row in range(rows)]


@given(mastery())
def test_the_first_set_and_the_changes_give_every_set(data):
    t, right, rows = data
    told = knowledge(t, right, rows)
    mastered = {row for row, hit in zip(rows, right[0], strict=True) if hit}
    assert told["mastered"][0] == len(mastered)
    for step, (forgotten, learned) in enumerate(zip(told["forgotten"], told["learned"], strict=True), 1):
        assert set(forgotten) <= mastered and not set(learned) & mastered
        mastered = (mastered - set(forgotten)) | set(learned)
        assert mastered == {row for row, hit in zip(rows, right[step], strict=True) if hit}
        assert told["mastered"][step] == len(mastered)
    assert len(told["forgotten"]) == len(told["learned"]) == len(t) - 1


@given(mastery())
def test_going_back_learns_what_was_forgotten(data):
    t, right, rows = data
    there, back = knowledge(t, right, rows), knowledge(t, right[::-1], rows)
    assert there["forgotten"] == back["learned"][::-1]


@given(mastery())
def test_what_is_exchanged_agrees_with_a_count_row_by_row(data):
    t, right, rows = data
    columns = [[bool(point[i]) for point in right] for i in range(len(rows))]
    assert exchanged(knowledge(t, right, rows)) == {
        "regained": sum(row[0] and row[-1] and not all(row) for row in columns),
        "only_a": sum(row[0] and not row[-1] for row in columns),
        "only_b": sum(not row[0] and row[-1] for row in columns),
    }


@given(mastery(), st.data())
def test_groups_are_described_by_the_rows_that_were_followed(data, draw):
    t, right, rows = data
    measure = st.tuples(*[st.floats(0, 1)] * 3)
    followed = draw.draw(st.dictionaries(st.sampled_from([*rows, -1]), measure))
    told = knowledge(t, right, rows, ("a", followed))
    known = [row for row in rows if row in followed]
    if not known:
        assert told["cartography"] is None
        return
    described = told["cartography"]
    assert described["endpoint"] == "a" and described["known"] == len(known)
    for groups, means in (([rows], [described["all"]]), *((told[k], described[k]) for k in ("forgotten", "learned"))):
        for group, mean in zip(groups, means, strict=True):
            values = [followed[row] for row in group if row in followed]
            if not values:
                assert mean is None
                continue
            for place, name in enumerate(MEASURES):
                assert mean[name] == pytest.approx(sum(value[place] for value in values) / len(values))


def test_it_is_plain_json():
    told = knowledge([0.0, 1.0], np.array([[True, False], [False, True]]), np.array([7, 9]), ("b", {7: (0.5, 0.1, 1.0)}))
    assert json.loads(json.dumps(told)) == told
    assert told["forgotten"] == [[7]] and told["learned"] == [[9]]


def test_t_that_does_not_rise_is_refused():
    with pytest.raises(ValueError, match="rise"):
        knowledge([0.0, 1.0, 0.5], np.ones((3, 2), bool), [1, 2])
