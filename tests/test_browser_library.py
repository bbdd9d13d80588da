"""The Library in a real browser: opening, comparing, noting, sending a result to a collaborator and getting it back.

The store is filled without a model before the app starts; the tests build on one another, top to bottom.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from app_in_browser import CHART, HOME, SHOTS, at_rest, lacking, running_app
from browser_fixtures import RECIPE, question
from test_library import computed

from mcore.library import resultfile
from mcore.library.notes import Notes
from mcore.link import link
from mcore.question import Experiment
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

AXE = HOME / ".node" / "node_modules" / "axe-core" / "axe.min.js"
FIRST = question()
SECOND = question(b=RECIPE | {"head_seed": 9})


@pytest.fixture(scope="module")
def shelf(store_folder: Path, address: str) -> str:
    """The address of a Library with two results and three models."""
    store = Store(store_folder)
    computed(store)
    computed(store, b=RECIPE | {"head_seed": 9})
    return f"{address}/Library"


def short(asked: Experiment) -> str:
    return resolve(asked).fingerprint[:12]


def row(page: Page, asked: Experiment):
    return page.locator(f".st-key-row-{resolve(asked).fingerprint}")


def test_a_row_opens_closes_and_back_undoes_it(page: Page, shelf: str) -> None:
    page.goto(shelf)
    expect(page.get_by_text("2 results, 3 trained models")).to_be_visible()
    row(page, FIRST).get_by_role("button", name=re.compile("tuned on speech")).click()
    expect(page).to_have_url(f"{shelf}?open={short(FIRST)}")
    expect(row(page, FIRST).locator(CHART)).to_have_attribute("aria-label", re.compile("7 points"))
    page.reload()
    expect(row(page, FIRST).get_by_text("What this means")).to_be_visible()
    row(page, FIRST).get_by_role("link", name="Open in Compare").click()
    expect(page).to_have_url(re.compile("/Compare.*q="))
    expect(page.get_by_text("from the store, computed in")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{shelf}?open={short(FIRST)}")
    expect(row(page, FIRST).locator(CHART)).to_be_visible()


def test_two_results_are_compared_with_the_keyboard_alone(page: Page, shelf: str) -> None:
    page.goto(shelf)
    for asked in (FIRST, SECOND):
        box = row(page, asked).get_by_role("checkbox", name="Compare")
        expect(box).to_be_visible()
        box.focus()
        page.keyboard.press("Space")
        expect(page).to_have_url(re.compile(f"pair={short(asked)}"))
    expect(page).to_have_url(f"{shelf}?pair={short(FIRST)}&pair={short(SECOND)}")
    chart = page.locator(f".st-key-pair {CHART}")
    expect(chart).to_have_attribute("aria-label", re.compile("Two results on one chart. Result 1 has a barrier of .* Result 2"))
    page.reload()
    expect(chart).to_be_visible()
    page.get_by_role("button", name="Clear the choice").click()
    expect(page).to_have_url(shelf)


def test_what_is_searched_for_is_in_the_address(page: Page, shelf: str) -> None:
    page.goto(shelf)
    expect(row(page, FIRST)).to_be_visible()
    page.get_by_role("radio", name="Models").click()
    expect(page).to_have_url(f"{shelf}?show=Models")
    expect(row(page, FIRST)).to_have_count(0)
    page.reload()
    expect(page.get_by_role("radio", name="Models")).to_be_checked()
    expect(row(page, FIRST)).to_have_count(0)
    page.get_by_role("radio", name="All").click()
    expect(row(page, FIRST)).to_be_visible()
    page.get_by_role("textbox", name="Search").fill("1 → 9")
    expect(page).to_have_url(re.compile("find="))
    expect(row(page, FIRST)).to_have_count(0)
    expect(row(page, SECOND)).to_be_visible()


def test_a_note_and_a_tag_stay(page: Page, shelf: str, store_folder: Path) -> None:
    page.goto(f"{shelf}?open={short(FIRST)}")
    note = page.get_by_role("textbox", name="Note")
    note.fill("the odd one <b>bold</b>")
    note.press("Control+Enter")
    expect(row(page, FIRST).locator(".lib-note")).to_have_text("the odd one <b>bold</b>")
    at_rest(page)
    tags = page.get_by_role("combobox", name="Tags")
    tags.fill("figure 2")
    page.get_by_role("option", name=re.compile("figure 2")).click()
    expect(row(page, FIRST).locator(".mc-mark", has_text="figure 2")).to_be_visible()
    expect(row(page, FIRST).get_by_text("the odd one <b>bold</b>").first).to_be_visible()
    kept = Notes(store_folder).every()[resolve(FIRST).fingerprint]
    assert kept.text == "the odd one <b>bold</b>" and kept.tags == ("figure 2",)
    page.goto(f"{shelf}?tag=figure+2")
    expect(row(page, FIRST)).to_be_visible()
    expect(row(page, SECOND)).to_have_count(0)


def test_a_downloaded_result_is_seen_by_a_collaborator_with_another_machine(
    page: Page, shelf: str, browser: Browser, tmp_path: Path
) -> None:
    page.goto(f"{shelf}?open={short(FIRST)}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Result file (JSON)").click()
    file = Path(download.value.path())
    chart = page.locator(CHART).first.get_attribute("aria-label")
    with running_app(tmp_path / "theirs", tmp_path / "theirs.log") as address:
        theirs = browser.new_context().new_page()
        theirs.set_default_timeout(30_000)
        theirs.goto(f"{address}/Library")
        theirs.get_by_role("button", name="Import").click()
        theirs.locator('input[type="file"]').set_input_files(
            {"name": "<i>from us</i>.json", "mimeType": "application/json", "buffer": file.read_bytes()}
        )
        expect(theirs).to_have_url(re.compile(r"open=[0-9a-f]{12}$"))
        expect(theirs.get_by_text("imported file <i>from us</i>.json").first).to_be_visible()
        expect(theirs.locator(CHART).first).to_have_attribute("aria-label", chart)
        expect(theirs.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        with theirs.expect_download() as again:
            theirs.get_by_role("button", name="Result file (JSON)").click()
        assert json.loads(Path(again.value.path()).read_bytes()) == json.loads(file.read_bytes())
        theirs.goto(f"{address}/Compare?{link(FIRST)}")
        expect(theirs.get_by_text("imported file", exact=True)).to_be_visible()
        expect(theirs.locator(CHART).first).to_have_attribute("aria-label", chart)
        expect(theirs.locator(".st-key-run button")).to_be_enabled()
        theirs.context.close()
    assert "Traceback" not in (tmp_path / "theirs.log").read_text()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"fingerprint": "<img src=x onerror=alert(1)>"}', "This file is not taken. fingerprint:"),
        (b"[" * 1_000_000, "This file is not taken. file: it holds too many values"),
        (b'{"a":' * 5000, "This file is not taken. file: it is not JSON"),
        (b"\x80\x04\x95" * 100, "This file is not taken. file: it is not UTF-8 text"),
        (b"1," * 9_000_000, "This file is not taken. file: it holds too many values"),
        (b" " * (resultfile.MOST_BYTES + 1000), "20"),
    ],
    ids=["script", "deep", "cut", "binary", "numbers", "large"],
)
def test_a_hostile_file_is_refused_in_one_sentence(page: Page, shelf: str, store_folder: Path, data: bytes, said: str) -> None:
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(shelf)
    page.get_by_role("button", name="Import").click()
    page.locator('input[type="file"]').set_input_files({"name": "evil.json", "mimeType": "application/json", "buffer": data})
    where = page.get_by_test_id("stFileUploader") if said == "20" else page.locator(".mc-error")
    expect(where).to_contain_text(said)
    assert not alerts and Store(store_folder).entries("import") == []
    assert page.locator('[data-testid="stException"]').count() == 0


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_in_both_themes(browser: Browser, shelf: str, theme: str, width: int) -> None:
    """Also leaves pictures for the eye."""
    SHOTS.mkdir(exist_ok=True)
    page = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900}).new_page()
    model = resolve(FIRST).a.fingerprint[:12]
    for name, query in (
        ("list", ""), ("open", f"?open={short(FIRST)}"), ("model", f"?open={model}"), ("pair", f"?pair={short(FIRST)}&pair={short(SECOND)}"),
    ):  # fmt: skip
        page.goto(f"{shelf}{query}")
        expect(page.get_by_text("trained models:")).to_be_visible(timeout=30_000)
        expect(row(page, SECOND).get_by_role("checkbox")).to_be_visible(timeout=30_000)
        if query:
            expect(page.locator(CHART).first).to_be_visible()
        page.wait_for_timeout(800)
        main = page.locator('[data-testid="stMain"]')
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth"), f"{name} is wider than {width}"
        page.set_viewport_size({"width": width, "height": min(3000, main.evaluate("e => e.scrollHeight") + 10)})
        page.wait_for_timeout(400)
        page.screenshot(path=SHOTS / f"library-{name}-{theme}-{width}.png")
        page.set_viewport_size({"width": width, "height": 900})
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["open", "model", "pair", "import", "free space", "nothing found"])
def test_no_rule_of_accessibility_is_seriously_broken(browser: Browser, shelf: str, state: str, theme: str) -> None:
    """By axe-core, which ``make test`` puts into .node/."""
    if not AXE.exists():
        lacking("There is no axe-core in .node: `make test` puts it there.")
    query = {"open": f"?open={short(FIRST)}", "model": f"?open={resolve(FIRST).a.fingerprint[:12]}",
             "pair": f"?pair={short(FIRST)}&pair={short(SECOND)}", "nothing found": "?find=nothing"}.get(state, "")  # fmt: skip
    page = browser.new_context(color_scheme=theme, viewport={"width": 1400, "height": 900}).new_page()
    page.goto(f"{shelf}{query}")
    at_rest(page)
    if state in ("import", "free space"):
        page.get_by_role("button", name=state.capitalize()).click()
        at_rest(page)
    page.evaluate(AXE.read_text())
    told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [(one["id"], one["nodes"][0]["html"][:200]) for one in told["violations"] if one["impact"] in ("serious", "critical")]
    assert not bad
    page.context.close()


def test_deleting_asks_first(page: Page, shelf: str, store_folder: Path) -> None:
    page.goto(f"{shelf}?open={short(SECOND)}&pair={short(SECOND)}")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Its computed points are deleted")).to_be_visible()
    assert Store(store_folder).has([resolve(SECOND).fingerprint])
    page.get_by_role("button", name="Delete it").click()
    expect(row(page, SECOND)).to_have_count(0)
    expect(page).to_have_url(shelf)
    store = Store(store_folder)
    assert not store.has([resolve(SECOND).fingerprint])
    assert len(collect(resolve(FIRST), store)["tasks"][0]["t"]) == 7, "what the other one uses stays"
