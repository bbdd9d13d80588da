"""The Findings page: seven claims of the paper, each with the run that ships, how it was tested, and a button that runs it here.

Which finding is open stands in the address. The shipped run is drawn without computing anything; what is in the store of the
finding's own questions is drawn beneath it as far as it goes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from html import escape

import streamlit as st

from mcore.charts.findings import figure, finding_chart
from mcore.charts.theme import to_svg
from mcore.errors import McoreError
from mcore.findings import report as reports
from mcore.findings.answers import along, together
from mcore.findings.every import FINDINGS
from mcore.findings.finding import RULE, Answer, Finding, Outcome, outcome
from mcore.findings.report import Report, Told, ToldEffect
from mcore.findings.said import MARKS, effect_told, summary_told, verdict_told
from mcore.names import duration
from mcore.profile import profile
from mcore.question import canonical
from mcore.ui import address, engine
from mcore.ui.drawing import draw
from mcore.ui.html import mark, plain_label, rich, show, text
from mcore.ui.studied import Studied, studied
from mcore.ui.theme import dark

COMPARE, PAPER = "pages/1_Compare.py", "https://arxiv.org/abs/2210.14102"
OPEN, FIRST = "finding", "F1"
SAID = (
    "What Qin et al. (2022) found with large models, tested on the small family that ships with the app: a claim, an experiment with "
    "[seeds], an effect with its interval, and whether it shows. Nothing is left out that did not show."
)
STYLE = """<style>
.mc-seen { display: inline-block; font-size: .85rem; font-weight: 600; white-space: nowrap; }
.mc-seen i { font-style: normal; display: inline-block; width: 1.1rem; text-align: center; }
.mc-row { display: flex; flex-wrap: wrap; gap: .1rem 1rem; align-items: center; font-size: .85rem; font-variant-numeric: tabular-nums; }
.mc-row .mc-seen { min-width: 6.6rem; }
.mc-scale { position: relative; display: inline-block; width: 9rem; height: 1.1rem; flex: none; }
.mc-scale b { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--mc-quiet); left: 50%; }
.mc-scale u { position: absolute; top: .42rem; height: .3rem; border-radius: 2px; background: var(--mc-quiet); opacity: .55; }
.mc-scale s { position: absolute; top: .2rem; height: .74rem; width: 3px; margin-left: -1.5px; background: var(--mc-text); border-radius: 1px; }
.mc-part { margin: .1rem 0 .7rem; }
.mc-verdict .mc-seen { font-size: inherit; }
.mc-scales { display: inline-flex; gap: .5rem; width: 12rem; flex: none; } .mc-scales .mc-scale { flex: 1; width: auto; }
[class*="st-key-open-F"] button, [class*="st-key-open-F"] button > div { text-align: left; justify-content: flex-start; }
@media (max-width: 640px) { [class*="st-key-finding-row"] [data-testid="stHorizontalBlock"] { gap: 0; } }
[class*="st-key-finding-row"] { border-bottom: 1px solid var(--mc-line); padding-bottom: .15rem; }
.st-key-overview { gap: .15rem; }
</style>"""


def findings() -> None:
    """Draw the page."""
    st.session_state[address.PAGE] = "findings"
    show(STYLE)
    shipped = reports.shipped()
    show("<h1>Findings</h1>", rich(SAID, "lead"))
    if shipped is None:
        show(text("There is no run that ships with this version of the app. Each finding can be run here.", "error"))
    else:
        show(f"<p>{mark(shipped_mark(shipped))}</p>")
    opened = _opened()
    with st.container(key="overview"):
        for finding in FINDINGS.values():
            _overview_row(finding, shipped, finding.id == opened)
    _finding(FINDINGS[opened], shipped)
    _everything(shipped)


def _opened() -> str:
    """The finding that the address names; the first where it names none that there is."""
    wanted = st.query_params.get(OPEN, FIRST).upper()
    return wanted if wanted in FINDINGS else FIRST


def _open(id: str) -> None:
    st.query_params[OPEN] = id


def shipped_mark(told: Report) -> str:
    """Where the run that ships comes from."""
    machine = told.machine
    on = f"{machine.cores} cores" + (f" ({machine.processor})" if machine.processor else "")
    busy = machine.load is not None and machine.load > 1.5 * machine.cores
    beside = f", beside other work (load {machine.load:g})" if busy else ""
    sittings = ", in several sittings" if told.kept else ""
    return f"shipped run of {told.date} · {duration(told.seconds)} on {on}{beside}{sittings}"


def _overview_row(finding: Finding, shipped: Report | None, is_open: bool) -> None:
    entry = shipped.findings.get(finding.id) if shipped else None
    with st.container(key=f"finding-row-{finding.id}"):
        left, right = st.columns([1, 1.25], gap="medium", vertical_alignment="center")
        with left:
            label = f"{finding.id} · {plain_label(finding.short)}"
            st.button(
                f"**{label}**" if is_open else label, key=f"open-{finding.id}", type="tertiary", on_click=_open, args=(finding.id,),
                icon=":material/arrow_drop_down:" if is_open else ":material/arrow_right:", width="stretch",
            )  # fmt: skip
        with right:
            show(_in_a_row(entry) if entry else text("No run of it ships.", "quiet"))


def _in_a_row(entry: Told) -> str:
    shown, parts = sum(one.verdict == "shown" for one in entry.effects), len(entry.effects)
    counted = f"{shown} of {parts} parts shown; first " if parts > 1 else ""
    scales = "".join(map(_scale, entry.effects))
    told = f"<span>{counted}{escape(effect_told(entry.effects[0]))}</span>"
    return f'<div class="mc-row">{_seen(entry.verdict)}<span class="mc-scales">{scales}</span>{told}</div>'


def _seen(verdict: str) -> str:
    return f'<span class="mc-seen"><i aria-hidden="true">{MARKS[verdict]}</i>{escape(verdict)}</span>'


def _scale(effect: ToldEffect) -> str:
    """The interval on a scale of its own, 0 in the middle, the side of the claim to the right."""
    most = max(abs(effect.low), abs(effect.high), 1e-12) * 1.08

    def at(value: float) -> float:
        return 50 + 50 * value / most

    low, high, mean = (round(at(value), 2) for value in (effect.low, effect.high, effect.mean))
    return (
        f'<span class="mc-scale" aria-hidden="true"><b></b><u style="left:{low}%;width:{max(1.0, high - low):.2f}%"></u>'
        f'<s style="left:{mean}%"></s></span>'
    )


def _finding(finding: Finding, shipped: Report | None) -> None:
    """The finding that is open: the claim, the shipped run, how it was tested, and the same here."""
    entry = shipped.findings.get(finding.id) if shipped else None
    show(f"<h2>{finding.id}. {escape(finding.claim)}</h2>")
    if entry:
        _run(finding, entry, [row.model_dump() for row in entry.rows], "In the shipped run", f"shipped-{finding.id}")
        if _asked_otherwise(finding, entry):
            show(text("The shipped run asked other questions than this version of the app does: compare it with care.", "note"))
    _how(finding, entry)
    show(text("Run it here", "head"))
    studied(finding.study, lambda now: _here(finding, now, entry), f"Run {finding.id} here", f"finding-{finding.id}")


def _run(finding: Finding, entry: Told, rows: list[dict], where: str, key: str, beside: Sequence[dict] = ()) -> None:
    """The figure of one run, and beside it what came out."""
    left, right = st.columns([1.5, 1], gap="large")
    with left:
        for number, panel in enumerate(finding.panels):
            draw(finding_chart, asdict(panel), rows, list(beside), dark(), key=f"{key}-{number}")
    with right:
        show(text(where, "head"), f'<p class="mc-verdict">{_seen(entry.verdict)}{escape(verdict_told(entry.effects))}</p>')
        _effects(entry.effects)
        for name, why in entry.missed.items():
            show(text(f"Left out: {name}. {why}", "note"))
        _downloads(finding, rows, key)


def _effects(effects: Sequence[ToldEffect]) -> None:
    pieces = []
    for one in effects:
        pieces.append(
            f'<div class="mc-part"><div>{escape(one.says[:1].upper() + one.says[1:])}</div>'
            f'<div class="mc-row">{_seen(one.verdict)}{_scale(one)}<span>{escape(effect_told(one))}</span></div></div>'
        )
    show(*pieces)


def _downloads(finding: Finding, rows: list[dict], key: str) -> None:
    with st.container(horizontal=True, gap="small"):
        for number, panel in enumerate(finding.panels, 1):
            name = f"{finding.id}.svg" if len(finding.panels) == 1 else f"{finding.id}-{number}.svg"
            label = "Figure (SVG)" if len(finding.panels) == 1 else f"Figure {number} (SVG)"
            st.download_button(
                label, lambda panel=panel: to_svg(figure(asdict(panel), rows)), name, "image/svg+xml", key=f"{key}-svg-{number}",
                on_click="ignore", icon=":material/download:", type="tertiary",
            )  # fmt: skip
        st.download_button(
            "Numbers (CSV)", lambda: _csv(rows), f"{finding.id}.csv", "text/csv", key=f"{key}-csv", on_click="ignore",
            icon=":material/download:", type="tertiary",
        )  # fmt: skip


def _csv(rows: Sequence[dict]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["panel", "x", "seed", "value", "question"])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def _how(finding: Finding, entry: Told | None) -> None:
    with st.expander("How it was tested", key=f"how-{finding.id}", icon=":material/science:"):
        for head, words in (("The experiment", finding.tested), ("Why these sizes", finding.sizes), ("What was tried", finding.tried)):
            show(text(head, "head"), rich(words, "body"))
        show(text("The verdict", "head"), rich(RULE, "body"))
        questions = dict(entry.questions) if entry else dict(finding.study.questions)
        name = st.selectbox("A curve of it", list(questions), key=f"curve-{finding.id}")
        if name in questions:
            st.page_link(COMPARE, label="Open this curve in Compare", query_params=address.query(questions[name]), icon=":material/tune:")
        show(f'<p class="mc-quiet">{escape(summary_told(finding))} <a href="{PAPER}">The paper</a>.</p>')


def _asked_otherwise(finding: Finding, entry: Told) -> bool:
    return {name: canonical(one) for name, one in entry.questions.items()} != {name: canonical(one) for name, one in finding.study.questions.items()}


def _here(finding: Finding, now: Studied, entry: Told | None) -> None:
    """What the store holds of it: figure and effects as far as they go."""
    found = _outcome(finding, now)
    if not found.answered:
        show(text("Nothing of it has been computed here.", "quiet"))
        return
    rows, shipped = [asdict(row) for row in found.rows], [row.model_dump() for row in entry.rows] if entry else []
    try:
        told = reports.told(finding, found, {}, 0.0)
    except McoreError:  # too few seeds for an effect
        for number, panel in enumerate(finding.panels):
            draw(finding_chart, asdict(panel), rows, shipped, dark(), key=f"here-{finding.id}-{number}")
        show(text(f"{found.answered} of {found.of} questions are answered. An effect needs two seeds.", "quiet"))
        return
    whole = found.answered == found.of
    where = "Here" if whole else f"Here so far, {found.answered} of {found.of} questions"
    _run(finding, told, rows, where, f"here-{finding.id}", shipped)


def _outcome(finding: Finding, now: Studied) -> Outcome:
    there = {name: standing for name, standing in now.standings.items() if standing.complete}
    answers = {name: Answer(engine.result(one), _along(one.resolved.fingerprint, one) if finding.by_row else None) for name, one in there.items()}
    return outcome(finding, answers)


@st.cache_resource(show_spinner=False, max_entries=64, ttl=1800)
def _along(fingerprint: str, _now: engine.Standing):
    return along(_now.resolved, engine.engine().store)


def _everything(shipped: Report | None) -> None:
    """All seven as one job, where this profile lets anybody ask so many questions."""
    asked = _all()
    show("<h2>All seven</h2>")
    most = profile().questions
    took = f" The shipped run took {duration(shipped.seconds)}." if shipped else ""
    if most is not None and len(asked.questions) > most:
        show(text(f"Together they ask {len(asked.questions)} questions, more than this host takes at once: run them one by one.{took}", "body"))
        return
    show(text(f"One job of {len(asked.questions)} questions; models that two findings share are trained once.{took} Without the page:", "body"))
    st.code("python -m mcore findings --out findings", language="bash")
    with st.expander("Run all seven here", key="run-all", on_change="rerun") as opened:
        if opened.open:  # looking at so many questions takes a moment
            studied(asked, _all_told, "Run all seven", "all-findings")


@st.cache_resource(show_spinner=False)
def _all():
    return together(FINDINGS)[0]


def _all_told(now: Studied) -> None:
    show(text(f"{now.done} of {len(now.study.questions)} questions are answered here. Open a finding to see what they come to.", "quiet"))
