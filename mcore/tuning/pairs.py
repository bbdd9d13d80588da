"""Pairs of recipes that pose a question: each differs in one thing, so that what follows can be put down to it."""

from __future__ import annotations

from dataclasses import dataclass

from mcore.models.checkpoints import families
from mcore.models.methods import SEEDED, of_its_method
from mcore.presets import first_question

OWN = ("stop_at", "continued", "rows")  # what a pair before this one may have left in a recipe


@dataclass(frozen=True)
class Pair:
    """``both`` is what the two recipes are given, ``b`` what B has other than A."""

    name: str
    asks: str
    both: dict
    b: dict


def pairs() -> list[Pair]:
    """The questions that the Fine-tune page offers."""
    name, steps = next(iter(families().items()))
    seeds = {"head_seed": 1, "data_seed": 1}
    return [
        Pair("Only the head differs", "Does it matter where the new output layer starts?", seeds, {"head_seed": 2}),
        Pair("Only the order of the data differs", "Does another order of the same rows lead elsewhere?", seeds, {"data_seed": 2}),
        Pair(
            f"From step {steps[0]} and from step {steps[-1]:,}", "What does pre-training change about where fine-tuning ends?",
            {**seeds, "base": f"builtin:{name}@{steps[0]}"}, {"base": f"builtin:{name}@{steps[-1]}"},
        ),
        Pair(
            "Disjoint halves of the data", "Do models that never saw a common row reach one basin?",
            {**seeds, "rows": "half-1"}, {"rows": "half-2"},
        ),
        Pair(
            "Halves with half in common", "Does sharing some of the rows bring two models together?",
            {**seeds, "rows": "0-0.5"}, {"rows": "0.25-0.75"},
        ),
        Pair(
            "Only the adapter's start differs", "Does it matter where what is added to the base starts?",
            {**seeds, "delta_seed": 1}, {"delta_seed": 2},
        ),
        Pair(
            "Everything tuned, or LoRA", "Does tuning two thin factors lead to where tuning every weight does?",
            {**seeds, "method": "full"}, {"method": "lora"},
        ),
    ]  # fmt: skip


def pose(pair: Pair, like: dict) -> tuple[dict, dict]:
    """The two recipes as an author would write them, in all that the question is not about like ``like``."""
    plain = {name: value for name, value in like.items() if name not in OWN}
    both = dict(pair.both)
    if plain.get("method") in SEEDED and "method" not in both:
        both["delta_seed"] = 1  # else it goes with the seed of the head
    elif "delta_seed" in both:
        both["method"] = "adapter"
    if str(plain["base"]).endswith("@0"):  # it comes from such a pair; the others ask about a base that has learned
        plain["base"] = first_question().a.base
    a = of_its_method(plain | both)
    return a, of_its_method(a | pair.b)


def posed(pair: Pair, a: object, b: object) -> bool:
    """Whether these two are what the pair asks about."""
    return isinstance(a, dict) and isinstance(b, dict) and (a, b) == pose(pair, a)
