"""Paths in words: what each kind is called, what lies at its two ends, and what it means that it has a barrier or none.

Pure functions of ``question.PathSpec``; a result's entry holds its own under ``way`` where it is not the straight line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mcore.question import PathSpec

NAMES = {  # kind -> plain words
    "linear": "Straight line", "bezier": "Bézier curve", "chain": "Polygonal chain", "mix": "Learned mix", "partial": "Partial",
    "slerp": "Spherical", "task-vector": "Task vector",
}  # fmt: skip
TOLD = {  # kind -> one sentence, [words] of the glossary
    "linear": "Every weight goes evenly from A to B: linear interpolation.",
    "bezier": "A smooth curve whose [bends] are trained so that the loss along it is low: a [Bézier curve].",
    "chain": "Straight pieces over [bends] that are trained so that the loss along them is low: a [polygonal chain].",
    "mix": "From A to a model that takes a trained share of B in each layer, and on to B: a [learned mix].",
    "partial": "Only the parts that you choose go from A to B, the rest stays: a [partial path].",
    "slerp": "Every tensor turns from A to B on a great circle: [spherical] interpolation.",
    "task-vector": "Over the base plus what both fine-tunings changed: adding [task vectors].",
}
LORA = {  # what moves between two ends that were tuned by LoRA -> one sentence
    "factors": "Each of LoRA's [factors] goes straight, so their product does not: halfway it is a quarter of (B₀ + B₁)(A₀ + A₁), "
    "with terms that neither end has.",
    "merged": "LoRA's products go straight, [merged] into the weights: this is the line between the two whole models, "
    "on which the change has up to twice the rank.",
}
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
ALIGNED = {"weights": "aligned by weights", "activations": "aligned by activations"}


def way(result: Mapping) -> PathSpec:
    """The path of one task's entry of a result."""
    return PathSpec.model_validate(result.get("way") or {})


def subject(spec: PathSpec) -> str:
    """``the straight line``, ``the curve with one fitted bend``: what a sentence about the path begins with."""
    named = {
        "linear": "the straight line",
        "bezier": f"the curve with {bends(spec)}",
        "chain": f"the chain with {bends(spec)}",
        "mix": f"the path over a learned mix per {spec.per or 'layer'}",
        "partial": f"the path that moves only {parts(spec.move)}",
        "slerp": "the spherical path",
        "task-vector": "the task-vector path",
    }[spec.kind]
    named += {"merged": " of LoRA merged into the weights", "factors": " of LoRA's factors"}.get(spec.lora or "", "")
    return named if spec.align == "none" else f"{named}, with B {ALIGNED[spec.align]},"


def short(spec: PathSpec) -> str:
    """A few words for a label or a row of a table: ``Bézier, one bend``."""
    many = COUNTS[spec.bends or 1] + (" bend" if (spec.bends or 1) == 1 else " bends")
    named = {
        "linear": "straight line",
        "bezier": f"Bézier, {many}",
        "chain": f"chain, {many}",
        "mix": f"mix per {spec.per or 'layer'}",
        "partial": f"only {parts(spec.move)}" + (", the rest at B" if spec.rest == "b" else ""),
        "slerp": "spherical",
        "task-vector": "task vectors" + ("" if spec.scale in (None, 1) else f", scale {spec.scale:g}"),
    }[spec.kind]
    named += f", LoRA {spec.lora}" if spec.lora else ""
    return named if spec.align == "none" else f"{named}, {ALIGNED[spec.align]}"


def bends(spec: PathSpec) -> str:
    count = spec.bends or 1
    return f"{COUNTS[count]} fitted {'bend' if count == 1 else 'bends'}"


def parts(move: Iterable[str] | None) -> str:
    """``attention, norms and layers 1 to 3``."""
    named = [_part(one) for one in move or ()]
    return " and ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))


def _part(name: str) -> str:
    first, _, last = name.removeprefix("layers:").partition("-")
    if not name.startswith("layers:"):
        return name
    return f"layer {first}" if first == last else f"layers {first} to {last}"


def ends(spec: PathSpec) -> tuple[str, str]:
    """What lies at t = 0 and at t = 1: of a partial path only one of them is an endpoint."""
    if spec.kind != "partial":
        return "A", "B"
    moved = parts(spec.move)
    return (f"B with A's {moved}", "B") if spec.rest == "b" else ("A", f"A with B's {moved}")


def endpoints(spec: PathSpec) -> dict[str, float]:
    """Which of A and B lie on the path, and at which t."""
    there = {"a": 0.0, "b": 1.0}
    return there if spec.kind != "partial" else {"b": 1.0} if spec.rest == "b" else {"a": 0.0}


def conclusion(spec: PathSpec, connected: bool, partial: bool) -> str:
    """What the whole path, or a ``partial`` result of it, says of the two minima."""
    if connected and partial:
        return "no barrier yet."
    already = "already " if partial else ""
    if spec.kind == "partial":
        return f"moving only {parts(spec.move)} {already}meets {'no' if connected else 'a'} barrier on this task."
    if spec.kind == "linear" and spec.align == "none":
        return f"these two minima are {already}{'' if connected else 'not '}linearly connected on this task."
    if spec.kind == "linear":
        return f"these two minima are {already}{'' if connected else 'not '}linearly connected on this task, once B is aligned."
    return f"this path {'connects' if connected else 'does not connect'} these two minima on this task."


def span(ts: Iterable[float]) -> tuple[float, float]:
    """The range of t that a chart shows: from A to B, and beyond where points are asked for there."""
    every = list(ts)
    return min([0.0, *every]), max([1.0, *every])


def between(result: Mapping) -> dict:
    """What of a task's entry lies from t = 0 to t = 1, without what is beyond the ends."""
    keep = [i for i, t in enumerate(result.get("t", ())) if 0 <= t <= 1]
    count = len(result.get("t", ()))
    if len(keep) == count:
        return dict(result)
    cut = {key: [value[i] for i in keep] if isinstance(value, list) and len(value) == count and key not in ("rows", "labels") else value
           for key, value in result.items()}  # fmt: skip
    if told := result.get("knowledge"):
        changes = slice(keep[0], keep[-1]) if keep else slice(0)
        cut["knowledge"] = {**told, "mastered": [told["mastered"][i] for i in keep],
                            **{kind: told[kind][changes] for kind in ("forgotten", "learned")}}  # fmt: skip
    return cut
