"""The inputs of the Pre-training page: a history, its steps, a task or two, seeds, and what few people change.

Each is set from the view in the address before it is drawn and writes what a person gives it there, so that a link, the
browser's back and a click do the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from mcore.errors import QuestionError
from mcore.hub import access
from mcore.hub.refusals import NoAnswer
from mcore.hub.search import reachable
from mcore.models.checkpoints import families
from mcore.profile import at_home as at_home_instead
from mcore.profile import profile
from mcore.studies import history as histories
from mcore.studies.history import PLACE, History
from mcore.studies.pretraining import MOST_CHOSEN, MOST_SEEDS
from mcore.tasks import rows as tasks
from mcore.ui import addresses, draft
from mcore.ui.forms import inputs
from mcore.ui.limits import at_home
from mcore.ui.pretraining.view import View, chosen, number, read, written
from mcore.ui.waiting import patiently

ON_THE_HUB = {
    "hub:google/multiberts-seed_0-step_{step}k": "MultiBERTs seed 0, on the Hub",
    "hub:yanaiela/roberta-base-epoch_{step}": "RoBERTa-base by epoch, on the Hub",
}
MOST_PILLS = 14  # steps that are shown as pills; of more one is chosen from a list
NO_OTHER = "none"
STANDS_IN = "0step0"  # for {step}, in a form that a name on the Hub may have


def look(**changes: object) -> None:
    """Write a changed view into the address; another history begins with its own choice of steps."""
    view, _ = read(st.query_params)
    if "base" in changes:
        changes = {"steps": None} | changes
    write(replace(view, **changes))


def write(view: View) -> None:
    """Put the view into the address as one step back. What else stands there stays: inputs that are bound to it let nobody else take it out."""
    now, told = st.query_params.to_dict(), written(view)
    wanted = told | {name: "" for name in vars(view) if name not in told and name in now}
    if changed := {name: value for name, value in wanted.items() if now.get(name) != value}:
        st.query_params.update(changed)


def known_history(view: View) -> History:
    """The history of the view. Where the Hub does not answer, a pattern stands for itself. Raises ``QuestionError``."""
    name = histories.check(view.base)
    if name.startswith("local:") and profile().hosted:  # before anything that it names is looked for
        raise QuestionError("base", "this host opens no files of its own", f"use what ships with the app or stands on the Hub, or {at_home_instead()}")
    if not name.startswith("hub:"):
        return histories.history(name)
    part = access.private_part()

    def looked_for() -> History:
        if not reachable():
            right = "choose a family that ships with the app, or try again in half a minute"
            raise NoAnswer("base", f"the Hub did not answer for {name}: there is no network", right)
        return _asked_for(name, part)

    try:
        return patiently(looked_for, f"On the Hub: looking for the steps of {name.removeprefix('hub:')} …")
    except NoAnswer:
        if PLACE not in name:
            raise
        return histories.history(name, stranded=True)


@st.cache_data(show_spinner=False, ttl=600, max_entries=64)
def _asked_for(name: str, part: str | None) -> History:
    return histories.history(name)


def sweep_form(view: View, known: History | None) -> None:
    """``known``: None where the history cannot be read; then it alone can be changed."""
    with st.container(key="strip"):
        first, second, third, fourth = st.columns([1.5, 1.2, 1.2, 0.7])
        with first:
            _base(view)
        with second:
            _task("Task", "task", view.task)
        with third:
            _task("Second task", "other", view.other)
        with fourth:
            about = "Of each step so many models are tuned, and every two of them are a pair."
            st.selectbox("Seeds", range(2, MOST_SEEDS + 1), help=about, **_bound("seeds", view.seeds))
        if known is not None:
            _steps(view, known)
        _more(view)


def _base(view: View) -> None:
    options = [*(f"builtin:{name}" for name in families()), *ON_THE_HUB]
    st.selectbox(
        "Model with a history", options if view.base in options else [*options, view.base], format_func=_base_name, accept_new_options=True,
        help="What ships with the app; a repository on the Hub whose branches are named by steps (ORG/NAME); "
        f"or a family of repositories, with {{step}} where the number stands (ORG/NAME-step_{{step}}k){at_home('; or a folder with a folder for each step')}.",
        **_bound("base", view.base, _understood),
    )  # fmt: skip


def _task(label: str, name: str, given: str | None) -> None:
    known = [*(f"builtin:{one}" for one in tasks.declarations()), *tasks.known()]
    known = known if given is None or given in known else [*known, given]
    none = [NO_OTHER] if name == "other" else []
    second = "With one, A is tuned on the first task and B on the second: how well are both kept on the line?"
    told = "Its models are paired by their seeds." if name == "task" else second
    st.selectbox(
        label, [*none, *known], format_func=inputs.task_shown, accept_new_options=True, help=told,
        **_bound(name, given or NO_OTHER, lambda words: None if words in (None, NO_OTHER) else addresses.data(words)),
    )  # fmt: skip


def _steps(view: View, known: History) -> None:
    """Which steps of the history: pills where they are few."""
    now = [str(step) for step in chosen(view, known)]
    every = list(dict.fromkeys([*map(str, known.steps), *now]))
    every.sort(key=int)
    if known.steps and len(every) <= MOST_PILLS:
        st.pills("Steps", every, selection_mode="multi", format_func=lambda one: f"{int(one):,}", **_bound("steps", now, _step_numbers))
        return
    typed = "" if known.steps else "The Hub did not say which steps there are: type them."
    st.multiselect(
        "Steps", every, format_func=lambda one: f"{int(one):,}" if one.isdigit() else one, accept_new_options=not known.steps, max_selections=MOST_CHOSEN,
        placeholder="Choose steps" if known.steps else "Type a step, then Enter", help=f"Up to {MOST_CHOSEN}. {typed}".strip(),
        **_bound("steps", now, _step_numbers),
    )  # fmt: skip


def _step_numbers(given: list[str]) -> tuple[int, ...] | None:
    return tuple(sorted({int(digits) for one in given if (digits := one.replace(",", "")).isdigit()})) or None


def _more(view: View) -> None:
    with st.expander("More", key="sweep-more"):
        fields = (
            ("Training steps", "train", view.train, None), ("Rows in a batch", "batch", view.batch, None),
            ("Learning rate", "rate", view.rate, None), ("Rows evaluated", "rows", view.rows, "Of each task, held out."),
            ("Points on the line", "points", view.points, "Evenly spaced t, ends included."),
            ("Longest text", "longest", view.longest, "In tokens; what is longer is cut. Left empty: what the model reads, at most 128."),
        )  # fmt: skip
        columns = [*st.columns(3), *st.columns(3)]
        for (label, name, given, told), column in zip(fields, columns, strict=True):
            with column:
                st.text_input(label, help=told, **_bound(name, inputs.shown(given), _number))


def _number(words: str) -> int | float | str | None:
    """What is no number is written as it is, and told of when the address is read."""
    value = number(words)
    return (words.strip()[:40] or None) if value is None else int(value) if value == int(value) else value


def _bound(name: str, shown: object, understood: Callable = lambda value: value) -> dict:
    """The arguments that make an input show ``shown`` and write what a person gives it to the view's ``name``."""
    key = f"sweep-{name}"
    draft.set_value(key, shown)
    return {"key": key, "on_change": _taken, "args": (key, name, understood)}


def _taken(key: str, name: str, understood: Callable) -> None:
    value = understood(st.session_state[key])
    standard = getattr(View(), name)
    look(**{name: standard if value is None else value})


def _understood(words: str | None) -> str | None:
    """An address of a history from what is typed or pasted."""
    return addresses.checkpoint(words.replace(PLACE, STANDS_IN)).replace(STANDS_IN, PLACE) if words else None


def _base_name(address: str) -> str:
    if address.startswith("builtin:"):
        return f"{address.removeprefix('builtin:')}, ships with the app"
    return ON_THE_HUB.get(address, address.removeprefix("hub:"))
