"""What the layers hold at each t: its place in the store, and the part of the result that is made of it.

Only small numbers are kept, never features: for each t and probe one entry with a number for each layer, under a key of
everything that can change it: the weights at t and those of both ends, the rows, the tokenizer, the sequence length, the
precision, the layers, how a text's states become one vector, and, of a read-out, what it is fitted on. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mcore import plan
from mcore.question import canonical, fingerprint
from mcore.resolved import EVALUATION_VERSION, Resolved
from mcore.store import Store
from mcore.tasks.rows import constant_baseline

KIND = "representation"  # in the store


def keys(resolved: Resolved) -> dict[float, dict[str, str]]:
    """t -> probe -> key, the t in the order in which they are computed: ends first. Empty where no layer is looked at."""
    asked = resolved.representation
    if asked is None:
        return {}
    shared = {
        "ends": [resolved.a.fingerprint, resolved.b.fingerprint], "tokenizer": resolved.a.looked_at.tokenizer, "kind": resolved.kind,
        "precision": resolved.experiment.precision, "version": EVALUATION_VERSION, **asked.looked_at,
    }  # fmt: skip
    fitted = {"readout": asked.read_out, "cka": None}
    return {
        t: {
            probe: fingerprint({"represented": probe, "weights": plan.weights_at(resolved, t), "read out": fitted[probe], **shared})
            for probe in asked.probes
        }
        for t in dict.fromkeys(point.t for point in plan.in_order(resolved))
    }


def pending(every: Mapping[float, Mapping[str, str]], store: Store) -> list[float]:
    """Those t of ``keys`` at which something is missing."""
    there = store.has(key for of_t in every.values() for key in of_t.values())
    return [t for t, of_t in every.items() if not set(of_t.values()) <= there]


def pack(told: Mapping) -> bytes:
    """An entry: ``layers``, their names; ``width``, features of the widest; ``encoder``, whether it is one before a decoder; a number or null

    for each layer: of "cka" ``a`` and ``b``, of "readout" ``readout`` and ``control``.
    """
    return canonical(dict(told)).encode()


def collected(resolved: Resolved, store: Store) -> dict | None:
    """The part of the result that tells of the layers; lists by t, of those that were asked for and are there, and by layer."""
    asked = resolved.representation
    if asked is None:
        return None
    every = keys(resolved)
    stored = {key: json.loads(data) for key, data in store.get_many(key for of_t in every.values() for key in of_t.values()).items()}
    ts = [t for t in resolved.experiment.ts() if set(every[t].values()) <= stored.keys()]
    first = stored[every[ts[0]][asked.probes[0]]] if ts else {"layers": [], "width": 0, "encoder": False}
    told = {
        "task": asked.spec.task.model_dump(mode="json"),
        "rows": asked.rows.ids.tolist(),
        "pool": asked.spec.pool,
        "encoder": first["encoder"],
        "layers": first["layers"],
        "width": first["width"],
        "t": ts,
    }
    if "cka" in asked.probes:
        told |= {f"cka_{side}": [stored[every[t]["cka"]][side] for t in ts] for side in "ab"}
    if "readout" in asked.probes:
        told |= {name: [stored[every[t]["readout"]][name] for t in ts] for name in ("readout", "control")}
        classes = asked.rows.kind == "classes"
        told |= {
            "measure": "accuracy" if classes else "R²", "fitted_on": len(asked.fitting), "seed": asked.spec.seed,
            "constant_baseline": constant_baseline(asked.rows) if classes else None,
        }  # fmt: skip
    return told
