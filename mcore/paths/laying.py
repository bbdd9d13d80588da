"""Lays the path of a question: the control points and numbers that its kind needs, read, measured or fitted before the first point.

A straight line needs nothing. What takes time tells of itself, and what was fitted is kept in the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from mcore.coefficients import Path
from mcore.events import Event, Working
from mcore.hub.remote import at_hand, fetch
from mcore.live.blend import distance
from mcore.live.model import Live, weights_of
from mcore.paths import curve
from mcore.paths.align import align
from mcore.progress import Progress
from mcore.question import FITTED
from mcore.store import Store

Stop = Callable[[], bool]


def lay(live: Live, progress: Progress, store: Store, stop: Stop) -> Iterator[Event]:
    """Returns the live model with its path laid. Raises ``QuestionError`` below "path", ``Cancelled``."""
    resolved, way = progress.resolved, progress.resolved.route
    if not way.fingerprint:
        return live
    if way.aligned:
        live = yield from align(live, resolved, store, stop)
    path = Path(way.spec, output_layer=live.output_layer)
    if way.base is not None:
        yield from fetch(way.base, "path.base", stop)
        base = weights_of(at_hand(way.base, "path.base", store), live.model, store, "path.base", resolved.kind)
        live = replace(live, weights=live.weights | {"base": base})
        path = replace(path, lacking=frozenset(live.tensors) - base.names | live.output_layer)  # a head goes straight from one to the other
    if way.spec.kind == "slerp":
        yield Working("measuring the angle between the weights, tensor by tensor")
        path = replace(path, given=_angles(live))
    if way.spec.kind in FITTED:
        return (yield from curve.fit(live, path, progress, store, stop))
    return replace(live, path=path)


def _angles(live: Live) -> dict[str, float]:
    """Radians between A and B for each floating tensor that both have in one shape."""
    a, b = live.weights["a"], live.weights["b"]
    names = [
        name for name, tensor in live.tensors.items()
        if tensor.dtype.is_floating_point and name not in live.only and a.stored[name].shape == b.stored[name].shape
    ]  # fmt: skip
    apart = distance(a, b, names)
    norms = {name: math.sqrt(one.norm_a * one.norm_b) for name, one in apart.items()}
    return {name: math.acos(max(-1.0, min(1.0, one.dot / norms[name]))) for name, one in apart.items() if norms[name]}
