"""What a sweep over pre-training has come to: the chart over steps, both tasks along t, the pairs, the files. A click leads to a pair's curve."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode

import streamlit as st

from mcore.charts.steps import boundary_chart, boundary_figure, steps_chart, steps_figure, told
from mcore.charts.theme import to_png, to_svg
from mcore.names import percent, t_text, task_name
from mcore.question import Task
from mcore.studies.bystep import BARRIERS, KEPT
from mcore.studies.pretraining import Sweep
from mcore.studies.steps_told import barrier_told, csv_of, definition, kept_told, questions_jsonl, snippet
from mcore.ui import address
from mcore.ui.drawing import draw
from mcore.ui.html import mark, rich, show, table, text
from mcore.ui.theme import dark

CHART, BESIDE = 2.3, 1
MEASURES = {"loss_chord": "loss above the chord", "loss_mean": "loss above the ends' mean", "accuracy_chord": "accuracy lost"}
SHARES = {"best": "best model on the line", "average": "mean over the line"}
INTERVAL = "Bars: 95 % over [seed]s and examples (Student's t; pairs share models, which counts). A dot is a pair: click it for its curve."
OF_TASKS = "Bars: 95 % over [seed]s (Student's t) and examples. A dot is a pair: click it for its curve."
ONE_PAIR = "Bars: 95 % over examples alone, since two seeds make one pair. A dot is a pair: click it for its curve."
PANEL = "Thick: the mean of the seeds. 100 %: as good as the model tuned on that task; 0 %: no better than always one label. The ring: most of both."
COMMAND = """while IFS= read -r question; do
  printf '%s' "$question" > question.json
  python -m mcore run question.json --out "result-$((++n)).json"
done < questions.jsonl"""
STYLE = """<style>
.mc-table a { color: var(--mc-text); text-underline-offset: .2em; white-space: nowrap; }
.st-key-steps-chart, .st-key-kept-chart { min-height: 400px; }
@media (max-width: 640px) {
  .st-key-boundary [data-testid="stHorizontalBlock"] { gap: .6rem; }
  .st-key-boundary [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] { min-width: calc(50% - .6rem); flex: 0 1 calc(50% - .6rem); }
}
</style>"""


def steps(answer: Mapping, sweep: Sweep, live: bool, where: str = "") -> None:
    """``answer``: ``bystep.answer``, however much of it is there; ``where``: where it comes from."""
    links = _links(sweep)
    show(f"<p>{mark('live' if live else where or _there(answer), 'live' if live else '')}</p>")
    _barriers(answer, sweep, links)
    if answer["other"]:
        _kept(answer, sweep, links)
    tabs = {"Pairs": _pairs, "Numbers": _numbers, "Reproduce": _reproduce}
    for name, tab in zip(tabs, st.tabs(list(tabs), key="steps-tab", bind="query-params"), strict=True):
        if tab.open:
            with tab:
                tabs[name](answer, sweep)


def _there(answer: Mapping) -> str:
    there = len(answer["seeds"]["pairs"]) + len(answer["tasks"]["pairs"])
    return "from the store" if there == answer["asked"] else f"{there} of {answer['asked']} pairs, from the store"


def _barriers(answer: Mapping, sweep: Sweep, links: Mapping[str, str]) -> None:
    show(f"<h2>Two seeds of one task: {escape(_task(sweep.task))}</h2>")
    measure = _choice("Barrier", MEASURES, "barrier-of")
    left, right = st.columns([CHART, BESIDE], gap="large")
    with left, st.container(key="steps-chart"):
        draw(steps_chart, answer, measure, dark(), links, key="steps-over-pretraining")
    with right:
        said = barrier_told(answer, measure)
        _beside(said, definition(measure), ONE_PAIR if len(sweep.seeds) == 2 else INTERVAL)


def _kept(answer: Mapping, sweep: Sweep, links: Mapping[str, str]) -> None:
    show(f"<h2>Two tasks: <span class='mc-a'>A, {escape(_task(sweep.task))}</span>, and <span class='mc-b'>B, {escape(_task(sweep.other))}</span></h2>")
    measure = _choice("Kept", SHARES, "kept-of")
    left, right = st.columns([CHART, BESIDE], gap="large")
    with left, st.container(key="kept-chart"):
        draw(steps_chart, answer, measure, dark(), links, key="kept-over-pretraining")
    with right:
        _beside(kept_told(answer, measure), definition(measure), OF_TASKS)
    show(
        text("What is kept of both tasks along t, from A to B", "head"),
        text(PANEL, "quiet"),
    )
    with st.container(key="boundary"):
        wide = _in_a_row(len(answer["steps"]))
        for start in range(0, len(answer["steps"]), wide):
            for step, column in zip(answer["steps"][start : start + wide], st.columns(wide, gap="medium"), strict=False):
                with column:
                    draw(boundary_chart, answer, step, dark(), links, key=f"boundary-{step}")


def _in_a_row(panels: int) -> int:
    """As many as are legible, and no last row with a single one."""
    return panels if panels <= 5 else 3 if panels in (6, 9) else 4 if panels % 4 != 1 else 5


def _choice(label: str, names: Mapping[str, str], key: str) -> str:
    words = list(names.values())
    chosen = st.segmented_control(label, words, default=words[0], required=True, key=key, bind="query-params", label_visibility="collapsed")
    return next((name for name, word in names.items() if word == chosen), next(iter(names)))


def _beside(said: list[str], definition: str, interval: str) -> None:
    show(text("What this means", "head"))
    if not said:
        show(text("No pair is measured yet.", "body"))
    for i, sentence in enumerate(said):
        show(text(sentence, "verdict" if i == 0 else "body"))
    show(text(definition, "quiet"), rich(interval, "quiet"))


def _links(sweep: Sweep) -> dict[str, str]:
    """Each pair's name -> the share link of its question, beside this page."""
    return {one.name: f"Compare?{urlencode(address.query(one.question))}" for one in sweep.asked}


def _pairs(answer: Mapping, sweep: Sweep) -> None:
    """A table with a link to each pair's curve."""
    links = _links(sweep)
    for kind, names in (("seeds", BARRIERS), ("tasks", KEPT)):
        if rows := answer[kind]["pairs"]:
            show(text("Two seeds of one task" if kind == "seeds" else "Two tasks", "head"), _table(rows, names, links, kind))
    if not answer["seeds"]["pairs"]:
        show(text("No pair is measured yet.", "body"))


def _table(rows: list[Mapping], names: tuple[str, ...], links: Mapping[str, str], kind: str) -> str:
    heads = ["pair: its curve", *({**MEASURES, **SHARES}[name] for name in names), "at t", "A right", "B right"]
    body = []
    for one in rows:
        numbers = [_number(one.get(name), name) for name in names]
        first = one.get(names[0])
        cells = [*numbers, t_text(first["t"]) if first else "–", *map(percent, one["ends"])]
        body.append(
            f'<tr><td class="mc-left"><a href="{escape(links[one["name"]])}" target="_self">{escape(one["name"])}</a></td>'
            + "".join(f'<td class="mc-right">{escape(cell)}</td>' for cell in cells) + "</tr>"
        )  # fmt: skip
    top = "".join(f'<th scope="col" class="{"mc-left" if i == 0 else "mc-right"}">{escape(head)}</th>' for i, head in enumerate(heads))
    frame = f'<div class="mc-frame" tabindex="0" role="region" aria-label="Pairs, {kind}">'
    return f'{frame}<table class="mc-table"><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _number(number: Mapping | None, measure: str) -> str:
    if number is None:
        return "–"
    interval = (number["low"], number["high"])
    value, low, high = (told(one, measure, interval).removesuffix(" nats").removesuffix(" %") for one in (number["value"], *interval))
    return f"{value} [{low}, {high}]"


def _mean(mean: Mapping, measure: str) -> tuple[str, str]:
    """The mean of a step's pairs, and its interval."""
    if mean["low"] is None:
        return told(mean["value"], measure), "–"
    interval = (mean["low"], mean["high"])
    return told(mean["value"], measure, interval), " to ".join(told(end, measure, interval).removesuffix(" nats") for end in interval)


def _numbers(answer: Mapping, sweep: Sweep) -> None:
    """Means and trends, and everything as files."""
    rows = [
        [{**MEASURES, **SHARES}[name], f"{one['step']:,}", *_mean(one, name), one["over"] or "–", str(one["pairs"])]
        for kind, names in (("seeds", BARRIERS), ("tasks", KEPT)) for name in names for one in answer[kind]["measures"][name]["means"]
    ]  # fmt: skip
    show(table(["measure", "step", "mean of pairs", "95 % interval", "over", "pairs"], rows, "Means by step"))
    measure, share = st.session_state.get("barrier-of"), st.session_state.get("kept-of")
    measure = next((name for name, word in MEASURES.items() if word == measure), "loss_chord")
    share = next((name for name, word in SHARES.items() if word == share), "best")
    files = [
        ("Pairs, CSV", "pretraining.csv", "text/csv", lambda: csv_of(answer)),
        ("Figure, SVG", "pretraining.svg", "image/svg+xml", lambda: to_svg(steps_figure(answer, measure))),
        ("Figure, PNG", "pretraining.png", "image/png", lambda: to_png(steps_figure(answer, measure), 4)),
    ]
    if answer["other"]:
        files += [
            ("Both tasks by step, SVG", "pretraining-kept.svg", "image/svg+xml", lambda: to_svg(steps_figure(answer, share))),
            ("Both tasks along t, SVG", "pretraining-along.svg", "image/svg+xml", lambda: to_svg(boundary_figure(answer))),
        ]
    with st.container(horizontal=True, gap="small"):
        for label, name, mime, made in files:
            st.download_button(label, made, name, mime, key=f"download-{name}", on_click="ignore", icon=":material/download:")


def _reproduce(answer: Mapping, sweep: Sweep) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        show(text("Every question, a line of JSON each", "head"))
        st.download_button(
            f"questions.jsonl, {len(sweep.asked)} questions", lambda: questions_jsonl(sweep), "questions.jsonl", "application/jsonl",
            key="download-questions", on_click="ignore", icon=":material/download:",
        )  # fmt: skip
        show(text("Command line, one result file for each", "head"))
        st.code(COMMAND, language="bash", wrap_lines=True)
        show(text("The address of this page holds the whole question; each pair's own link stands under Pairs.", "quiet"))
    with right:
        show(text("Python, with the same numbers as here", "head"))
        st.code(snippet(sweep), language="python", wrap_lines=True)


def _task(task: Mapping) -> str:
    return task_name(Task.model_validate(dict(task)))
