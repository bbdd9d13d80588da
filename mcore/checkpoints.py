"""Checkpoints looked at, not loaded: what stands in a transformers folder.

Reads the configuration, the headers of the safetensors files and the tokenizer's files. Needs
no torch, so that a page can say what is wrong with a question before anything is started.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mcore.errors import QuestionError
from mcore.hubcache import Listing

BUILTIN = Path(__file__).parent / "builtin"
MOST_CONFIG_BYTES, MOST_TENSORS = 8 * 2**20, 100_000
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
                   "tokenizer.model")  # fmt: skip
MOST_SIZE = 10_000_000  # of anything that a config counts
GENERIC = re.compile(r"(label[_ ]?)?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: ``dtype`` as safetensors writes it ("F16")."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Checkpoint:
    """A transformers folder. ``labels`` are the names of its outputs, None where it has no classification head."""

    address: str
    folder: Path
    digest: str
    config: dict
    labels: tuple[str, ...] | None
    tensors: dict[str, Stored]
    tokenizer: str
    listing: Listing | None = None  # of a repository on the Hub: where ``files`` are fetched from when they are needed
    files: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(_product(t.shape) for t in self.tensors.values())

    @property
    def bytes(self) -> int:
        files = {t.file for t in self.tensors.values()}
        return sum(self.listing.files[file.name].size if self.listing else file.stat().st_size for file in files)

    @property
    def max_length(self) -> int | None:
        """The longest sequence in tokens that the configuration states, None where it states none."""
        longest = self.config.get("max_position_embeddings") or self.config.get("n_positions")
        if not longest:
            return None
        # These count positions from the padding index on, so that two or so of them are never used.
        shifted = self.config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
        return longest - 1 - (self.config.get("pad_token_id") or 0) if shifted else longest


def families() -> dict[str, list[int]]:
    """The families that ship with the app: name -> its pre-training steps, rising."""
    return {
        folder.name: sorted(int(step.name) for step in folder.iterdir() if step.name.isdigit())
        for folder in sorted(BUILTIN.iterdir())
        if folder.is_dir() and (folder / "0").is_dir()
    }


def look_at(folder: Path, address: str, field: str) -> Checkpoint:
    """The checkpoint in a folder that ``save_pretrained`` wrote. Raises ``QuestionError``."""
    config = read_json(folder / "config.json", field)
    check_config(config, field)
    tensors = _headers(folder, field)
    tokenizer_files = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not tokenizer_files:
        raise QuestionError(field, f"there is no tokenizer in {folder}", "save the tokenizer beside the model (save_pretrained)")
    weights = sorted({t.file for t in tensors.values()})
    pieces = {file.name: file_digest(file) for file in (*weights, folder / "config.json", *tokenizer_files)}
    return Checkpoint(
        address=address,
        folder=folder,
        digest=hashlib.sha256(json.dumps(pieces, sort_keys=True).encode()).hexdigest()[:32],
        config=config,
        labels=labels_of(config, field),
        tensors=tensors,
        tokenizer=tokenizer_digest(tokenizer_files, field),
    )


def check_config(config: dict, field: str) -> None:
    """Raise a ``QuestionError`` for sizes that no model has: building one would take all the memory there is."""
    for key, value in config.items():
        if isinstance(value, int) and value > MOST_SIZE and key.endswith(("_size", "_layers", "_heads", "_dim", "_embeddings", "n_embd", "n_layer")):
            raise QuestionError(field, f"its config says that {key} is {value:,}", "choose a model of an ordinary size")


def named(labels: tuple[str, ...] | None) -> bool:
    """True where labels say something; False for LABEL_0, LABEL_1 … and plain numbers."""
    return labels is not None and not all(GENERIC.fullmatch(label) for label in labels)


@lru_cache(maxsize=4096)
def _digest_of(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file; read once as long as its size and time of change stay."""
    stat = path.stat()
    return _digest_of(str(path), stat.st_size, stat.st_mtime_ns)


def read_json(path: Path, field: str) -> dict:
    if not path.is_file():
        raise QuestionError(field, f"there is no {path.name} in {path.parent}", "give a folder that save_pretrained wrote")
    if path.stat().st_size > MOST_CONFIG_BYTES:
        raise QuestionError(field, f"{path.name} is larger than {MOST_CONFIG_BYTES >> 20} MiB", "give an ordinary transformers folder")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise QuestionError(field, f"{path} is not JSON", "save the model again (save_pretrained)") from None
    if not isinstance(data, dict):
        raise QuestionError(field, f"{path} is not a JSON object", "save the model again (save_pretrained)")
    return data


def _headers(folder: Path, field: str) -> dict[str, Stored]:
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    elif index.is_file():
        told = read_json(index, field).get("weight_map")
        if not isinstance(told, dict):
            raise QuestionError(field, f"{index} has no weight_map", "save the model again (save_pretrained)")
        names = set(map(str, told.values()))
        files = [folder / name for name in sorted(names)]
        missing = [f.name for f in files if f.parent != folder or not f.is_file()]
        if missing:
            raise QuestionError(field, f"the weights {_some(missing)} are missing from {folder}", "copy the folder whole")
    else:
        other = "its weights are not safetensors" if any(folder.glob("*.bin")) else "there is no model.safetensors"
        raise QuestionError(field, f"{other} ({folder})", "save the model with transformers' save_pretrained")
    tensors: dict[str, Stored] = {}
    for file in files:
        try:
            with safe_open(file, framework="numpy") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a mapping)
                    part = opened.get_slice(name)
                    tensors[name] = Stored(file, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise QuestionError(field, f"{file} is damaged ({error})", "copy or save it again") from None
        if len(tensors) > MOST_TENSORS:
            raise QuestionError(field, f"it has more than {MOST_TENSORS:,} tensors", "give an ordinary transformers folder")
    if not tensors:
        raise QuestionError(field, f"there are no tensors in {folder}", "save the model again (save_pretrained)")
    return tensors


def labels_of(config: dict, field: str) -> tuple[str, ...] | None:
    if not any("ForSequenceClassification" in str(name) for name in config.get("architectures") or []):
        return None
    names = config.get("id2label")
    if names is None:
        return tuple(f"LABEL_{i}" for i in range(config.get("num_labels") or 2))
    try:
        return tuple(str(names[key]) for key in sorted(names, key=int))
    except (TypeError, ValueError, AttributeError):
        raise QuestionError(field, "id2label in its config.json is not a list of labels", "write {\"0\": …, \"1\": …}") from None


def tokenizer_digest(files: list[Path], field: str) -> str:
    """One digest for what the tokenizer does: padding and truncation are settings of a call, not part of it."""
    if files[0].name == "tokenizer.json":
        stat = files[0].stat()
        if stat.st_size > 200 * 2**20:
            raise QuestionError(field, "its tokenizer.json is larger than 200 MiB", "give an ordinary transformers folder")
        try:
            return _fast_tokenizer_digest(str(files[0]), stat.st_size, stat.st_mtime_ns)
        except (ValueError, AttributeError, RecursionError):
            raise QuestionError(field, f"{files[0]} is not a JSON object", "save the tokenizer again (save_pretrained)") from None
    return hashlib.sha256("".join(file_digest(file) for file in files).encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def _fast_tokenizer_digest(path: str, size: int, changed: int) -> str:
    data = json.loads(Path(path).read_bytes())
    kept = {key: value for key, value in data.items() if key not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:32]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
