"""What is kept of a fitted path, for those who only read it: no torch here.

A folder in the store under the path's fingerprint: ``bend-1.safetensors`` … of a curve (each a whole model, in the live
model's names), and ``curve.json``: what was fitted (``path``), ``loss`` and (of a curve) ``t`` of every step; of a mix
the share of B by group (``mix``) and by tensor (``given``).
"""

from __future__ import annotations

import json

from mcore.question import FITTED
from mcore.resolved import Resolved
from mcore.store import Store


def history(resolved: Resolved, store: Store) -> dict | None:
    """``curve.json`` of the question's path; None where it is not fitted, or not yet."""
    folder = store.folder(resolved.route.fingerprint) if resolved.route.spec.kind in FITTED else None
    return json.loads((folder / "curve.json").read_text()) if folder else None


def missing(resolved: Resolved, store: Store) -> bool:
    """Whether the question's path has still to be fitted."""
    way = resolved.route
    return way.spec.kind in FITTED and not store.has([way.fingerprint])
