"""The inputs of a recipe: what is tuned, on what, for how long and with which seeds; whether a label is named by a head or in words."""

from __future__ import annotations

import streamlit as st

from mcore.errors import QuestionError
from mcore.profile import profile
from mcore.question import Task
from mcore.tasks import rows as tasks
from mcore.tasks.reading import language_heads, tuned_kind, with_template
from mcore.tasks.rowparts import TOLD
from mcore.tasks.templates import declared
from mcore.tuning.differing import SAID, USUAL
from mcore.ui import draft
from mcore.ui.forms import inputs
from mcore.ui.forms.hub import base_form
from mcore.ui.forms.method import method_form
from mcore.ui.forms.prompt import columns_form, prompt_form
from mcore.ui.html import show, text
from mcore.ui.limits import at_home
from mcore.ui.looked import at

OPTIMIZERS = {None: USUAL["optimizer"], **SAID}
DECAYS = {None: "linear, to zero", "none": "none"}
ANSWERS = {None: "With a new head", "answers": "In words"}
WORDS = "It stays a language model and is trained on the right answer's words; it is read by the likelihoods of all answers."


def recipe_form(side: str) -> None:
    """The whole form, with what few people change behind "More"."""
    base_form(side)
    inputs.task_field("Task", (side, "task", "task"), f"What it learns: a task that ships with the app{at_home(', or the path of a file')}.")
    in_words = _answers(side)
    method_form(side)
    left, right = st.columns(2)
    with left:
        inputs.recipe_field("Steps", side, "steps")
        inputs.recipe_field("Batch size", side, "batch_size")
        inputs.recipe_field("Learning rate", side, "learning_rate", "After warm-up; it falls to zero unless nothing decays.")
        inputs.choice_field("Optimiser", (side, "optimizer"), OPTIMIZERS, "AdamW keeps the weight decay apart from the gradient; Adam and SGD (momentum 0.9) add it there.")
    with right:
        inputs.number_field(
            "Stop at step", (side, "stop_at"),
            "Take the model at this step of the training, on the schedule of all steps. Empty: at the end.", draft.get((side, "steps"), 200),
        )  # fmt: skip
        if not in_words:
            inputs.recipe_field("Head seed", side, "head_seed", "Fixes how the new output layer starts.")
        inputs.recipe_field("Data seed", side, "data_seed", "Fixes the order of the rows and the dropout.")
        st.text_input(
            "Rows",
            help=f"Which part of the training split: {TOLD}. Two ranges have in common what they share.",
            placeholder="all",
            **draft.bound(f"in.{side}.rows", (side, "rows"), inputs.shown(draft.get((side, "rows"))), inputs.number),
        )
    with st.expander("More", key=f"more-{side}"):
        _more(side)


def become_recipe(side: str) -> None:
    """Turn the endpoint into a recipe on the checkpoint that it is, like the other end's where that is one."""
    base, other = draft.get((side,)), draft.get(("b" if side == "a" else "a",))
    like = other if isinstance(other, dict) else {"task": {"task": draft.get(("tasks", 0, "task"))}}
    draft.put((side,), {**like, "base": base if str(base).startswith(("builtin:", "hub:")) and base != "hub:?" else inputs.family_steps()[-1]})


def _answers(side: str) -> bool:
    """Whether it answers in words, which is offered where the base is a language model; how it is asked, where it does."""
    path, given = (side, "task"), draft.get((side, "task", "read"))
    base = at(str(draft.get((side, "base"), "")), f"{side}.base")
    speaks = base is not None and base.labels is None and bool(language_heads(base.config))
    if not speaks and given in (None, "head"):
        return False
    inputs.choice_field("How it answers", (*path, "read"), ANSWERS)
    if given != "answers":
        return False
    show(text(WORDS, "quiet"))
    used, labels = _used(side, base.config if base else {})
    with st.expander("Prompt and answers", key=f"prompt-{side}", expanded=used is None or not used.answers):
        prompt_form(path, used, labels)
    return True


def _used(side: str, config: dict) -> tuple[Task | None, tuple[str, ...]]:
    """The task with the prompt and answers that hold, and the labels of its data, as far as that is known without fetching anything."""
    try:
        asked = Task.model_validate(draft.get((side, "task")))
        asked = with_template(asked, tuned_kind(asked, language_heads(config), False, f"{side}.task"))
        if asked.task.startswith("hub:") or (profile().hosted and asked.task.startswith("local:")):
            known = declared(asked.task)
            return asked, known.labels if known else ()
        named, rows = tasks.open_task(asked, f"{side}.task", "train")
    except (ValueError, QuestionError):
        return None, ()
    return named, rows.names


def _more(side: str) -> None:
    left, right = st.columns(2)
    with left:
        inputs.recipe_field("Weight decay", side, "weight_decay")
        inputs.recipe_field("Warm-up", side, "warmup", "A fraction of the steps.")
        inputs.number_field("Max length", (side, "task", "max_length"), "Tokens; longer texts are cut.", 128)
        st.text_input(
            "Continued for",
            help="Further steps after that, each time with a new optimiser, warm-up and decay: 100, or 100, 50.",
            **draft.bound(f"in.{side}.continued", (side, "continued"), inputs.shown(draft.get((side, "continued"))), inputs.counts),
        )
    with right:
        inputs.recipe_field("Gradient clip", side, "clip", "The largest norm of a step's gradient.")
        inputs.choice_field("Decay", (side, "decay"), DECAYS, "How the learning rate falls after the warm-up. With none, each checkpoint is what a shorter training ends with.")
        inputs.number_field("Limit", (side, "task", "limit"), "Train on a sample of this many rows.")
        inputs.recipe_field("Rows followed", side, "cartography", "Training rows whose confidence is followed while it trains.")
    if str(draft.get((side, "task", "task"), "")).startswith(("local:", "hub:")):
        columns_form((side, "task"))
