"""The loop that everyone writes: a new state dict for each t, rows padded to 128, batches of 32, float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.material import MAX_LENGTH, Material

BATCH = 32


class Plain:
    """Everything that the loop keeps; ``points`` yields logits [rows, labels] for one t after the other."""

    def __init__(self, material: Material):
        self.model = AutoModelForSequenceClassification.from_pretrained(material.a, dtype=torch.float32).eval()
        self.a = load_file(material.a / "model.safetensors")
        self.b = load_file(material.b / "model.safetensors")
        self.tokenizer = AutoTokenizer.from_pretrained(material.a)
        self.texts = list(material.texts)

    def points(self, ts: Sequence[float]) -> Iterator[torch.Tensor]:
        for t in ts:
            self.model.load_state_dict({name: (1 - t) * self.a[name] + t * self.b[name] for name in self.a})
            found = []
            for start in range(0, len(self.texts), BATCH):
                inputs = self.tokenizer(
                    self.texts[start : start + BATCH],
                    padding="max_length", truncation=True, max_length=MAX_LENGTH, return_tensors="pt",
                )  # fmt: skip
                with torch.no_grad():
                    found.append(self.model(**inputs).logits)
            yield torch.cat(found)
