"""The app in a real browser, with the real worker: the first experiment to its end, and what happens to it on the way.

The first tests build on one another: what the first one computes, the next ones find in the store.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from app_in_browser import CHART, SHOTS, at_rest
from browser_fixtures import RECIPE, question

from mcore.findings.every import FINDINGS
from mcore.link import link
from mcore.presets import first_question
from mcore.ui.theme import PAGES

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

WHOLE_RUN = 240_000  # ms for two trainings and their path, on a machine that is busy with other things


def told(page: Page) -> str:
    """What the path chart says to those who cannot see it."""
    labelled = page.locator(f'{CHART}[aria-label^="Loss and accuracy along the path"]').first
    return labelled.get_attribute("aria-label") or ""


def test_the_first_experiment_runs_to_its_end_and_survives_a_reload(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text("mode connected")).to_be_visible()
    page.get_by_role("button", name="Run it now").click()
    status = page.locator(".st-key-status").last
    expect(status).to_contain_text("Training A, step", timeout=90_000)
    page.reload()
    expect(status).to_contain_text(re.compile("Training [AB], step"))
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(status).to_contain_text(re.compile("[1-9]\\d* of 13 points"), timeout=WHOLE_RUN)
    expect(page.get_by_text("so far")).to_be_visible()
    expect(status).to_contain_text("from the store, computed in", timeout=WHOLE_RUN)
    expect(page.get_by_text("What this means")).to_be_visible()
    expect(page.locator(CHART).first).to_have_attribute("aria-label", re.compile("13 points.*barrier|13 points.*chord"))


def test_the_way_on_leads_to_compare_with_the_question_filled_in(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Open it in Compare").click()
    expect(page).to_have_url(f"{address}/Compare?{link(first_question())}")
    expect(page.get_by_role("textbox", name="Points")).to_have_value("13")
    expect(page.get_by_text("from the store, computed in")).to_be_visible()


def test_the_link_shows_the_same_curve_in_another_browser_without_a_click(
    page: Page, address: str, browser: Browser
) -> None:
    page.goto(f"{address}/Compare?{link(first_question())}")
    expect(page.locator(CHART).first).to_be_visible()
    page.get_by_role("tab", name="Reproduce").click()
    shared = page.get_by_role("tabpanel", name="Reproduce").locator('[data-testid="stCode"]').first.inner_text().replace("\n", "").strip()
    mine = told(page)
    other = browser.new_context().new_page()
    other.goto(shared)
    expect(other.locator(CHART).first).to_have_attribute("aria-label", mine, timeout=30_000)
    other.context.close()


def test_a_finished_question_opens_quickly(page: Page, address: str) -> None:
    page.goto(f"{address}/Compare?{link(first_question())}")
    expect(page.locator(CHART).first).to_be_visible()
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_text("mode connected")).to_be_visible()
    began = time.monotonic()
    page.go_back()
    expect(page.get_by_text("What this means")).to_be_visible()
    expect(page.locator(".st-key-strip")).to_be_visible()
    assert time.monotonic() - began < 5  # with room for a busy machine


def test_cancel_frees_the_worker_for_the_next_question(page: Page, address: str) -> None:
    long = question(a=RECIPE | {"steps": 50_000}, b=RECIPE | {"steps": 50_000, "head_seed": 2})
    page.goto(f"{address}/Compare?{link(long)}")
    page.locator(".st-key-run button").click()
    expect(page.locator(".st-key-status").last).to_contain_text("Training A, step", timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled. Everything finished so far is kept.")).to_be_visible(timeout=15_000)
    expect(page.locator(".st-key-run button")).to_be_enabled()


def test_what_is_changed_is_in_the_address_and_back_undoes_it(page: Page, address: str) -> None:
    first = f"{address}/Compare?{link(first_question())}"
    page.goto(first)
    points = page.get_by_role("textbox", name="Points")
    points.fill("17")
    points.press("Enter")
    expect(page).not_to_have_url(first)
    changed = page.url
    page.go_back()
    expect(page).to_have_url(first)
    expect(points).to_have_value("13")
    page.go_forward()
    expect(page).to_have_url(changed)
    expect(points).to_have_value("17")


def test_each_finding_has_an_address_of_its_own_and_back_leads_to_the_one_before(page: Page, address: str) -> None:
    page.goto(f"{address}/Findings")
    for id in ("F3", "F5"):
        page.get_by_role("button", name=f"{id} ·").click()
        expect(page.locator("h2").first).to_have_text(f"{id}. {FINDINGS[id].claim}", timeout=30_000)
        expect(page).to_have_url(f"{address}/Findings?finding={id}")
    page.go_back()
    expect(page.locator("h2").first).to_have_text(f"F3. {FINDINGS['F3'].claim}", timeout=30_000)


def test_the_figure_and_the_numbers_can_be_downloaded(page: Page, address: str) -> None:
    page.goto(f"{address}/Compare?{link(first_question())}")
    page.get_by_role("tab", name="Numbers").click()
    for label, begin in (
        ("CSV", b"t,loss,accuracy"),
        ("JSON", b"{"),
        ("Figure, SVG", b"<svg"),
        ("Figure, PNG", b"\x89PNG"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        assert Path(download.value.path()).read_bytes().startswith(begin), label


@pytest.mark.parametrize("width", [1400, 800, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_and_is_free_of_tracebacks(browser: Browser, address: str, theme: str, width: int) -> None:
    """Also leaves a picture of each page for the eye."""
    SHOTS.mkdir(exist_ok=True)
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    places = [(name.lower(), "" if name == "Home" else f"{name}?{link(first_question())}") for _, name in PAGES]
    for name, path in (*places, ("error", "Compare?v=1&q=broken")):
        page.goto(f"{address}/{path}")
        at_rest(page)
        main = page.locator('[data-testid="stMain"]')
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth"), f"{name} is wider than {width}"
        assert page.locator('[data-testid="stException"]').count() == 0 and "Traceback" not in page.inner_text("body")
        background = page.locator('[data-testid="stApp"]').evaluate("e => getComputedStyle(e).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (theme == "dark")
        page.set_viewport_size({"width": width, "height": min(3000, main.evaluate("e => e.scrollHeight") + 10)})
        at_rest(page)
        page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
        page.set_viewport_size({"width": width, "height": 900})
    context.close()
