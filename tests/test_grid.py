"""Every example at every t: groups, orders, changes, what a result without responses still tells."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from browser_fixtures import carry_out, question
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from mcore import plan
from mcore.knowledge import grid as grids
from mcore.knowledge.grid import GROUPS, ORDERS, Grid
from mcore.knowledge.mastered import exchanged, knowledge
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store
from mcore.tasks.rows import Rows

RIGHT = np.array([
    [1, 1, 1, 1, 0, 0, 0, 0],
    [1, 1, 0, 0, 0, 0, 1, 0],
    [1, 0, 0, 1, 0, 1, 0, 0],
    [1, 0, 0, 1, 1, 1, 0, 0],
], bool)  # fmt: skip
# always, lost late, lost early, lost early and regained, learned late, learned early, only midway, never


def grid(right: np.ndarray = RIGHT, ts: tuple[float, ...] | None = None) -> Grid:
    rows = right.shape[1]
    return Grid(
        ids=np.arange(rows) * 10, texts=[f"Text {i}, she said" for i in range(rows)], labels=np.arange(rows) % 2,
        names=("no", "yes"), ts=ts or tuple(np.linspace(0, 1, len(right)).tolist()), right=right,
        predicted=np.where(right, np.arange(rows) % 2, 1 - np.arange(rows) % 2).astype(np.int16),
        probability=np.where(right, 0.9, 0.2).astype(np.float32),
    )  # fmt: skip


def test_a_row_is_forgotten_where_it_is_first_lost_and_learned_where_it_is_first_right() -> None:
    assert np.allclose(grid().forgotten_at, [np.nan, 2 / 3, 1 / 3, 1 / 3, *[np.nan] * 4], equal_nan=True)
    assert np.allclose(grid().learned_at, [*[np.nan] * 4, 1, 2 / 3, 1 / 3, np.nan], equal_nan=True)


def test_the_groups_are_what_their_names_say() -> None:
    members = {name: np.flatnonzero(mask).tolist() for name, mask in grid().groups.items()}
    assert members == {
        "all": list(range(8)), "always": [0], "regained": [3], "only_a": [1, 2], "only_b": [4, 5], "midway": [6], "never": [7],
    }  # fmt: skip
    assert list(members) == list(GROUPS)


@given(arrays(bool, some.tuples(some.integers(1, 6), some.integers(1, 12))))
def test_every_example_is_in_one_group_and_every_order_holds_each_once(right: np.ndarray) -> None:
    made = grid(right, tuple(np.linspace(0, 1, len(right)).tolist()) if len(right) > 1 else (0.0,))
    assert (sum(mask.astype(int) for name, mask in made.groups.items() if name != "all") == 1).all()
    for name in ORDERS:
        assert sorted(made.order(name).tolist()) == list(range(right.shape[1]))


def test_the_border_between_right_and_wrong_runs_as_two_stairs() -> None:
    order = grid().order("forgotten").tolist()
    assert order[:2] == [0, 1] and set(order[2:4]) == {2, 3}
    assert order[4:] == [6, 5, 4, 7]


def test_other_orders_sort_by_what_they_name() -> None:
    made = grid()
    mean = made.confidence.mean(axis=0)
    assert (np.diff(mean[made.order("confidence")]) <= 1e-6).all()
    assert (np.diff((made.confidence[-1] - made.confidence[0])[made.order("change")]) >= -1e-6).all()
    assert (np.diff(made.labels[made.order("label")]) >= 0).all()
    assert made.order("row").tolist() == list(range(8))


def test_a_range_of_t_holds_the_rows_that_change_inside_it() -> None:
    made = grid()
    assert np.flatnonzero(made.changes(1 / 3, 1 / 3)).tolist() == [2, 3, 6]
    assert np.flatnonzero(made.changes(0.5, 1)).tolist() == [1, 3, 4, 5, 6]
    assert not made.changes(0, 0.1).any()


def test_search_finds_words_in_any_case_and_in_both_texts_of_a_pair() -> None:
    pair = Grid(**{**vars(grid()), "texts": [("One", "TWO side") for _ in range(8)]})
    assert grid().holds("text 3").nonzero()[0].tolist() == [3]
    assert pair.holds("two").all() and not pair.holds("three").any()


def test_a_story_tells_each_turn() -> None:
    assert grid().story(3) == "forgotten at t = 0.33, learned at t = 0.67"
    assert grid().story(0) == "mastered at every t" and grid().story(7) == "mastered at no t"


def test_what_is_read_from_the_store_agrees_with_the_result(store: Store) -> None:
    resolved = carry_out(question(points=5), store)
    made, told = grids.read(resolved, 0, store), collect(resolved, store)["tasks"][0]
    assert made.ts == tuple(told["t"]) and made.ids.tolist() == told["rows"]
    assert made.right.sum(axis=1).tolist() == told["knowledge"]["mastered"]
    flow = grids.flow(made)
    assert [row["kept"] + row["learned"] for row in flow] == told["knowledge"]["mastered"]
    assert {sum(row[name] for name in ("kept", "forgotten", "learned", "never")) for row in flow} == {len(made)}
    counts = {name: int(made.groups[name].sum()) for name in ("regained", "only_a", "only_b")}
    assert counts == exchanged(told["knowledge"])
    losses = -np.log(made.probability).mean(axis=1)
    assert np.allclose(losses, told["loss"], atol=1e-5)


def test_nothing_stored_is_no_grid_and_a_part_is_a_part(store: Store) -> None:
    assert grids.read(resolve(question()), 0, store) is None
    part = grids.read(carry_out(question(points=9), store, points=3), 0, store)
    assert part.ts == (0.0, 0.5, 1.0) and part.has_ends
    assert part.stamp != grids.read(carry_out(question(points=9), store, points=4), 0, store).stamp


def test_ends_that_were_not_asked_for_are_there(store: Store) -> None:
    resolved = carry_out(question(points=[0.25, 0.5]), store)
    assert grids.read(resolved, 0, store).ts == (0.0, 0.25, 0.5, 1.0)


def test_one_example_has_the_probabilities_of_all_labels(store: Store) -> None:
    resolved = carry_out(question(points=5), store)
    made = grids.read(resolved, 0, store)
    found = grids.along(resolved, 0, store, made.ts, 7)
    assert found.shape == (5, 2) and np.allclose(found.sum(axis=1), 1)
    assert np.allclose(found[:, made.labels[7]], made.probability[:, 7])
    assert found.argmax(axis=1).tolist() == made.predicted[:, 7].tolist()


def test_a_response_that_is_gone_leaves_a_gap(store: Store) -> None:
    resolved = carry_out(question(points=5), store)
    store.drop(plan.key(resolved, plan.Point(0, 0.5), plan.orders(resolved, 0, store)))
    found = grids.along(resolved, 0, store, (0.0, 0.25, 0.5, 0.75, 1.0), 7)
    assert np.isnan(found[2]).all() and np.isfinite(found[[0, 1, 3, 4]]).all()


def test_a_result_alone_tells_the_rows_that_change_and_counts_the_others() -> None:
    full = grid()
    told = {"t": list(full.ts), "rows": full.ids.tolist(), "knowledge": knowledge(full.ts, RIGHT, full.ids.tolist())}
    rows = Rows(full.ids, list(full.texts), full.labels, full.names, "")
    made = grids.from_result(told, rows)
    assert made.ids.tolist() == [10, 20, 30, 40, 50, 60]
    assert (made.right == RIGHT[:, 1:7]).all() and (made.predicted == full.predicted[:, 1:7]).all()
    assert (made.always, made.never, made.total, made.probability) == (1, 1, 8, None)
    assert grids.flow(made) == grids.flow(full)


@pytest.mark.parametrize("spoilt", [{"knowledge": None}, {"t": []}, {"rows": [1, 2, 3]}])
def test_a_result_that_does_not_fit_its_rows_gives_no_grid(spoilt: dict) -> None:
    full = grid()
    told = {"t": list(full.ts), "rows": full.ids.tolist(), "knowledge": knowledge(full.ts, RIGHT, full.ids.tolist())}
    assert grids.from_result(told | spoilt, Rows(full.ids, list(full.texts), full.labels, full.names, "")) is None


def test_the_file_holds_the_rows_that_were_asked_for_with_every_prediction() -> None:
    lines = list(csv.DictReader(io.StringIO(grids.as_csv(grid(), [3, 1]).decode())))
    assert [line["row"] for line in lines] == ["30", "10"]
    assert lines[0]["true_label"] == "yes" and lines[0]["forgotten_at"] == "0.333333" and lines[0]["learned_at"] == ""
    assert [lines[0][f"predicted_t{t}"] for t in ("0", "0.333333", "0.666667", "1")] == ["yes", "no", "yes", "yes"]
    assert lines[0]["probability_t0"] == "0.900000" and lines[0]["text"] == "Text 3, she said"
