"""The learning rate of every step of a recipe: up over the warm-up, then linearly down to zero, or level where nothing decays.

Two recipes whose rates agree step by step pass through the same states, whatever they call themselves. No torch here.
"""

from __future__ import annotations

import math

from mcore.question import Recipe

AGREE = 1e-12  # of a rate: far below what a float32 weight would notice


def learning_rate(step: int, steps: int, warmup: float, peak: float, decay: str | None = None) -> float:
    """The rate of step number ``step`` (from 0): linear up over ``warmup`` · steps, then linear down to zero; ``decay`` "none": level."""
    rise = max(1, math.ceil(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak if decay == "none" else peak * (steps - step) / (steps - rise + 1)


def rate_at(recipe: Recipe, step: int) -> float:
    """The learning rate of step number ``step`` (from 0) of the whole training, whose continuations begin anew."""
    first, begins = recipe.stop_at or recipe.steps, 0
    for steps, carried_out in [(recipe.steps, first), *((more, more) for more in recipe.continued or ())]:
        if step < begins + carried_out:
            return learning_rate(step - begins, steps, recipe.warmup, recipe.learning_rate, recipe.decay)
        begins += carried_out
    raise ValueError(f"the training has no step {step}")


def on_one_way(a: Recipe, b: Recipe) -> bool:
    """Whether the shorter of two trainings takes each of its steps at the rate of the other's: then it is a checkpoint of it.

    Only the rates are compared. A continuation makes a new optimiser, so both must have the same ones within the shorter.
    """
    fewer = min(a.last_step, b.last_step)
    begins = [[first for first, _ in _pieces(one) if first < fewer] for one in (a, b)]
    if begins[0] != begins[1]:
        return False
    bends = {at + near for one in (a, b) for first, rise in _pieces(one) for at in (first, first + rise) for near in (-2, -1, 0, 1)}
    steps = sorted({step for step in bends if 0 <= step < fewer} | {0, fewer - 1})  # between them both rates are straight lines
    rates = ((rate_at(a, step), rate_at(b, step)) for step in steps)
    return all(abs(one - other) <= AGREE * max(one, other) for one, other in rates)


def _pieces(recipe: Recipe) -> list[tuple[int, int]]:
    """Where the training and each of its continuations begins, and how many steps of it the rate rises."""
    begins, found = 0, []
    for steps, carried_out in [(recipe.steps, recipe.stop_at or recipe.steps), *((more, more) for more in recipe.continued or ())]:
        found.append((begins, max(1, math.ceil(recipe.warmup * steps))))
        begins += carried_out
    return found
