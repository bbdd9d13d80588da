"""Paths: each a function from t to coefficients over its control points, tensor by tensor where they differ.

The control points are A, B and what a kind of path adds: fitted bends, or the base of both. Nothing here knows weights:
a spherical path is given the angle between the two ends of each tensor, a learned mix the coefficients that were fitted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from mcore.paths.distances import layer_of
from mcore.question import PathSpec

Coefficients = Callable[[str], tuple[float, ...]]  # of a live tensor's name: a number for each control point
NORM = re.compile(r"(^|[._])(layer_?norm|norm|ln)(_?[0-9a-z]*)\.(weight|bias)$|LayerNorm", re.IGNORECASE)
ATTENTION = re.compile(r"(^|[._])(self_?attn|attn|attention|encoder_attn|SelfAttention|EncDecAttention|q_lin|k_lin|v_lin|out_lin)[._]", re.IGNORECASE)
STRAIGHT = 1e-4  # an angle (or its distance from a half turn) below which a spherical path is the straight one


@dataclass(frozen=True)
class Path:
    """``controls`` names the control points in the order of the coefficients. ``given``: a number for each tensor, where a kind needs one.

    ``output_layer``: the names of the tensors that are the head, whatever they are called. ``lacking``: what the base does not have.
    """

    spec: PathSpec
    given: Mapping[str, float] = field(default_factory=dict)
    output_layer: frozenset[str] = frozenset()
    lacking: frozenset[str] = frozenset()

    @property
    def controls(self) -> tuple[str, ...]:
        return controls(self.spec)

    def at(self, t: float) -> Coefficients:
        """The coefficients at t; they sum to 1, but on a spherical path."""
        spec = self.spec
        if spec.kind in ("bezier", "chain"):
            along = bezier(t, bends_of(spec)) if spec.kind == "bezier" else chain(t, bends_of(spec))
            return lambda name: along
        if spec.kind == "task-vector":
            s, u = task_vector(t, 1.0 if spec.scale is None else spec.scale)
            return lambda name: (1 - t, t, 0.0) if name in self.lacking else (s, u, 1 - s - u)
        if spec.kind == "mix":
            return lambda name: mixed(t, self.given[name])
        if spec.kind == "slerp":
            return lambda name: spherical(t, self.given.get(name, 0.0))
        if spec.kind == "partial":
            rest = (0.0, 1.0) if spec.rest == "b" else (1.0, 0.0)
            return lambda name: (1 - t, t) if moves(name, spec.move, self.output_layer) else rest
        return lambda name: (1 - t, t)


def controls(spec: PathSpec) -> tuple[str, ...]:
    """The names of a path's control points: "a", "b", then what it adds."""
    if spec.kind in ("bezier", "chain"):
        return ("a", "b", *(f"bend-{i + 1}" for i in range(bends_of(spec))))
    return ("a", "b", "base") if spec.kind == "task-vector" else ("a", "b")


def bends_of(spec: PathSpec) -> int:
    return spec.bends or 1


def bezier(t: float, bends: int) -> tuple[float, ...]:
    """Bernstein polynomials of degree ``bends`` + 1, in the order A, B, bends."""
    n = bends + 1
    first, *inner, last = (math.comb(n, i) * (1 - t) ** (n - i) * t**i for i in range(n + 1))
    return (first, last, *inner)


def chain(t: float, bends: int) -> tuple[float, ...]:
    """Of the straight pieces from A over each bend to B, all of them as long in t; in the order A, B, bends."""
    place = min(max(t, 0.0), 1.0) * (bends + 1)
    piece = min(int(place), bends)
    first, *inner, last = (max(0.0, 1 - abs(place - i)) if i in (piece, piece + 1) else 0.0 for i in range(bends + 2))
    return (first, last, *inner)


def task_vector(t: float, scale: float) -> tuple[float, float]:
    """How much of A − base and of B − base there is: (1, 0) at A, (scale, scale) in the middle, (0, 1) at B."""
    if t <= 0.5:
        return 1 + 2 * t * (scale - 1), 2 * t * scale
    return 2 * (1 - t) * scale, 1 + 2 * (1 - t) * (scale - 1)


def mixed(t: float, share: float) -> tuple[float, float]:
    """From A to the mix, of which ``share`` is B, and on to B."""
    b = 2 * t * share if t <= 0.5 else 1 - 2 * (1 - t) * (1 - share)
    return 1 - b, b


def spherical(t: float, angle: float) -> tuple[float, float]:
    """Along the great circle between two tensors that are ``angle`` radians apart (Shoemake 1985)."""
    if angle < STRAIGHT or math.pi - angle < STRAIGHT:
        return 1 - t, t
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def moves(name: str, parts: Collection[str], output_layer: frozenset[str] = frozenset()) -> bool:
    """Whether a tensor belongs to one of the parts."""
    layer = layer_of(name, output_layer)
    for part in parts:
        if part.startswith("layers:"):
            low, high = map(int, part.removeprefix("layers:").split("-"))
            if layer.startswith("layer ") and low <= int(layer.removeprefix("layer ")) <= high:
                return True
        elif part == part_of(name, output_layer):
            return True
    return False


def part_of(name: str, output_layer: frozenset[str] = frozenset()) -> str:
    """``attention``, ``feed-forward``, ``embeddings``, ``norms`` or ``head``, by a tensor's name."""
    layer = layer_of(name, output_layer)
    if layer == "head":
        return "head"
    if NORM.search(name):
        return "norms"
    if layer == "embeddings":
        return "embeddings"
    return "attention" if ATTENTION.search(name) else "feed-forward"
