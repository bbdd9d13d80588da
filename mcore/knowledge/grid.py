"""Every example at every t: right or wrong, how probable its true label is, when it is forgotten and learned.

A ``Grid`` is read from stored responses, or, as far as it goes, from a result that holds none. What
is asked of it (groups, orders, what changes where) are pure functions of arrays; no model, no torch.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcore import plan
from mcore.evaluation import measures, probes
from mcore.names import t_text
from mcore.plan import Point
from mcore.question import fingerprint
from mcore.resolved import Resolved
from mcore.store import Store
from mcore.tasks.rows import Rows

GROUPS = {
    "all": "All",
    "always": "Always mastered",
    "regained": "Lost midway and regained",
    "only_a": "Only A masters",
    "only_b": "Only B masters",
    "midway": "Only midway",
    "never": "Never mastered",
}
ORDERS = {
    "forgotten": "When forgotten or learned",
    "confidence": "Mean confidence",
    "change": "Confidence gained from A to B",
    "label": "True label",
    "row": "Row",
}
UNKNOWN = -1  # a prediction that is known to be wrong and no more


@dataclass(frozen=True)
class Grid:
    """Examples along a path; arrays are ``[points, examples]``, the points in rising t.

    ``probability`` is that of the true label, None where only right and wrong are known. ``always`` and
    ``never`` count examples that are not in the arrays: those that are mastered at every t, and at none.
    """

    ids: np.ndarray  # [examples]
    texts: Sequence[str | tuple[str, str]]
    labels: np.ndarray  # [examples], places in ``names``
    names: tuple[str, ...]
    ts: tuple[float, ...]
    right: np.ndarray  # bool
    predicted: np.ndarray  # int16, places in ``names``, or ``UNKNOWN``
    probability: np.ndarray | None = None  # float32
    always: int = 0
    never: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def total(self) -> int:
        """All examples, those outside the arrays too."""
        return len(self) + self.always + self.never

    @cached_property
    def stamp(self) -> str:
        """Stands for the points that are there."""
        return fingerprint({"ts": self.ts})

    @property
    def has_a(self) -> bool:
        return bool(self.ts) and self.ts[0] == 0.0

    @property
    def has_ends(self) -> bool:
        return self.has_a and self.ts[-1] == 1.0

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the true label; 1 and 0 for right and wrong where it is not known."""
        return self.right.astype(np.float32) if self.probability is None else self.probability

    @cached_property
    def forgotten_at(self) -> np.ndarray:
        """The first t at which an example that the first model masters is wrong; NaN where there is none."""
        return self._first(self.right[0] & ~self.right)

    @cached_property
    def learned_at(self) -> np.ndarray:
        """The first t at which an example that the first model does not master is right; NaN where there is none."""
        return self._first(~self.right[0] & self.right)

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Masks over the examples by the names of ``GROUPS``. But for "all" they share no example and leave none out."""
        first, last, ever, throughout = self.right[0], self.right[-1], self.right.any(axis=0), self.right.all(axis=0)
        return {
            "all": np.ones(len(self), bool),
            "always": throughout,
            "regained": first & last & ~throughout,
            "only_a": first & ~last,
            "only_b": ~first & last,
            "midway": ~first & ~last & ever,
            "never": ~ever,
        }

    def order(self, name: str) -> np.ndarray:
        """Places of all examples, sorted; ties by the mean probability of the true label, then by place.

        "forgotten": what is never forgotten, then what is, the last forgotten first; then what is
        learned, the first learned first; then what is never mastered. So the border between right and
        wrong runs as two stairs.
        """
        mean = self.confidence.mean(axis=0)
        gained = self.confidence[-1] - self.confidence[0]
        place = np.arange(len(self))
        lost = np.where(np.isnan(self.forgotten_at), np.inf, self.forgotten_at)
        found = np.where(np.isnan(self.learned_at), np.inf, self.learned_at)
        keys = {
            "forgotten": (~self.right[0], np.where(self.right[0], -lost, found), -mean),
            "confidence": (-mean,),
            "change": (gained,),
            "label": (self.labels, ~self.right[0], np.where(self.right[0], -lost, found), -mean),
            "row": (),
        }[name]
        return np.lexsort((place, *reversed(keys)))

    def changes(self, low: float, high: float) -> np.ndarray:
        """Mask of the examples that are newly forgotten or newly learned at some t from ``low`` to ``high``."""
        ts = np.asarray(self.ts[1:])
        inside = (ts >= low - 1e-9) & (ts <= high + 1e-9)
        return (self.right[1:] != self.right[:-1])[inside].any(axis=0)

    def holds(self, words: str) -> np.ndarray:
        """Mask of the examples whose text contains ``words``, in any case."""
        words = words.casefold()
        return np.fromiter((words in as_text(text).casefold() for text in self.texts), bool, len(self))

    def story(self, place: int) -> str:
        """What happens to one example on the way: ``forgotten at t = 0.40, learned at t = 0.70``."""
        series = self.right[:, place]
        turns = [
            f"{'learned' if series[i] else 'forgotten'} at t = {t_text(self.ts[i])}"
            for i in range(1, len(series))
            if series[i] != series[i - 1]
        ]
        if not turns:
            return "mastered at every t" if series[0] else "mastered at no t"
        return ", ".join(turns) if len(turns) <= 4 else f"{', '.join(turns[:3])} and {len(turns) - 3} more turns"

    def _first(self, mask: np.ndarray) -> np.ndarray:
        return np.where(mask.any(axis=0), np.asarray(self.ts)[mask.argmax(axis=0)], np.nan)


def read(resolved: Resolved, number: int, store: Store) -> Grid | None:
    """What the store holds of task ``number``, the ends included; None where nothing is there, or no labels are predicted."""
    if not measures.by_label(resolved.tasks[number]):
        return None
    scores = _scores(resolved, number, store)
    if not scores:
        return None
    rows, at = resolved.tasks[number].rows, np.arange(len(resolved.tasks[number].rows))
    predicted = np.stack([one.argmax(axis=1) for one in scores.values()]).astype(np.int16)
    true = np.stack([np.exp(probes.log_probabilities(one)[at, rows.labels]) for one in scores.values()])
    return Grid(
        ids=rows.ids, texts=rows.texts, labels=rows.labels, names=rows.names, ts=tuple(scores),
        right=predicted == rows.labels, predicted=predicted, probability=np.nan_to_num(true).astype(np.float32),
    )  # fmt: skip


def along(resolved: Resolved, number: int, store: Store, ts: Sequence[float], place: int) -> np.ndarray:
    """The probabilities of all labels for one example at these t, ``[points, classes]``; NaN where no response is there."""
    scores = _scores(resolved, number, store)
    missing = np.full((1, len(resolved.tasks[number].rows.names)), np.nan)
    return np.concatenate([
        np.exp(probes.log_probabilities(scores[t][place : place + 1])) if t in scores else missing for t in ts
    ])  # fmt: skip


def from_result(told: Mapping, rows: Rows) -> Grid | None:
    """One task's entry of a result without its responses: the rows that change, and the others counted.

    The lists of forgotten and learned rows tell each row that changes whether it is right at every t.
    Which of the others are mastered throughout they do not tell, only how many.
    """
    knowledge, ts = told.get("knowledge"), told.get("t", ())
    places = {int(one): place for place, one in enumerate(rows.ids)}
    if not knowledge or not ts or {int(one) for one in told["rows"]} != set(places):
        return None
    turns: dict[int, dict[int, bool]] = {}
    for kind, value in (("forgotten", False), ("learned", True)):
        for i, group in enumerate(knowledge[kind], 1):
            for row in group:
                turns.setdefault(places[int(row)], {})[i] = value
    chosen = np.array(sorted(turns), np.int64)
    right = np.zeros((len(ts), len(chosen)), bool)
    for column, place in enumerate(chosen.tolist()):
        right[0, column] = not turns[place][min(turns[place])]  # it can only forget what it knew
        for i in range(1, len(ts)):
            right[i, column] = turns[place].get(i, right[i - 1, column])
    always = int(knowledge["mastered"][0]) - int(right[0].sum())
    labels = rows.labels[chosen]
    wrong = 1 - labels if len(rows.names) == 2 else np.full_like(labels, UNKNOWN)
    return Grid(
        ids=rows.ids[chosen], texts=[rows.texts[place] for place in chosen.tolist()], labels=labels, names=rows.names,
        ts=tuple(ts), right=right, predicted=np.where(right, labels, wrong).astype(np.int16),
        always=always, never=len(rows) - len(chosen) - always,
    )  # fmt: skip


def flow(grid: Grid) -> list[dict]:
    """At each t how many examples are, by the first model: ``kept``, ``forgotten``, ``learned``, ``never`` (by neither)."""
    first, told = grid.right[0], []
    for t, here in zip(grid.ts, grid.right, strict=True):
        kept, learned = int((first & here).sum()) + grid.always, int((~first & here).sum())
        forgotten = int((first & ~here).sum())
        told.append({"t": t, "kept": kept, "forgotten": forgotten, "learned": learned,
                     "never": grid.total - kept - forgotten - learned})  # fmt: skip
    return told


def as_csv(grid: Grid, places: Sequence[int]) -> bytes:
    """One line for each example, with its prediction and the probability of its true label at each t."""
    names = [*grid.names, ""]  # the last one for a prediction that is not known
    ts = [f"{t:.6g}" for t in grid.ts]
    head = ["row", "true_label", "forgotten_at", "learned_at", *(f"predicted_t{t}" for t in ts)]
    head += [f"probability_t{t}" for t in ts] if grid.probability is not None else []
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([*head, "text"])
    for place in places:
        told = [grid.ids[place], grid.names[grid.labels[place]]]
        told += ["" if np.isnan(at[place]) else f"{at[place]:.6g}" for at in (grid.forgotten_at, grid.learned_at)]
        told += [names[i] for i in grid.predicted[:, place]]
        if grid.probability is not None:
            told += [f"{p:.6f}" for p in grid.probability[:, place]]
        writer.writerow([*told, as_text(grid.texts[place])])
    return file.getvalue().encode()


def as_text(text: str | tuple[str, str]) -> str:
    """A row's text in one line; the two texts of a pair with a sign between them."""
    return text if isinstance(text, str) else " ⟂ ".join(text)


def _scores(resolved: Resolved, number: int, store: Store) -> dict[float, np.ndarray]:
    orders = plan.orders(resolved, number, store)
    keys = {} if orders is None else {t: plan.key(resolved, Point(number, t), orders) for t in plan.wanted(resolved)}
    stored = store.get_many(keys.values())
    return {t: plan.unpack(stored[key]) for t, key in keys.items() if key in stored}
