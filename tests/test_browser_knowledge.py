"""The Knowledge page in a real browser: brushing, clicking, keys, links, a running job, and 5,000 examples by 51 points."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from app_in_browser import CHART, HOME, SHOTS, running_app
from browser_fixtures import carry_out, question

from mcore.knowledge import grid as grids
from mcore.knowledge.grid import Grid
from mcore.link import link
from mcore.question import Experiment
from mcore.store import Store

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Locator, Page, expect

SMALL = question(points=13)
LARGE = question(points=51, tasks=[{"task": "builtin:speech", "split": "train", "limit": 5000}])
LEFT, RIGHT, TOP, BELOW = 58, 10, 20, 26  # pixels around the grid's cells
QUICK = 2.0  # seconds for an interaction with the large grid; measured 0.2 to 0.7 on a busy machine


@pytest.fixture(scope="module")
def small(store_folder: Path) -> Grid:
    store = Store(store_folder)
    return grids.read(carry_out(SMALL, store), 0, store)


@pytest.fixture(scope="module")
def large(store_folder: Path) -> Grid:
    store = Store(store_folder)
    return grids.read(carry_out(LARGE, store), 0, store)


def opened(page: Page, address: str, asked: Experiment, view: str = "") -> Locator:
    """The grid of a page that has been drawn."""
    page.set_viewport_size({"width": 1400, "height": 1900})
    page.goto(f"{address}/Knowledge?{link(asked)}{view}")
    expect(page.locator(".grid[data-stamp]")).to_have_count(1, timeout=60_000)
    expect(page.locator(f"{CHART} svg").first).to_be_visible()
    expect(page.locator(".st-key-knowledge-csv")).to_be_visible()
    page.wait_for_timeout(500)
    return page.locator("canvas[aria-roledescription]")


def at(canvas: Locator, t: float, height: float) -> tuple[float, float]:
    box = canvas.bounding_box()
    across, down = box["width"] - LEFT - RIGHT, box["height"] - TOP - BELOW
    return box["x"] + LEFT + t * across, box["y"] + TOP + height * down


def drag(page: Page, canvas: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(canvas, *start))
    page.mouse.down()
    page.mouse.move(*at(canvas, *end), steps=4)
    page.mouse.up()


def count(page: Page) -> int:
    """How many rows the file would hold."""
    return int(re.search(r"Download ([\d,]+)", page.locator(".st-key-knowledge-csv").inner_text())[1].replace(",", ""))


def in_view(page: Page, rows: int) -> None:
    expect(page.locator(".st-key-knowledge-csv")).to_contain_text(re.compile(f"Download {rows:,} row"))


def took(action: Callable[[], None], then: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    then()
    return time.monotonic() - began


def test_a_brushed_range_of_t_filters_the_table(page: Page, address: str, small: Grid) -> None:
    canvas = opened(page, address, SMALL)
    drag(page, canvas, (0.25, 0.5), (0.5, 0.5))
    in_view(page, int(small.changes(0.25, 0.5).sum()))
    expect(page).to_have_url(re.compile(r"t=0.25(%2C|,)0.5"))
    page.get_by_role("button", name="Clear the marked range").click()
    in_view(page, len(small))
    expect(page).not_to_have_url(re.compile("t=0.25"))


def test_a_brushed_group_of_rows_filters_the_table(page: Page, address: str, small: Grid) -> None:
    canvas = opened(page, address, SMALL)
    rows = len(small)
    drag(page, canvas, (0.5, 10.5 / rows), (0.5, 19.5 / rows))
    in_view(page, 10)
    expect(page).to_have_url(re.compile("rows=11-20"))
    expect(page.get_by_text("10 examples: lines 11 to 20 of the grid.")).to_be_visible()


def test_a_box_marks_both(page: Page, address: str, small: Grid) -> None:
    canvas = opened(page, address, SMALL)
    rows = len(small)
    drag(page, canvas, (0.25, 30.5 / rows), (0.75, 59.5 / rows))
    inside = small.order("forgotten")[30:60]
    in_view(page, int(small.changes(0.25, 0.75)[inside].sum()))


def test_a_click_in_the_grid_opens_the_row_that_the_pointer_names(page: Page, address: str, small: Grid) -> None:
    canvas = opened(page, address, SMALL)
    place = small.order("forgotten")[45]
    page.mouse.move(*at(canvas, 0.5, 45.5 / len(small)))
    tip = page.locator(".tip")
    expect(tip).to_contain_text(f"Row {small.ids[place]}, true label {small.names[small.labels[place]]}")
    expect(tip).to_contain_text(f"t = 0.50: {'right' if small.right[6, place] else 'wrong'}")
    page.mouse.click(*at(canvas, 0.5, 45.5 / len(small)))
    expect(page.get_by_text(f"Row {small.ids[place]} · true label")).to_be_visible()
    expect(page.locator(".mc-example")).to_have_text(small.texts[place])
    chart = page.locator(f'{CHART} [aria-label^="Probability of each label"], {CHART}[aria-label^="Probability of each label"]')
    expect(chart.first).to_be_attached()


def test_a_click_in_the_table_opens_the_row_and_marks_it_in_the_grid(page: Page, address: str, small: Grid) -> None:
    opened(page, address, SMALL, "&group=regained")
    table = page.locator('[data-testid="stDataFrame"]').bounding_box()
    page.mouse.click(table["x"] + 20, table["y"] + 35 * 3.5)  # the third row's box
    order = small.order("forgotten")
    row = small.ids[order[small.groups["regained"][order]][2]]
    expect(page.get_by_text(f"Row {row} · true label")).to_be_visible()
    expect(page).to_have_url(re.compile(f"row={row}"))


def test_keys_walk_the_grid_mark_a_range_and_open_a_row(page: Page, address: str, small: Grid) -> None:
    canvas = opened(page, address, SMALL)
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    place = small.order("forgotten")[2]
    expect(page.locator(".live")).to_contain_text(f"Row {small.ids[place]}")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Row {small.ids[place]} · true label")).to_be_visible()
    canvas.focus()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowDown")
    in_view(page, 5)
    page.keyboard.press("Escape")
    in_view(page, len(small))


def test_a_copied_link_shows_the_same_view_and_back_undoes(page: Page, address: str, small: Grid, browser: Browser) -> None:
    canvas = opened(page, address, SMALL)
    page.get_by_role("radio", name=re.compile("Lost midway")).or_(page.get_by_role("button", name=re.compile("Lost midway"))).first.click()
    in_view(page, int(small.groups["regained"].sum()))
    drag(page, canvas, (0.25, 0.5), (0.5, 0.5))
    expected = int((small.changes(0.25, 0.5) & small.groups["regained"]).sum())
    in_view(page, expected)
    other = browser.new_context().new_page()
    other.goto(page.url)
    in_view(other, expected)
    expect(other.locator(".grid[data-stamp]")).to_have_attribute("data-brush", re.compile(r"0\.25,0\.5"), timeout=30_000)
    other.context.close()
    page.go_back()
    in_view(page, int(small.groups["regained"].sum()))
    page.go_back()
    in_view(page, len(small))


def test_the_rows_in_view_are_downloaded(page: Page, address: str, small: Grid) -> None:
    opened(page, address, SMALL, "&group=never")
    with page.expect_download() as download:
        page.locator(".st-key-knowledge-csv button").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("row,true_label,forgotten_at") and len(lines) == 1 + small.groups["never"].sum()


def test_five_thousand_examples_at_51_points_stay_quick(page: Page, address: str, large: Grid) -> None:
    seconds = {"open": took(lambda: opened(page, address, LARGE), lambda: None)}
    canvas = page.locator("canvas[aria-roledescription]")
    inside = int(large.changes(0.26, 0.5).sum())
    seconds["brush t"] = took(lambda: drag(page, canvas, (0.26, 0.5), (0.5, 0.5)), lambda: in_view(page, inside))
    before = page.locator(".grid").get_attribute("data-stamp")
    seconds["sort"] = took(
        lambda: (page.locator(".st-key-knowledge-sort").get_by_role("combobox").click(), page.get_by_text("Sorted by: mean confidence").click()),
        lambda: expect(page.locator(".grid")).not_to_have_attribute("data-stamp", before),
    )  # fmt: skip
    canvas_at = at(canvas, 0.5, 0.7)
    seconds["click"] = took(lambda: page.mouse.click(*canvas_at), lambda: expect(page.get_by_text(re.compile("^Row .* · true"))).to_be_visible())
    search = page.get_by_role("textbox", name="Search in the texts")
    hits = int((large.holds("her") & large.changes(0.26, 0.5)).sum())
    seconds["search"] = took(lambda: (search.fill("her"), search.press("Enter")), lambda: in_view(page, hits))
    frames = page.evaluate(
        """async (spot) => { const canvas = document.querySelector('[data-testid]') && [...document.querySelectorAll('*')]
          .map((e) => e.shadowRoot?.querySelector('canvas[aria-roledescription]')).find(Boolean);
          const began = performance.now();
          for (let i = 0; i < 60; i++) canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: spot[0] + i, clientY: spot[1]}));
          return (performance.now() - began) / 60; }""",
        canvas_at,
    )
    print(json.dumps({name: round(value, 2) for name, value in seconds.items()} | {"ms a pointer move": round(frames, 2)}))
    assert all(value < QUICK for name, value in seconds.items() if name != "open"), seconds
    assert frames < 16


@pytest.fixture
def live(tmp_path: Path) -> Iterator[str]:
    """An app beside a worker that plays its jobs without a model."""
    played = subprocess.Popen(
        [sys.executable, str(HOME / "tests" / "browser_fixtures.py"), str(tmp_path / "store"), "--pause", "0.3"],
        cwd=HOME, env={"PYTHONPATH": str(HOME), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    time.sleep(2)
    try:
        with running_app(tmp_path / "store", tmp_path / "app.log") as address:
            yield address
    finally:
        played.terminate()
        played.wait(timeout=20)
    assert "Traceback" not in (tmp_path / "app.log").read_text()


def test_the_grid_grows_while_a_job_runs(page: Page, live: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 1900})
    page.goto(f"{live}/Knowledge?{link(question(points=13))}")
    expect(page.get_by_text("Nothing is computed yet.")).to_be_visible(timeout=60_000)
    page.locator(".st-key-knowledge-run button").click()
    expect(page.locator(".st-key-knowledge-status")).to_contain_text(re.compile("Training [AB], step"))
    expect(page.get_by_text("So far: ")).to_be_visible(timeout=60_000)
    partial = page.locator(".grid[data-stamp]").first.get_attribute("data-stamp")
    expect(page.locator(".st-key-knowledge-status")).to_contain_text("from the store", timeout=60_000)
    expect(page.get_by_text("So far: ")).to_have_count(0)
    expect(page.locator(".grid")).not_to_have_attribute("data-stamp", partial)
    expect(page.locator(".grid")).to_have_count(1)


@pytest.mark.parametrize("width", [1400, 800, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_any_width_in_both_themes(browser: Browser, address: str, small: Grid, theme: str, width: int) -> None:
    """Also leaves pictures for the eye."""
    SHOTS.mkdir(exist_ok=True)
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    row = small.ids[small.groups["regained"].nonzero()[0][0]]
    for name, query in (("knowledge", f"{link(SMALL)}&row={row}&t=0.25,0.5"), ("knowledge-empty", link(question(points=9)))):
        page.goto(f"{address}/Knowledge?{query}")
        expect(page.locator(".grid[data-stamp]")).to_have_count(1, timeout=60_000)
        page.wait_for_timeout(1000)
        main = page.locator('[data-testid="stMain"]')
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth"), f"{name} is wider than {width}"
        assert page.locator('[data-testid="stException"]').count() == 0
        page.set_viewport_size({"width": width, "height": min(3600, main.evaluate("e => e.scrollHeight") + 10)})
        page.wait_for_timeout(600)
        page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
        page.set_viewport_size({"width": width, "height": 900})
    context.close()
