"""The Knowledge page: which examples are mastered along the path, for the question in the address.

One fragment follows a running job and draws the page again when a point has arrived; another one draws
the examples and answers to what is brushed and clicked there without the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from mcore import grid as grids
from mcore import measures, presets
from mcore.charts_knowledge import FLOW, flow_chart, palette
from mcore.errors import QuestionError
from mcore.grid import Grid
from mcore.names import differences, endpoint_name, t_text
from mcore.plan import wanted
from mcore.question import Experiment, parse
from mcore.resolve import resolve
from mcore.ui import address, draft, engine, token
from mcore.ui.answer import pause, shipped_mark
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.examples import examples, task_choice
from mcore.ui.guard import guarded
from mcore.ui.html import figures, mark, rich, show, text
from mcore.ui.progress import progress
from mcore.ui.theme import dark
from mcore.ways import endpoints, ends

COMPARE = "pages/1_Compare.py"
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
@media (max-width: 640px) { :is(.st-key-flow, .st-key-examples) [data-testid="stHorizontalBlock"] { gap: 1rem; } }
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
    st.fragment(_status, run_every=pause() if now.active else None)(question, now.stored, now.active)
    chosen = task_choice(question)
    if not measures.by_label(now.resolved.tasks[chosen]):
        show(text(f"{NO_LABELS[now.resolved.tasks[chosen].read == 'tokens']} Compare shows how loss and accuracy change along the path.", "note"))
        return
    grid = _grid(now.resolved.fingerprint, chosen, now.stored, now.job.finished if now.job else None, now)
    if grid is None:
        _shipped("This is what it will look like: the first question's, which ships with the app.")
        return
    _flow(grid, wanted(now.resolved))
    stamp = f"{now.resolved.fingerprint}/{chosen}/{grid.stamp}"
    st.fragment(_examples)(grid, wanted(now.resolved), stamp, now, chosen)


def _asked(now: Standing) -> None:
    """The question in two lines, and the way to where it can be changed."""
    question = now.question
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        with st.container(width="stretch"):
            a, b = (text(f"{side.upper()}  {endpoint_name(end)}", "end").replace("mc-end", f"mc-end mc-{side}")
                    for side, end in (("a", question.a), ("b", question.b)))  # fmt: skip
            show(a, b, text(differences(question.a, question.b), "quiet"))
        _to_compare("Change it in Compare", question)


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


def _flow(grid: Grid, asked: Sequence[float]) -> None:
    """The flow along t, and beside it what it says."""
    with st.container(key="flow"):
        left, right = st.columns([2.3, 1], gap="large")
        with left:
            show(_legend(grid))
            draw(flow_chart, grids.flow(grid), list(asked), dark(), key="flow-chart")
        with right:
            _verdict(grid, len(grid.ts) < len(asked))


def _legend(grid: Grid) -> str:
    colours, words = palette(dark()), dict(FLOW)
    if not grid.has_a:
        words["forgotten"], words["learned"], words["never"] = "forgotten since", "learned since", "mastered neither first nor here"
    keys = "".join(f'<span><i style="background:{getattr(colours, name)}"></i>{told}</span>' for name, told in words.items())
    return f'<p class="mc-legend">{keys}</p>'


def _verdict(grid: Grid, partial: bool) -> None:
    told = grids.flow(grid)
    counts = {name: int(mask.sum()) for name, mask in grid.groups.items()}
    show(text("What this means", "head"))
    if not grid.has_ends:
        start = "A" if grid.has_a else f"The model at t = {t_text(grid.ts[0])}, the first one there,"
        show(text(f"{start} masters {told[0]['kept']:,} of {grid.total:,} examples. What becomes of them shows when both ends are there.", "verdict"))
        return
    said = _sentence(told, counts)
    show(text(f"So far: {said[:1].lower()}{said[1:]}" if partial else said, "verdict"))
    show(figures([
        ("mastered by A", f"{told[0]['kept']:,} of {grid.total:,}"),
        ("mastered by B", f"{told[-1]['kept'] + told[-1]['learned']:,}"),
        ("only A masters", f"{counts['only_a']:,}"),
        ("only B masters", f"{counts['only_b']:,}"),
        ("lost midway, regained", f"{counts['regained']:,}"),
        ("mastered throughout", f"{counts['always'] + grid.always:,}"),
    ]))  # fmt: skip


def _sentence(told: Sequence[dict], counts: dict[str, int]) -> str:
    worst = max(told, key=lambda row: row["forgotten"])
    if not worst["forgotten"]:
        return f"Nothing that A masters is lost anywhere on the way; {counts['only_b']:,} examples are learned."
    most = (
        f"Of the {told[0]['kept']:,} examples that A masters, at most {worst['forgotten']:,} are forgotten at once, "
        f"at t = {t_text(worst['t'])}"
    )
    if not counts["regained"]:
        return f"{most}; none that both ends master is lost in between."
    return f"{most}; {counts['regained']:,} are lost midway though both ends master them."


def _examples(grid: Grid, asked: Sequence[float], stamp: str, now: Standing, number: int) -> None:
    with guarded(), st.container(key="examples"):
        examples(grid, asked, stamp, lambda place: _along(stamp, place, number, grid.ts, now), len(now.question.tasks))


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
    _flow(grid, grid.ts)
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
