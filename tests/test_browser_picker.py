"""Picking on the Hub in the browser: what is typed is searched, what is chosen is known at once, what cannot be joined is said before Run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_in_browser import at_rest, running_app
from hub_server import Hub, hub

from mcore.link import link, unlink
from mcore.question import parse

pytest.importorskip("playwright")
from playwright.sync_api import Locator, Page, expect

CARD = b"---\nlicense: apache-2.0\n---\n# A model\n"


@pytest.fixture(scope="module")
def server(saved) -> Iterator[Hub]:
    with hub() as running:
        for name, family, seed in (("org/tuned-bert-1", "bert", 1), ("org/tuned-bert-2", "bert", 2), ("org/larger-bert", "minilm", 1)):
            files = {file.name: file.read_bytes() for file in saved(family, seed).iterdir()}
            running.put(name, files | {"README.md": CARD})
        running.put("org/some-rows", {"README.md": b""}, kind="datasets")
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("picker")


@pytest.fixture(scope="module")
def hub_app(server: Hub, home: Path) -> Iterator[str]:
    """An app whose Hub is the one of this test."""
    told = {"HF_ENDPOINT": server.address, "HF_HOME": str(home / "home"), "HF_HUB_OFFLINE": "0"}
    with running_app(home / "store", home / "app.log", **told) as address:
        yield address
    assert "Traceback" not in (home / "app.log").read_text()


def between(a: str, b: str, rows: Path) -> str:
    return link(parse({"version": 1, "a": a, "b": b, "tasks": [{"task": f"local:{rows}"}], "points": 3}))


def opened(page: Page, side: str) -> Locator:
    """The field of a card that is on the Hub."""
    page.locator(f".st-key-card-{side}").get_by_role("button", name="Change").click()
    return page.get_by_role("combobox", name="Repository")


def test_what_is_typed_is_searched_and_what_is_chosen_is_known_at_once(page: Page, hub_app: str, server: Hub, rows: Path) -> None:
    page.goto(f"{hub_app}/Compare?{between('hub:org/tuned-bert-1', 'hub:org/larger-bert', rows)}")
    at_rest(page)
    field = opened(page, "b")
    field.click()
    page.keyboard.type("tuned", delay=40)  # over what stands there, which the click has marked
    option = page.get_by_role("group", name="On the Hub").get_by_role("option", name="org/tuned-bert-2")
    expect(option).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "true")
    asked = [one.path for one in server.asked if "search=" in one.path]
    assert asked and all("search=tuned" in path for path in asked)  # no request for half a word
    option.click()
    expect(page.locator(".st-key-card-b")).to_contain_text("tuned-bert-2")
    page.keyboard.press("Escape")
    for fact in ("BertForSequenceClassification", "parameters", "float32", "to fetch", "labels no, yes", "licence apache-2.0"):
        expect(page.locator(".st-key-card-b")).to_contain_text(fact)
    expect(page.get_by_text("Can be joined: same architecture, shapes, tokenizer and labels.")).to_be_visible()
    expect(page.locator(".st-key-run button")).to_be_enabled()
    assert unlink(page.url).b == "hub:org/tuned-bert-2"
    assert not any(one.path.endswith(".safetensors") and not one.range and one.method == "GET" for one in server.asked)
    opened(page, "b").click()
    expect(page.get_by_role("group", name="Used before").get_by_role("option")).to_have_text(["org/tuned-bert-2", "org/tuned-bert-1"])


def test_the_keyboard_alone_finds_and_chooses(page: Page, hub_app: str, rows: Path) -> None:
    page.goto(f"{hub_app}/Compare?{between('hub:org/tuned-bert-1', 'hub:org/larger-bert', rows)}")
    at_rest(page)
    field = opened(page, "b")
    field.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("bert-2 crc", delay=30)  # letters that are shortcuts of the page elsewhere
    expect(page.get_by_text("Nothing on the Hub has such a name.")).to_be_visible()
    expect(page.get_by_role("dialog", name="Clear caches")).to_have_count(0)
    for _ in range(4):
        page.keyboard.press("Backspace")
    expect(page.get_by_role("option", name="org/tuned-bert-2").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("option", selected=True)
    expect(chosen).to_contain_text("org/tuned-bert-2")
    assert field.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    page.keyboard.press("Enter")
    expect(page.locator(".st-key-card-b")).to_contain_text("tuned-bert-2")
    expect(field).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")  # closes the list
    expect(page.get_by_role("option")).to_have_count(0)
    expect(field).to_be_visible()
    page.keyboard.press("Escape")  # closes the card
    expect(field).to_be_hidden()


def test_the_base_of_a_recipe_is_searched_in_the_same_way(page: Page, hub_app: str, server: Hub, saved, rows: Path) -> None:
    recipe = {"base": "builtin:austen@1000", "task": {"task": f"local:{rows}"}, "steps": 2}
    page.goto(f"{hub_app}/Compare?{link(parse({'version': 1, 'a': recipe, 'b': recipe | {'head_seed': 2}, 'tasks': [recipe['task']], 'points': 3}))}")
    at_rest(page)
    page.locator(".st-key-card-a").get_by_role("button", name="Change").click()
    field = page.get_by_role("combobox", name="Base")
    expect(field).to_have_value("austen@1000")
    field.click()
    expect(page.get_by_role("group", name="Ships with the app").get_by_role("option").first).to_contain_text("austen@7000")
    page.keyboard.type("tuned", delay=40)
    page.get_by_role("group", name="On the Hub").get_by_role("option", name="org/tuned-bert-2").click()
    expect(page.locator(".st-key-card-a")).to_contain_text("tuned-bert-2 tuned on rows.csv")
    assert unlink(page.url).a.base == "hub:org/tuned-bert-2" and unlink(page.url).b.base == "builtin:austen@1000"
    expect(field).to_have_value("org/tuned-bert-2")
    field.fill("austen@")
    expect(page.get_by_role("option", name="austen@7000")).to_be_visible()
    field.fill("austen@70")  # half a name is not taken
    field.press("Tab")
    at_rest(page)
    assert unlink(page.url).a.base == "hub:org/tuned-bert-2"
    field.fill("austen@7000")  # one that is offered is, without Enter
    field.press("Tab")
    at_rest(page)
    assert unlink(page.url).a.base == "builtin:austen@7000"
    folder = saved("bert", 1)
    field.fill(f"local:{folder}")
    field.press("Enter")
    expect(page.locator(".st-key-card-a")).to_contain_text(f"{folder.name} tuned on rows.csv")
    page.goto(page.url.replace("/Compare", "/Fine-tune"))
    at_rest(page)
    second = page.locator(".st-key-card-b").get_by_role("combobox", name="Base")
    expect(second).to_have_value("austen@1000")
    second.fill("https://huggingface.co/org/tuned-bert-1/tree/main")
    second.press("Enter")
    expect(page.locator(".st-key-card-b")).to_contain_text("tuned-bert-1@main tuned on rows.csv")
    assert unlink(page.url).b.base == "hub:org/tuned-bert-1@main"
    page.locator(".st-key-card-a").get_by_role("combobox", name="Base").click()
    expect(page.get_by_role("group", name="Used before").get_by_role("option").first).to_have_text("org/tuned-bert-1@main")


def test_a_pair_that_cannot_be_joined_is_told_before_run_with_every_tensor(page: Page, hub_app: str, rows: Path) -> None:
    page.goto(f"{hub_app}/Compare?{between('hub:org/tuned-bert-1', 'hub:org/larger-bert', rows)}")
    at_rest(page)
    said = page.locator(".st-key-verdict")
    expect(said).to_contain_text("Cannot be joined: num_hidden_layers is 2 in A and 3 in B; bert.embeddings")
    expect(page.get_by_text("num_hidden_layers")).to_have_count(1)  # said once
    expect(page.locator(".st-key-run button")).to_be_disabled()
    said.get_by_role("button", name=re.compile("tensors differ")).click()
    row = page.get_by_role("region", name="Tensors that differ").get_by_role("row", name=re.compile("word_embeddings"))
    expect(row).to_contain_text(re.compile(r"\d+×32\s*\d+×48"))


def test_a_preset_fills_both_ends_and_the_task_and_computes_nothing(page: Page, hub_app: str) -> None:
    page.goto(f"{hub_app}/Compare")
    at_rest(page)
    page.get_by_role("button", name="Questions to start from").click()
    page.get_by_text("Two basins on MNLI").click()
    page.get_by_role("button", name="Two of the smaller basin").first.click()
    expect(page.locator(".st-key-card-a")).to_contain_text("feather_berts_25")
    expect(page.locator(".st-key-card-b")).to_contain_text("feather_berts_63")
    expect(page.get_by_text("there is no repository connectivity/feather_berts_25 that this machine may read").first).to_be_visible()
    expect(page.get_by_role("button", name="Two of the smaller basin")).to_have_count(0)  # closed by the choice
    question = unlink(page.url)
    assert question.labels.a == ["contradiction", "entailment", "neutral"] and question.tasks[0].task == "hub:nyu-mll/glue/mnli"
    page.go_back()
    expect(page.locator(".st-key-card-a")).to_contain_text("austen")


def test_a_link_is_pinned_behind_share(page: Page, hub_app: str, server: Hub, rows: Path) -> None:
    page.goto(f"{hub_app}/Compare?{between('hub:org/tuned-bert-1', 'hub:org/tuned-bert-2', rows)}")
    at_rest(page)
    page.get_by_role("button", name="Share").click()
    code = page.locator('[data-testid="stPopoverBody"] code')
    assert unlink(code.inner_text()).a == "hub:org/tuned-bert-1"
    page.get_by_text("Pin this link").click()
    expect(code).not_to_have_text(re.compile(re.escape(page.url.partition("q=")[2])))
    commit = server.repositories["models", "org/tuned-bert-1"].revisions["main"]
    assert unlink(code.inner_text()).a == f"hub:org/tuned-bert-1@{commit}"
    assert unlink(page.url).a == "hub:org/tuned-bert-1"  # the address bar is what was asked


def test_a_data_set_is_found_on_the_hub(page: Page, hub_app: str) -> None:
    page.goto(f"{hub_app}/Compare")
    at_rest(page)
    page.get_by_role("button", name="More", exact=True).click()
    field = page.get_by_role("combobox", name="Data set on the Hub")
    field.fill("some rows")
    page.get_by_role("option", name="org/some-rows").click()
    expect(page.locator(".st-key-strip")).to_contain_text("tasks.0.task: org/some-rows has no parquet")
    assert unlink(page.url).tasks[0].task == "hub:org/some-rows"


def test_without_a_network_the_page_is_quick_and_offers_what_is_here(page: Page, hub_app: str, server: Hub, home: Path, rows: Path) -> None:
    page.goto(f"{hub_app}/Compare?{between('hub:org/tuned-bert-1', 'hub:org/tuned-bert-2', rows)}")
    at_rest(page)
    page.locator(".st-key-run button:enabled").click()
    expect(page.get_by_text("from the store, computed in")).to_be_visible(timeout=120_000)
    commit = server.repositories["models", "org/tuned-bert-1"].revisions["main"]
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(home / "home"), "HF_HUB_OFFLINE": "0"}
    with running_app(home / "other-store", home / "offline.log", **nowhere) as address:
        page.goto(f"{address}/Compare?{between('hub:org/elsewhere', 'hub:org/tuned-bert-2', rows)}")
        expect(page.get_by_text("the Hub did not answer for org/elsewhere: there is no network").first).to_be_visible()
        at_rest(page)
        began = time.monotonic()
        page.reload()
        expect(page.get_by_text("the Hub did not answer for org/elsewhere: there is no network").first).to_be_visible()
        assert time.monotonic() - began < 8
        field = opened(page, "a")
        expect(page.get_by_text("No network: these are on this machine.")).to_be_visible()
        field.click()
        page.get_by_role("option", name="org/tuned-bert-1").click()
        expect(page.locator(".st-key-card-a")).to_contain_text(f"tuned-bert-1@{commit[:7]}")
        page.keyboard.press("Escape")
        expect(page.locator(".st-key-card-a")).to_contain_text("BertForSequenceClassification")
    assert "Traceback" not in (home / "offline.log").read_text()
