"""Forgetting and who knows what in a real browser: a segment and a row by a click, a link that shows the same, any width."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from app_in_browser import CHART, SHOTS, at_rest
from browser_fixtures import carry_out, question

from mcore.knowledge import grid as grids
from mcore.knowledge.forgetting_told import Told, dots, tell
from mcore.link import link
from mcore.store import Store
from mcore.tuning.followed import join

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

WAIT = 30_000  # milliseconds for what a click sets off: the tests share their machine
ASKED = question(points=6, tasks=[{"task": "builtin:speech", "split": "train", "limit": 200}])


@pytest.fixture(scope="module")
def told(store_folder: Path) -> Told:
    store = Store(store_folder)
    resolved = carry_out(ASKED, store)
    return tell(grids.read(resolved, 0, store), join(resolved.a, resolved.tasks[0], store))


def opened(page: Page, address: str, view: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 2600})
    page.goto(f"{address}/Knowledge?{link(ASKED)}{view}")
    expect(page.locator(f"{CHART} svg").first).to_be_visible(timeout=60_000)
    at_rest(page)


def listed(page: Page, rows: int) -> None:
    """Whether the list beneath the map has so many rows, as it says to those who cannot see it."""
    table = page.locator('[data-testid="stDataFrame"] table').first
    expect(table).to_have_attribute("aria-rowcount", str(rows + 1), timeout=WAIT)


def changed(told: Told, segment: int) -> np.ndarray:
    return told.parts[segment].forgotten | told.parts[segment].learned


def test_a_click_on_a_segment_shows_where_its_rows_lie_and_back_undoes(page: Page, address: str, told: Told) -> None:
    opened(page, address, "&tab=forgetting")
    listed(page, int(np.any([changed(told, i) for i in range(5)], axis=0).sum()))
    strips = page.locator('.st-key-forgetting-segments svg .mark-rect[class*="view_"] path')
    expect(strips).to_have_count(5, timeout=WAIT)
    strips.nth(1).click(position={"x": 20, "y": 8}, force=True)
    expect(page).to_have_url(re.compile(r"segment=0\.2(%2C|,)0\.4"), timeout=WAIT)
    listed(page, int(changed(told, 1).sum()))
    gone = int(told.parts[1].forgotten.sum())
    expect(page.get_by_text(f"{gone} rows are newly forgotten")).to_be_visible(timeout=WAIT)
    drawn = page.locator('.st-key-forgetting-map svg [class*="dots_marks"] path')
    assert gone == sum(dot["kind"] == "forgotten" for dot in dots(told, 1, None))
    expect(drawn.and_(page.locator('[fill="#5b1a78"]'))).to_have_count(gone, timeout=WAIT)
    page.go_back()
    expect(page).not_to_have_url(re.compile("segment="), timeout=WAIT)
    listed(page, int(np.any([changed(told, i) for i in range(5)], axis=0).sum()))


def test_keys_move_from_segment_to_segment(page: Page, address: str, told: Told) -> None:
    opened(page, address, "&tab=forgetting")
    page.get_by_role("slider", name="Segment").focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"segment=0(\.0)?(%2C|,)0\.2"), timeout=WAIT)
    listed(page, int(changed(told, 0).sum()))


def test_a_click_on_a_dot_opens_its_text(page: Page, address: str, told: Told) -> None:
    opened(page, address, "&tab=forgetting&segment=0.2,0.4")
    place = next(dot["place"] for dot in dots(told, 1, None) if dot["kind"] == "forgotten")
    order = [dot["place"] for dot in sorted(dots(told, 1, None), key=lambda dot: dot["kind"] != "")]
    page.locator('.st-key-forgetting-map svg [class*="dots_marks"] path').nth(order.index(place)).click(force=True)
    expect(page.get_by_text(f"Row {told.grid.ids[place]} · true label")).to_be_visible(timeout=WAIT)
    expect(page.locator(".mc-example")).to_have_text(told.grid.texts[place], timeout=WAIT)
    expect(page).to_have_url(re.compile(f"row={told.grid.ids[place]}"), timeout=WAIT)
    page.locator('.st-key-forgetting-order svg [class*="dots_marks"] path').nth(3).click(force=True)
    expect(page).not_to_have_url(re.compile(f"row={told.grid.ids[place]}"), timeout=WAIT)


def test_a_link_shows_the_same_and_tabs_stand_in_it(page: Page, address: str, told: Told, browser: Browser) -> None:
    opened(page, address, "")
    page.get_by_role("tab", name="Who knows what").click()
    expect(page).to_have_url(re.compile("tab=held"), timeout=WAIT)
    name = re.compile("B masters and A does not")
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name)).first.click()
    expect(page).to_have_url(re.compile("held=only_b"), timeout=WAIT)
    only_b = int((~told.right[:, 0] & told.right[:, -1]).sum())
    listed(page, only_b)
    other = browser.new_context().new_page()
    other.goto(page.url)
    expect(other.locator('[data-testid="stDataFrame"] table').first).to_have_attribute("aria-rowcount", str(only_b + 1), timeout=60_000)
    other.context.close()
    page.get_by_role("tab", name="Every example").click()
    expect(page.locator(".grid[data-stamp]")).to_have_count(1, timeout=WAIT)
    expect(page).not_to_have_url(re.compile("tab="), timeout=WAIT)


def test_the_rows_are_downloaded(page: Page, address: str, told: Told) -> None:
    opened(page, address, "&tab=forgetting")
    with page.expect_download() as download:
        page.locator(".st-key-forgetting-rows-csv button").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("row,true_label,confidence,variability,correctness,flips,lost_at") and len(lines) == 201


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_tabs_fit_any_width_in_both_themes(browser: Browser, address: str, told: Told, theme: str, width: int) -> None:
    """Also leaves pictures for the eye."""
    SHOTS.mkdir(exist_ok=True)
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    row = told.grid.ids[told.parts[1].forgotten.nonzero()[0][0]]
    for name, view in (("forgetting", f"&tab=forgetting&segment=0.2,0.4&row={row}"), ("held", "&tab=held&held=regained")):
        page.goto(f"{address}/Knowledge?{link(ASKED)}{view}")
        expect(page.locator(f"{CHART} svg").first).to_be_visible(timeout=60_000)
        at_rest(page)
        main = page.locator('[data-testid="stMain"]')
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth"), f"{name} is wider than {width}"
        assert page.locator('[data-testid="stException"]').count() == 0
        page.set_viewport_size({"width": width, "height": min(4600, main.evaluate("e => e.scrollHeight") + 10)})
        page.wait_for_timeout(600)
        page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
        page.set_viewport_size({"width": width, "height": 900})
    context.close()
