"""An evaluated row has its own training dynamics, found by data set, split, place and content, or none and a reason."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
import reference
import tiny
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from mcore.knowledge import grid as grids
from mcore.knowledge.forgetting_told import tell
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.resolved import Endpoint, ResolvedTask
from mcore.result import collect
from mcore.run import run
from mcore.store import Store
from mcore.tuning.cartography import Cartography
from mcore.tuning.finetune import LOOKS, finetune
from mcore.tuning.followed import Apart, Joined, followed, join

BUILTIN = {"base": "builtin:austen@0", "task": {"task": "builtin:speech"}, "steps": 1, "batch_size": 2, "cartography": 200}


def end(recipe: dict, side: str = "a") -> Endpoint:
    return Endpoint(side, resolve_recipe(parse_recipe(recipe)), None)


def asked(task: dict, recipe: dict = BUILTIN) -> ResolvedTask:
    return resolve(parse({"version": 1, "a": recipe, "b": recipe, "tasks": [task]})).tasks[0]


def put(made: Endpoint, store: Store, seed: int = 0) -> Cartography:
    """The endpoint as if it had been trained: what was followed has numbers that tell each row from the others."""
    rows = followed(made.recipe.training.rows, made.recipe.recipe)
    probability = np.random.default_rng(seed).random((5, len(rows))).astype(np.float32)
    drawn = Cartography(rows.ids, probability, probability > 0.5)
    work = store.work(made.fingerprint)
    drawn.write(work)
    store.put_folder(made.fingerprint, work, "model", {})
    return drawn


def test_a_sample_of_the_training_rows_is_joined_row_by_row(store: Store) -> None:
    made, task = end(BUILTIN), asked({"task": "builtin:speech", "split": "train", "limit": 64})
    drawn = put(made, store)
    found = join(made, task, store)
    assert isinstance(found, Joined) and found.places.tolist() == list(range(64))  # a smaller sample is part of a larger one
    where = {row: place for place, row in enumerate(drawn.ids.tolist())}
    for i, place in enumerate(found.places):
        row = int(task.rows.ids[place])
        assert found.cartography.ids[i] == row
        assert np.array_equal(found.cartography.probability[:, i], drawn.probability[:, where[row]])


def test_of_half_of_the_rows_those_are_joined_that_were_in_it(store: Store) -> None:
    task = asked({"task": "builtin:speech", "split": "train", "limit": 2000})
    for part in ("half-1", "half-2", 0.25):
        made = end(BUILTIN | {"rows": part})
        drawn, found = put(made, store), join(made, task, store)
        assert set(found.cartography.ids.tolist()) == set(drawn.ids.tolist()) & set(task.rows.ids.tolist())
        assert 0 < len(found.places) < 200 and (np.diff(found.places) > 0).all()
        assert set(found.cartography.ids.tolist()) <= set(made.recipe.training.rows.ids.tolist())


@pytest.mark.parametrize(
    ("task", "recipe", "why"),
    [
        ({"task": "builtin:speech", "limit": 300}, {}, "split"),  # validation rows have the same ids
        ({"task": "builtin:speech", "split": "all", "limit": 300}, {}, "split"),
        ({"task": "builtin:speech", "split": "train", "limit": 3},
         {"cartography": 2, "task": {"task": "builtin:speech", "sample_seed": 9, "limit": 50}}, "rows"),
        ({"task": "builtin:speech", "split": "train"}, {"cartography": 0}, "none"),
        ({"task": "builtin:speech", "split": "train"}, {"task": {"task": "builtin:order-austen"}}, "data"),
    ],
)  # fmt: skip
def test_what_was_not_followed_is_not_joined_by_chance(store: Store, task: dict, recipe: dict, why: str) -> None:
    made = end(BUILTIN | recipe)
    put(made, store)
    assert join(made, asked(task), store) == Apart("a", why)


def test_a_checkpoint_and_a_recipe_that_waits_say_so(store: Store, saved, rows) -> None:
    task = {"task": f"local:{rows}", "max_length": 16}
    recipe = BUILTIN | {"task": task}
    resolved = resolve(parse(tiny.experiment(recipe, recipe | {"head_seed": 2}, rows)))
    assert join(resolved.a, resolved.tasks[0], store) == Apart("a", "untrained")
    fixed = resolve(parse(tiny.experiment(saved("bert", 1), saved("bert", 2), rows)))
    assert join(fixed.b, fixed.tasks[0], store) == Apart("b", "checkpoint")


def test_a_model_without_its_cartography_or_with_another_one_has_none(store: Store) -> None:
    made, task = end(BUILTIN), asked({"task": "builtin:speech", "split": "train", "limit": 10})
    work = store.work(made.fingerprint)
    Cartography(np.arange(200), np.ones((5, 200), np.float32), np.ones((5, 200), bool)).write(work)  # ids of rows that were never chosen
    store.put_folder(made.fingerprint, work, "model", {})
    assert join(made, task, store) == Apart("a", "none")


def test_rows_of_a_file_are_the_same_rows_in_every_split_of_it(store: Store, tmp_path) -> None:
    file = tiny.learnable(tmp_path / "mine.csv", rows=60)
    recipe = BUILTIN | {"task": {"task": f"local:{file}", "split": "train"}}
    made = end(recipe)
    put(made, store)
    whole, held_out = (asked({"task": f"local:{file}", "split": split}, recipe) for split in ("all", "test"))
    found = join(made, whole, store)
    assert found.cartography.ids.tolist() == made.recipe.training.rows.ids.tolist()
    assert join(made, held_out, store) == Apart("a", "rows")


def test_a_row_that_is_read_by_another_column_is_another_row(store: Store, tmp_path) -> None:
    file = tmp_path / "mine.csv"
    with open(file, "w", newline="") as opened:
        csv.writer(opened).writerows([["one", "two", "label"], *([f"x {i}", f"y {i}", i % 2] for i in range(30))])
    recipe = BUILTIN | {"task": {"task": f"local:{file}", "text": "one", "label": "label"}}
    made = end(recipe)
    put(made, store)
    assert join(made, asked({"task": f"local:{file}", "text": "two", "label": "label"}, recipe), store) == Apart("a", "columns")
    assert len(join(made, asked({"task": f"local:{file}", "text": "one", "label": "label"}, recipe), store).places) == 30


def test_ids_that_two_splits_share_never_mix_in_a_result(store: Store) -> None:
    """Asked of all splits together an id names several rows: each keeps its own dynamics, and a result's lists of ids have none."""
    recipe = BUILTIN | {"task": {"task": "builtin:speech", "split": "all"}, "cartography": 2000}
    made, task = end(recipe), asked({"task": "builtin:speech", "split": "all", "limit": 2000}, recipe)
    assert len(set(task.rows.ids.tolist())) < len(task.rows)
    drawn, seen = put(made, store), followed(made.recipe.training.rows, made.recipe.recipe)
    found = join(made, task, store)
    assert found.places.tolist() == list(range(2000)) and [seen.texts[i] for i in range(2000)] == task.rows.texts
    assert np.array_equal(found.cartography.probability, drawn.probability)


def test_the_result_describes_rows_by_the_training_that_saw_them(store: Store) -> None:
    from browser_fixtures import carry_out, question

    told = collect(carry_out(question(tasks=[{"task": "builtin:speech", "split": "train", "limit": 64}]), store), store)
    assert told["tasks"][0]["knowledge"]["cartography"]["known"] == 64
    validation = collect(carry_out(question(), store), store)
    assert validation["tasks"][0]["knowledge"]["cartography"] is None


def test_what_is_followed_is_what_each_model_on_the_way_says_of_its_training_rows(store: Store, saved, tmp_path) -> None:
    """Every look, by a model that was stopped there and is read with transformers alone, one row at a time."""
    file = tiny.learnable(tmp_path / "rows.csv", rows=60)
    recipe = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "task": {"task": f"local:{file}", "split": "train", "max_length": 24},
              "steps": 10, "batch_size": 8, "learning_rate": 0.005, "cartography": 12}  # fmt: skip
    whole = resolve_recipe(parse_recipe(recipe))
    list(finetune(whole, store, "recipe"))
    drawn, rows = Cartography.read(store.folder(whole.fingerprint)), followed(whole.training.rows, whole.recipe)
    assert drawn.probability.shape == (LOOKS, 12) and drawn.ids.tolist() == rows.ids.tolist()
    seen = np.zeros((LOOKS, 12))
    hits = np.zeros((LOOKS, 12), bool)
    for look, step in enumerate((2, 4, 6, 8, 10)):
        stopped = resolve_recipe(parse_recipe(recipe | {"stop_at": step}))
        list(finetune(stopped, store, "recipe"))
        folder = store.folder(stopped.fingerprint)
        model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
        for row, (text, label) in enumerate(zip(rows.texts, rows.labels.tolist(), strict=True)):
            with torch.no_grad():
                chances = model(**tokenizer(text, truncation=True, max_length=24, return_tensors="pt")).logits[0].softmax(-1)
            seen[look, row], hits[look, row] = float(chances[label]), int(chances.argmax()) == label
    assert np.allclose(drawn.probability, seen, atol=1e-5) and np.array_equal(drawn.right, hits)
    for row in range(12):
        one = seen[:, row].tolist()
        mean = sum(one) / LOOKS
        assert drawn.confidence[row] == pytest.approx(mean, abs=1e-5)
        assert drawn.variability[row] == pytest.approx((sum((p - mean) ** 2 for p in one) / LOOKS) ** 0.5, abs=1e-5)
        assert drawn.correctness[row] == pytest.approx(hits[:, row].sum() / LOOKS)
        assert drawn.flips[row] == sum(a != b for a, b in itertools.pairwise(hits[:, row]))


def test_from_one_task_to_another_what_is_forgotten_is_what_plain_models_get_wrong(store: Store, saved, tmp_path) -> None:
    """B has another head: at each t a fresh model has A's head and the mixed rest, and reads each row with transformers alone."""
    source, target = tiny.learnable(tmp_path / "source.csv", rows=60), tiny.task(tmp_path / "target.csv", rows=40, labels=("red", "green", "blue"))
    recipe = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "steps": 20, "batch_size": 8, "learning_rate": 0.005}
    a, b = ({**recipe, "task": {"task": f"local:{file}", "max_length": 24}} for file in (source, target))
    asked = parse(tiny.experiment(a, b, {"task": f"local:{source}", "split": "all", "max_length": 24}, points=6))
    list(run(asked, store))
    resolved = resolve(asked)
    assert resolved.heads == ["a"]
    rows, folders = resolved.tasks[0].rows, [store.folder(end.fingerprint) for end in (resolved.a, resolved.b)]
    plain = np.stack([
        reference.logits(reference.mixed(*folders, t, only_a=("classifier",)), folders[0], rows.texts, 24).argmax(-1).numpy() == rows.labels
        for t in asked.ts()
    ], axis=1)  # fmt: skip
    joined = join(resolved.a, resolved.tasks[0], store)
    told = tell(grids.read(resolved, 0, store), joined)
    assert told.ts == (0, 0.2, 0.4, 0.6, 0.8, 1) and np.array_equal(told.right, plain)
    assert sum(part.forgotten.sum() for part in told.parts) > 0
    for i, part in enumerate(told.parts):
        assert part.forgotten.tolist() == (plain[:, i] & ~plain[:, i + 1]).tolist()
        assert part.learned.tolist() == (~plain[:, i] & plain[:, i + 1]).tolist()
    assert len(joined.places) == len(resolved.a.recipe.training.rows) and isinstance(join(resolved.b, resolved.tasks[0], store), Apart)
