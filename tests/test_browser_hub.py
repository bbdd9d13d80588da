"""Two checkpoints on the Hub in the browser: looked at, fetched, compared; and what is said where that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_in_browser import running_app
from hub_server import Fault, Hub, hub

from mcore.link import link, unlink
from mcore.question import parse

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect


@pytest.fixture(scope="module")
def server(saved) -> Iterator[Hub]:
    with hub() as running:
        for side, seed in (("a", 1), ("b", 2)):
            running.put(f"org/model-{side}", saved("bert", seed))
        yield running


@pytest.fixture(scope="module")
def hub_app(server: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app whose Hub is the one of this test."""
    folder = tmp_path_factory.mktemp("hub")
    told = {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
    with running_app(folder / "store", folder / "app.log", **told) as address:
        yield address
    assert "Traceback" not in (folder / "app.log").read_text()


def test_two_repositories_are_looked_at_fetched_and_compared(page: Page, hub_app: str, server: Hub, rows: Path) -> None:
    question = parse({"version": 1, "a": "hub:org/model-a", "b": "builtin:austen@0", "tasks": [{"task": f"local:{rows}"}], "points": 3})
    page.goto(f"{hub_app}/Compare?{link(question)}")
    expect(page.locator(".mc-error").last).to_be_visible()  # another architecture
    page.get_by_role("button", name="Change").last.click()
    page.get_by_role("radio", name="Hub").or_(page.get_by_role("button", name="Hub", exact=True)).last.click()
    field = page.get_by_role("combobox", name="Repository")
    field.fill("org/nowhere")
    field.press("Enter")
    expect(page.get_by_text("there is no repository org/nowhere that this machine may read")).to_be_visible()
    assert not any(asked.path.endswith(".safetensors") and not asked.range for asked in server.asked)
    field.fill(f"{server.address}/org/model-b".replace(server.address, "https://huggingface.co"))
    field.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_text("from the Hub, then evaluates 3 points on 24 rows")).to_be_visible()
    assert unlink(page.url).b == "hub:org/model-b"
    page.locator(".st-key-run button:enabled").click()
    expect(page.get_by_text("from the store, computed in")).to_be_visible(timeout=120_000)
    page.get_by_role("tab", name="Reproduce").click()
    expect(page.get_by_text("What it stood for")).to_be_visible()


def test_a_page_that_waits_for_the_hub_can_be_left(page: Page, hub_app: str, server: Hub) -> None:
    server.put("org/slow", {"config.json": b"{}"})
    slow = Fault("org/slow", wait=25.0)
    server.faults.append(slow)
    question = parse({"version": 1, "a": "hub:org/slow", "b": "builtin:austen@0", "tasks": [{"task": "builtin:speech"}], "points": 3})
    page.goto(f"{hub_app}/Compare?{link(question)}")
    expect(page.get_by_text("On the Hub: looking at org/slow")).to_be_visible()
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Are two fine-tuned models connected?")).to_be_visible(timeout=10_000)
    server.faults.remove(slow)
