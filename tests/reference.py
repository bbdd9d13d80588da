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


def load(folder: Path, opener: type = AutoModelForSequenceClassification):
    """The checkpoint as transformers alone opens it, in float32."""
    return opener.from_pretrained(folder, dtype=torch.float32).eval()


def mixed(
    a: Path, b: Path, t: float, only_a: Collection[str] = (), rows_of_b: Sequence[int] | None = None, head: Collection[str] = (),
    opener: type = AutoModelForSequenceClassification,
):  # fmt: skip
    """The model at ``t``. Names that begin like one of ``only_a`` are A's at every t.

    ``rows_of_b``: which row of B's tensors that begin like one of ``head`` means what row i of A's means.
    """
    model = load(a, opener)
    first, second = load(a, opener).state_dict(), load(b, opener).state_dict()
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


@torch.no_grad()
def token_nats(model, tokenizer, text: Text, max_length: int, hidden: Sequence[int] | None = None) -> tuple[float, int, int]:
    """Nats of one text's tokens, how many they are, and how many of them are predicted first.

    A pair is a text to read and a text to write. ``hidden``: places that a masked model has to fill, all at once; else every
    token is predicted from those before it.
    """
    how = {"truncation": True, "max_length": max_length, "return_tensors": "pt"}
    if model.config.is_encoder_decoder:
        targets = tokenizer(text_target=text[1], **how)["input_ids"]
        logits, targets = model(**tokenizer(text[0], **how), labels=targets).logits[0], targets[0]
    else:
        ids = tokenizer(text, **how)["input_ids"]
        if hidden is None:
            logits, targets = model(ids).logits[0, :-1], ids[0, 1:]
        else:
            masked = ids.clone()
            masked[0, list(hidden)] = tokenizer.mask_token_id
            logits, targets = model(masked).logits[0, list(hidden)], ids[0, list(hidden)]
    return _nats(logits, targets), len(targets), int((logits.argmax(-1) == targets).sum())


@torch.no_grad()
def answer_nats(model, tokenizer, text: str, answer: str, max_length: int = 512) -> tuple[float, int]:
    """Nats and tokens of an answer after a text that ends without a space, or in the place of "{mask}" behind a space."""
    if model.config.is_encoder_decoder:
        targets = tokenizer(text_target=answer, return_tensors="pt")["input_ids"]
        logits, targets = model(**tokenizer(text, return_tensors="pt"), labels=targets).logits[0], targets[0]
    elif tokenizer.mask_token and "{mask}" in text:
        targets = tokenizer(f" {answer}", add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        ids = tokenizer(text.replace(" {mask}", tokenizer.mask_token * len(targets)), return_tensors="pt")["input_ids"]
        logits = model(ids).logits[0, ids[0] == tokenizer.mask_token_id]
    else:
        ids, before = tokenizer(f"{text} {answer}")["input_ids"], len(tokenizer(text)["input_ids"])
        begins = ids[: int(ids[0] == tokenizer.bos_token_id)]
        ids = torch.tensor([begins + ids[len(begins) :][-(max_length - len(begins)) :]])
        count = len(tokenizer(f"{text} {answer}")["input_ids"]) - before
        logits, targets = model(ids).logits[0, -count - 1 : -1], ids[0, -count:]
    return _nats(logits, targets), len(targets)


def _nats(logits: torch.Tensor, targets: torch.Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum").item()
