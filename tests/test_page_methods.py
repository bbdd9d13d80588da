"""The tuning methods on the pages: each with its own settings, by link and by hand; what moves between two LoRA, in words."""

from __future__ import annotations

import pytest
from app_in_apptest import page, words
from browser_fixtures import question
from streamlit.testing.v1 import AppTest

from mcore.models.methods import DEFAULTS
from mcore.paths import ways
from mcore.question import PathSpec, as_written, parse
from mcore.store import Store

METHODS = [name for name in DEFAULTS if name != "full"]
SEEDED = {"lora": {"delta_seed"}, "adapter": {"delta_seed"}, "prefix": {"delta_seed"}, "bitfit": set()}


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


def tuned(method: str, b: dict | None = None, **settings):
    """The question with both ends tuned so; ``b``: what B has other than A."""
    written = as_written(question())
    ends = {side: {**written[side], "method": method, **settings} for side in "ab"}
    return parse(written | ends | {"b": ends["b"] | (b or {})})


def settings(app: AppTest, side: str) -> set[str]:
    """The settings of a method that stand in a side's form."""
    every = [*app.text_input, *app.selectbox, *app.checkbox]
    known = {name for fields in DEFAULTS.values() for name in fields} | {"delta_seed"}
    return {
        key.removeprefix(f"in.{side}.") for one in every if (key := one.key) and key.startswith(f"in.{side}.")
    } & known


def group(app: AppTest, key: str):
    return next((one for one in app.get("button_group") if one.key == key), None)


def draft(app: AppTest) -> dict:
    return app.session_state["mc.draft"]


@pytest.mark.parametrize("method", METHODS)
def test_a_link_fills_the_form_with_the_settings_of_its_method_and_no_others(store: Store, method: str) -> None:
    app = page(tuned(method))
    assert "mc-error" not in words(app)
    for side in "ab":
        assert settings(app, side) == set(DEFAULTS[method]) | SEEDED[method]
        assert group(app, f"in.{side}.method").value == method
    assert "parameters beside the head" in words(app) and "Of A and B only what was tuned moves" in words(app)


def test_another_method_drops_the_settings_of_the_one_before_and_the_other_end_can_follow(store: Store) -> None:
    app = page(tuned("adapter", bottleneck=4, placement="pfeiffer"))
    group(app, "in.a.method").set_value("prefix").run()
    assert (
        not app.exception
        and draft(app)["a"]["method"] == "prefix"
        and not {"bottleneck", "placement"} & set(draft(app)["a"])
    )
    assert "what one has alone cannot be blended" in words(app)
    next(one for one in app.text_input if one.key == "in.a.prefix_length").set_value("5").run()
    app.button(key="likewise-a").click().run()
    assert not app.exception and draft(app)["b"]["method"] == "prefix" and draft(app)["b"]["prefix_length"] == 5
    assert "mc-error" not in words(app) and not [
        one for one in app.button if one.key and one.key.startswith("likewise")
    ]
    group(app, "in.a.method").set_value("full").run()
    assert "method" not in draft(app)["a"] and "prefix_length" not in draft(app)["a"] and not settings(app, "a")


def test_a_method_that_learns_slowly_is_offered_a_larger_learning_rate(store: Store) -> None:
    app = page(tuned("prefix", learning_rate=1e-3))
    assert "At a learning rate of 0.001 it learns slowly" in words(app)
    app.button(key="rate-a").click().run()
    assert draft(app)["a"]["learning_rate"] == 0.01 and not [one for one in app.button if one.key == "rate-a"]
    assert not [one for one in page(tuned("lora", learning_rate=1e-3)).button if one.key == "rate-a"]


def test_between_two_lora_a_person_chooses_what_moves_and_reads_why_it_matters(store: Store) -> None:
    app = page(tuned("lora"))
    assert group(app, "in.path.lora").value == "factors" and "so their product does not" in words(app)
    group(app, "in.path.lora").set_value("merged").run()
    assert draft(app)["path"]["lora"] == "merged" and "up to twice the rank" in words(app)
    group(app, "in.path.kind").set_value("slerp").run()
    assert draft(app)["path"] == {"kind": "slerp", "lora": "merged"}
    group(app, "in.path.kind").set_value("linear").run()
    for side in "ab":
        group(app, f"in.{side}.method").set_value("full").run()
    assert (
        not app.exception
        and "lora" not in (draft(app).get("path") or {})
        and group(app, "in.path.lora") is None
        and "mc-error" not in words(app)
    )


def test_lora_of_two_ranks_moves_merged(store: Store) -> None:
    app = page(tuned("lora", b={"rank": 4}))
    assert group(app, "in.path.lora").value == "merged" and "mc-error" not in words(app)
    group(app, "in.path.lora").set_value("factors").run()
    assert "factors are blended where both ends have LoRA of one rank" in words(app)


def test_a_path_between_two_lora_in_words() -> None:
    factors, merged = (PathSpec(kind="linear", lora=what) for what in ("factors", "merged"))
    assert ways.short(factors) == "straight line, LoRA factors" and ways.short(merged) == "straight line, LoRA merged"
    assert ways.subject(merged) == "the straight line of LoRA merged into the weights"
