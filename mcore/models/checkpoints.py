"""Checkpoints looked at, not loaded: what stands in a transformers folder.

Reads the configuration, the headers of the safetensors files and the tokenizer's files. Needs
no torch, so that a page can say what is wrong with a question before anything is started.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mcore.errors import QuestionError
from mcore.hub.cache import Listing
from mcore.models.configs import check_config, check_dtypes, labels_of
from mcore.models.headers import MOST_TENSORS
from mcore.models.methods import Structure

BUILTIN = Path(__file__).parent.parent / "builtin"
MOST_CONFIG_BYTES, MOST_TOKENIZER_BYTES = 8 * 2**20, 200 * 2**20
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
                   "tokenizer.model")  # fmt: skip
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")  # beside the tokenizer itself
SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.(safetensors|bin)")
GENERIC = re.compile(r"(label[_ ]?)?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: ``dtype`` as safetensors writes it ("F16")."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Checkpoint:
    """A transformers folder. ``labels`` are the names of its outputs, None where it has no classification head.

    ``tensors`` is empty where they can be read only once it is fetched: pickles, and more headers than are looked at.
    ``base``: what an adapter (the folder) is merged into, or, with a ``delta``, what it was tuned from. ``lender``: whose tokenizer is used, where it has none. ``notices`` say what a reader of the answer must know.
    """

    address: str
    folder: Path
    digest: str
    config: dict
    labels: tuple[str, ...] | None
    tensors: dict[str, Stored]
    tokenizer: str
    listing: Listing | None = None  # of a repository on the Hub: where ``files`` are fetched from when they are needed
    files: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()  # those of the files that hold tensors
    base: Checkpoint | None = None
    lender: Checkpoint | None = None
    delta: Structure | None = None
    notices: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """As many as the headers tell, else about as many as the files have room for."""
        return sum(prod(t.shape) for t in self.tensors.values()) if self.tensors else self.bytes // self._each

    @property
    def unread(self) -> bool:
        """True where shapes are not known, and ``parameters`` is about right only."""
        return not self.tensors

    @property
    def pickled(self) -> bool:
        """True where its weights stand in files that only torch can read."""
        return any(name.endswith(".bin") for name in self.weights)

    @property
    def bytes(self) -> int:
        """Of weights that are to be read, those of the base included."""
        own = sum(self.listing.files[name].size if self.listing else (self.folder / name).stat().st_size for name in self.weights)
        return own + (self.base.bytes if self.base else 0)

    @property
    def _each(self) -> int:
        """Bytes of a number, as the configuration says it."""
        return {"float16": 2, "bfloat16": 2, "float64": 8}.get(str(self.config.get("dtype") or self.config.get("torch_dtype")), 4)

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


def builtin(rest: str, field: str) -> tuple[str, Path]:
    """Of ``NAME@STEP`` (or ``NAME``, its last step) the whole address and the folder. Raises ``QuestionError``."""
    name, _, step = rest.partition("@")
    known = families()
    if name not in known:
        raise QuestionError(field, f"nothing called {name!r} ships with the app", f"use one of: {', '.join(known)}")
    step = step or str(known[name][-1])
    if step not in map(str, known[name]):
        raise QuestionError(field, f"{name} has no step {step!r}", f"use one of: {', '.join(map(str, known[name]))}")
    return f"builtin:{name}@{step}", BUILTIN / name / step


def look_at(folder: Path, address: str, field: str, digest: str | None = None) -> Checkpoint:
    """The checkpoint in a folder that ``save_pretrained`` wrote; ``digest`` where it is known without reading the files.

    Raises ``QuestionError``.
    """
    config = read_json(folder / "config.json", field)
    check_config(config, field)
    weights = _weights(folder, field)
    tensors = {} if weights[0].endswith(".bin") else read_tensors(folder, weights, field)
    tokenizer_files = tokenizer_in(folder)
    if not tokenizer_files:
        raise QuestionError(field, f"there is no tokenizer in {folder}", "save the tokenizer beside the model (save_pretrained)")
    tokenizer = tokenizer_digest(tokenizer_files, field)
    return Checkpoint(
        address=address,
        folder=folder,
        digest=digest or digest_of([*(folder / name for name in weights), folder / "config.json", *tokenizer_files]),
        config=config,
        labels=labels_of(config, field),
        tensors=tensors,
        tokenizer=tokenizer,
        weights=tuple(weights),
        notices=() if tensors else (f"The weights of {folder.name} are read from a pickle, of which nothing but tensors is loaded.",),
    )


def read_tensors(folder: Path, names: Sequence[str], field: str) -> dict[str, Stored]:
    """What the headers of safetensors files say. Raises ``QuestionError``."""
    tensors: dict[str, Stored] = {}
    for file in (folder / name for name in names):
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
    check_dtypes({tensor.dtype for tensor in tensors.values()}, field)
    return tensors


def tokenizer_in(folder: Path) -> list[Path]:
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def digest_of(files: Sequence[Path]) -> str:
    """One digest of files by their names and contents."""
    pieces = {file.name: file_digest(file) for file in files}
    return hashlib.sha256(json.dumps(pieces, sort_keys=True).encode()).hexdigest()[:32]


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


def shards(index: dict, field: str) -> list[str]:
    """The files that the index of weights in parts names. Raises ``QuestionError`` where one is not beside it."""
    told = index.get("weight_map")
    names = sorted(set(told.values())) if isinstance(told, dict) and all(isinstance(name, str) for name in told.values()) else []
    if not names or not all(SHARD.fullmatch(name) for name in names):
        raise QuestionError(field, "the weight_map in its index names no files beside it", "save the model again (save_pretrained)")
    return names


def _weights(folder: Path, field: str) -> list[str]:
    """The names of the files that hold its tensors: safetensors, else pickles."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if (folder / whole).is_file():
            return [whole]
        if (folder / f"{whole}.index.json").is_file():
            names = shards(read_json(folder / f"{whole}.index.json", field), field)
            if missing := [name for name in names if not (folder / name).is_file()]:
                raise QuestionError(field, f"the weights {_some(missing)} are missing from {folder}", "copy the folder whole")
            return names
    raise QuestionError(field, f"there is no model.safetensors in {folder}", "save the model with transformers' save_pretrained")


def tokenizer_digest(files: list[Path], field: str) -> str:
    """One digest for what the tokenizer does: padding and truncation are settings of a call, not part of it."""
    first = files[0].stat()
    if large := [file.name for file in files if file.stat().st_size > MOST_TOKENIZER_BYTES]:
        raise QuestionError(field, f"its {large[0]} is larger than {MOST_TOKENIZER_BYTES >> 20} MiB", "give an ordinary transformers folder")
    if files[0].name == "tokenizer.json":
        try:
            return _fast_tokenizer_digest(str(files[0]), first.st_size, first.st_mtime_ns)
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
