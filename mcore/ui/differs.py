"""The line between A and B: what differs, and a warning where that is more than one thing. Every page that shows a pair shows it."""

from __future__ import annotations

from html import escape

from mcore.question import Experiment
from mcore.tuning.differing import common, differences, warning
from mcore.ui.engine import Standing


def differs(question: Experiment, now: Standing | None, kind: str = "between") -> str:
    """As HTML, in one of the styles "between", "differs" or "quiet"; ``now``: where the rows are known that both are trained on."""
    line = differences(question.a, question.b, common(now.resolved) if now else None)
    told = warning(question.a, question.b)
    warned = f'<p class="mc-warn">{escape(told)}</p>' if told else ""
    if kind == "quiet":
        return f'<p class="mc-quiet">{escape(line)}</p>{warned}'
    return f'<div class="mc-{kind}"><b></b><span>{escape(line)}</span>{warned}</div>'
