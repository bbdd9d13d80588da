"""In a real browser with the real worker: two recipes become LoRA by hand, are tuned, and both of its ways stand beside one another."""

from __future__ import annotations

import pytest
import tiny
from app_in_browser import CHART, at_rest

from mcore.link import link, unlink
from mcore.question import parse

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect


@pytest.fixture(scope="module")
def question(saved, tmp_path_factory):
    """Two recipes that tune every weight of a small base."""
    from transformers import AutoModel

    task = {"task": f"local:{tiny.learnable(tmp_path_factory.mktemp('rows') / 'rows.csv', rows=200)}", "max_length": 16}
    end = {
        "base": f"local:{saved('bert', 5, opener=AutoModel)}",
        "task": task,
        "steps": 6,
        "learning_rate": 0.01,
        "cartography": 0,
    }
    return parse(
        tiny.experiment({**end, "head_seed": 1}, {**end, "head_seed": 2}, {**task, "split": "validation"}, points=5)
    )


def test_two_recipes_become_lora_and_both_of_its_ways_are_compared(page: Page, question, address: str) -> None:
    page.goto(f"{address}/Fine-tune?{link(question)}")
    at_rest(page)
    card = page.locator(".st-key-card-a")
    card.get_by_role("radio", name="LoRA").click()
    expect(card.get_by_text("parameters beside the head")).to_be_visible()
    page.get_by_role("button", name="Tune B likewise").click()
    expect(page.get_by_text("LoRA seed 1 → 2; everything else the same")).to_be_visible()
    at_rest(page)
    asked = unlink(page.url)
    assert asked.a.method == asked.b.method == "lora"
    page.goto(f"{address}/Compare?{link(asked)}")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".st-key-status").last).to_contain_text("from the store, computed in", timeout=120_000)
    expect(page.get_by_text("The straight line of LoRA's factors").first).to_be_visible()
    at_rest(page)
    page.get_by_role("radio", name="Merged").click()
    at_rest(page)
    assert unlink(page.url).path.lora == "merged"
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("The straight line of LoRA merged into the weights").first).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-status").last).to_contain_text("from the store, computed in", timeout=120_000)
    page.get_by_role("tab", name="Paths").click()
    expect(page.locator(f'{CHART}[aria-label^="Loss and accuracy of 2 paths"]')).to_be_visible()
    expect(page.get_by_text("The two ways of LoRA meet at both ends and nowhere else")).to_be_visible()


def test_the_methods_fit_on_a_small_screen(page: Page, question, address: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{address}/Fine-tune?{link(question)}")
    at_rest(page)
    for method in ("Adapters", "Prefix", "BitFit", "LoRA"):
        page.locator(".st-key-card-a").get_by_role("radio", name=method).click()
        at_rest(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        boxes = [one.bounding_box() for one in page.locator(".st-key-card-a").get_by_role("radio").all()]
        assert all(box["x"] + box["width"] <= 420 for box in boxes if box)
