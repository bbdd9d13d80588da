"""Parts of the training rows, by name: ``all``, ``half-1``, ``half-2``, a fraction such as 0.25, or a range such as ``0.25-0.75``.

The rows stand in one shuffled order, the same for every part of one data set. A fraction is its beginning and a range lies
between two places of it: 0-0.5 is the first half and 0.5-1 the second, so that two ranges overlap by whatever they share.
No rows and no arrays here: what two parts have in common is told before any data are read.
"""

from __future__ import annotations

import re
from fractions import Fraction

NAMED = {"all": (Fraction(0), Fraction(1)), "half-1": (Fraction(0), Fraction(1, 2)), "half-2": (Fraction(1, 2), Fraction(1))}
TOLD = "all, half-1, half-2, a fraction such as 0.25, or a range such as 0.25-0.75"
NUMBER = r"(?:[01]|0?\.\d{1,6}|1\.0{1,6})"
RANGE = re.compile(rf"\s*({NUMBER})\s*-\s*({NUMBER})\s*")

Part = str | float


def between(part: Part) -> tuple[Fraction, Fraction]:
    """Where in the shuffled order a part begins and ends. Raises ``ValueError`` for what is no part."""
    if isinstance(part, str):
        if part in NAMED:
            return NAMED[part]
        found = RANGE.fullmatch(part)
        low, high = (Fraction(found[1]), Fraction(found[2])) if found else (Fraction(1), Fraction(0))
    else:
        low, high = Fraction(0), Fraction(repr(float(part)))
    if not 0 <= low < high <= 1:
        raise ValueError(f"should be {TOLD}")
    return low, high


def places(part: Part, count: int) -> slice:
    """The places of a part in the shuffled order of ``count`` rows. Both ends of a range are rounded down, a fraction to the nearest."""
    low, high = between(part)
    if not isinstance(part, str):
        return slice(0, round(float(part) * count))
    return slice(int(low * count), int(high * count))


def alike(part: Part) -> Part:
    """The part by its plainest name: 0-1 is all, 0.0-.50 the first half, 0.250-0.75 is 0.25-0.75."""
    if not isinstance(part, str) or part in NAMED:
        return part
    low, high = between(part)
    return next((name for name, ends in NAMED.items() if ends == (low, high)), f"{float(low):g}-{float(high):g}")


def shared(a: Part, b: Part) -> float:
    """What two parts have in common, as a part of the larger one."""
    (low, high), (other_low, other_high) = between(a), between(b)
    common = max(Fraction(0), min(high, other_high) - max(low, other_low))
    return float(common / max(high - low, other_high - other_low))
