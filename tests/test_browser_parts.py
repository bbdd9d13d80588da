"""In a real browser with the real worker: each layer is asked, its bar is clicked, and its curve becomes the question."""

from __future__ import annotations

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
    question = parse(tiny.experiment(saved("bert", 1), saved("bert", 2), tiny.task(tmp_path_factory.mktemp("rows") / "rows.csv"), points=5))
    list(run(question, Store(store_folder)))
    return question


def test_each_layer_is_asked_and_a_bar_leads_to_its_curve_and_its_question(page: Page, line, address: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.goto(f"{address}/Compare?{link(line)}&tab=Paths")
    at_rest(page)
    page.get_by_role("button", name="Which part carries it? Ask each layer").click()
    bars = page.locator(f'.st-key-parts-chart {CHART}, {CHART}[aria-label^="Barrier in nats of each part"]').first
    expect(page.get_by_text("Every part's numbers, and files")).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-study-cancel-parts")).to_have_count(0, timeout=120_000)
    at_rest(page)
    bars.locator(".mark-rect path").last.click()  # the head's, over its whole height
    expect(page.get_by_text("The path that moves only head")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Open this path").click()
    expect(page.get_by_text("As it stands: only head.")).to_be_visible(timeout=30_000)
    at_rest(page)
    asked = unlink(page.url)
    assert (asked.path.kind, asked.path.move, asked.points) == ("partial", ["head"], 5)
    page.go_back()
    expect(page.get_by_text("Every weight goes evenly from A to B")).to_be_visible(timeout=30_000)


def test_on_a_small_screen_nothing_is_cut_off_and_a_part_is_chosen_with_the_keyboard(page: Page, line, address: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{address}/Compare?{link(line)}&tab=Paths")
    at_rest(page)
    section = page.locator(".st-key-parts")
    section.scroll_into_view_if_needed()
    for one in (section, page.locator(".st-key-parts-choices"), page.locator(".st-key-parts-chart")):
        box = one.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 420
    page.get_by_role("combobox", name="Look at the path that moves only").focus()
    page.keyboard.type("layer 1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The path that moves only layer 1")).to_be_visible(timeout=30_000)
