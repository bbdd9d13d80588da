"""The Knowledge page in every state, without a browser and without a model; and the view in its address."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from app_in_apptest import HOME, charts, page, words
from browser_fixtures import RECIPE, carry_out, events, question
from hypothesis import given
from hypothesis import strategies as some
from streamlit.testing.v1 import AppTest

from mcore import plan, presets
from mcore.jobs.queue import Jobs
from mcore.knowledge import grid as grids
from mcore.knowledge.grid import GROUPS, ORDERS
from mcore.knowledge.held import HELD, WITHIN
from mcore.link import pack, unlink
from mcore.question import Experiment, as_written
from mcore.resolve import resolve
from mcore.store import Store
from mcore.tuning.cartography import MEASURES
from mcore.ui import draft
from mcore.ui.knowledge.view import TABS, View, read, written

KNOWLEDGE = "pages/3_Knowledge.py"
TWO = [{"task": "builtin:speech", "limit": 64}, {"task": "builtin:speech", "split": "test", "limit": 48}]


def opened(asked: Experiment, **view: str) -> AppTest:
    """The page for a question and a view in the address."""
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=60)
    app.switch_page(KNOWLEDGE)
    for name, value in {"v": "1", "q": pack(asked), **view}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def canvas(app: AppTest) -> dict:
    """What goes to the grid in the browser."""
    return json.loads(app.get("bidi_component")[0].proto.json)


def choice(app: AppTest, key: str):
    """The pills or the segmented control with this key."""
    return next(one for one in app.get("button_group") if one.key == key)


def listed(app: AppTest) -> list[int]:
    return app.dataframe[0].value["row"].tolist()


def in_address(app: AppTest, name: str) -> str | None:
    value = app.query_params.get(name)
    return value[0] if isinstance(value, list) else value


@pytest.fixture
def made(app_store: Store) -> grids.Grid:
    """The grid of the small question, whose answer is in the store."""
    return grids.read(carry_out(question(), app_store), 0, app_store)


def test_a_finished_question_shows_the_flow_the_grid_and_every_row(made: grids.Grid) -> None:
    app = opened(question())
    assert charts(app) == 1 and canvas(app)["rows"] == len(made) == len(listed(app))
    assert listed(app) == made.ids[made.order("forgotten")].tolist()
    first = int(made.right[0].sum())
    assert f"Of the {first} examples that A masters" in words(app) and "from the store" in words(app)
    assert "still mastered" in words(app) and 'data-told="A row is mastered' in words(app)


def test_one_click_leads_to_what_the_layers_hold(made: grids.Grid) -> None:
    way = next(link.proto for link in opened(question()).get("page_link") if link.proto.label == "What its layers hold")
    asked, _, tab = way.query_string.partition("&tab=")
    assert unlink(asked) == question() and tab == "Representations"


def test_the_chart_and_the_grid_tell_the_result_in_words(made: grids.Grid) -> None:
    app = opened(question())
    spec = json.loads(app.get("vega_lite_chart")[0].proto.spec)
    assert spec["description"].startswith(f"Of {len(made)} examples A masters {int(made.right[0].sum())}")
    assert canvas(app)["told"].startswith(f"Grid of {len(made)} examples by {len(made.ts)} points")


def test_a_group_is_shown_alone_and_stands_in_the_address(made: grids.Grid) -> None:
    app = opened(question())
    choice(app, "knowledge-group").set_value("regained").run()
    assert not app.exception and in_address(app, "group") == "regained"
    assert set(listed(app)) == set(made.ids[made.groups["regained"]].tolist())
    assert canvas(app)["rows"] == made.groups["regained"].sum()


def test_words_are_searched_for_in_the_texts(made: grids.Grid) -> None:
    app = opened(question())
    app.text_input(key="knowledge-find").set_value(" HER ").run()
    assert in_address(app, "find") == "HER" and 0 < len(listed(app)) < len(made)
    assert all("her" in text.casefold() for text in app.dataframe[0].value["text"])


def test_words_that_are_nowhere_are_told(made: grids.Grid) -> None:
    app = opened(question(), find="xyzzy")
    assert "No example is in this group and holds these words." in words(app) and not app.dataframe


def test_the_order_can_be_chosen(made: grids.Grid) -> None:
    app = opened(question())
    app.selectbox(key="knowledge-sort").set_value("row").run()
    assert in_address(app, "sort") == "row" and listed(app) == made.ids.tolist()


def test_a_brushed_range_of_t_filters_the_table(made: grids.Grid) -> None:
    app = opened(question(), t="0.3,0.6")
    assert set(listed(app)) == set(made.ids[made.changes(0.3, 0.6)].tolist())
    assert "newly forgotten or learned between t = 0.30 and t = 0.60" in words(app)
    app.button(key="knowledge-clear").click().run()
    assert in_address(app, "t") is None and len(listed(app)) == len(made)


def test_a_brushed_range_of_rows_filters_the_table(made: grids.Grid) -> None:
    app = opened(question(), rows="11-20", sort="confidence")
    assert listed(app) == made.ids[made.order("confidence")[10:20]].tolist()
    assert canvas(app)["brush"] == {"t": None, "rows": [10, 19]}


def test_an_empty_brush_says_so(made: grids.Grid) -> None:
    app = opened(question(), t="0,0")
    assert "no example in the marked range fits" in words(app) and not app.dataframe


def test_ranks_are_dropped_where_they_lose_their_meaning(made: grids.Grid) -> None:
    app = opened(question(), rows="11-20", t="0.2,0.9")
    app.selectbox(key="knowledge-sort").set_value("row").run()
    assert in_address(app, "rows") is None and in_address(app, "t") == "0.2,0.9"


def test_a_chosen_row_shows_its_text_its_label_and_its_predictions(made: grids.Grid) -> None:
    place = int(made.groups["regained"].nonzero()[0][0])
    app = opened(question(), row=str(made.ids[place]))
    assert charts(app) == 2
    spec = json.loads(app.get("vega_lite_chart")[1].proto.spec)
    assert f"true label {made.names[made.labels[place]]}" in spec["description"]
    assert f"Row {made.ids[place]} · true label" in words(app) and "Forgotten at t = " in words(app)
    assert canvas(app)["chosen"] == made.order("forgotten").tolist().index(place)


def test_one_can_step_from_row_to_row(made: grids.Grid) -> None:
    order = made.ids[made.order("forgotten")].tolist()
    app = opened(question(), row=str(order[4]))
    app.button(key="knowledge-next").click().run()
    assert in_address(app, "row") == str(order[5])
    app.button(key="knowledge-close").click().run()
    assert in_address(app, "row") is None and charts(app) == 1


def test_what_makes_no_sense_in_the_address_is_left_out(made: grids.Grid) -> None:
    spoilt = {"sort": "<b>", "group": "nobody", "t": "1,0", "rows": "9-4", "row": "-1", "task": "7", "find": "a" * 500}
    app = opened(question(), **spoilt | {"find": ""})
    assert len(listed(app)) == len(made) and charts(app) == 1
    assert opened(question(), rows="5000-6000", row="99999999").dataframe


def test_the_rows_in_view_can_be_downloaded(made: grids.Grid) -> None:
    app = opened(question(), group="regained")
    assert f"Download {int(made.groups['regained'].sum())} rows" in app.get("download_button")[0].proto.label


def test_several_tasks_are_read_one_at_a_time(app_store: Store) -> None:
    carry_out(question(tasks=TWO), app_store)
    app = opened(question(tasks=TWO), row="3")
    assert len(listed(app)) == 64
    choice(app, "knowledge-task").set_value(1).run()
    assert in_address(app, "task") == "2" and in_address(app, "row") is None and len(listed(app)) == 48


def test_before_anything_is_computed_the_page_says_what_would_be_and_shows_the_shipped_result(app_store: Store, app_jobs: Jobs) -> None:
    app = opened(question())
    assert "Nothing is computed yet. Run fine-tunes A and B, then evaluates 7 points on 64 rows." in words(app)
    assert "shipped result" in words(app) and charts(app) == 1 and not app_jobs.active()
    told = presets.shipped_result()["tasks"][0]
    changed = {row for kind in ("forgotten", "learned") for group in told["knowledge"][kind] for row in group}
    assert set(listed(app)) == changed and f"Only the {len(changed)} rows that change are shown" in words(app)
    app.button(key="knowledge-run").click().run()
    assert len(app_jobs.active()) == 1 and "Next in the queue" in words(app)


def test_a_shipped_row_can_be_read(app_store: Store) -> None:
    row = listed(opened(question()))[0]
    app = opened(question(), row=str(row))
    assert f"Row {row} · true label" in words(app) and charts(app) == 1


def test_while_it_runs_the_page_shows_what_is_there(app_store: Store, app_jobs: Jobs) -> None:
    asked = question()
    resolved = carry_out(asked, app_store, points=3)
    app_jobs.submit(as_written(asked), resolved.fingerprint)
    job = app_jobs.take("me")
    for _, event in zip(range(6), events(asked, app_store), strict=False):
        app_jobs.emit(job.id, event)
    app = opened(asked)
    assert "of 7 points" in words(app) and "So far: " in words(app)
    assert 3 <= canvas(app)["points"] < 7 == len(canvas(app)["slots"])


def test_a_part_without_its_ends_says_less_but_shows_what_is_there(app_store: Store) -> None:
    whole = question()
    carry_out(whole, app_store)
    resolved = resolve(whole)
    for t in (0.0, 1.0):
        app_store.drop(plan.key(resolved, plan.Point(0, t), plan.orders(resolved, 0, app_store)))
    app = opened(whole, group="only_a")
    assert "the first one there, masters" in words(app) and "5 of 7 points so far" in words(app)
    assert len(listed(app)) == 64  # a group that needs both ends is no group here


def test_a_failed_or_cancelled_job_says_why(app_store: Store, app_jobs: Jobs) -> None:
    app_jobs.submit(as_written(question()), resolve(question()).fingerprint)
    app_jobs.finish(app_jobs.take("me").id, "failed", "The disk is full.")
    assert "The disk is full." in words(opened(question()))


def test_a_question_that_cannot_be_answered_gets_a_sentence_and_a_way_out(app_store: Store) -> None:
    app = opened(question(a=RECIPE | {"base": "builtin:nobody@3"}))
    assert 'class="mc-error"' in words(app) and "nobody" in words(app)
    assert [link.proto.label for link in app.get("page_link")][-1] == "Put it right in Compare"


def test_a_broken_link_gets_a_sentence_and_the_first_question(app_store: Store) -> None:
    app = page("broken", KNOWLEDGE)
    assert "damaged or cut short" in words(app) and "shipped result" in words(app)


def test_a_text_that_looks_like_html_is_shown_as_text(app_store: Store, tmp_path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("text,label\n" + "".join(f"<img src=x onerror=alert({i})> row {i},{i % 2}\n" for i in range(20)))
    asked = question(a=RECIPE | {"task": {"task": f"local:{file}"}}, b=RECIPE | {"task": {"task": f"local:{file}"}, "head_seed": 2},
                     tasks=[{"task": f"local:{file}"}])  # fmt: skip
    carry_out(asked, app_store)
    app = opened(asked, row="3")
    assert "&lt;img src=x onerror=alert(3)&gt; row 3" in words(app) and "<img" not in words(app)


VIEWS = some.builds(
    View,
    task=some.integers(0, 7),
    sort=some.sampled_from(list(ORDERS)),
    group=some.sampled_from(list(GROUPS)),
    find=some.text(max_size=200).map(str.strip),
    t=some.none() | some.tuples(some.integers(0, 40), some.integers(0, 40)).map(lambda two: (min(two) / 40, max(two) / 40)),
    rows=some.none() | some.tuples(some.integers(0, 9999), some.integers(0, 9999)).map(lambda two: (min(two), max(two))),
    row=some.none() | some.integers(0, 10**9).map(str),
    tab=some.sampled_from(list(TABS)),
    segment=some.none() | some.tuples(some.integers(0, 40), some.integers(0, 40)).map(lambda two: (min(two) / 40, max(two) / 40)),
    measure=some.sampled_from(MEASURES),
    of=some.sampled_from(["", "a", "b"]),
    held=some.sampled_from([*HELD, *WITHIN]),
)


@given(VIEWS)
def test_a_view_survives_the_address(view: View) -> None:
    assert read({name: value for name, value in written(view).items() if value is not None}, 8) == view


@given(some.dictionaries(some.sampled_from(list(written(View()))), some.text(max_size=30)))
def test_any_address_gives_a_view(query: dict) -> None:
    view = read(query, 2)
    assert view.task < 2 and view.sort in ORDERS and view.group in GROUPS
    assert view.t is None or 0 <= view.t[0] <= view.t[1] <= 1


def test_what_has_its_default_is_not_in_the_address() -> None:
    assert set(written(View()).values()) == {None}
    changed = written(replace(View(), t=(0.2, 0.5), rows=(0, 9), task=1, tab="held", segment=(0, 1 / 3)))
    assert {name: value for name, value in changed.items() if value is not None} == {
        "task": "2", "t": "0.2,0.5", "rows": "1-10", "tab": "held", "segment": "0,0.333333",
    }  # fmt: skip
    assert draft.DRAFT not in written(View())
