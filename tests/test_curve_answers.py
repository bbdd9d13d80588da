"""Paths that are fitted on answers in words: the same bends and shares, by the loss that a language model is tuned with."""

from __future__ import annotations

import json

import numpy as np
import plain_training
import pytest
import tiny
import torch
from torch.func import functional_call
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from mcore.coefficients import Path
from mcore.errors import Cancelled, QuestionError
from mcore.events import Fitting
from mcore.live.model import open_live
from mcore.models.checkpoints import look_at
from mcore.paths.fitter import Fitter
from mcore.question import PathSpec, Task, parse
from mcore.resolve import resolve
from mcore.resolved import ResolvedTask
from mcore.result import collect
from mcore.run import run
from mcore.store import Store
from mcore.tasks.rows import open_task
from mcore.tuning.finetune import batch_of
from mcore.tuning.objectives import AnswerObjective

KINDS = {"t5": "seq2seq", "gpt2": "causal", "bert": "masked"}
OPENERS = {"t5": AutoModelForSeq2SeqLM, "gpt2": AutoModelForCausalLM, "bert": AutoModelForMaskedLM}
PROMPTS = {"t5": "was she: {text}", "gpt2": "{text}. she was", "bert": "she was {mask} and {text}"}
WORDS = ["sad", "merry"]
STEPS = 16


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny.learnable(tmp_path_factory.mktemp("learnable") / "rows.csv", rows=160)


@pytest.fixture(scope="module")
def question(saved, task):
    """question(family, path's fields …): an experiment with a path that is fitted on answers."""

    def make(family="t5", asked=None, **path):
        both = [saved(family, seed, opener=OPENERS[family]) for seed in (1, 2)]
        told = {"task": f"local:{task}", "max_length": 64, "split": "validation", "template": PROMPTS[family], "answers": WORDS, **(asked or {})}
        return tiny.experiment(*both, told, path={"kind": "bezier", "steps": STEPS, "batch_size": 8, "learning_rate": 0.005, **path})

    return make


def fitted(question, store, **how):
    """The folder of the path, and the events."""
    told = list(run(parse(question), store, **how))
    return store.folder(resolve(parse(question)).route.fingerprint), told


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("kind", ["bezier", "mix"])
def test_the_gradient_is_that_of_differentiation_through_the_blend(family, kind, saved, task, tmp_path):
    """By a plain loop's loss of the right answer, to bends and to shares."""
    ends = [look_at(saved(family, seed, opener=OPENERS[family]), f"local:{seed}", side) for seed, side in ((1, "a"), (2, "b"))]
    live = open_live(*ends, "a", Store(tmp_path / "fits"), KINDS[family])
    for module in live.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    asked = Task(task=f"local:{task}", split="train", read="answers", template=PROMPTS[family], answers=WORDS)
    named, rows = open_task(asked, "task", "train")
    objective = AnswerObjective(live.model, live.tokenizer, ResolvedTask(named, rows, 64, "answers"), KINDS[family], "task")
    spec = PathSpec(kind=kind, steps=9, seed=0, learning_rate=0.01, **({"per": "layer"} if kind == "mix" else {"bends": 1}))
    fit = Fitter(live, Path(spec, output_layer=live.output_layer), "both", objective, tmp_path)
    t, places = 0.37, batch_of(0, len(rows), 8, 0)
    torch.manual_seed(3)
    for number in fit.way.numbers:
        number.copy_(0.05 * torch.randn_like(number))
    a, b = ({name: live.weights[side].read(name) for name in live.tensors} for side in "ab")
    plain = plain_training.answering(_Called(live.model), AutoTokenizer.from_pretrained(ends[0].folder), rows.texts, [WORDS[label] for label in rows.labels])
    if kind == "mix":
        leaves = [fit.way.raw.clone().requires_grad_()]
        share = dict(zip(fit.way.groups, torch.sigmoid(leaves[0]), strict=True))
        weights = {n: a[n] + share[fit.way.group[n]] * (b[n] - a[n]) for n in fit.way.names}
    else:
        leaves = [(0.5 * a[n] + 0.5 * b[n] + fit.way.away[0][n]).requires_grad_() for n in fit.way.names]
        weights = {n: (1 - t) ** 2 * a[n] + t**2 * b[n] + 2 * t * (1 - t) * leaf for n, leaf in zip(fit.way.names, leaves, strict=True)}
    _Called.weights = weights
    live.model.train()
    plain(places.tolist()).backward()
    kept = {}
    fit.optimizer.step = lambda: kept.update({i: number.grad.clone() for i, number in enumerate(fit.way.numbers) if number.grad is not None})
    fit.step(places, t, 0.0)
    assert kept and all(torch.allclose(gradient, leaves[i].grad, atol=2e-5) for i, gradient in kept.items())
    assert all(leaf.grad is None or not leaf.grad.abs().max() > 2e-5 for i, leaf in enumerate(leaves) if i not in kept)


class _Called:
    """A model that is called with other weights, differentiably."""

    weights: dict = {}

    def __init__(self, model):
        self.model, self.config = model, model.config

    def __call__(self, **inputs):
        return functional_call(self.model, self.weights, kwargs=inputs)


@pytest.mark.parametrize(("family", "path"), [("t5", {}), ("gpt2", {"kind": "chain", "bends": 2, "train": "last:1"}), ("bert", {"kind": "mix", "learning_rate": 0.05})])
def test_a_path_is_fitted_on_answers_and_lowers_their_loss(family, path, question, store):
    folder, told = fitted(question(family, steps=60, **path), store)
    curve = json.loads((folder / "curve.json").read_text())["loss"]
    assert len(curve) == 60 and np.mean(curve[-15:]) < np.mean(curve[:15])
    straight = {**question(family), "path": {"kind": "linear"}}
    list(run(parse(straight), store))
    bent, line = (collect(resolve(parse(one)), store)["tasks"][0]["loss"] for one in (question(family, steps=60, **path), straight))
    assert (bent[0], bent[-1]) == (line[0], line[-1])
    assert bent[1] < line[1] or family == "bert"  # a mix of two random models learns the words' place in the vocabulary first
    assert any(isinstance(event, Fitting) for event in told)


def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(question, store, tmp_path):
    count = iter(range(10_000))
    with pytest.raises(Cancelled):
        list(run(parse(question()), store, stop=lambda: next(count) >= 9))
    folder, told = fitted(question(), store)
    assert next(event for event in told if isinstance(event, Fitting)).step > 0
    straight, _ = fitted(question(), Store(tmp_path / "other"))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {file.name: file.read_bytes() for file in straight.iterdir()}


def test_it_is_fitted_on_training_rows_asked_as_those_that_are_evaluated(question, task):
    resolved = resolve(parse(question()))
    fitting = resolved.route.fitting
    assert fitting.answers == tuple(WORDS) and all(text.startswith("was she: ") for text in fitting.texts)
    assert not set(fitting.texts) & set(resolved.tasks[0].rows.texts)
    other = resolve(parse(question(task={"task": f"local:{task}", "split": "train"})))
    assert other.route.fitting.digest == fitting.digest and other.route.fingerprint == resolved.route.fingerprint
    asked = {"template": "{text} so", "answers": WORDS[::-1]}
    assert resolve(parse(question(asked=asked))).route.fingerprint != resolved.route.fingerprint


def test_what_is_no_answer_is_fitted_on_nothing(question):
    with pytest.raises(QuestionError, match=r"^path\.kind: a bezier is fitted through a classification head or on answers, and the first task is read by its tokens"):
        resolve(parse(question("gpt2", asked={"template": None, "answers": None, "read": "tokens", "text": "text"})))
