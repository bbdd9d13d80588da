"""Every page by axe-core's rules, in light and dark, wide and narrow: nothing serious, nothing critical.

``make test`` puts axe-core into .node/. There are no exceptions: what Streamlit's own widgets lack, the style sheet mends.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from app_in_browser import HOME, at_rest, lacking
from browser_fixtures import carry_out, question
from test_page_layers import ASKED, look

from mcore.link import link
from mcore.presets import first_question
from mcore.store import Store
from mcore.ui.theme import PAGES

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page

AXE = HOME / ".node" / "node_modules" / "axe-core" / "axe.min.js"
BAD = ("serious", "critical")
OPENED = (("button", "Change"), ("button", "More"), ("button", "Questions to start from"), ("button", "Share"), *(("tab", name) for name in ("Weights", "Training", "Numbers", "Reproduce")))
PLACES = [  # name, address, what is pressed there (a role and a name)
    *((name, "" if name == "Home" else f"{name}?{{link}}", None) for _, name in PAGES),
    *((f"Compare, {pressed[1]}", "Compare?{link}", pressed) for pressed in OPENED),
    *((f"Knowledge, {tab}", f"Knowledge?{{training}}&tab={tab}&segment=0.5,0.583333", None) for tab in ("forgetting", "held")),
    ("Compare, Representations", "Compare?{layers}&tab=Representations", None),
    *((f"{name}, a broken link", f"{name}?v=1&q=broken", None) for name in ("Compare", "Knowledge")),
]


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        lacking("There is no axe-core in .node: `make test` puts it there.")
    return AXE.read_text()


@pytest.fixture(scope="module")
def finished(store_folder: Path) -> dict[str, str]:
    """Links to questions whose answers are in the store: about held-out rows, about rows that were trained on, about layers."""
    training = question(tasks=[{"task": "builtin:speech", "split": "train", "limit": 200}], points=13)
    for asked in (first_question(), training):
        carry_out(asked, Store(store_folder))
    carry_out(ASKED, Store(store_folder))
    look(ASKED, Store(store_folder))
    return {"link": link(first_question()), "training": link(training), "layers": link(ASKED)}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "path", "pressed"), PLACES, ids=[place[0] for place in PLACES])
def test_no_rule_of_accessibility_is_seriously_broken(
    browser: Browser, address: str, finished: dict[str, str], axe: str, name: str, path: str, pressed: tuple[str, str] | None, theme: str
) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/{path.format(**finished)}")
    at_rest(page)
    if pressed:
        page.get_by_role(pressed[0], name=pressed[1], exact=True).first.click()
    found = []
    for width in (1400, 420):
        page.set_viewport_size({"width": width, "height": 900})
        at_rest(page)
        found += [f"{width} wide: {one}" for one in violations(page, axe)]
    context.close()
    assert not found, "\n".join(found)


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds serious or critical."""
    page.evaluate(axe)
    told = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{broken['id']} ({broken['impact']}) at {node['target']}: {node['html'][:200]}\n    {node['failureSummary']}"
        for broken in told["violations"]
        if broken["impact"] in BAD
        for node in broken["nodes"]
    ]
