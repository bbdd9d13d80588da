"""The Fine-tune page in a real browser, with the real worker: from a question to two models and on to their path."""

from __future__ import annotations

import re

import pytest
from browser_fixtures import RECIPE, question

from mcore.link import link, unlink

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

LONG = 180_000  # ms for small trainings on a machine that is busy with other things
SMALL = RECIPE | {"base": "builtin:austen@1000", "steps": 10, "batch_size": 8, "cartography": 64}


def asked(page: Page):
    return unlink(page.url)


def test_a_question_is_chosen_and_stands_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/Fine-tune")
    expect(page.get_by_text("shipped result, computed on")).to_be_visible()
    page.get_by_role("radio", name="Disjoint halves of the data").or_(page.get_by_role("button", name="Disjoint halves of the data")).first.click()
    expect(page.get_by_text("training rows half-1 → half-2 (none in common); everything else the same")).to_be_visible()
    expect(page).to_have_url(re.compile("q="))
    page.wait_for_function("() => !document.querySelector('[data-test-script-state=running]')")
    assert (asked(page).a.rows, asked(page).b.rows) == ("half-1", "half-2")


def test_two_models_are_trained_one_kept_on_its_way_and_the_path_between_them_opens(page: Page, address: str) -> None:
    page.goto(f"{address}/Fine-tune?{link(question(a=SMALL | {'steps': 20_000}, b=SMALL | {'head_seed': 2}))}")
    page.locator(".st-key-run button").click()
    status = page.locator(".st-key-status").last
    expect(status).to_contain_text("Training A, step", timeout=LONG)
    page.reload()  # a closed tab loses nothing
    expect(status).to_contain_text("Training A, step")
    page.get_by_role("button", name="Stop A here and keep it").click()
    expect(page.get_by_text("Both models are there.")).to_be_visible(timeout=LONG)
    assert 0 < asked(page).a.stop_at < 20_000 and asked(page).b.stop_at is None
    expect(page.get_by_role("region", name="The finished models")).to_contain_text(re.compile(r"A.*of 20,000 steps.*%.*B.*10 steps.*%"))
    page.get_by_role("button", name="Continue B").click()
    expect(page.get_by_role("region", name="The finished models")).to_contain_text("10 + 5 steps", timeout=LONG)
    expect(page.get_by_text("Both models are there.")).to_be_visible(timeout=LONG)
    shared = page.url
    page.get_by_role("link", name="Walk the path between them in Compare").click()
    expect(page).to_have_url(re.compile("/Compare\\?"))
    expect(page.get_by_text("Run evaluates 7 points")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(shared)
    expect(page.get_by_text("Both models are there.")).to_be_visible()


def test_two_visitors_see_the_same_training(page: Page, address: str, browser: Browser) -> None:
    one = f"{address}/Fine-tune?{link(question(a=SMALL | {'steps': 20_000, 'head_seed': 5}, b=SMALL))}"
    page.goto(one)
    page.locator(".st-key-run button").click()
    expect(page.locator(".st-key-status").last).to_contain_text("Training A, step", timeout=LONG)
    other = browser.new_context().new_page()
    other.goto(one)
    expect(other.locator(".st-key-status").last).to_contain_text("Training A, step", timeout=30_000)
    other.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled. Everything finished so far is kept.")).to_be_visible(timeout=30_000)
    other.context.close()
