"""The inputs of the picker without a browser: presets, how a language model is asked, what is offered, a page without a network."""

from __future__ import annotations

import time

import pytest
from app_in_apptest import page, words
from browser_fixtures import question

from mcore.hub import presets as hubpresets
from mcore.hub import search as hubsearch
from mcore.link import unlink
from mcore.store import Store
from mcore.tasks import rows as tasks
from mcore.ui import addresses
from mcore.ui.forms import hub as hub_form

BASES = {"a": "builtin:austen@1000", "b": "builtin:austen@7000"}  # two masked language models


@pytest.fixture(autouse=True)
def store(app_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(hubsearch, "_seen", None)
    return app_store


def asked(app):
    packed = app.query_params["q"]
    return unlink(f"v=1&q={packed if isinstance(packed, str) else packed[0]}")


def test_a_preset_replaces_the_question() -> None:
    app = page(question())
    app.session_state["starting"] = True  # as a click on the button does
    app.run()
    preset = hubpresets.groups()[0].presets[1]
    app.button(key="preset-0-1").click().run()
    app.run()
    assert not app.exception and asked(app) == preset.question
    assert "there is no network" in words(app) and app.button(key="run").disabled


@pytest.mark.parametrize("preset", [preset for group in hubpresets.groups() for preset in group.presets], ids=lambda one: one.repositories[0])
def test_every_preset_can_be_opened_without_a_network_and_soon(preset) -> None:
    began = time.monotonic()
    app = page(preset.question)
    assert not app.exception and "a: the Hub did not answer for" in words(app) and "there is no network" in words(app)
    assert time.monotonic() - began < 6


def test_how_a_language_model_is_asked_is_offered_for_language_models_alone() -> None:
    assert not any(one.key == "in.tasks.0.template" for one in page(question()).text_area)
    app = page(question(**BASES))
    assert app.selectbox(key="in.tasks.0.read").value == "as is usual"
    assert app.text_area(key="in.tasks.0.template").placeholder == "{mask}, {text}"
    assert "In the order of the labels: narrated, spoken." in words(app)


def test_a_prompt_of_ones_own_becomes_part_of_the_question() -> None:
    app = page(question(**BASES))
    app.selectbox(key="in.tasks.0.read").set_value("by its answers").run()
    app.text_area(key="in.tasks.0.template").set_value("{text} said {mask}.").run()
    app.text_area(key="in.tasks.0.answers").set_value("nobody\nsomebody").run()
    app.toggle(key="in.tasks.0.normalised").set_value(True).run()
    task = asked(app).tasks[0]
    assert (task.read, task.template, task.answers, task.normalised) == ("answers", "{text} said {mask}.", ["nobody", "somebody"], True)
    app.text_area(key="in.tasks.0.answers").set_value("nobody").run()
    assert "tasks.0.answers" in words(app) and app.text_area(key="in.tasks.0.answers").value == "nobody"  # it can be mended where it was written


def test_the_prompt_that_ships_can_be_taken_and_changed() -> None:
    app = page(question(**BASES))
    app.button(key="own-prompt").click().run()
    assert asked(app).tasks[0].template == "{mask}, {text}" and asked(app).tasks[0].answers == ["she", "you"]
    assert app.text_area(key="in.tasks.0.answers").value == "she\nyou"


def test_known_data_sets_are_offered_and_described() -> None:
    app = page(question())
    offered = app.selectbox(key="in.tasks.0.task").options
    assert "GLUE MNLI, on the Hub" in offered and len(offered) >= len(tasks.known()) + len(tasks.declarations())
    app.selectbox(key="in.tasks.0.task").set_value("hub:nyu-mll/glue/mnli").run()
    assert "does the premise entail the hypothesis?" in words(app)
    assert "tasks.0.task: the Hub did not answer for nyu-mll/glue: there is no network" in words(app)



@pytest.mark.parametrize(
    ("pasted", "understood"),
    [
        ("https://huggingface.co/datasets/nyu-mll/glue/viewer/mnli/train", "hub:nyu-mll/glue/mnli"),
        ("https://huggingface.co/datasets/nyu-mll/glue", "hub:nyu-mll/glue"),
        ("https://huggingface.co/datasets/org/set/tree/v1.0", "hub:org/set@v1.0"),
        ("nyu-mll/glue/mnli", "hub:nyu-mll/glue/mnli"),
        ("rows/mine.csv", "local:rows/mine.csv"),
    ],
)
def test_the_address_of_a_data_set_is_understood(pasted: str, understood: str) -> None:
    assert addresses.data(pasted) == understood


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("austen@1000", "builtin:austen@1000"), ("org/name", "hub:org/name"), ("mcore/ui", "hub:mcore/ui"), ("org/name@refs/pr/1", "hub:org/name@refs/pr/1"),
        ("https://huggingface.co/org/name/tree/step100", "hub:org/name@step100"), ("local:some/model", "local:some/model"), ("/a/model", "local:/a/model"), (" ", "hub:?"),
    ],
)  # fmt: skip
def test_what_a_recipe_starts_from_is_understood_and_a_name_is_on_the_hub_even_where_a_folder_has_it(typed: str, understood: str) -> None:
    assert hub_form._base(typed) == understood
