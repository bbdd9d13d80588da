"""In a real browser with the real worker: a small study over pre-training to its end, and from its chart to a pair's own curve."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
import tiny
from app_in_browser import CHART, at_rest
from transformers import AutoModel

from mcore.link import unlink
from mcore.run import run
from mcore.store import Store
from mcore.studies.history import history
from mcore.ui.pretraining.view import View, sweep, written

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect

PATIENT = 30_000  # ms, on a machine that has much else to do


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    """A history of two random models and two tasks that they learn in a few steps."""
    above = tmp_path_factory.mktemp("history")
    for step in (0, 40):
        tiny.save(above / f"step-{step}", "bert", step + 5, opener=AutoModel)
    one, two = (f"local:{tiny.learnable(above / f'{name}.csv', rows=120, seed=seed)}" for seed, name in enumerate(("one", "two")))
    return View(f"local:{above}", (0, 40), one, two, seeds=2, train=30, batch=16, rate=0.01, rows=100, points=3, longest=16)


def at(address: str, view: View, **more: str) -> str:
    return f"{address}/Pre-training?{urlencode(written(view) | more)}"


def test_a_small_study_runs_to_its_end_and_a_click_leads_to_a_pairs_curve(page: Page, view: View, address: str) -> None:
    page.goto(at(address, view))
    expect(page.get_by_text("It asks 6 questions")).to_be_visible(timeout=PATIENT)
    page.get_by_role("button", name="Tune and measure").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible(timeout=PATIENT)
    expect(page.get_by_text(re.compile("Question [1-6] of 6, step"))).to_be_visible(timeout=60_000)
    expect(page.get_by_text("from the store", exact=True)).to_be_visible(timeout=180_000)
    expect(page.get_by_role("button", name="Tune and measure")).to_have_count(0, timeout=PATIENT)
    at_rest(page)
    over_steps = page.locator(f'{CHART}[aria-label^="Barrier between two seeds"]')
    expect(over_steps).to_be_visible(timeout=PATIENT)
    assert "step 0 " in over_steps.get_attribute("aria-label") and "step 40 " in over_steps.get_attribute("aria-label")
    expect(page.locator(f'{CHART}[aria-label^="Both tasks along the line from step"]')).to_have_count(2, timeout=PATIENT)
    asked = {one.name: one.question for one in sweep(view, history(view.base)).asked}
    before = page.url
    over_steps.locator('path[opacity="0"]').last.click()
    expect(page).to_have_url(re.compile("/Compare"), timeout=PATIENT)
    assert unlink(page.url) == asked["step 40, seeds 1 and 2"]
    expect(page.locator(f'{CHART}[aria-label^="Loss and accuracy along the path"]')).to_be_visible(timeout=PATIENT)
    page.go_back()
    expect(page).to_have_url(before, timeout=PATIENT)
    expect(over_steps).to_be_visible(timeout=PATIENT)
    at_rest(page)
    page.get_by_role("link", name="step 0, two tasks, seed 2").click()
    expect(page).to_have_url(re.compile("/Compare"), timeout=PATIENT)
    assert unlink(page.url) == asked["step 0, two tasks, seed 2"]
    expect(page.get_by_text("Read on")).to_be_visible(timeout=PATIENT)


def test_choices_stand_in_the_address_and_back_undoes_them(page: Page, view: View, address: str, store_folder: Path) -> None:
    small = View(**{**vars(view), "other": None})
    for one in sweep(small, history(small.base)).asked:
        list(run(one.question, Store(store_folder)))
    page.goto(at(address, small))
    expect(page.get_by_text("from the store", exact=True)).to_be_visible(timeout=PATIENT)
    at_rest(page)
    page.get_by_role("button", name="40", exact=True).click()
    expect(page).to_have_url(re.compile(r"steps=0&"), timeout=PATIENT)
    expect(page.locator(f'{CHART}[aria-label^="Barrier between two seeds"]')).not_to_have_attribute("aria-label", re.compile("step 40"), timeout=PATIENT)
    page.go_back()
    expect(page).to_have_url(re.compile(r"steps=0%2C40&"), timeout=PATIENT)
    expect(page.locator(f'{CHART}[aria-label*="step 40"]')).to_be_visible(timeout=PATIENT)
    at_rest(page)
    page.get_by_role("radio", name="accuracy lost").click()
    expect(page).to_have_url(re.compile("barrier-of=accuracy"), timeout=PATIENT)
    expect(page.locator(f'{CHART}[aria-label^="Accuracy lost between two seeds"]')).to_be_visible(timeout=PATIENT)
    page.get_by_role("tab", name="Numbers").click()
    with page.expect_download() as file:
        page.get_by_role("button", name="Pairs, CSV").click()
    rows = Path(file.value.path()).read_text().splitlines()
    assert rows[0].startswith("step,pair,kind,") and len(rows) == 1 + 2
    page.get_by_text("More", exact=True).click()
    page.get_by_role("textbox", name="Training steps").fill("31")
    page.get_by_role("textbox", name="Training steps").press("Enter")
    expect(page).to_have_url(re.compile("train=31"), timeout=PATIENT)
    expect(page.get_by_text("It asks 2 questions")).to_be_visible(timeout=PATIENT)


def test_a_small_screen_has_two_panels_in_a_row_and_nothing_beyond_its_edge(page: Page, view: View, address: str, store_folder: Path) -> None:
    for one in sweep(view, history(view.base)).asked:
        list(run(one.question, Store(store_folder)))
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(at(address, view))
    panels = page.locator(f'{CHART}[aria-label^="Both tasks along the line from step"]')
    expect(panels).to_have_count(2, timeout=PATIENT)
    at_rest(page)
    first, second = (panels.nth(i).bounding_box() for i in range(2))
    assert abs(first["y"] - second["y"]) < 2 and second["x"] + second["width"] <= 420
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
