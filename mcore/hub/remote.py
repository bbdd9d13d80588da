"""A checkpoint on the Hub: looked at by its config, headers and tokenizer alone; fetched when a run needs it."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

from mcore.errors import Cancelled, QuestionError
from mcore.events import Fetching
from mcore.hub import cache as hubcache
from mcore.hub import repositories as hub
from mcore.hub import weights as hubweights
from mcore.hub.cache import Listing
from mcore.models import adapters, deltas
from mcore.models.checkpoints import (
    MOST_CONFIG_BYTES,
    MOST_TOKENIZER_BYTES,
    SETTINGS,
    TOKENIZER_FILES,
    Checkpoint,
    builtin,
    file_digest,
    look_at,
    read_json,
    tokenizer_digest,
)
from mcore.models.configs import check_config, labels_of
from mcore.store import Store

LOOK = 900_000  # bytes of a repository that are read, at the most, to look at it
LISTED = 300  # about as many of them are taken by each file of its listing, beside the name
MOST_LOOKED_CONFIG, MOST_LOOKED_HEADERS = 200_000, 400_000
READ_WHOLE = 700_000  # bytes of a tokenizer that are read to compare it; a larger one is known by its digest
TELL = 0.5  # seconds between two tellings of a download


def look(rest: str, field: str, adapted: bool = True) -> Checkpoint:
    """What stands at ``ORG/NAME@REVISION``, without its weights. ``adapted``: it may be an adapter. Raises ``QuestionError``."""
    repo, revision = hub.parse(rest, field)
    found = hub.listing(repo, revision, field)
    if adapters.is_one(found.files):
        if not adapted:
            raise QuestionError(field, f"its base {repo} is an adapter too", "merge the first one and save it whole")
        return _adapter(found, field)
    if deltas.is_one(found.files):
        if not adapted:
            raise QuestionError(field, f"its base {repo} is a delta of another model", "name a whole model")
        return _delta(found, field)
    if "config.json" not in found.files:
        raise QuestionError(field, f"{repo} has no config.json: it is no transformers model", "choose a repository that save_pretrained wrote")
    weights = hubweights.choose(found, field)
    found, left = weights.listing, LOOK - _listed(found) * (4 if weights.notices else 1)
    config = read_json(hub.small_file(found, "config.json", MOST_LOOKED_CONFIG, field), field)
    check_config(config, field)
    left -= found.files["config.json"].size + sum(min(found.files[name].size, hubweights.MOST_INDEX) for name in weights.index)
    tensors, spent = hubweights.tensors(weights, field, min(MOST_LOOKED_HEADERS, left))
    tokenizer = _tokenizer_files(found, field)
    lender = None if tokenizer else _lender(found, config, field, left - spent)
    whole = f"hub {repo} {found.commit}" + (f" with {lender.address}" if lender else "")
    return Checkpoint(
        address=f"hub:{repo}@{found.commit}",
        folder=found.folder,
        digest=hashlib.sha256(whole.encode()).hexdigest()[:32],
        config=config,
        labels=labels_of(config, field),
        tensors=tensors,
        tokenizer=lender.tokenizer if lender else _tokenizer(found, tokenizer, field, left - spent),
        listing=found,
        files=("config.json", *weights.index, *weights.names, *tokenizer, *_settings(found, field)),
        weights=weights.names,
        lender=lender,
        notices=weights.notices + (lender.notices if lender else ()),
    )


def fetch(checkpoint: Checkpoint, field: str, stop: Callable[[], bool]) -> Iterator[Fetching]:
    """Bring what is missing of it to this disk, its base first, telling how far it is; nothing for what is here."""
    for other in filter(None, (checkpoint.base, checkpoint.lender)):
        yield from fetch(other, field, stop)
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
    own = sum(found.files[name].size for name in hub.missing(found, checkpoint.files)) if found else 0
    return own + sum(map(to_fetch, filter(None, (checkpoint.base, checkpoint.lender))))


def at_hand(checkpoint: Checkpoint, field: str, store: Store) -> Checkpoint:
    """The checkpoint as it stands on this disk, read from its files; its identity stays what it was.

    A pickle is written anew, an adapter merged into its base and a tokenizer put beside weights that have none, once: the
    folder in the store is a plain one. Raises ``QuestionError`` where a file is not what the Hub's list says.
    """
    if checkpoint.delta:
        _check_content(checkpoint, field)
        base = at_hand(checkpoint.base, field, store)
        return deltas.look_at(checkpoint.folder, checkpoint.address, base, field, checkpoint.digest)
    _check_content(checkpoint, field)
    if checkpoint.lender:
        _check_content(checkpoint.lender, field)
    if checkpoint.pickled or checkpoint.base or checkpoint.lender:
        from mcore.models.rewrite import rewritten  # torch, which a page does without

        folder = rewritten(checkpoint, field, store, at_hand)
    elif checkpoint.listing:
        folder = checkpoint.folder
    else:
        return checkpoint
    here = look_at(folder, checkpoint.address, field, checkpoint.digest)
    return replace(here, labels=checkpoint.labels, notices=checkpoint.notices)


def _adapter(found: Listing, field: str) -> Checkpoint:
    """An adapter and what it is merged into. The base's commit is kept: it is the same one as long as the adapter's is."""
    config = adapters.read_config(hub.small_file(found, "adapter_config.json", MOST_LOOKED_CONFIG, field), field)
    kept = hubcache.read(found, "base")
    base = look(str(kept["address"]) if kept else adapters.base_on_the_hub(config, field), field, adapted=False)
    hubcache.write(found, "base", {"address": base.address.removeprefix("hub:")})
    weights = hubweights.choose(found, field, adapters.FILES)
    left = LOOK - _listed(found)
    tensors, spent = hubweights.tensors(weights, field, min(MOST_LOOKED_HEADERS, left))
    tokenizer = _tokenizer_files(found, field)
    one = Checkpoint(
        address=f"hub:{found.repo}@{found.commit}",
        folder=found.folder,
        digest=hashlib.sha256(f"hub {found.repo} {found.commit}".encode()).hexdigest()[:32],
        config=config,
        labels=None,
        tensors=tensors,
        tokenizer=_tokenizer(found, tokenizer, field, left - spent) if tokenizer else base.tokenizer,
        listing=found,
        files=("adapter_config.json", *weights.names, *tokenizer, *_settings(found, field)),
        weights=weights.names,
        notices=weights.notices,
    )
    return adapters.joined(one, base, field)


def _delta(found: Listing, field: str) -> Checkpoint:
    """What a tuning method left, as this app saves it, and the base that it belongs to: on the Hub, or what ships with the app."""
    told = deltas.read(hub.small_file(found, deltas.TOLD, MOST_LOOKED_CONFIG, field).parent, field)
    scheme, _, rest = told.base.partition(":")
    if scheme == "local":
        raise QuestionError(field, f"its base {told.base.rpartition('/')[2]} is a folder of somebody's machine", "choose one whose base is on the Hub")
    if scheme == "hub":
        base = look(rest, field, adapted=False)
    else:
        address, folder = builtin(rest, field)
        base = look_at(folder, address, field)
    config = read_json(hub.small_file(found, "config.json", MOST_LOOKED_CONFIG, field), field)
    tokenizer = _tokenizer_files(found, field)
    tensors, spent = hubweights.tensors(hubweights.choose(found, field, (deltas.FILE, "none")), field, MOST_LOOKED_HEADERS)
    one = Checkpoint(
        address=f"hub:{found.repo}@{found.commit}",
        folder=found.folder,
        digest=hashlib.sha256(f"hub {found.repo} {found.commit}".encode()).hexdigest()[:32],
        config=config,
        labels=labels_of(config, field),
        tensors=tensors,
        tokenizer=_tokenizer(found, tokenizer, field, LOOK - _listed(found) - spent) if tokenizer else base.tokenizer,
        listing=found,
        files=(deltas.TOLD, "config.json", deltas.FILE, *tokenizer, *_settings(found, field)),
        weights=(deltas.FILE,),
        delta=told.structure,
    )
    return deltas.joined(one, base, told, field)


def _lender(found: Listing, config: dict, field: str, left: int) -> Checkpoint:
    """The tokenizer of the repository that a configuration names as what it was tuned from; its commit is kept, as an adapter's base is."""
    without, right = f"{found.repo} has no tokenizer", "choose a repository that has tokenizer.json beside its weights"
    name = str(config.get("_name_or_path") or "")
    if not hub.NAME.fullmatch(name) or name == found.repo:
        raise QuestionError(field, without, right)
    kept = hubcache.read(found, "lender")
    try:
        lent = hub.listing(*hub.parse(str(kept["address"]) if kept else name, field), field)
        names = _tokenizer_files(lent, field)
        digest = _tokenizer(lent, names, field, left - _listed(lent)) if names else ""
    except QuestionError as error:
        raise QuestionError(field, f"{without}, and that of {name}, from which it was tuned, cannot be read: {error.wrong}", right) from None
    if not names:
        raise QuestionError(field, f"{without}, nor has {name}, from which it was tuned", right)
    address = f"{lent.repo}@{lent.commit}"
    hubcache.write(found, "lender", {"address": address})
    told = f"{without}; that of {address} is used, from which it was tuned as its configuration says."
    return Checkpoint(
        address=f"hub:{address}", folder=lent.folder, digest=lent.commit, config={}, labels=None, tensors={}, tokenizer=digest, listing=lent,
        files=(*names, *_settings(lent, field)), notices=(told,),
    )  # fmt: skip


def _listed(found: Listing) -> int:
    return sum(len(name) + LISTED for name in found.files)


def _settings(found: Listing, field: str) -> list[str]:
    names = [name for name in SETTINGS if name in found.files]
    for name in names:
        if found.files[name].size > MOST_CONFIG_BYTES:
            raise QuestionError(field, f"{name} of {found.repo} is {found.files[name].size:,} bytes", "choose an ordinary model repository")
    return names


def _tokenizer_files(found: Listing, field: str) -> list[str]:
    names = [name for name in TOKENIZER_FILES if name in found.files]
    if (size := sum(found.files[name].size for name in names)) > MOST_TOKENIZER_BYTES:
        raise QuestionError(field, f"the tokenizer of {found.repo} is {size:,} bytes, more than {MOST_TOKENIZER_BYTES:,}", "choose an ordinary model repository")
    return names


def _tokenizer(found: Listing, names: list[str], field: str, left: int) -> str:
    main = names[:1] if names[0] == "tokenizer.json" else names
    if sum(found.files[name].size for name in main) <= min(READ_WHOLE, left):
        return tokenizer_digest([hub.small_file(found, name, READ_WHOLE, field) for name in main], field)
    pieces = json.dumps([[name, found.files[name].digest] for name in main])
    return f"files {hashlib.sha256(pieces.encode()).hexdigest()[:32]}"


def _check_content(checkpoint: Checkpoint, field: str) -> None:
    """Each file is what the commit has: the Hub's list tells its SHA-256, or git's own digest where it is small.

    A file that was found to be right is not read again as long as its size and time of change stay.
    """
    if (found := checkpoint.listing) is None:
        return
    before, now = hubcache.read(found, "checked") or {}, {}
    for name in checkpoint.files:
        path, digest = checkpoint.folder / name, found.files[name].digest
        if not path.is_file():
            raise QuestionError(field, f"{name} of {found.repo} is no longer on this disk", "run it again")
        stat = path.stat()
        now[name] = [digest, stat.st_size, stat.st_mtime_ns]
        if before.get(name) != now[name] and digest != (file_digest(path) if len(digest) == 64 else _git_digest(path)):
            path.resolve().unlink(missing_ok=True)
            raise QuestionError(field, f"{name} of {found.repo} is not what the Hub's list says", "it has been removed; try again")
    if before | now != before:
        hubcache.write(found, "checked", before | now)


def _git_digest(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
