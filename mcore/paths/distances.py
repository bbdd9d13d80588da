"""How far apart two endpoints are: L2, cosine, and L2 per square root of the parameter count; whole and by layer."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mcore.question import fingerprint
from mcore.resolved import Endpoint, Resolved

if TYPE_CHECKING:  # torch, which this module does without
    from mcore.live.blend import Apart


def distance_key(resolved: Resolved) -> str:
    """Where the distance between the two endpoints is kept; the first task may tell the order of their labels."""
    return fingerprint({
        "distance": [resolved.stands_for(resolved.a), resolved.stands_for(resolved.b)], "heads": sorted(set(resolved.heads)),
        "labels": [resolved.a.labels, resolved.b.labels], "task": resolved.tasks[0].identity,
    })  # fmt: skip


def base_key(end: Endpoint) -> str:
    """Where the distance of a trained endpoint from its base is kept."""
    return fingerprint({"distance from its base": end.fingerprint})


def summed(tensors: Mapping[str, Apart], output_layer: frozenset[str]) -> dict:
    """Sums over tensors of ``squared`` (‖a − b‖²), ``dot``, ``norm_a`` and ``norm_b`` (squared), ``count``."""
    layers: dict[str, list] = defaultdict(list)
    for name, figures in tensors.items():
        layers[layer_of(name, output_layer)].append(figures)
    whole = _figures(list(tensors.values()))
    return {**whole, "layers": [{"layer": layer, **_figures(parts)} for layer, parts in layers.items()]}


def layer_of(name: str, output_layer: frozenset[str]) -> str:
    """A tensor's layer by its name: "embeddings", "layer 3", "head"."""
    if name in output_layer or re.search(r"(^|\.)(classifier|score|pooler|head|classification_head|pre_classifier|lm_head|embed_out|predictions|vocab_[a-z_]+)\.", name):
        return "head"
    if "embed" in name or re.search(r"\b(wte|wpe|shared)\b", name):
        return "embeddings"
    number = re.search(r"\.(\d+)\.", name)
    return f"layer {number.group(1)}" if number else "other"


def _figures(parts: list[Apart]) -> dict:
    total = {key: sum(getattr(part, key) for part in parts) for key in ("squared", "dot", "norm_a", "norm_b", "count")}
    norms = math.sqrt(total["norm_a"] * total["norm_b"])
    l2 = math.sqrt(total["squared"])
    return {
        "l2": l2,
        "cosine": total["dot"] / norms if norms else None,
        "l2_per_sqrt_n": l2 / math.sqrt(total["count"]) if total["count"] else None,
        "parameters": int(total["count"]),
    }
