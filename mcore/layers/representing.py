"""Looks at the hidden states of each layer at each t of a path, and keeps what they come to: CKA with A and B, read-outs.

The features of A and B are in memory meanwhile, those of a t only as long as it takes. This comes after the points, which are
the answer that somebody waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from mcore.errors import Cancelled
from mcore.evaluation.evaluate import prepare
from mcore.events import Event, LayersReady, Working
from mcore.layers import represented
from mcore.layers.readout import read_out
from mcore.layers.similarity import Centred, centred, cka
from mcore.layers.states import States
from mcore.live.model import Live
from mcore.resolved import Resolved
from mcore.store import Store
from mcore.tasks.batches import make_batches
from mcore.tasks.prompts import MASK

Stop = Callable[[], bool]
Features = list[np.ndarray]  # of each layer [rows, hidden]


def represent(live: Live, resolved: Resolved, store: Store, stop: Stop) -> Iterator[Event]:
    """Compute what is missing; ``live`` with its path laid. Raises ``QuestionError`` below "representation", ``Cancelled``."""
    every = represented.keys(resolved)
    pending, seconds = represented.pending(every, store), []
    if not pending:
        return
    yield Working("reading the hidden states of each layer")
    look, done = Look(live, resolved, pending, stop), len(every) - len(pending)
    while pending:
        elsewhere = []
        for t in pending:
            if stop():
                raise Cancelled
            began = time.monotonic()
            with store.claim(next(iter(every[t].values()))) as mine:
                missing = [probe for probe, key in every[t].items() if key not in store.has([key])]
                if missing and not mine:
                    elsewhere.append(t)
                    continue
                for probe, told in look.at(t, missing) if missing else ():
                    store.put(every[t][probe], represented.pack(told), represented.KIND, {"t": t})
            if missing:
                seconds.append(time.monotonic() - began)
            done += 1
            yield LayersReady(t, done, len(every), (len(every) - done) * float(np.mean(seconds)) if seconds else None)
        pending = elsewhere
        if pending:
            time.sleep(0.2)  # another process is computing the rest


class Look:
    """At the layers of one live model, at any t of its path; ``ts``: those that will be asked for."""

    def __init__(self, live: Live, resolved: Resolved, ts: Collection[float], stop: Stop):
        self.live, self.resolved, self.asked, self.stop = live, resolved, resolved.representation, stop
        prepare(live.model, resolved.experiment.precision)
        live.place_body((1.0, 0.0))
        self.states = States(live.model, self.asked.spec.layers, self.asked.spec.pool)
        self.rows = self._batches(self.asked.rows.texts)
        self.fitting = self._batches(self.asked.fitting.texts) if self.asked.fitting is not None else None
        self._ends: dict[str, list[Centred]] = {}
        self._whole: dict[float, Features] = {}  # of an end, until its t has come
        self._wanted = frozenset(ts) if resolved.route.whole else frozenset()

    def at(self, t: float, probes: Sequence[str]) -> Iterator[tuple[str, dict]]:
        """What is kept of each of these probes at t."""
        ends = {side: self._end(side) for side in "ab"} if "cka" in probes else {}
        live = self.live.at_b() if t == 1.0 and self.resolved.route.whole else self.live
        live.place_body(live.path.at(t))
        found = self._whole.pop(t, None) or self.states(self.rows, self.stop)
        named = {
            "layers": list(self.states.layers), "width": max(features.shape[1] for features in found),
            "encoder": bool(self.live.model.config.is_encoder_decoder),
        }  # fmt: skip
        if "cka" in probes:
            here = [centred(features) for features in found]
            yield "cka", named | {side: [cka(x, y) for x, y in zip(here, layers, strict=True)] for side, layers in ends.items()}
        if "readout" in probes:
            fitted_on, rows, seed = self.asked.fitting, self.asked.rows, self.asked.spec.seed
            fitting = self.states(self.fitting, self.stop)
            told = [read_out(before, fitted_on, after, rows, seed) for before, after in zip(fitting, found, strict=True)]
            yield "readout", named | {"readout": [one.readout for one in told], "control": [one.control for one in told]}

    def _end(self, side: str) -> list[Centred]:
        """The features of A or B themselves, which of a partial path only one lies on."""
        if side not in self._ends:
            live, t = (self.live, 0.0) if side == "a" else (self.live.at_b(), 1.0)
            live.place_body((1.0 - t, t))
            found = self.states(self.rows, self.stop)
            self._ends[side] = [centred(features) for features in found]
            if t in self._wanted:
                self._whole[t] = found
        return self._ends[side]

    def _batches(self, texts: Sequence):
        task, tokenizer, config = self.asked.spec.task, self.live.tokenizer, self.live.model.config
        if task.template and MASK in task.template:
            texts = [text.replace(MASK, tokenizer.mask_token or "") for text in texts]
        elif self.resolved.kind == "seq2seq" and self.asked.rows.kind == "texts" and not isinstance(texts[0], str):
            texts = [first for first, _ in texts]  # the second is what is predicted
        return make_batches(tokenizer, texts, self.asked.max_length, config.get_text_config().pad_token_id)
