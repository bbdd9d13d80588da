"""Endpoints and tasks of one's own in a real browser: models trained here, folders, a file, several tasks at once."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf
from app_in_browser import CHART, at_rest

from mcore.link import link, unlink
from mcore.question import parse

pytest.importorskip("playwright")
from playwright.sync_api import Locator, Page, expect

RUN = 120_000  # ms for a path between small models, with the worker starting, on a machine that is busy
OUTPUTS = ("LABEL_0", "LABEL_1")  # what the checkpoints call them: only the data tell what they mean
MEANT = ("gloomy", "cheerful")  # what they mean; by the alphabet the task has them the other way round


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small models near each other whose outputs have no names."""
    made = tmp_path_factory.mktemp("checkpoints")
    first = tiny.model("bert", 4, OUTPUTS)
    tiny.save(made / "first", "bert", 4, OUTPUTS)
    tiny.save(made / "second", "bert", 4, OUTPUTS)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.002 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    first.save_pretrained(made / "second")
    return made / "first", made / "second"


@pytest.fixture(scope="module")
def file(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file whose labels are what the first model says, in the words of ``MEANT``."""
    return labelled(folders[0], tmp_path_factory.mktemp("task") / "moods.csv", range(200))


@pytest.fixture(scope="module")
def half_wrong(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other rows, of which every fourth has the other label."""
    return labelled(folders[0], tmp_path_factory.mktemp("task") / "disputed.csv", range(500, 700), wrong=4)


def labelled(folder: Path, file: Path, seeds: range, wrong: int = 0) -> Path:
    """Sentences with the label that the model gives them, as many of one as of the other."""
    model = hf.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    texts = [tiny.sentence(seed) for seed in seeds]
    with torch.no_grad():
        said = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.argmax(1).tolist()
    rows = [[text for text, one in zip(texts, said, strict=True) if one == output] for output in (0, 1)]
    count = min(map(len, rows))
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        for output in (0, 1):
            for i, text in enumerate(rows[output][:count]):
                writer.writerow([text, MEANT[1 - output if wrong and i % wrong == 0 else output]])
    return file


def change(page: Page, side: str, kind: str) -> Locator:
    """Open a card and choose what it is; what opens."""
    page.locator(f".st-key-card-{side}").get_by_role("button", name="Change").click()
    opened = page.locator('[data-testid="stPopoverBody"]')
    opened.get_by_role("radio", name=kind).click()
    at_rest(page)
    return opened


def run_to_its_end(page: Page) -> None:
    page.locator(".st-key-run button:enabled").click()
    expect(page.locator(".st-key-status").last).to_contain_text("from the store, computed in", timeout=RUN)
    at_rest(page)


def write(field: Locator, words: str) -> None:
    field.fill(words)
    field.press("Enter")


def told(page: Page) -> str:
    """What the path chart says to those who cannot see it."""
    return page.locator(CHART).first.get_attribute("aria-label") or ""


def between(a: Path, b: Path, *files: Path) -> str:
    """The query of a small question about files."""
    return link(parse(tiny.experiment(a, b, *({"task": f"local:{file}"} for file in files))))


def test_a_folder_and_a_file_that_are_typed_in_get_their_label_order_from_the_data(
    page: Page, address: str, folders: tuple[Path, Path], file: Path
) -> None:
    page.goto(f"{address}/Compare")
    at_rest(page)
    for side, folder in zip("ab", folders, strict=True):
        write(change(page, side, "Folder").get_by_role("textbox", name="Folder"), str(folder))
        page.keyboard.press("Escape")
        expect(page.locator(f".st-key-card-{side}")).to_contain_text(folder.name)
    strip = page.locator(".st-key-strip")
    write(strip.get_by_role("combobox", name="Task"), str(file))
    write(strip.get_by_role("textbox", name="Points"), "3")
    at_rest(page)
    run_to_its_end(page)
    expect(page.get_by_text("Which output means which label: A found from the data, agrees with 100.0 % of the rows; B")).to_be_visible()
    page.get_by_role("button", name="Labels", exact=True).click()
    labels = page.get_by_role("region", name="Labels of A")
    expect(labels.get_by_role("row")).to_have_text([re.compile("output.*read as"), "0LABEL_0gloomy", "1LABEL_1cheerful"])
    before = page.url
    page.get_by_role("combobox", name="A, output 0 means").click()
    page.get_by_role("option", name="cheerful").click()
    expect(page).not_to_have_url(before)
    assert unlink(page.url).labels.a == ["cheerful", "gloomy"]  # who meant that before means what this one meant


def test_label_names_under_more_override_what_the_data_say(
    page: Page, address: str, folders: tuple[Path, Path], file: Path
) -> None:
    page.goto(f"{address}/Compare?{between(*folders, file)}")
    at_rest(page)
    found = page.url
    page.get_by_role("button", name="More", exact=True).click()
    write(page.get_by_role("textbox", name="Label names of A"), "cheerful, gloomy")
    expect(page).not_to_have_url(found)
    page.keyboard.press("Escape")
    run_to_its_end(page)
    expect(page.get_by_text("Which output means which label: A named by a person; B found from the data")).to_be_visible()
    page.get_by_role("tab", name="Reproduce").click()
    expect(page.get_by_role("region", name="Labels of A").get_by_role("row").nth(1)).to_have_text("0LABEL_0cheerful")
    expect(page.locator(".st-key-card-a")).to_contain_text("0.0 % right")


def test_each_of_several_tasks_can_be_read_on(
    page: Page, address: str, folders: tuple[Path, Path], file: Path, half_wrong: Path
) -> None:
    page.goto(f"{address}/Compare?{between(*folders, file, half_wrong)}")
    at_rest(page)
    run_to_its_end(page)
    first = told(page)
    assert "at A loss" in first and "accuracy 100.0 %" in first, first
    choice = page.get_by_role("radiogroup", name="Read on")
    expect(choice.get_by_role("radio")).to_have_text([re.compile("1. .*moods"), re.compile("2. .*disputed")])
    choice.get_by_role("radio").nth(1).click()
    expect(page.locator(CHART).first).not_to_have_attribute("aria-label", first)
    page.get_by_role("tab", name="Numbers").click()
    accuracies = page.get_by_role("region", name="Every probe at every t")
    expect(accuracies).to_contain_text(re.compile("7[345]\\.\\d %"))


def test_a_model_that_was_trained_here_becomes_an_end(page: Page, address: str) -> None:
    recipe = {"base": "builtin:austen@0", "task": {"task": "builtin:speech"}, "steps": 3, "batch_size": 4, "head_seed": 5}
    task = {"task": "builtin:speech", "limit": 16, "max_length": 16}
    page.goto(f"{address}/Compare?{link(parse({'version': 1, 'a': recipe, 'b': 'builtin:austen@0', 'tasks': [task], 'points': 2}))}")
    at_rest(page)
    run_to_its_end(page)
    other = parse({"version": 1, "a": recipe | {"head_seed": 6}, "b": "builtin:austen@1000", "tasks": [task], "points": 2})
    page.goto(f"{address}/Compare?{link(other)}")
    at_rest(page)
    card = page.locator(".st-key-card-a")
    expect(card).to_contain_text("not trained yet")
    opened = change(page, "a", "Trained here")
    opened.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=re.compile("head 5")).click()
    opened.get_by_role("button", name="Use it").click()
    page.keyboard.press("Escape")
    expect(card).to_contain_text("head seed 5")
    expect(card).to_contain_text(re.compile("· trained"))
    run_to_its_end(page)
