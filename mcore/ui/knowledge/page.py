"""The Knowledge page: which examples are mastered along the path, for the question in the address.

One fragment follows a running job and draws the page again when a point has arrived; another one draws
the examples and answers to what is brushed and clicked there without the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from mcore import presets
from mcore.errors import QuestionError
from mcore.evaluation import measures
from mcore.knowledge import grid as grids
from mcore.knowledge.forgetting_told import Told, tell
from mcore.knowledge.grid import Grid
from mcore.names import endpoint_name
from mcore.paths.ways import endpoints, ends
from mcore.plan import wanted
from mcore.question import Experiment, parse
from mcore.resolve import resolve
from mcore.tuning.followed import Apart, Joined, join
from mcore.ui import address, draft, engine
from mcore.ui.compare.answer import pause, shipped_mark
from mcore.ui.differs import differs
from mcore.ui.engine import Standing
from mcore.ui.forms import token
from mcore.ui.guard import guarded
from mcore.ui.html import mark, rich, show, text
from mcore.ui.knowledge.examples import examples, task_choice
from mcore.ui.knowledge.flow import flow
from mcore.ui.knowledge.forgetting import forgetting
from mcore.ui.knowledge.held import who_knows_what
from mcore.ui.knowledge.looking import look, seen
from mcore.ui.knowledge.strip import strip
from mcore.ui.knowledge.view import TABS
from mcore.ui.progress import progress

COMPARE, TAB = "pages/1_Compare.py", "knowledge-tab"
SAID = (
    "Which examples does the model at each t master, which are [forgotten] on the [path] from A to B, and which are "
    "[learned]? An example is [mastered] at t if its label is predicted right there."
)
NO_LABELS = {  # whether tokens are read
    True: "This task is read by the loss of its texts' own tokens: no example is right or wrong, so none is mastered or forgotten.",
    False: "This task is to predict a number: no example has a label that could be mastered or forgotten.",
}
STYLE = """<style>
.mc-legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: 0; font-size: .85rem; line-height: 1.5; }
.mc-legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .4rem; vertical-align: -.08rem; }
.mc-legend i.mc-wide { width: 2.6rem; }
.mc-example { font-size: 1rem; line-height: 1.55; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 15rem;
  overflow: auto; border-left: 3px solid var(--mc-line); padding: .1rem .8rem; margin: 0 0 .5rem; }
.st-key-knowledge-status { min-height: 3.2rem; }
:is(.st-key-forgetting, .st-key-held) .mc-table td.mc-left { white-space: nowrap; }
@media (max-width: 640px) { :is(.st-key-flow, .st-key-examples, .st-key-forgetting, .st-key-held) [data-testid="stHorizontalBlock"] { gap: 1rem; } }
</style>"""


def knowledge() -> None:
    """Draw the page."""
    link_wrong = address.read("knowledge", presets.first_question())
    show(STYLE)
    show("<h1>Knowledge along the path</h1>", rich(SAID, "quiet"))
    if link_wrong:
        show(text(link_wrong, "error"))
    question = None
    try:
        question = draft.experiment()
        now = engine.standing(question)
    except QuestionError as wrong:
        show(text(str(wrong), "error"))
        token.offer(wrong, "wrong")
        _to_compare("Put it right in Compare", question)
        _shipped("Until the question can be answered, here is what the first one's examples do.")
        return
    if not link_wrong:
        address.write(question)
    _asked(now)
    if len(endpoints(now.resolved.route.spec)) < 2:
        first, last = ends(now.resolved.route.spec)
        show(text(f"This path leads only part of the way: A stands here for {first} (t = 0), B for {last} (t = 1).", "note"))
    strip(now, seen(len(question.tasks)).task)
    st.fragment(_status, run_every=pause() if now.active else None)(question, now.stored, now.active)
    chosen = task_choice(question)
    if not measures.by_label(now.resolved.tasks[chosen]):
        show(text(f"{NO_LABELS[now.resolved.tasks[chosen].read == 'tokens']} Compare shows how loss and accuracy change along the path.", "note"))
        return
    grid = _grid(now.resolved.fingerprint, chosen, now.stored, now.job.finished if now.job else None, now)
    if grid is None:
        _shipped("This is what it will look like: the first question's, which ships with the app.")
        return
    _tabs(grid, now, chosen)


def _tabs(grid: Grid, now: Standing, number: int) -> None:
    """What there is to see of one task's answer; only the open one is drawn."""
    asked, stamp = wanted(now.resolved), f"{now.resolved.fingerprint}/{number}/{grid.stamp}"
    drawn = {"examples": _examples, "forgetting": _forgetting, "held": _held}
    draft.set_value(TAB, TABS[seen(len(now.question.tasks)).tab])
    for name, tab in zip(TABS, st.tabs(list(TABS.values()), key=TAB, on_change=_tab_chosen), strict=True):
        if tab.open:
            with tab:
                st.fragment(_guarded)(drawn[name], grid, asked, stamp, now, number)


def _tab_chosen() -> None:
    look(tab=next(name for name, told in TABS.items() if told == st.session_state[TAB]))


def _guarded(draw_tab: Callable[..., None], *given: object) -> None:
    with guarded():
        draw_tab(*given)


def _asked(now: Standing) -> None:
    """The question in two lines, and the way to where it can be changed."""
    question = now.question
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        with st.container(width="stretch"):
            a, b = (text(f"{side.upper()}  {endpoint_name(end)}", "end").replace("mc-end", f"mc-end mc-{side}")
                    for side, end in (("a", question.a), ("b", question.b)))  # fmt: skip
            show(a, b, differs(question, now, "quiet"))
        with st.container(width="content", gap="xsmall"):
            _to_compare("Change it in Compare", question)
            if now.complete:
                beside = address.query(question) | {"tab": "Representations"}
                st.page_link(COMPARE, label="What its layers hold", query_params=beside, icon=":material/layers:")


def _to_compare(label: str, question: Experiment | None) -> None:
    """Where there is no question, what was typed in Compare stands there still."""
    st.page_link(COMPARE, label=label, query_params=address.query(question) if question else None, icon=":material/tune:")


def _status(question: Experiment, stored: int, active: bool) -> None:
    """Where the answer stands; draws the page again when there is more of it."""
    with guarded():
        now = engine.standing(question)
        if (now.stored, now.active) != (stored, active):
            st.rerun()
        with st.container(key="knowledge-status"):
            if now.active:
                stream = [event for _, event in engine.engine().jobs.events(now.job.id)]
                told = progress(now.resolved, stream, now.points, now.stored)
                waiting, ahead = now.job.state == "queued", (now.job.place or 1) - 1
                queued = f"In the queue, {ahead} ahead of this" if ahead else "Next in the queue"
                st.progress(0.0 if waiting else told.fraction, text=queued if waiting else told.told())
            elif now.complete:
                show(f"<p>{mark('from the store')}</p>")
            else:
                _missing(now)


def _missing(now: Standing) -> None:
    if now.job and now.job.state in ("failed", "cancelled"):
        show(text(now.job.sentence, "note" if now.job.state == "cancelled" else "error"))
    rows, tasks = sum(len(task.rows) for task in now.resolved.tasks), len(now.resolved.tasks)
    training = " and ".join(side.upper() for side, there in now.trained.items() if not there)
    first = f"fine-tunes {training}, then " if training else ""
    kept = f"{now.stored:,} of {now.points:,} points so far, as the picture shows." if now.stored else "Nothing is computed yet."
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        show(text(f"{kept} Run {first}evaluates {(now.points - now.stored) // tasks:,} points on {rows:,} rows.", "note"))
    with right:
        st.button("Run", type="primary", icon=":material/play_arrow:", key="knowledge-run", on_click=engine.submit, args=(now,), width="stretch")


@st.cache_resource(show_spinner=False, max_entries=8, ttl=1800)
def _grid(fingerprint: str, number: int, stored: int, finished: float | None, _now: Standing) -> Grid | None:
    return grids.read(_now.resolved, number, engine.engine().store)


def _examples(grid: Grid, asked: Sequence[float], stamp: str, now: Standing, number: int) -> None:
    flow(grid, asked)
    with st.container(key="examples"):
        examples(grid, asked, stamp, lambda place: _along(stamp, place, number, grid.ts, now), len(now.question.tasks))


def _forgetting(grid: Grid, asked: Sequence[float], stamp: str, now: Standing, number: int) -> None:
    joins, joined = _joins(now, number)
    told = _told(f"{stamp}/{joined.side if joined else ''}", grid, joined)
    with st.container(key="forgetting"):
        forgetting(told, joins, now, number, asked, lambda place: _along(stamp, place, number, grid.ts, now))


def _held(grid: Grid, asked: Sequence[float], stamp: str, now: Standing, number: int) -> None:
    joins, joined = _joins(now, number)
    told = _told(f"{stamp}/{joined.side if joined else ''}", grid, joined)
    with st.container(key="held"):
        who_knows_what(told, joins, len(now.question.tasks), lambda place: _along(stamp, place, number, grid.ts, now), ends(now.resolved.route.spec))


def _joins(now: Standing, number: int) -> tuple[list[Joined | Apart], Joined | None]:
    """What the trainings of A and B tell of the rows, and the one of them that is looked at."""
    joins = [_join(now.resolved.fingerprint, number, side, str(now.trained.get(side)), now) for side in "ab"]
    known = {one.side: one for one in joins if isinstance(one, Joined)}
    return joins, known.get(seen(len(now.question.tasks)).of) or next(iter(known.values()), None)


@st.cache_resource(show_spinner=False, max_entries=16, ttl=1800)
def _join(fingerprint: str, number: int, side: str, trained: str, _now: Standing) -> Joined | Apart:
    return join(_now.resolved.endpoint(side), _now.resolved.tasks[number], engine.engine().store)


@st.cache_resource(show_spinner=False, max_entries=16, ttl=1800)
def _told(stamp: str, _grid: Grid, _joined: Joined | None) -> Told:
    return tell(_grid, _joined)


@st.cache_data(show_spinner=False, max_entries=64)
def _along(stamp: str, place: int, number: int, ts: tuple[float, ...], _now: Standing) -> np.ndarray:
    return grids.along(_now.resolved, number, engine.engine().store, ts, place)


def _shipped(offer: str) -> None:
    """The shipped result as far as it tells of single examples, marked as such; nothing where there is none."""
    told = presets.shipped_result()
    grid = _shipped_grid(told["fingerprint"]) if told else None
    if grid is None:
        return
    show(f"<p>{mark(shipped_mark(told))}</p>", text(offer, "quiet"))
    flow(grid, grid.ts)
    st.fragment(_shipped_examples)(grid, f"shipped/{told['fingerprint']}")


def _shipped_examples(grid: Grid, stamp: str) -> None:
    with guarded(), st.container(key="examples"):
        examples(grid, grid.ts, stamp, None)


@st.cache_resource(show_spinner=False, max_entries=1)
def _shipped_grid(fingerprint: str) -> Grid | None:
    told = presets.shipped_result()
    try:
        rows = resolve(parse(told["experiment"])).tasks[0].rows
    except QuestionError:
        return None
    return grids.from_result(told["tasks"][0], rows)
