"""One row of the Library as HTML: a small honest curve, what it is, its barrier and accuracies. And the style sheet."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from html import escape

from mcore.library.items import Facts, Item
from mcore.library.notes import Note
from mcore.names import nats, percent, share, size, task_name, unit
from mcore.question import Experiment, Recipe
from mcore.ui.html import mark, term
from mcore.ui.theme import COLOURS

WIDE, HIGH, EDGE = 120, 38, 4  # of the small curve, pixels
RISE = 0.3  # nats: a curve that changes less than this fills only its share of the height
SHARES = {"tokens predicted right": "of tokens"}
KINDS = {"experiment": "result", "model": "trained model", "exported": "saved model", "import": "imported file", "shipped": "shipped result"}

STYLE = """
[class*="st-key-row-"] { border-bottom: 1px solid var(--mc-line); padding: .5rem 0 .6rem; }
[class*="st-key-open-"] button { padding: 0; min-height: 0; text-align: left; justify-content: flex-start; }
[class*="st-key-open-"] button p { font-weight: 600; white-space: normal; overflow-wrap: anywhere; text-align: left; }
[class*="st-key-row-"] [data-testid="stVerticalBlock"] { gap: .25rem; }
.lib-row { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; align-items: center; }
.lib-sketch { flex: none; } .lib-row .lib-main { flex: 1 1 20rem; min-width: 0; overflow-wrap: anywhere; }
.lib-figure { flex: 0 0 11.5rem; font-size: .85rem; line-height: 1.45; font-variant-numeric: tabular-nums; }
.lib-figure b { font-weight: 600; } .lib-figure span.q { color: var(--mc-quiet); }
.lib-none { width: 120px; height: 38px; flex: none; }
.lib-note { font-size: .85rem; line-height: 1.45; display: block; }
.st-key-opened { border: 1px solid var(--mc-line); border-radius: 6px; padding: 1rem; margin-top: .4rem; }
.st-key-opened .st-key-stage { min-height: 0; }
.st-key-pair { border: 1px solid var(--mc-line); border-radius: 6px; padding: .8rem 1rem 1rem; }
.lib-meter { height: 6px; border-radius: 3px; background: var(--mc-line); max-width: 22rem; overflow: hidden; margin: .1rem 0 .4rem; }
.lib-meter i { display: block; height: 100%; background: var(--mc-quiet); }
.lib-key { display: inline-block; min-width: 1.6rem; font-weight: 700; }
@media (max-width: 700px) { .lib-figure { flex: 1 1 8rem; } .lib-none { display: none; } }
"""


def row(item: Item, facts: Facts | None, bytes_: int, note: Note | None, dark: bool) -> str:
    """``facts``: None while they are being read."""
    told = facts.summary if facts else None
    note = note or Note()
    words = [f'<span class="lib-note">{escape(_short(note.text))}</span>'] if note.text else []
    tags = " ".join(mark(tag) for tag in note.tags)
    quiet = f'<span class="mc-quiet">{escape(" · ".join(_about(item, facts, bytes_)))}</span> {tags}'
    return (
        f'<div class="lib-row">{_sketch(told, dark)}<div class="lib-main">{quiet}{"".join(words)}</div>'
        f'<div class="lib-figure mc-terms">{_figures(item, facts)}</div></div>'
    )


def meter(used: int, most: int) -> str:
    share = min(100.0, 100 * used / most) if most else 100.0
    told = f"{size(used)} of at most {size(most)}"
    return f'<div class="lib-meter" role="img" aria-label="{told}"><i style="width:{share:.1f}%"></i></div>'


def when(created: float) -> str:
    """``just now``, ``5 min ago``, ``3 h ago``, ``yesterday``, ``4 days ago``, then a date."""
    since = time.time() - created
    if since < 60:
        return "just now"
    if since < 86_400:
        return f"{since / 60:.0f} min ago" if since < 3600 else f"{since / 3600:.0f} h ago"
    days = int(since // 86_400)
    return "yesterday" if days == 1 else f"{days} days ago" if days < 14 else time.strftime("%-d %B %Y", time.localtime(created))


def _about(item: Item, facts: Facts | None, bytes_: int) -> list[str]:
    parts = [KINDS[item.kind] if not (item.kind == "import" and item.name) else f"imported file {item.name}"]
    if item.question:
        told = facts.summary if facts else None
        rows = f"{told['rows']:,} rows of " if told else ""
        parts.append(f"{rows}{task_name(item.question.tasks[0])}")
        if len(item.question.tasks) > 1:
            parts[-1] += f" and {len(item.question.tasks) - 1} more"
        parts += _shared_seeds(item.question)
    if facts and facts.wrong:
        parts.append("cannot be opened as things are")
    elif facts and item.kind == "experiment" and facts.stored < max(1, facts.points):
        parts.append(f"{facts.stored} of {facts.points} points")
    elif told_points(item, facts):
        parts.append(f"{told_points(item, facts)} points")
    if item.created:
        parts += [when(item.created), size(bytes_)]
    return parts


def _shared_seeds(question: Experiment) -> list[str]:
    """Seeds that both ends have in common, which the title, that tells what differs, leaves out."""
    a, b = question.a, question.b
    if not (isinstance(a, Recipe) and isinstance(b, Recipe)):
        return []
    named = {} if a.task.read == "answers" else {"head seed": "head_seed"}
    named["data seed"] = "data_seed"
    return [f"{words} {getattr(a, field)}" for words, field in named.items() if getattr(a, field) == getattr(b, field)]


def told_points(item: Item, facts: Facts | None) -> int:
    return facts.summary["points"] if item.kind != "model" and facts and facts.summary else 0


def _figures(item: Item, facts: Facts | None) -> str:
    if facts is None:
        return '<span class="q">being read …</span>'
    told = facts.summary
    if not told:
        return ""
    if item.kind == "model":
        return f'<span class="q">accuracy</span> <b>{percent(told["accuracy"][0])}</b>'
    barrier = told.get("barrier")
    line = '<span class="q">no barrier yet</span>'
    if barrier:
        interval = (barrier["low"], barrier["high"])
        value, low, high = (nats(barrier[name], interval) for name in ("value", "low", "high"))
        line = f'<span class="q">{term("barrier")}</span> <b>{value}</b> <span class="q">[{low}, {high}]</span>'
        if (measured := unit(told)) != "nats":
            line += f' <span class="q">{escape(measured)}</span>'
    a, b = (percent(one) for one in told["accuracy"])
    of = "" if share(told) == "accuracy" else f' <span class="q">{escape(SHARES.get(share(told), share(told)))}</span>'
    return f'{line}<br><span class="mc-a">A</span> {a} <span class="q">·</span> <span class="mc-b">B</span> {b}{of}'


def _sketch(told: Mapping | None, dark: bool) -> str:
    """The loss from A to B, or of a training in grey. Its height has one meaning in all rows until a rise is larger than ``RISE``."""
    if not told or len(told.get("t", ())) < 2:
        return '<span class="lib-none"></span>'
    low, high = min(told["loss"]), max(told["loss"])
    span = max(RISE, high - low)
    points = " ".join(
        f"{EDGE + t * (WIDE - 2 * EDGE):.1f},{HIGH - EDGE - (loss - low) / span * (HIGH - 2 * EDGE):.1f}"
        for t, loss in zip(told["t"], told["loss"], strict=True)
    )
    colours = COLOURS["dark" if dark else "light"]
    a, b = (colours["a-edge"], colours["b-edge"]) if "barrier" in told else (colours["quiet"], colours["quiet"])
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" height="{HIGH}"><defs><linearGradient id="way" '
        f'gradientUnits="userSpaceOnUse" x1="{EDGE}" x2="{WIDE - EDGE}" y1="0" y2="0"><stop offset="0" stop-color="{a}"/>'
        f'<stop offset="1" stop-color="{b}"/></linearGradient></defs><polyline points="{points}" fill="none" '
        'stroke="url(#way)" stroke-width="2.2" stroke-linejoin="round" stroke-linecap="round"/></svg>'
    )
    # As a picture, because pieces of SVG do not pass the page's own cleaning of HTML.
    source = base64.b64encode(drawn.encode()).decode()
    return f'<img class="lib-sketch" alt="" width="{WIDE}" height="{HIGH}" src="data:image/svg+xml;base64,{source}">'


def _short(words: str) -> str:
    first = words.strip().splitlines()[0]
    return first if len(first) <= 140 else f"{first[:139]}…"
