"""What a visitor waits for, in chromium beside the real app and its worker: a fresh store, one table, in seconds.

    python -m benchmarks.latency

start     From starting `streamlit run` to the answer of Home: its chart is drawn. The app's first page,
          in a browser that has never seen it; the browser itself is running.
first     From pressing Run to the first point in the status line: a new sample of rows, so that every point is
          new, with both ends trained before. Once in an app that has just started, with its worker on the
          way, and then with the worker warm.
cancel    From pressing Cancel, in the middle of a training, to the sentence that it is cancelled, which the
          worker acknowledges.
reopen    A finished question. By its address: from the navigation to the drawn chart, the tabs beneath it
          and the cards above, in a browser that has been here before. From inside: the same from pressing
          "Open it in Compare" on Home.

Every figure is the page's own clock where the page lives on, and counts drawn elements, not events. Medians;
the first experiment is computed before. Other work on the machine shows in the figures; let it rest.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright

from mcore.link import link
from mcore.presets import first_question
from mcore.question import Experiment, as_written, parse
from tests.app_in_browser import chromium, running_app

TURNS = 3
VIEW = {"width": 1400, "height": 1000}
CHART = "document.querySelector('[data-testid=stVegaLiteChart] svg .mark-symbol path')"
WHOLE = f"{CHART} && document.querySelector('.st-key-card-b .mc-name') && document.querySelectorAll('[role=tab]').length > 3"
STATUS = "[...document.querySelectorAll('.st-key-status')].map(e => e.innerText).join(' ')"
LONG = 300_000  # ms


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium())
        for name, seconds in measured(browser, Path(folder)):
            print(f"{name:<58}{seconds:6.2f} s", flush=True)
        browser.close()


def measured(browser: Browser, folder: Path) -> Iterator[tuple[str, float]]:
    """The lines of the table as they come."""
    store = folder / "store"
    starts = []
    with _app(store, browser, starts) as (page, _):
        page.get_by_role("button", name="Run it now").click()
        _until(page, f"{STATUS}.includes('computed in')")
    with _app(store, browser, starts) as (page, address):
        yield "first: Run to the first point, worker just starting", _first_point(page, address, 1)
        yield "first: Run to the first point, worker warm", _median(lambda i: _first_point(page, address, 2 + i))
        yield "cancel: to its acknowledgement", _median(lambda i: _cancelled(page, address, i))
        yield "reopen: by address", _median(lambda i: _reopened(page, address))
        yield "reopen: from inside", _median(lambda i: _reopened_inside(page, address))
    with _app(store, browser, starts):
        pass
    yield "start: the process to Home's answer", median(starts)


@contextmanager
def _app(store: Path, browser: Browser, starts: list[float]) -> Iterator[tuple[Page, str]]:
    """A new app and a new browser context; how long it took to Home's answer is added to ``starts``."""
    began = time.perf_counter()
    with running_app(store, store.with_suffix(".log")) as address:
        context = browser.new_context(viewport=VIEW)
        page = context.new_page()
        page.goto(address, wait_until="commit")
        _until(page, CHART)
        starts.append(time.perf_counter() - began)
        yield page, address
        context.close()


def _first_point(page: Page, address: str, seed: int) -> float:
    page.goto(f"{address}/Compare?{link(_sample(seed))}")
    run = page.locator(".st-key-run button:enabled")
    run.wait_for()
    seconds = _from_click(page, run, f"/[1-9]\\d* of \\d+ points/.test({STATUS}) || {STATUS}.includes('computed in')")
    _until(page, f"{STATUS}.includes('computed in')")
    return seconds


def _cancelled(page: Page, address: str, turn: int) -> float:
    written = as_written(first_question())
    for side in "ab":
        written[side] |= {"steps": 50_000, "head_seed": 100 + turn}
    page.goto(f"{address}/Compare?{link(parse(written))}")
    page.locator(".st-key-run button:enabled").click()
    _until(page, f"/step [1-9]/.test({STATUS})")
    return _from_click(page, page.locator(".st-key-cancel button"), f"{STATUS}.includes('Cancelled.')")


def _reopened(page: Page, address: str) -> float:
    page.goto("about:blank")
    page.goto(f"{address}/Compare?{link(first_question())}", wait_until="commit")
    return _until(page, WHOLE) / 1000


def _reopened_inside(page: Page, address: str) -> float:
    page.goto(address)
    _until(page, CHART)
    page.wait_for_timeout(1000)
    return _from_click(page, page.get_by_role("link", name="Open it in Compare"), WHOLE)


def _sample(seed: int) -> Experiment:
    """The first question on other rows: its models are there, none of its points is."""
    written = as_written(first_question())
    written["tasks"][0] |= {"limit": 511, "sample_seed": seed}
    return parse(written)


def _from_click(page: Page, what, then: str) -> float:
    """Seconds from pressing the mouse on ``what`` until ``then`` holds in the page, by the page's clock."""
    page.evaluate("addEventListener('pointerdown', e => { window.pressed = performance.now() }, {capture: true, once: true})")
    what.click()
    return (_until(page, then) - page.evaluate("window.pressed")) / 1000


def _until(page: Page, condition: str) -> float:
    """Milliseconds since the navigation when ``condition`` first holds, looked at with every frame."""
    return page.wait_for_function(f"() => ({condition}) && performance.now()", timeout=LONG).json_value()


def _median(once: Callable[[int], float]) -> float:
    return median(once(turn) for turn in range(TURNS))


if __name__ == "__main__":
    main()
