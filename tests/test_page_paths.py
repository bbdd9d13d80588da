"""The path's controls on Compare: each kind with its own fields, by link and by hand; other paths of a pair; the fit."""

from __future__ import annotations

import json

import pytest
from app_in_apptest import charts, page, words
from browser_fixtures import carry_out, events, question
from streamlit.testing.v1 import AppTest

from mcore import profile
from mcore.events import Fitting
from mcore.jobs.queue import Jobs
from mcore.link import pack
from mcore.paths import lengths
from mcore.question import BELONGS, Experiment, as_written, canonical
from mcore.resolve import resolve
from mcore.store import Store
from mcore.ui.compare.paths import alignment_told, barrier_removed
from mcore.ui.forms.path import common_base

KINDS = {
    "bezier": {"kind": "bezier", "bends": 2, "steps": 9, "rows": "half-1", "train": "last:1"},
    "chain": {"kind": "chain", "weight_decay": 0.1, "seed": 4},
    "mix": {"kind": "mix", "per": "block", "learning_rate": 0.1, "rows": 0.5},
    "partial": {"kind": "partial", "move": ["attention", "layers:0-2"], "rest": "b"},
    "slerp": {"kind": "slerp", "align": "weights", "extend": 0.25},
    "task-vector": {"kind": "task-vector", "base": "builtin:austen@0", "scale": 0.5},
    "linear": {"kind": "linear", "extend": 0.5},
}


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


def fields(app: AppTest) -> set[str]:
    """The fields of the path that stand in the form."""
    every = [*app.text_input, *app.selectbox, *app.multiselect, *app.get("button_group")]
    return {key.removeprefix("in.path.") for one in every if (key := one.key) and key.startswith("in.path.")} - {"kind"}


def choose(app: AppTest, kind: str) -> AppTest:
    next(one for one in app.get("button_group") if one.key == "in.path.kind").set_value(kind).run()
    assert not app.exception
    return app


def asked(app: AppTest) -> dict:
    return app.session_state["mc.draft"].get("path") or {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_fills_the_form_with_the_fields_of_its_kind_and_no_others(store: Store, kind: str) -> None:
    app = page(question(path=KINDS[kind]))
    assert "mc-error" not in words(app) and not app.button(key="run").disabled
    assert fields(app) == {name for name, kinds in BELONGS.items() if kind in kinds} | {"align"}
    assert app.query_params["q"] in (pack(question(path=KINDS[kind])), [pack(question(path=KINDS[kind]))])
    shown = {one.key: one.value for one in [*app.text_input, *app.selectbox, *app.multiselect]}
    for name, value in KINDS[kind].items():
        if (key := f"in.path.{name}") in shown:
            assert shown[key] == value or shown[key] == f"{value:g}", name


@pytest.mark.parametrize("before", ["bezier", "partial", "slerp"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_drops_what_only_the_one_before_had(store: Store, before: str, kind: str) -> None:
    if kind == before:
        return
    app = choose(page(question(path=KINDS[before])), kind)
    assert "mc-error" not in words(app) and not app.button(key="run").disabled, words(app)
    assert asked(app).get("kind", "linear") == kind
    kept = {name for name in asked(app) if name in BELONGS}
    assert all(kind in BELONGS[name] for name in kept)
    assert asked(app).get("align") == KINDS[before].get("align")


def test_what_two_kinds_share_is_kept_but_for_the_learning_rate_of_a_mix(store: Store) -> None:
    app = choose(page(question(path=KINDS["bezier"])), "chain")
    assert asked(app) == KINDS["bezier"] | {"kind": "chain"}
    assert "learning_rate" not in asked(choose(page(question(path=KINDS["mix"])), "bezier"))


def test_defaults_stand_in_grey_and_what_is_typed_is_asked(store: Store) -> None:
    app = page(question(path={"kind": "bezier"}))
    steps = app.text_input(key="in.path.steps")
    assert (steps.value, steps.placeholder) == ("", "200")
    steps.set_value("12").run()
    assert asked(app)["steps"] == 12 and "fits the path" in words(app)
    app.text_input(key="in.path.steps").set_value("-1").run()
    assert "path.steps: -1 is not possible" in words(app) and app.button(key="run").disabled


def test_a_base_that_cannot_be_is_told_in_the_strip(store: Store) -> None:
    assert "path.base: austen has no step &#x27;5&#x27;" in words(page(question(path={"kind": "task-vector", "base": "builtin:austen@5"})))


def test_the_base_that_is_proposed_is_what_both_were_tuned_from() -> None:
    recipe = {"base": "builtin:austen@1000"}
    assert common_base(recipe, recipe) == common_base("hub:o/n", recipe) == "builtin:austen@1000"
    assert common_base("builtin:austen@1000", "builtin:austen@7000") == "builtin:austen@0" and common_base("hub:o/n", None) == "hub:?"


def test_paths_of_a_pair_stand_on_one_chart_and_in_one_table(store: Store) -> None:
    line, curve = question(), question(path={"kind": "slerp"})
    for one in (line, curve):
        answered(one, store)
    ts = resolve(curve).experiment.ts()
    arc = {"length": 3.0, "chord": 2.0, "arc": [3.0 * t**2 for t in ts]}
    store.put(lengths.length_key(resolve(curve)), json.dumps(arc).encode(), "length")
    app = tab(page(curve), "Paths")
    drawn = app.get("vega_lite_chart")[-1].proto.spec
    assert "2 paths from A to B" in drawn and "straight line" in drawn and "1.500" in words(app)
    next(one for one in app.get("button_group") if one.key == "along").set_value("arc").run()
    assert "over arc length" in app.get("vega_lite_chart")[-1].proto.spec


def test_what_an_alignment_has_changed_is_a_sentence() -> None:
    told = {"method": "weights", "l2_before": 8.2276, "l2_after": 7.51, "matched": 10, "fixed": 0, "units": 2320, "moved_units": 128}
    assert alignment_told({"alignment": told}).startswith("Alignment by weights has moved 128 of 2,320 hidden units of B, and brought it from an L2 distance of 8.23")
    assert alignment_told(None) == alignment_told({"length": 1.0}) == ""


def risen(value: float, low: float, high: float) -> dict:
    return {"measure": {"loss": "nats", "accuracy": "accuracy"}, "barrier": {"loss_chord": {"value": value, "low": low, "high": high}}}


@pytest.mark.parametrize(
    ("aligned", "without", "told"),
    [
        (risen(0.1, 0.08, 0.12), risen(0.4, 0.36, 0.44), "is 0.10 nats (95 % interval 0.08 to 0.12), without alignment 0.40 nats (95 % interval 0.36 to 0.44): 75.0 % of it is removed."),
        (risen(-0.01, -0.02, 0.0), risen(0.4, 0.36, 0.44), ": 100.0 % of it is removed."),
        (risen(0.6, 0.5, 0.7), risen(0.4, 0.36, 0.44), ": it has become higher."),
        (risen(0.35, 0.3, 0.4), risen(0.4, 0.36, 0.44), "the intervals overlap"),
        (risen(0.0, 0.0, 0.001), risen(0.01, 0.005, 0.015), ": there was none to remove."),
    ],
)
def test_what_alignment_has_removed_of_the_barrier_is_told_as_far_as_the_rows_carry_it(aligned: dict, without: dict, told: str) -> None:
    assert barrier_removed(aligned, without).endswith(told) or told in barrier_removed(aligned, without)


def test_without_both_barriers_nothing_is_told_of_what_is_removed() -> None:
    assert barrier_removed({"barrier": None}, risen(0.4, 0.3, 0.5)) == barrier_removed(risen(0.4, 0.3, 0.5), {}) == ""


def test_the_unaligned_path_is_offered_where_it_is_not_there_and_compared_with_where_it_is(store: Store) -> None:
    moved = question(path={"kind": "slerp", "align": "weights"})
    resolved = resolve(moved)
    answered(moved, store)
    work = store.work(resolved.route.aligned)
    numbers = {"method": "weights", "l2_before": 8.0, "l2_after": 7.0, "matched": 10, "fixed": 0, "units": 2320, "moved_units": 128}
    (work / "alignment.json").write_text(json.dumps(numbers))
    store.put_folder(resolved.route.aligned, work, "aligned")
    store.put(lengths.length_key(resolved), json.dumps({"length": 1.0, "chord": 1.0, "arc": resolved.experiment.ts()}).encode(), "length")
    app = tab(page(moved), "Paths")
    assert "from an L2 distance of 8.00 to one of 7.00" in words(app) and "is known once the same path to the untouched B is there" in words(app)
    app.button(key="unaligned").click().run()
    assert asked(app) == {"kind": "slerp"} and not app.button(key="run").disabled
    answered(question(), store)  # another path of the pair without alignment, which is not the one to compare with
    answered(question(path={"kind": "slerp"}), store)
    app = tab(page(moved), "Paths")
    assert "The barrier of the aligned path is" in words(app) and "the intervals overlap" in words(app)
    assert not any(one.key == "unaligned" for one in app.button)
    app = tab(page(question(path={"kind": "slerp"})), "Paths")
    assert "The barrier of the aligned path is" in words(app), "it is told on the unaligned one's page too"
    assert "The barrier of the aligned path is" not in words(tab(page(question()), "Paths"))


def test_a_lone_path_says_how_to_get_another_beside_it(store: Store) -> None:
    carry_out(question(), store)
    assert "No other" in words(tab(page(question()), "Paths"))


def test_on_a_host_only_the_paths_that_this_visitor_asked_for_are_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ({"kind": "linear"}, {"kind": "slerp"}):
        answered(question(path=way), store)
    assert "No other" not in words(tab(page(question()), "Paths"))
    monkeypatch.setenv("MCORE_PROFILE", "hosted")
    profile.profile.cache_clear()
    try:
        assert "No other" in words(tab(page(question()), "Paths"))
    finally:
        monkeypatch.undo()
        profile.profile.cache_clear()


def test_a_fit_is_watched_while_it_runs(store: Store, app_jobs: Jobs) -> None:
    fitted = question(path={"kind": "bezier", "steps": 40})
    for event in events(question(), store):  # the ends are there
        if type(event).__name__ == "PointReady" and event.done == 2:
            break
    job = app_jobs.submit(as_written(fitted), resolve(fitted).fingerprint)
    app_jobs.take("a test")
    for step in range(1, 21):
        app_jobs.emit(job, Fitting(step, 40, 1 / step, (step * 0.37) % 1, 3.0))
    app = page(fitted)
    assert "Fitting the path, step 20 of 40, loss 0.05" in words(app)
    assert "Fit of the path over 40 steps" in app.get("vega_lite_chart")[0].proto.spec and "is fitted on training rows" in words(app)


def mixed(store: Store, shares: dict[str, float]) -> Experiment:
    """A learned mix that has taken these shares of B, as a run leaves it."""
    mix = question(path={"kind": "mix", "steps": 20, "per": "tensor"})
    resolved = carry_out(mix, store)
    work = store.work(resolved.route.fingerprint)
    (work / "curve.json").write_text(json.dumps({"path": {}, "loss": [1 / (i + 1) for i in range(20)], "mix": shares, "given": {}}))
    store.put_folder(resolved.route.fingerprint, work, "curve")
    store.put(lengths.length_key(resolved), json.dumps({"length": 1.0, "chord": 1.0, "arc": resolved.experiment.ts()}).encode(), "length")
    return mix


def test_the_fit_stands_in_a_tab_afterwards_with_the_shares_of_a_mix(store: Store) -> None:
    app = tab(page(mixed(store, {"layer 0": 0.25})), "Fit")
    drawn = " ".join(one.proto.spec for one in app.get("vega_lite_chart"))
    assert "Share of B in the learned mix" in drawn and "Fit of the path over 20 steps" in drawn and "in the last tenth" in words(app)
    assert charts(app) == 3 and not [one for one in app.get("button_group") if one.key == "mix-shown"]


def test_of_a_mix_of_many_tensors_those_that_say_most_are_shown_first_and_all_on_demand(store: Store) -> None:
    app = tab(page(mixed(store, {f"layer.{i}.weight": 0.5 + (i - 40) / 100 for i in range(80)})), "Fit")

    def shown() -> str:
        return next(one.proto.spec for one in app.get("vega_lite_chart") if "Share of B" in one.proto.spec)

    assert "layer.0.weight 10.0 %" in shown() and "layer.79.weight 89.0 %" in shown() and "layer.39.weight" not in shown()
    assert "The other 50 have taken 26.0 % to 75.0 % of B." in words(app)
    choice = next(one for one in app.get("button_group") if one.key == "mix-shown")
    choice.set_value("All 80").run()
    assert "layer.39.weight 49.0 %" in shown() and "layer.0.weight 10.0 %" in shown() and "The other 50" not in words(app)


def answered(one: Experiment, store: Store) -> None:
    """As ``run`` leaves it: with the question among those that are listed."""
    resolved = carry_out(one, store)
    store.put(resolved.fingerprint, canonical(as_written(one)).encode(), "experiment")


def tab(app: AppTest, name: str) -> AppTest:
    app.session_state["tab"] = name
    app.run()
    assert not app.exception
    return app
