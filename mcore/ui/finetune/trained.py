"""Beneath the recipes: Train or Cancel, both training curves as they grow, and the finished models."""

from __future__ import annotations

import math
from collections.abc import Mapping

import streamlit as st

from mcore import presets
from mcore.charts.overview import training_chart
from mcore.estimate import cost
from mcore.hub.remote import to_fetch
from mcore.names import duration, finite, percent, plain, size, steps_text
from mcore.question import Recipe
from mcore.ui import address, engine
from mcore.ui.compare.answer import pause, queued, shipped_mark
from mcore.ui.drawing import draw
from mcore.ui.finetune.training import RUN, Trainings, go_on, stop_here, stoppable, stream, trainings
from mcore.ui.guard import guarded
from mcore.ui.html import mark, rich, show, table, text
from mcore.ui.limits import limits, running_button
from mcore.ui.progress import progress
from mcore.ui.theme import dark

COMPARE = "pages/1_Compare.py"
WORDS = "Trained is the right answer's tokens, out of all words; on validation rows the loss is that of the label among all answers."


def watched(standing: Trainings) -> None:
    """One fragment that draws itself again while the trainings run, and once more, with the page, when they end."""
    st.fragment(_draw, run_every=pause() if standing.active else None)(standing.now, standing.active)


def _draw(before: engine.Standing, was_active: bool) -> None:
    with guarded():
        standing = trainings(engine.standing(before.question))
        if RUN in st.session_state or was_active != standing.active:
            st.rerun()  # the whole page: the recipes above change too
        _strip(standing)
        curves = _curves(standing)
        if curves or standing.active:
            _stage(standing, curves)
        elif standing.models:
            _shipped()
        if any(standing.models.values()):
            _finished(standing)


def _strip(standing: Trainings) -> None:
    with st.container(key="strip"):
        told, go = st.columns([4, 1.4], gap="medium", vertical_alignment="center")
        with go:
            _button(standing)
        with told, st.container(key="status"):
            _status(standing)
    limits()


def _button(standing: Trainings) -> None:
    if not standing.active:
        done = standing.finished and standing.measured
        st.button(
            "Train", type="secondary" if done else "primary", width="stretch", key="run", icon=":material/play_arrow:",
            disabled=done, on_click=_train, shortcut="Enter", help="Both models are there." if done else None,
        )  # fmt: skip
        return
    running_button(standing.job, run=_train, cancel=lambda: engine.cancel(standing.job), width="stretch")
    if (side := stoppable(standing)) and engine.may_cancel(standing.job):
        st.button(
            f"Stop {side.upper()} here and keep it", key="stop-here", width="stretch", icon=":material/front_hand:",
            on_click=stop_here, args=(standing, side),
            help="The model as it is at this step becomes the end of the path; the rest goes on.",
        )  # fmt: skip


def _train() -> None:
    st.session_state[RUN] = True


def _status(standing: Trainings) -> None:
    job = standing.job
    if standing.active and job.state == "queued":
        st.progress(0.0, text=queued(job.place, engine.engine().keeper.warm()))
    elif standing.active:
        seen = progress(standing.now.resolved, stream(job), 0, 0)
        st.progress(seen.fraction, text=seen.told())
    elif job and job.state in ("failed", "cancelled") and not standing.finished:
        show(text(job.sentence, "note" if job.state == "cancelled" else "error"), text(_to_train(standing), "quiet"))
    else:
        show(text(_to_train(standing), "quiet"))


def _to_train(standing: Trainings) -> str:
    missing = [side for side, model in standing.models.items() if not model]
    if not standing.models:
        return "Neither end is a recipe: there is nothing to train."
    if not missing:
        return "Both models are there." if standing.measured else "Both models are there; Train measures how far they have come."
    there = [side.upper() for side, model in standing.models.items() if model]
    kept = f"{' and '.join(there)} is there already. " if there else ""
    recipes = {side: getattr(standing.now.question, side) for side in missing}
    steps = " and ".join(f"{side.upper()} {steps_text(recipe)}" for side, recipe in recipes.items())
    expected = cost(standing.now.resolved, standing.now.trained, {})
    bases = {base.address: base for side in missing if (base := standing.now.resolved.endpoint(side).looked_at)}
    fetched = sum(map(to_fetch, bases.values()))
    first = f"fetches {size(fetched)} from the Hub, then " if fetched else ""
    return f"{kept}Train {first}carries out {steps}: about {duration(expected.training)} here, up to {size(expected.memory)} of memory."


def _curves(standing: Trainings) -> dict[str, list[Mapping]]:
    """Of the job where it tells of a training, else those that are kept beside the models."""
    curves = {side.upper(): model["curve"] for side, model in standing.models.items() if model}
    if standing.job and not standing.finished:
        curves |= progress(standing.now.resolved, stream(standing.job), 0, 0).curves
    return dict(sorted(curves.items()))


def _stage(standing: Trainings, curves: Mapping[str, list[Mapping]]) -> None:
    ends = (standing.now.question.a, standing.now.question.b)
    steps = max((end.last_step for end in ends if isinstance(end, Recipe)), default=1)
    with st.container(key="stage"):
        left, right = st.columns([2.3, 1], gap="large")
        with left:
            draw(training_chart, curves, steps, dark(), "container", _in_words(standing), key="training-chart")
        with right:
            _beside(standing)


def _shipped() -> None:
    """Before anything was trained: how it went for the first question, which ships with the app."""
    told = presets.shipped_result()
    if told is None or not told.get("training"):
        return
    curves = {side.upper(): one["curve"] for side, one in told["training"].items()}
    with st.container(key="stage"):
        left, right = st.columns([2.3, 1], gap="large")
        with left:
            draw(training_chart, curves, max(curve[-1]["step"] for curve in curves.values()), dark(), key="training-chart")
        with right:
            show(mark(shipped_mark(told)))
            show(text("This is what the answer will look like: the first question's two trainings.", "body"))


def _in_words(standing: Trainings) -> bool:
    """Whether language models are trained, whose two losses are not of one kind."""
    return any(end.recipe is not None and end.recipe.kind != "classifier" for end in (standing.now.resolved.a, standing.now.resolved.b))


def _beside(standing: Trainings) -> None:
    if standing.finished:
        show(text("What comes next", "head"), text(_verdict(standing), "body"))
        st.page_link(
            COMPARE, label="Walk the path between them in Compare", icon=":material/arrow_forward:",
            query_params=address.query(standing.now.question),
        )  # fmt: skip
    elif standing.active:
        show(text("What happens now", "head"))
        show(
            rich("The line is the loss on the rows of each step; what is dashed was measured on validation rows that are never trained on."),
            *([text(WORDS, "quiet")] if _in_words(standing) else []),
            text("This goes on when you close the page; the link in the address bar leads back to it.", "quiet"),
        )
    else:
        show(text("Not finished", "head"), text("What was trained so far is kept: Train goes on from there.", "body"))


def _verdict(standing: Trainings) -> str:
    apart = standing.apart
    if not apart or not finite(apart["cosine"]):
        return "Both models are trained. Compare shows what lies between them."
    return (
        f"Both models are trained and lie {plain(apart['l2'], 1)} apart in weight space. "
        "How far that is in loss, only the path between them tells."
    )


def _finished(standing: Trainings) -> None:
    show("<h2>The models</h2>")
    body = []
    for side, model in standing.models.items():
        recipe, far = getattr(standing.now.question, side), (model or {}).get("from_base")
        body.append([
            side.upper(), steps_text(recipe), percent(model["accuracy"]) if model else "–",
            plain(model["loss"], 3) if model else "–",
            plain(far["l2"], 2) if far else "–", plain(far["cosine"], 4) if far else "–",
        ])  # fmt: skip
    heads = ["model", "trained for", "validation accuracy", "validation loss (nats)", "L2 from its base", "cosine with its base"]
    show(table(heads, body, "The finished models", left=2))
    if any(standing.now.resolved.endpoint(side).delta for side in standing.models):
        show(text("What a tuning method adds is not in these distances: the base does not have it. LoRA counts as the change of the weights.", "quiet"))
    if standing.apart:
        told = f"A and B are {plain(standing.apart['l2'], 2)} apart (L2), cosine {plain(standing.apart['cosine'], 4)}."
        show(text(told if _in_words(standing) else f"{told} The head is counted where both have it for the same labels.", "quiet"))
    if not standing.active:
        _continue(standing)


def _continue(standing: Trainings) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for side, model in standing.models.items():
            recipe = getattr(standing.now.question, side)
            if model and len(recipe.continued or ()) < 8:
                more = st.number_input(
                    f"More steps for {side.upper()}", 1, 1_000_000, max(1, math.ceil(recipe.last_step / 2)),
                    key=f"more-steps-{side}", width=150, help="With a warm-up and a decay of their own, and a new optimiser.",
                )  # fmt: skip
                if st.button(f"Continue {side.upper()}", key=f"continue-{side}", icon=":material/fast_forward:"):
                    go_on(side, int(more))
                    st.rerun()
