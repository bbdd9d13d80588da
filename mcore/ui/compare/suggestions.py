"""The next step that a result suggests, as a changed question where it is one. No Streamlit here.

``words.meaning`` says it in a sentence; the sentences that change the question are known here by a phrase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mcore.models.checkpoints import families
from mcore.question import Experiment, Recipe, as_written, parse
from mcore.tuning.differing import differences

MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Suggestion:
    """A changed question, and what changes in a few words."""

    label: str
    question: Experiment


def suggestion(sentence: str, question: Experiment) -> Suggestion | None:
    """The change that ``sentence`` proposes; None where it proposes something else than a change of this question."""
    for phrase, change in CHANGES.items():
        if phrase in sentence:
            written = as_written(question)
            label = change(written, question, sentence)
            changed = parse(written) if label else question
            return Suggestion(label, changed) if changed != question else None
    return None


def _other_head(written: dict, question: Experiment, sentence: str) -> str:
    return _set(written, question, "b", head_seed=max(question.a.head_seed, question.b.head_seed) + 1)


def _same_head(written: dict, question: Experiment, sentence: str) -> str:
    return _set(written, question, "b", head_seed=question.a.head_seed)


def _same_rows(written: dict, question: Experiment, sentence: str) -> str:
    return _set(written, question, "b", rows=question.a.rows)


def _same_base(written: dict, question: Experiment, sentence: str) -> str:
    return _set(written, question, "b", base=question.a.base)


def _more_steps(written: dict, question: Experiment, sentence: str) -> str:
    for side in "ab":
        if "both" in sentence or f"Train {side.upper()} " in sentence:
            label = _set(written, question, side, steps=2 * getattr(question, side).steps)
    return label


def _earlier(written: dict, question: Experiment, sentence: str) -> str:
    return _move(written, question, -1)


def _later(written: dict, question: Experiment, sentence: str) -> str:
    return _move(written, question, 1)


def _more_points(written: dict, question: Experiment, sentence: str) -> str:
    written["points"] = max(26, 2 * len(question.ts()) - 1) if len(question.ts()) < 500 else 1001
    return f"Ask for {written['points']:,} points"


def _more_rows(written: dict, question: Experiment, sentence: str) -> str:
    limit = question.tasks[0].limit
    if limit is None or 4 * limit > MOST_ROWS:
        return ""
    for task in written["tasks"]:
        task["limit"] = 4 * limit
    return f"Evaluate up to {4 * limit:,} rows"


def _curve(written: dict, question: Experiment, sentence: str) -> str:
    """As many steps as the fine-tuning took, where there was one here."""
    like = {"steps": question.a.last_step, "batch_size": question.a.batch_size, "learning_rate": question.a.learning_rate} if isinstance(question.a, Recipe) else {}
    written["path"] = {"kind": "bezier", "bends": 1, **like}
    return "Fit a curve with one bend"


def _one_more_bend(written: dict, question: Experiment, sentence: str) -> str:
    count = (question.path.bends or 1) + 1
    if count > 4:
        return ""
    written["path"] = {**written["path"], "bends": count}
    return f"Fit it with {count} bends"


def _straight(written: dict, question: Experiment, sentence: str) -> str:
    written["path"] = {"kind": "linear"}
    return "Ask for the straight line"


# The first phrase that a sentence holds counts.
CHANGES: dict[str, Callable[[dict, Experiment, str], str]] = {
    "another head seed": _other_head,
    "the same head seed": _same_head,
    "from an earlier pre-training step": _earlier,
    "from the same pre-training step": _same_base,
    "from a later pre-training step": _later,
    "Train both on the same rows": _same_rows,
    "for more steps first": _more_steps,
    "Ask for more points": _more_points,
    "Evaluate more rows": _more_rows,
    "A curve with one bend": _curve,
    "one more bend": _one_more_bend,
    "See the straight line": _straight,
}


def _set(written: dict, question: Experiment, side: str, **fields: object) -> str:
    """Change fields of a recipe; what changes in words ("" where the endpoint is none)."""
    if not isinstance(written[side], dict):
        return ""
    written[side] |= fields
    changed = Recipe.model_validate(written[side])
    return f"{side.upper()}: {differences(getattr(question, side), changed).partition(';')[0]}"


def _move(written: dict, question: Experiment, by: int) -> str:
    """Start both from the step before or after in the family."""
    if not isinstance(question.a, Recipe) or not isinstance(question.b, Recipe) or question.a.base != question.b.base:
        return ""
    name, _, step = question.a.base.removeprefix("builtin:").partition("@")
    steps = families().get(name, [])
    place = steps.index(int(step)) + by if step.isdigit() and int(step) in steps else -1
    if not 0 <= place < len(steps):
        return ""
    for side in "ab":
        written[side]["base"] = f"builtin:{name}@{steps[place]}"
    return f"Start both from step {steps[place]:,}"
