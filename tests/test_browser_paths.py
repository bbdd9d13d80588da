"""In a real browser with the real worker: a curve is chosen, its settings typed, run, and seen beside the straight line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tiny
from app_in_browser import CHART, at_rest

from mcore.link import link, unlink
from mcore.question import parse
from mcore.run import run
from mcore.store import Store

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect


@pytest.fixture(scope="module")
def line(saved, tmp_path_factory, store_folder: Path):
    """The straight line between two small models, answered before the app starts."""
    task = tiny.learnable(tmp_path_factory.mktemp("rows") / "rows.csv", rows=200)
    asked = {"task": f"local:{task}", "max_length": 16, "split": "validation"}
    question = parse(tiny.experiment(saved("bert", 1), saved("bert", 2), asked, points=5))
    list(run(question, Store(store_folder)))
    return question


def test_a_curve_that_was_chosen_by_hand_is_fitted_and_stands_beside_the_line(page: Page, line, address: str) -> None:
    page.goto(f"{address}/Compare?{link(line)}")
    expect(page.get_by_text("from the store")).to_be_visible(timeout=60_000)  # the first page that this app draws
    page.get_by_role("radio", name="Bézier curve").click()
    at_rest(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("textbox", name="Steps").fill("12")
    page.get_by_role("textbox", name="Steps").press("Tab")
    at_rest(page)
    page.keyboard.press("Escape")
    expect(page.get_by_text("fits the path")).to_be_visible()
    assert unlink(page.url).path.steps == 12
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".st-key-status").last).to_contain_text("from the store, computed in", timeout=120_000)
    expect(page.get_by_text("The curve with one fitted bend").first).to_be_visible()
    page.get_by_role("tab", name="Paths").click()
    expect(page.locator(f'{CHART}[aria-label^="Loss and accuracy of 2 paths"]')).to_be_visible()
    expect(page.get_by_role("cell", name="straight line")).to_be_visible()
    page.get_by_role("tab", name="Fit").click()
    expect(page.locator(f'{CHART}[aria-label^="Fit of the path over 12 steps"]')).to_be_visible()


def test_the_layers_of_a_path_are_looked_at_with_one_click(page: Page, line, address: str) -> None:
    page.goto(f"{address}/Compare?{link(line)}&tab=Representations")
    page.get_by_role("button", name="Look at the layers").click()
    expect(page.locator(f'{CHART}[aria-label^="CKA with A by layer and t"]')).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-status").last).to_contain_text("from the store, computed in", timeout=120_000)
    expect(page.locator(f'{CHART}[aria-label^="Accuracy of a read-out of layer 1"]')).to_be_visible()
    at_rest(page)
    assert unlink(page.url).probes == [*line.probes, "readout", "cka"]
    field = page.get_by_role("combobox", name="Layer", exact=True)
    field.scroll_into_view_if_needed()
    at_rest(page)  # scrolling closes a list
    field.click()
    page.get_by_role("option", name="embeddings").click()
    expect(page.locator(f'{CHART}[aria-label^="Accuracy of a read-out of the embeddings"]')).to_be_visible()
    with page.expect_download() as file:
        page.get_by_role("button", name="CSV").click()
    rows = Path(file.value.path()).read_text().splitlines()
    assert rows[0] == "t,layer,cka_a,cka_b,readout,control" and len(rows) == 1 + 5 * 3
    page.set_viewport_size({"width": 420, "height": 900})
    at_rest(page)
    maps = [page.locator(f'{CHART}[aria-label^="CKA with {side} by layer and t"]').bounding_box() for side in "AB"]
    assert maps[0]["y"] + maps[0]["height"] <= maps[1]["y"] and all(one["x"] + one["width"] <= 420 for one in maps)


def test_the_kinds_of_path_wrap_on_a_small_screen_and_are_chosen_with_the_keyboard(page: Page, line, address: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{address}/Compare?{link(line)}")
    at_rest(page)
    last = page.get_by_role("radio", name="Task vector").bounding_box()
    assert last["x"] + last["width"] <= 420
    page.get_by_role("radio", name="Straight line").focus()
    for key in ("ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_text(re.compile("A smooth curve whose"))).to_be_visible()
