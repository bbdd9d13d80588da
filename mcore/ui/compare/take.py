"""Below an answer: take the model at t away, as a folder, a zip or a repository on the Hub. The worker saves it, the page only asks."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import streamlit as st

from mcore import events, taking
from mcore.errors import McoreError
from mcore.evaluation.measures import named
from mcore.jobs.queue import Job
from mcore.names import nats, right, size, t_text, unit
from mcore.paths import best
from mcore.profile import at_home, profile
from mcore.question import Experiment
from mcore.resolved import Resolved
from mcore.taking import DTYPES, Dtype, Take
from mcore.ui import engine, visitor
from mcore.ui.compare.answer import pause, queued
from mcore.ui.engine import Standing
from mcore.ui.export import export_command
from mcore.ui.forms import token
from mcore.ui.guard import guarded
from mcore.ui.html import rich, show, text
from mcore.ui.progress import progress

MOST_ZIP = 100_000_000  # bytes of a folder that a page sends: whatever it is given, a file too, Streamlit reads whole into memory when it is clicked
SENT = "mc.sent"  # in the session: what was last sent to the Hub
NEW, OFFER, PUBLIC = "New, private", "Pull request", "New, public"
SAID = "Every point of the [path] is a whole model: saved, it loads with transformers alone and has the loss that the chart shows."

DELTA = (
    "At every point of the [path] only what was tuned differs. It is saved beside the address of its base, and has the loss that the chart "
    "shows as an endpoint of this app; transformers alone cannot open it."
)


def take(now: Standing) -> None:
    """Nothing until every point is there. One fragment, which draws itself again while a model is being saved or sent."""
    if now.complete and not now.active:
        busy = any(_busy(job) for job in _jobs(now))
        st.fragment(_draw, run_every=pause() if busy else None)(now.question, busy)


def _draw(question: Experiment, was_busy: bool) -> None:
    with guarded():
        now = engine.standing(question)
        if any(_busy(job) for job in _jobs(now)) != was_busy:
            st.rerun()
        with st.expander("Take the model at t", icon=":material/download:", key="take"):
            show(rich(SAID if transformers_opens(now.resolved) else DELTA))
            if refused := st.session_state.pop(engine.REFUSED, None):
                show(text(refused, "error"))
            left, right = st.columns([1.5, 1], gap="large")
            with left:
                chosen = _form(now)
                _folder(now, chosen)
            with right:
                _hub(now, chosen)


def transformers_opens(resolved: Resolved) -> bool:
    """Whether a point of the path is a model that transformers alone has the code of."""
    return resolved.structure is None or resolved.structure.kind != "injected"


def _form(now: Standing) -> Take:
    keys, ts = _keys(now), now.resolved.experiment.ts()
    found = _best(now)
    st.session_state.setdefault(keys[0], found.t if found else ts[len(ts) // 2])
    t = st.select_slider("t", ts, key=keys[0], format_func=t_text)
    task = engine.result(now)["tasks"][0]
    at = dict(zip(task["t"], zip(task["loss"], task["accuracy"], strict=True), strict=True)).get(t)
    if at:
        show(text(f"At t = {t_text(t)}: loss {nats(at[0])} {unit(task)}, {right(task, at[1])}.", "body"))
    if found:
        show(text(best.told(found, named(now.resolved.tasks[0])), "quiet"))
        st.button("Best t", key="take-best", icon=":material/my_location:", disabled=t == found.t, on_click=_choose, args=(keys[0], found.t))
    dtype = st.segmented_control(
        "Weights in", DTYPES, default=DTYPES[0], required=True, key=keys[1],
        help="float32 is what the chart shows, to six digits; the others are half as large, and their loss differs in the third digit or so.",
    )  # fmt: skip
    return Take(t, dtype or DTYPES[0])


def _folder(now: Standing, chosen: Take) -> None:
    """The button, or how far it is, or what there is to take."""
    if wrong := _wrong(now, chosen):
        show(text(wrong, "error"))
        return
    key = taking.key(now.resolved, chosen)
    visitor.remember(key)
    job, folder = engine.engine().jobs.latest(key), engine.engine().store.folder(key)
    if _busy(job):
        _running(now, job, "take-cancel")
    elif folder:
        saved(folder, f"t-{chosen.t:.12g}-{chosen.dtype}")
    else:
        _ended(job)
        about = size(taking.size(now.resolved, chosen))
        st.button(f"Save the model, about {about}", key="take-save", icon=":material/save:", on_click=_ask, args=(now, chosen))
    show(text("The same on the command line, the question saved as question.json", "quiet"))
    st.code(export_command(chosen), language="bash", wrap_lines=True)


def saved(folder: Path, name: str) -> None:
    """A folder that is in the store: to be downloaded where it is not too large, and on one's own machine where it stands."""
    weighs = sum(file.stat().st_size for file in folder.iterdir())
    if weighs <= MOST_ZIP:
        plain = re.sub(r"[^A-Za-z0-9.@-]+", "-", name).strip("-")[:80]
        st.download_button(
            f"Download, {size(weighs)}", lambda: zipped(folder, plain), f"{plain}.zip", "application/zip", key=f"zip-{folder.name}",
            on_click="ignore", icon=":material/download:",
        )  # fmt: skip
    elif profile().hosted:
        show(text(f"{size(weighs)} are more than this host sends ({size(MOST_ZIP)}): send the model to the Hub, or {at_home()}.", "note"))
    if not profile().hosted:
        show(text("It is kept in the store, in this folder", "quiet"))
        st.code(str(folder), language=None, wrap_lines=True)


def zipped(folder: Path, name: str) -> bytes:
    """The folder as a zip of one folder; weights do not get smaller by compression, so there is none."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{name}/{file.name}")
    return packed.getvalue()


def _hub(now: Standing, chosen: Take) -> None:
    show(text("To the Hub", "head"))
    name = st.text_input("Repository", key="take-repository", placeholder="you/name", max_chars=200).strip()
    how = st.segmented_control("As", (NEW, OFFER, PUBLIC), default=NEW, required=True, key="take-how")
    job = _sent()
    if _busy(job):
        _running(now, job, "take-cancel-sending")
    else:
        sent = Take(chosen.t, chosen.dtype, name, how == OFFER, how != PUBLIC)
        wrong = _wrong(now, sent) if name else ""
        if wrong:
            show(text(wrong, "error"))
        st.button("Send", key="take-send", icon=":material/cloud_upload:", disabled=bool(wrong) or not name, on_click=_send, args=(now, sent))
        _ended(job)
        if job and job.state == "done":
            for _, event in engine.engine().jobs.events(job.id):
                if isinstance(event, events.Pushed):
                    show(text(f"It is at {event.url}", "note"))
    show(text("The card of the model holds the question. Folders and files of this machine stand there by their last names and digests.", "quiet"))
    with st.popover("Token", icon=":material/key:", key="token-take"):
        token.form("take")


def _running(now: Standing, job: Job, key: str) -> None:
    here = engine.engine()
    if job.state == "queued":
        st.progress(0.0, text=queued(job.place, here.keeper.warm()))
    else:
        seen = progress(now.resolved, [event for _, event in here.jobs.events(job.id)], 0, 0)
        st.progress(seen.fraction, text=seen.told())
    if engine.may_cancel(job):
        st.button("Cancel", key=key, icon=":material/stop:", on_click=engine.cancel, args=(job,))


def _ended(job: Job | None) -> None:
    """Why the last attempt came to nothing."""
    if job and job.state in ("failed", "cancelled"):
        show(text(job.sentence, "note" if job.state == "cancelled" else "error"))


def _ask(now: Standing, chosen: Take) -> None:
    engine.enqueue(now, taking.job_key(now.resolved, chosen, visitor.name()), "export", chosen)


def _wrong(now: Standing, sent: Take) -> str:
    try:
        taking.check(now.resolved, sent)
    except McoreError as wrong:
        return str(wrong)
    return ""


def _send(now: Standing, sent: Take) -> None:
    st.session_state[SENT] = taking.job_key(now.resolved, sent, visitor.name())
    _ask(now, sent)


def _choose(key: str, t: float) -> None:
    st.session_state[key] = t


def _jobs(now: Standing) -> tuple[Job | None, Job | None]:
    """The one that saves what is chosen, and the one that sends what was sent last."""
    t, dtype = (st.session_state.get(key) for key in _keys(now))
    if t is None:
        found = _best(now)
        t = found.t if found else None
    saving = engine.engine().jobs.latest(taking.key(now.resolved, Take(t, _dtype(dtype)))) if t is not None else None
    return saving, _sent()


def _sent() -> Job | None:
    return engine.engine().jobs.latest(st.session_state[SENT]) if SENT in st.session_state else None


def _dtype(held: str | None) -> Dtype:
    return held if held in DTYPES else DTYPES[0]


def _keys(now: Standing) -> tuple[str, str]:
    """Of the two fields: another question has other points, so its t is another field."""
    return f"take-t-{now.resolved.fingerprint[:12]}", "take-dtype"


def _best(now: Standing) -> best.Best | None:
    """None where there are too few rows to choose on some and report on others."""
    return _found(now.resolved.fingerprint, now)


@st.cache_data(show_spinner=False, max_entries=64)
def _found(fingerprint: str, _now: Standing) -> best.Best | None:
    try:
        return taking.best_of(_now.resolved, engine.engine().store)
    except McoreError:
        return None


def _busy(job: Job | None) -> bool:
    return job is not None and job.state in ("queued", "running")
