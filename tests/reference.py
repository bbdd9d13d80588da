"""The plain reference that the engine is held against: transformers and state dictionaries, nothing else.

One fresh model for each t, weights mixed as (1 − t) · A + t · B in float32, one row at a time. Nothing of
mcore is used here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

Text = str | tuple[str, str]


def load(folder: Path):
    """The checkpoint as transformers alone opens it, in float32."""
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()


def mixed(a: Path, b: Path, t: float, only_a: Collection[str] = (), rows_of_b: Sequence[int] | None = None, head: Collection[str] = ()):
    """The model at ``t``. Names that begin like one of ``only_a`` are A's at every t.

    ``rows_of_b``: which row of B's tensors that begin like one of ``head`` means what row i of A's means.
    """
    model = load(a)
    first, second = load(a).state_dict(), load(b).state_dict()
    weights = {}
    for name, tensor in first.items():
        if name.startswith(tuple(only_a)) or not tensor.is_floating_point():
            weights[name] = tensor
            continue
        other = second[name]
        if rows_of_b is not None and name.startswith(tuple(head)):
            other = other[list(rows_of_b)]
        weights[name] = (1 - t) * tensor + t * other
    model.load_state_dict(weights)
    return model


@torch.no_grad()
def logits(model, folder: Path, texts: Sequence[Text], max_length: int) -> torch.Tensor:
    """[examples, outputs], one row at a time, with the tokenizer in ``folder``."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        parts = (text,) if isinstance(text, str) else text
        rows.append(model(**tokenizer(*parts, truncation=True, max_length=max_length, return_tensors="pt")).logits[0])
    return torch.stack(rows)


def loss(scores: torch.Tensor, labels: Sequence[int]) -> float:
    """Mean cross-entropy in nats."""
    return torch.nn.functional.cross_entropy(scores, torch.as_tensor(labels)).item()


def curve(a: Path, b: Path, texts: Sequence[Text], labels: Sequence[int], ts: Sequence[float], max_length: int, **how) -> list[float]:
    """The loss at every t."""
    return [loss(logits(mixed(a, b, t, **how), a, texts, max_length), labels) for t in ts]
