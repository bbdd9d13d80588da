"""A private pair on a host in the browser: a token is typed, the answer computed with it, and afterwards it stands nowhere and helps nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_in_browser import at_rest, running_app
from hub_server import Hub, hub

from mcore.link import link
from mcore.question import Experiment, parse
from mcore.store import Store

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

TOKEN = "hf_typedinthebrowser42"
NAMES = ["narrated", "spoken"]
REFUSED = "there is no repository org/private-model that this machine may read"


@pytest.fixture(scope="module")
def server(saved) -> Iterator[Hub]:
    with hub() as running:
        running.put("org/private-model", saved("bert", 1), token=TOKEN)
        running.put("org/public-model", saved("bert", 2))
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the app of this test writes."""
    return tmp_path_factory.mktemp("token")


@pytest.fixture(scope="module")
def host(server: Hub, folder: Path) -> Iterator[str]:
    """An app for strangers, whose Hub is the one of this test, and that logs all it can."""
    told = {
        "HF_ENDPOINT": server.address, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0", "MCORE_PROFILE": "hosted",
        "STREAMLIT_LOGGER_LEVEL": "debug", "HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug",
    }  # fmt: skip
    with running_app(folder / "store", folder / "app.log", **told) as address:
        yield address
    assert "could not be drawn" not in (folder / "app.log").read_text()


def question() -> Experiment:
    return parse({
        "version": 1, "a": "hub:org/private-model", "b": "hub:org/public-model", "labels": {"a": NAMES, "b": NAMES},
        "tasks": [{"task": "builtin:speech", "limit": 16}], "points": 3,
    })  # fmt: skip


def processes(folder: Path) -> list[Path]:
    """The app and its worker, by the store that their environment names."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"MCORE_STORE={folder}/store".encode() in (place / "environ").read_bytes():
                found.append(place)
        except OSError:
            continue
    return found


def test_a_token_opens_a_private_pair_for_its_session_and_stands_nowhere_afterwards(
    page: Page, browser: Browser, host: str, server: Hub, folder: Path
) -> None:
    page.goto(f"{host}/Compare?{link(question())}")
    expect(page.get_by_text(REFUSED)).to_be_visible()
    page.get_by_role("button", name="Give a token").click()
    field = page.get_by_role("textbox", name="Token")
    assert field.get_attribute("type") == "password"
    field.fill(TOKEN)
    field.press("Enter")
    expect(page.get_by_text("from the Hub, then evaluates 3 points on 16 rows")).to_be_visible()
    page.locator(".st-key-run button:enabled").click()
    expect(page.get_by_text("from the store, computed in")).to_be_visible(timeout=120_000)
    page.get_by_role("tab", name="Reproduce").click()
    at_rest(page)
    everything = page.evaluate("() => [location.href, document.documentElement.outerHTML, ...[...document.querySelectorAll('input, textarea')].map(e => e.value),"
                               " JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie].join(' ')")  # fmt: skip
    assert "What it stood for" in everything and TOKEN not in everything
    assert {asked.token for asked in server.asked if "private-model" in asked.path} == {None, TOKEN}
    assert {asked.token for asked in server.asked if "private-model" not in asked.path} == {None}

    two = processes(folder)
    assert len(two) >= 2
    for process in two:
        assert TOKEN.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {"app.log", "worker.log", "jobs.sqlite"} <= {path.name for path in written}
    assert not [path for path in written if TOKEN.encode() in path.read_bytes() or TOKEN in str(path)]
    weights = [path for path in (folder / "home").rglob("model.safetensors") if "private-model" in str(path)]
    assert len(weights) == 1 and "private" in weights[0].relative_to(folder / "home/hub").parts, "page and worker share one place for them"

    other = browser.new_context().new_page()
    for address in (page.url, f"{host}/Compare?{link(question())}"):
        other.goto(address)
        expect(other.get_by_text(REFUSED)).to_be_visible()
        expect(other.get_by_text("from the store, computed in")).to_have_count(0)
    other.goto(f"{host}/Library?open={Store(folder / 'store').entries('experiment')[0].key[:12]}")
    expect(other.get_by_role("heading", name="Library")).to_be_visible()
    at_rest(other)
    assert "private-model" not in other.content()
    other.context.close()

    page.get_by_role("button", name="Change").first.click()
    page.locator(".st-key-token-a").get_by_text("Private or gated?").click()
    page.get_by_role("button", name="Forget it").first.click()
    expect(page.get_by_text(REFUSED).first).to_be_visible()
    expect(page.get_by_text("from the store, computed in")).to_have_count(0)
