"""What stands under the question: its state, the stage, the tabs. One function for each state of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable

import streamlit as st

from mcore import presets
from mcore.estimate import cost
from mcore.hub.remote import to_fetch
from mcore.names import duration, endpoint_name, size, task_name
from mcore.paths import curvefile
from mcore.question import Experiment, Recipe, parse
from mcore.ui import engine, html
from mcore.ui.compare.fit import fit_stage
from mcore.ui.compare.label_order import label_order
from mcore.ui.compare.stage import stage, training_stage
from mcore.ui.compare.tabs import notice_of_order, tabs
from mcore.ui.engine import Standing
from mcore.ui.guard import guarded
from mcore.ui.html import mark, show, text
from mcore.ui.library import imported
from mcore.ui.progress import progress
from mcore.ui.waiting import pause, queued

COMMIT = re.compile(r"@[0-9a-f]{40}\b")  # a notice names the first digits; all of them stand under Reproduce


def answer(now: Standing, below: Callable[[], None] | None = None, details: bool = True) -> None:
    """Draw the answer as far as it is there. ``below`` is drawn where nothing is; ``details``: with tabs.

    All of it is one fragment that draws itself again while a job runs, and once more, with the page, when it ends.
    """
    st.fragment(_draw, run_every=pause() if now.active else None)(now.question, now.active, below, details)


def _draw(question: Experiment, was_active: bool, below: Callable[[], None] | None, details: bool) -> None:
    with guarded():
        now = engine.standing(question)
        if was_active and not now.active:
            st.rerun()
        if now.active:
            _live(now, details)
        elif now.complete:
            _done(now)
            _finished(now, details)
        else:
            _status(now, now.job.sentence if now.job and now.job.state in ("failed", "cancelled") else "")
            _partial(now, below, details)


def _live(now: Standing, details: bool) -> None:
    job, here = now.job, engine.engine()
    stream = [event for _, event in here.jobs.events(job.id)]
    seen = progress(now.resolved, stream, now.points, now.stored)
    with st.container(key="status"):
        if job.state == "queued":
            st.progress(0.0, text=queued(job.place, here.keeper.warm()))
        else:
            st.progress(seen.fraction, text=seen.told())
        _notices(now)
    if not now.stored and not all(now.trained.values()):
        training_stage(seen.curves, now.question)
    elif seen.fit:
        fit_stage(seen.fit, now)
    else:
        told, number = engine.result(now), _task_chosen(now)
        stage(told["tasks"][number], now.question, "live", live=True)
        if details and now.looks and now.stored == now.points:  # only its layers are still looked at
            tabs(now, told, number)


def _done(now: Standing) -> None:
    seconds = engine.result(now)["timing"].get("seconds")
    took = f", computed in {duration(seconds)}" if seconds else ""
    with st.container(key="status"):
        show(f"<p>{mark(f'from the store{took}')}</p>")
        _notices(now)
        for task in engine.result(now)["tasks"]:
            if unsure := notice_of_order(task):
                show(text(unsure, "note"))


def _status(now: Standing, sentence: str) -> None:
    """Why it ended, what is kept, what would be computed; nothing if all is there."""
    with st.container(key="status"):
        if sentence:
            cancelled = now.job.state == "cancelled"
            show(text(sentence, "note" if cancelled else "error"))
        if not now.complete:
            show(text(_to_compute(now), "quiet"))
        _notices(now)


def _notices(now: Standing) -> None:
    for notice in now.resolved.notices:
        show(text(COMMIT.sub(lambda found: found[0][:8], notice), "note"))


def _to_compute(now: Standing) -> str:
    rows = sum(len(task.rows) for task in now.resolved.tasks)
    ts = now.points // len(now.resolved.tasks)
    recipes = {now.resolved.endpoint(side).fingerprint: side for side, there in now.trained.items() if not there}
    trained = " and ".join(side.upper() for side in sorted(recipes.values()))
    missing = ts - now.stored // len(now.resolved.tasks)
    fetched = sum(map(to_fetch, {end.looked_at.address: end.looked_at for end in (now.resolved.a, now.resolved.b)}.values()))
    first = f"fetches {size(fetched)} from the Hub, " if fetched else ""
    fits = curvefile.missing(now.resolved, engine.engine().store)
    if steps := [*([f"fine-tunes {trained}"] if trained else []), *(["fits the path"] if fits else [])]:
        first += f"{', '.join(steps)}, "
    first += "then " if first else ""
    kept = f" {now.stored} of {now.points} points are in the store and are kept." if now.stored else ""
    looks = now.looks - now.looked
    asked = cost(now.resolved, now.trained, dict.fromkeys(range(len(now.resolved.tasks)), missing), fitted=not fits, looks=looks)
    took = duration(asked.seconds)
    about = f"{took if took.startswith('under') else f'about {took}'} here, up to {size(asked.memory)} of memory"
    read = f"reads the layers at {looks} t on {now.resolved.representation.computed:,} rows" if looks else ""
    if not missing:
        return f"Run {first}{read}: {about}.{kept}"
    return f"Run {first}evaluates {missing} points on {rows:,} rows{f' and {read}' if read else ''}: {about}.{kept}"


def _partial(now: Standing, below: Callable[[], None] | None, details: bool) -> None:
    if now.stored:
        told, number = engine.result(now), _task_chosen(now)
        label_order(now, told["tasks"][number])
        stage(told["tasks"][number], now.question, f"{now.stored} of {now.points} points")
        if details:
            tabs(now, told, number)
    elif told := imported.answer(now.question, now.resolved.fingerprint):
        imported.shown_mark()
        number = _task_chosen(now)
        stage(told["tasks"][number], now.question, change=False)
        if details:
            tabs(now, told, number)
    elif below:
        below()


def _finished(now: Standing, details: bool) -> None:
    told = engine.result(now)
    number = _task_chosen(now)
    label_order(now, told["tasks"][number])
    stage(told["tasks"][number], now.question)
    if details:
        tabs(now, told, number)


def _task_chosen(now: Standing) -> int:
    """Which of the tasks is looked at: there is a choice where there is more than one."""
    every = [f"{i}. {task_name(task)}" for i, task in enumerate(now.question.tasks, 1)]
    if len(every) == 1:
        return 0
    chosen = st.segmented_control(
        "Read on", every, format_func=html.plain_label, default=every[0], required=True, key="read-on", bind="query-params"
    )
    return every.index(chosen) if chosen in every else 0


def shipped(offer: str = "") -> None:
    """The result that ships with the app, marked as such; nothing where there is none."""
    told = presets.shipped_result()
    if told is None:
        return
    question = parse(told["experiment"])
    pair = f"A and B: {endpoint_name(question.a)}, other seeds." if isinstance(question.a, Recipe) else ""
    show(f"<p>{mark(shipped_mark(told))}</p>", text(" ".join(filter(None, [offer, pair])), "quiet"))
    stage(told["tasks"][0], question, change=False)


def shipped_mark(told: dict) -> str:
    made = told.get("shipped", {})
    when = f" on {made['date']}" if made.get("date") else ""
    return f"shipped result, computed on {made.get('cores', 2)} cores{when}"
