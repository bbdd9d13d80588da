"""A model is taken from an answer in a real browser: saved by the real worker, downloaded, and opened with transformers alone."""

from __future__ import annotations

import zipfile

import pytest
from app_in_browser import at_rest
from test_export import loss_alone

from mcore.link import link
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store

pytest.importorskip("playwright")
from playwright.sync_api import Page

RECIPE = {"base": "builtin:austen@7000", "task": {"task": "builtin:speech"}, "steps": 2, "batch_size": 8, "cartography": 0}
QUESTION = {
    "version": 1, "a": RECIPE, "b": RECIPE | {"head_seed": 2, "data_seed": 2}, "points": [0.0, 0.5, 1.0],
    "tasks": [{"task": "builtin:speech", "limit": 24}],
}  # fmt: skip


def test_the_downloaded_model_has_the_loss_that_the_chart_shows(store_folder, address: str, page: Page, tmp_path) -> None:
    question, store = parse(QUESTION), Store(store_folder)
    list(run(question, store))
    shown = collect(resolve(question), store)["tasks"][0]
    page.goto(f"{address}/Compare?{link(question)}")
    at_rest(page)
    page.get_by_text("Take the model at t").click()
    slider = page.get_by_role("slider").last
    slider.press("Home")
    slider.press("ArrowRight")
    at_rest(page)
    page.get_by_text("float16", exact=True).click()
    at_rest(page)
    assert "--t 0.5 --dtype float16" in page.inner_text(".st-key-take")
    page.get_by_role("button", name="Save the model").click()
    ready = page.get_by_role("button", name="Download,")
    ready.wait_for(timeout=60_000)
    with page.expect_download() as download:
        ready.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "t-0.5-float16"
    assert loss_alone(folder, question) == pytest.approx(shown["loss"][1], abs=1e-2)
    page.goto(f"{address}/Library?show=Models")
    at_rest(page)
    assert "t = 0.5, float16" in page.inner_text("body") and page.get_by_text("saved model").count()
