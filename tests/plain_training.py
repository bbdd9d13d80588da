"""The plain training loop that fine-tuning is held against: transformers and torch, nothing of mcore.

The same seeds in the same places: one for what is new in the model, one for the order of the rows and the dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

OPTIMIZERS = {
    "adamw": lambda groups, rate: torch.optim.AdamW(groups, lr=rate),
    "adam": lambda groups, rate: torch.optim.Adam(groups, lr=rate),
    "sgd": lambda groups, rate: torch.optim.SGD(groups, lr=rate, momentum=0.9),
}


def train(
    model, loss: Callable[[Sequence[int]], torch.Tensor], rows: int, steps: int, batch: int, rate: float, seed: int,
    optimizer: str = "adamw", weight_decay: float = 0.01, warmup: float = 0.1, clip: float = 1.0, decay: bool = True, until: int | None = None,
):  # fmt: skip
    """``steps`` of the schedule, of which ``until`` are carried out; ``loss(places)``: of the rows at these places. Returns every step's loss."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    made, told = OPTIMIZERS[optimizer](groups, rate), []
    rise = max(1, math.ceil(warmup * steps))
    for step in range(until or steps):
        model.train()
        torch.manual_seed(int(np.random.SeedSequence([seed, 4, step]).generate_state(1)[0]))
        for group in made.param_groups:
            falls = (steps - step) / (steps - rise + 1) if decay else 1.0
            group["lr"] = rate * ((step + 1) / rise if step < rise else falls)
        epoch, place = divmod(step, rows // min(batch, rows))
        order = np.random.default_rng([seed, 3, epoch]).permutation(rows)
        found = loss(order[place * min(batch, rows) : (place + 1) * min(batch, rows)].tolist())
        found.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        made.step()
        made.zero_grad()
        told.append(found.item())
    return told


def classifier(base: Path, labels: Sequence[str], head_seed: int):
    """The base's body under a head that comes from the seed."""
    config = AutoConfig.from_pretrained(base, id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)})
    torch.manual_seed(head_seed)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    body = AutoModel.from_pretrained(base, dtype=torch.float32)
    getattr(model, model.base_model_prefix).load_state_dict(body.state_dict())
    return model


def classification(model, tokenizer, texts: Sequence[str], labels: Sequence[int], max_length: int) -> Callable[[Sequence[int]], torch.Tensor]:
    """The cross-entropy of a batch."""

    def loss(places: Sequence[int]) -> torch.Tensor:
        inputs = tokenizer([texts[i] for i in places], truncation=True, max_length=max_length, padding=True, return_tensors="pt")
        return torch.nn.functional.cross_entropy(model(**inputs).logits, torch.tensor([labels[i] for i in places]))

    return loss


def answering(model, tokenizer, texts: Sequence[str], answers: Sequence[str]) -> Callable[[Sequence[int]], torch.Tensor]:
    """The cross-entropy of each row's answer, a mean over its tokens, then over the rows of a batch.

    A text-to-text model writes it, a causal one goes on with it after the text and a space, a masked one has it, one token long, at " {mask}".
    """
    if model.config.is_encoder_decoder:
        return lambda places: _written(model, tokenizer, [texts[i] for i in places], [answers[i] for i in places])
    if "{mask}" in texts[0]:
        return lambda places: _filled_in(model, tokenizer, [texts[i] for i in places], [answers[i] for i in places])
    return lambda places: _continued(model, tokenizer, [texts[i] for i in places], [answers[i] for i in places])


def _written(model, tokenizer, texts: list[str], answers: list[str]) -> torch.Tensor:
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    labels = tokenizer(text_target=answers, padding=True, return_tensors="pt")["input_ids"]
    real = labels != tokenizer.pad_token_id
    nats = torch.nn.functional.cross_entropy(model(**inputs, labels=labels).logits.transpose(1, 2), labels, reduction="none")
    return ((nats * real).sum(1) / real.sum(1)).mean()


def _continued(model, tokenizer, texts: list[str], answers: list[str]) -> torch.Tensor:
    rows = [tokenizer(f"{text} {answer}")["input_ids"] for text, answer in zip(texts, answers, strict=True)]
    starts = [len(tokenizer(text)["input_ids"]) for text in texts]
    width = max(map(len, rows)) - 1  # the last token is predicted and predicts nothing
    ids = torch.tensor([row[:-1] + [0] * (width - len(row) + 1) for row in rows])
    mask = torch.tensor([[1] * (len(row) - 1) + [0] * (width - len(row) + 1) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask).logits
    each = [
        torch.nn.functional.cross_entropy(logits[i, start - 1 : len(row) - 1], torch.tensor(row[start:]))
        for i, (row, start) in enumerate(zip(rows, starts, strict=True))
    ]
    return torch.stack(each).mean()


def _filled_in(model, tokenizer, texts: list[str], answers: list[str]) -> torch.Tensor:
    inputs = tokenizer([text.replace(" {mask}", tokenizer.mask_token) for text in texts], padding=True, return_tensors="pt")
    tokens = torch.tensor([tokenizer(f" {answer}", add_special_tokens=False)["input_ids"][0] for answer in answers])
    return torch.nn.functional.cross_entropy(model(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id], tokens)


def assert_equal(model, folder_weights: dict[str, torch.Tensor], optimizer: str = "adamw", close: float = 1e-5) -> None:
    """Every weight to ``close``; under Adam all but one in five hundred of a tensor.

    Adam divides a gradient by its own size, so that where it is next to zero the rounding decides which way a weight goes: the keys'
    biases, which no attention depends on, are such, and single weights here and there.
    """
    for name, tensor in model.state_dict().items():
        off = ((folder_weights[name] - tensor).abs() > close).float().mean().item()
        if optimizer == "sgd" or not name.endswith(("key.bias", "k_proj.bias", "attn.c_attn.bias")):
            assert off == 0 if optimizer == "sgd" else off <= max(0.002, 1.5 / tensor.numel()), (name, off)
