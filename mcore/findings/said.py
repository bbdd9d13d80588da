"""Findings in words: an effect with its interval, what a verdict says, how large an experiment is. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from mcore.findings.finding import Finding
from mcore.findings.report import Report, ToldEffect
from mcore.names import percent, plain

MARKS = {"shown": "▲", "not shown": "○", "opposite": "▼"}  # told apart by shape; the word stands beside
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def effect_told(one: ToldEffect) -> str:
    """``+0.026 nats (0.017 to 0.035)``: to as many digits as the width of the interval carries."""
    width = one.high - one.low
    if one.percent:
        mean, low, high = (percent(number) for number in (one.mean, one.low, one.high))
        return f"{_signed(mean, one.mean)} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
    digits = 2 if width >= 0.2 else 3 if width >= 0.004 else 4
    mean, low, high = (plain(number, digits) for number in (one.mean, one.low, one.high))
    unit = "" if one.unit == "1" else f" {one.unit}"
    return f"{_signed(mean, one.mean)}{unit} ({low} to {high})"


def _signed(words: str, number: float) -> str:
    return f"+{words}" if number > 0 and words.strip("0. %") else words


def verdict_told(effects: Sequence[ToldEffect]) -> str:
    """What the parts' verdicts add up to, in words that follow the verdict itself."""
    n = effects[0].n if len({one.n for one in effects}) == 1 else None
    over = f"over {number_told(n)} seeds" if n else f"over {min(one.n for one in effects)} to {max(one.n for one in effects)} seeds"
    if len(effects) == 1:
        return {
            "shown": f": the whole interval {over} lies on the side of the claim.",
            "opposite": f": the whole interval {over} lies on the other side.",
            "not shown": f": the interval {over} holds 0.",
        }[effects[0].verdict]
    counts = {name: sum(one.verdict == name for one in effects) for name in MARKS}
    if counts["not shown"] == len(effects):
        return f": {'neither part' if len(effects) == 2 else 'no part'} of the claim, {over}."
    if len(effects) in counts.values():
        return f": {'both' if len(effects) == 2 else f'all {number_told(len(effects))}'} parts of the claim, {over}."
    told = [f"{number_told(count)} {name}" for name, count in counts.items() if count]
    return f" as a whole: of {number_told(len(effects))} parts {', '.join(told)}, {over}."


def number_told(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else f"{count:,}"


def summary_told(finding: Finding) -> str:
    """How large the experiment is."""
    questions = len(finding.asked)
    return f"{questions} questions over {number_told(finding.seeds)} seeds."


def summary(found: Report) -> list[str]:
    """A line for each finding and effect, as a terminal shows them."""
    told = []
    for id, entry in found.findings.items():
        told.append(f"{id} {entry.verdict}")
        told += [f"   {one.says}: {effect_told(one)}, {one.n} seeds: {one.verdict}" for one in entry.effects]
    return told
