"""Every page by axe-core's rules, in light and dark, wide and narrow: nothing serious, nothing critical.

``make test`` puts axe-core into .node/. What lies inside Streamlit's own widgets and cannot be reached from
here stands in ``STREAMLITS``, as narrow as possible.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from app_in_browser import HOME, SHOTS, lacking
from browser_fixtures import carry_out

from mcore.link import link
from mcore.presets import first_question
from mcore.store import Store
from mcore.ui.theme import PAGES

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

AXE = HOME / ".node" / "node_modules" / "axe-core" / "axe.min.js"
BAD = ("serious", "critical")
STREAMLITS: tuple[tuple[str, str, str], ...] = ()  # (rule, selector, why it cannot be changed here)
PLACES = [
    *((name, "" if name == "Home" else name, ".st-key-header") for _, name in PAGES if name != "Compare"),
    ("Compare", "Compare?{link}", '[data-testid="stVegaLiteChart"] svg'),
    ("Compare, a broken link", "Compare?v=1&q=broken", ".mc-error"),
]


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        lacking("There is no axe-core in .node: `make test` puts it there.")
    return AXE.read_text()


@pytest.fixture(scope="module")
def finished(store_folder: Path) -> str:
    """The link to a question whose answer is in the store."""
    carry_out(first_question(), Store(store_folder))
    return link(first_question())


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "path", "drawn"), PLACES, ids=[place[0] for place in PLACES])
def test_no_rule_of_accessibility_is_seriously_broken(
    browser: Browser, address: str, finished: str, axe: str, name: str, path: str, drawn: str, theme: str, width: int
) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/{path.format(link=finished)}")
    expect(page.locator("h1").first).to_be_visible(timeout=30_000)
    expect(page.locator(drawn).first).to_be_visible(timeout=30_000)
    page.wait_for_timeout(1000)
    found = violations(page, axe)
    context.close()
    assert not found, "\n".join(found)


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds serious or critical, without what is Streamlit's own."""
    page.evaluate(axe)
    told = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{broken['id']} ({broken['impact']}) at {node['target']}: {node['html'][:200]}\n    {node['failureSummary']}"
        for broken in told["violations"]
        if broken["impact"] in BAD
        for node in broken["nodes"]
        if not any(rule == broken["id"] and page.evaluate(MATCHES, [node["target"], selector]) for rule, selector, _ in STREAMLITS)
    ]


MATCHES = "([target, selector]) => target.length === 1 && document.querySelector(target[0])?.matches(selector)"
