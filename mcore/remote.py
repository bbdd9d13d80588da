"""A checkpoint on the Hub: looked at by its config, headers and tokenizer alone; fetched when a run needs it."""

from __future__ import annotations

import hashlib
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import replace

from mcore import hub
from mcore.checkpoints import (
    MOST_CONFIG_BYTES,
    MOST_TENSORS,
    TOKENIZER_FILES,
    Checkpoint,
    Stored,
    check_config,
    labels_of,
    look_at,
    read_json,
    tokenizer_digest,
)
from mcore.errors import Cancelled, QuestionError
from mcore.events import Fetching
from mcore.hubcache import Listing

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")  # beside the tokenizer itself
SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors")
READ_WHOLE = 700_000  # bytes of a tokenizer that are read to compare it; a larger one is known by its digest
TELL = 0.5  # seconds between two tellings of a download


def look(rest: str, field: str) -> Checkpoint:
    """What stands at ``ORG/NAME@REVISION``, without its weights. Raises ``QuestionError``."""
    repo, revision = hub.parse(rest, field)
    found = hub.listing(repo, revision, field)
    if "config.json" not in found.files:
        raise QuestionError(field, f"{repo} has no config.json: it is no transformers model", "choose a repository that save_pretrained wrote")
    config = read_json(hub.small_file(found, "config.json", MOST_CONFIG_BYTES, field), field)
    check_config(config, field)
    weights = _weights(found, field)
    tensors = {}
    for name in weights:
        for tensor, told in hub.header(found, name, field).items():
            tensors[tensor] = Stored(found.folder / name, tuple(told["shape"]), told["dtype"])
        if len(tensors) > MOST_TENSORS:
            raise QuestionError(field, f"it has more than {MOST_TENSORS:,} tensors", "choose an ordinary transformers model")
    tokenizer = [name for name in TOKENIZER_FILES if name in found.files]
    if not tokenizer:
        raise QuestionError(field, f"{repo} has no tokenizer", "choose a repository that has tokenizer.json beside its weights")
    index = ["model.safetensors.index.json"] if len(weights) > 1 else []
    settings = [name for name in SETTINGS if name in found.files]
    return Checkpoint(
        address=f"hub:{repo}@{found.commit}",
        folder=found.folder,
        digest=hashlib.sha256(f"hub {repo} {found.commit}".encode()).hexdigest()[:32],
        config=config,
        labels=labels_of(config, field),
        tensors=tensors,
        tokenizer=_tokenizer(found, tokenizer, field),
        listing=found,
        files=("config.json", *index, *weights, *tokenizer, *settings),
    )


def fetch(checkpoint: Checkpoint, field: str, stop: Callable[[], bool]) -> Iterator[Fetching]:
    """Bring what is missing of it to this disk, telling how far it is; nothing for what is here."""
    found = checkpoint.listing
    if found is None:
        return
    wanted = hub.missing(found, checkpoint.files)
    of = sum(found.files[name].size for name in wanted)
    if not of:
        return
    told: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()

    def carry_out() -> None:
        try:
            hub.fetch(found, wanted, field, told.put, stop)
            told.put(None)
        except BaseException as error:  # handed to who waits for it
            told.put(error)

    threading.Thread(target=copy_context().run, args=(carry_out,), daemon=True).start()  # it asks as whoever asks here
    done, began, last = 0, time.monotonic(), 0.0
    yield Fetching(field, found.repo, 0, of)
    while True:
        try:
            news = told.get(timeout=TELL)
        except queue.Empty:
            if stop():
                raise Cancelled from None  # the thread ends at its next piece; what came is kept
            continue
        if news is None:
            yield Fetching(field, found.repo, of, of)
            return
        if isinstance(news, BaseException):
            raise news
        done = min(done + news, of)
        if (now := time.monotonic()) - last > TELL:
            last = now
            yield Fetching(field, found.repo, done, of, (now - began) / done * (of - done) if done else None)


def to_fetch(checkpoint: Checkpoint) -> int:
    """Bytes of it that are not on this disk yet."""
    found = checkpoint.listing
    return sum(found.files[name].size for name in hub.missing(found, checkpoint.files)) if found else 0


def at_hand(checkpoint: Checkpoint, field: str) -> Checkpoint:
    """The checkpoint as it stands on this disk, read from its files, its tokenizer too; its identity stays that of the commit."""
    if checkpoint.listing is None:
        return checkpoint
    here = look_at(checkpoint.folder, checkpoint.address, field)
    return replace(here, digest=checkpoint.digest, labels=checkpoint.labels, listing=checkpoint.listing, files=checkpoint.files)


def _weights(found: Listing, field: str) -> list[str]:
    if "model.safetensors" in found.files:
        return ["model.safetensors"]
    if "model.safetensors.index.json" in found.files:
        told = read_json(hub.small_file(found, "model.safetensors.index.json", MOST_CONFIG_BYTES, field), field).get("weight_map")
        names = sorted(set(map(str, told.values()))) if isinstance(told, dict) else []
        if names and all(SHARD.fullmatch(name) and name in found.files for name in names):
            return names
        raise QuestionError(field, f"the index of the weights of {found.repo} does not fit its files", "choose another revision")
    if any(name.endswith(".bin") for name in found.files):
        raise QuestionError(field, f"the weights of {found.repo} are not safetensors{_converted(found, field)}", "choose a revision that has model.safetensors")
    raise QuestionError(field, f"{found.repo} has no model.safetensors", "choose a repository that save_pretrained wrote")


def _converted(found: Listing, field: str) -> str:
    """Where a conversion waits, as the Hub's own service proposes it; nothing where there is none."""
    for revision in ("refs/pr/1", "refs/pr/2", "refs/pr/3"):
        try:
            if "model.safetensors" in hub.listing(found.repo, revision, field).files:
                return f", but hub:{found.repo}@{revision} has them converted"
        except QuestionError:
            break
    return ""


def _tokenizer(found: Listing, names: list[str], field: str) -> str:
    main = names[:1] if names[0] == "tokenizer.json" else names
    if sum(found.files[name].size for name in main) <= READ_WHOLE:
        return tokenizer_digest([hub.small_file(found, name, READ_WHOLE, field) for name in main], field)
    pieces = json.dumps([[name, found.files[name].digest] for name in main])
    return f"files {hashlib.sha256(pieces.encode()).hexdigest()[:32]}"
