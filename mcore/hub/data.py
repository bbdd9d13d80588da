"""Data sets on the Hub: ``hub:ORG/NAME/CONFIG@REVISION`` to the rows of one split, with no code of the repository run.

The Hub's own client asks and downloads (``mcore.hub.repositories``); the files are read here and not by `datasets`, whose import takes
two seconds and 140 MB of every page, which asks the Hub again on a second run, and which fetches files before their sizes
are known. The tests hold what is read against what `datasets` reads.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from mcore.errors import QuestionError
from mcore.hub import datacard
from mcore.hub import repositories as hub
from mcore.hub.cache import Listing
from mcore.hub.datacard import CONVERTED
from mcore.hub.refusals import NoAnswer
from mcore.hub.rows import Found, chosen
from mcore.models.checkpoints import BUILTIN
from mcore.question import Task
from mcore.tasks.tables import Asked, Table

TABLES = 6  # that are held in memory
SHOWN = 12  # names in a sentence

_tables: OrderedDict[tuple, Table] = OrderedDict()
_guard = threading.Lock()


@cache
def declarations() -> dict[str, dict]:
    """Known data sets: ORG/NAME or ORG/NAME/CONFIG -> text, label, labels or scores, the splits that are meant, description."""
    return json.loads((BUILTIN / "datasets.json").read_text())


def find(address: str, field: str) -> Found:
    """What an address names; nothing but the card is fetched. Raises ``QuestionError`` below ``field``."""
    repo, config, revision = _parsed(address, f"{field}.task")
    listing = hub.listing(repo, revision, f"{field}.task", kind="dataset")
    card = _card(listing, f"{field}.task")
    names, usual = datacard.names(listing.files, card)
    if not names:
        listing = _converted(listing, revision, f"{field}.task")
        card = _card(listing, f"{field}.task")
        names, usual = datacard.names(listing.files, card)
    name = config or usual
    if name not in names:
        wrong = f"{repo} has no configuration {name!r}" if name else f"{repo} has {len(names)} configurations"
        shown = ", ".join(f"hub:{repo}/{one}" for one in names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
        raise QuestionError(f"{field}.task", wrong, f"name one of: {shown}" if names else "choose another data set")
    try:
        found = datacard.config(listing.files, card, name)
    except ValueError as error:
        raise QuestionError(f"{field}.task", f"the card of {repo} cannot be used ({error})", "choose another data set") from None
    if not found.splits:
        raise QuestionError(f"{field}.task", f"{repo}/{name} names no parquet, csv or jsonl file that is there", "choose another configuration")
    known = declarations().get(f"{repo}/{name}") or declarations().get(repo, {})
    return Found(listing, name, found, known)


def open_table(task: Task, wanted: Asked, field: str, role: str) -> tuple[Task, Table]:
    """The task with every name filled in, and the table of the chosen rows. Raises ``QuestionError`` below ``field``."""
    found = find(task.task, field)
    split = _split(found, task.split, role, field)
    if wanted.text == () and found.known:
        wanted = replace(wanted, text=tuple(found.known["text"]))
    if wanted.labelled and wanted.label is None and found.known:
        wanted = replace(wanted, label=found.known["label"])
    key = (str(found.listing.root), found.listing.repo, found.listing.commit, found.name, split, wanted, task.limit, task.sample_seed)
    with _guard:
        table = _tables.get(key)
    if table is None:
        table = chosen(found, split, wanted, task, field, role)
    with _guard:
        _tables[key] = table
        _tables.move_to_end(key)
        while len(_tables) > TABLES:
            _tables.popitem(last=False)
    return task.model_copy(update={"task": found.address, "split": split}), table


def splits(task: Task, field: str) -> list[str]:
    """The names of the splits."""
    return list(find(task.task, field).config.splits)


def watched(task: Task, field: str) -> str | None:
    """The split that a training on this one is watched on, None where none is meant for it."""
    found = find(task.task, field)
    meant = found.known.get("watch", "validation")
    return meant if task.split == found.known.get("train", "train") and meant in found.config.splits else None


def _parsed(address: str, field: str) -> tuple[str, str | None, str | None]:
    """Repository, configuration and revision."""
    name, at, revision = address.removeprefix("hub:").partition("@")
    parts = name.split("/")
    if len(parts) < 2 and (full := next((one for one in declarations() if name and one.split("/")[1] == name), None)):
        raise QuestionError(field, f"{name!r} lacks who it is by", f"write hub:{full}")
    config = parts[2] if len(parts) == 3 else None
    if config is not None and (not datacard.CONFIG.fullmatch(config)):
        raise QuestionError(field, f"{config[:100]!r} is no name of a configuration", "write hub:ORG/NAME/CONFIG or hub:ORG/NAME/CONFIG@REVISION")
    if len(parts) > 3:
        raise QuestionError(field, f"{name[:100]!r} is no data set", "write hub:ORG/NAME/CONFIG or hub:ORG/NAME/CONFIG@REVISION")
    repo, revision = hub.parse("/".join(parts[:2]) + at + revision, field)
    return repo, config, revision


def _card(listing: Listing, field: str) -> dict:
    if "README.md" not in listing.files:
        return {}
    path = hub.small_file(listing, "README.md", datacard.MOST_CARD, field)
    try:
        return _front_matter(str(path))
    except (ValueError, RecursionError) as error:
        raise QuestionError(field, f"the head of README.md of {listing.repo} is no YAML ({error})", "choose another revision") from None


@lru_cache(maxsize=8)
def _front_matter(path: str) -> dict:
    """Of a card, which does not change at a commit."""
    return datacard.front_matter(Path(path).read_text(encoding="utf-8", errors="replace"))


def _converted(listing: Listing, revision: str | None, field: str) -> Listing:
    """What the Hub made of a data set that is a loading script or has files of other kinds."""
    script = any(name.endswith(".py") for name in listing.files)
    wrong = f"{listing.repo} has {'a loading script, which is never run, and ' if script else ''}no parquet, csv or jsonl files"
    if revision is not None:  # a conversion belongs to no commit but that of its own branch
        raise QuestionError(field, wrong, f"leave the revision out, or name {CONVERTED}")
    try:
        converted = hub.listing(listing.repo, CONVERTED, field, kind="dataset")
    except NoAnswer:
        raise
    except QuestionError:
        raise QuestionError(field, f"{wrong}, and the Hub has converted none", "choose another data set, or save it as a file and use local:FILE") from None
    return converted


def _split(found: Found, asked: str | None, role: str, field: str) -> str:
    known = list(found.config.splits)
    if asked is None:
        usual = ("train",) if role == "train" else ("validation", "dev", "test")
        wanted = (found.known.get("train" if role == "train" else "evaluate"), *usual)
        return next((name for name in wanted if name in known), None) or next((name for name in known if name.startswith(usual)), known[0])
    if asked not in known:
        shown = ", ".join(known[:SHOWN]) + (" …" if len(known) > SHOWN else "")
        raise QuestionError(f"{field}.split", f"there is no split {asked!r}", f"use one of: {shown}")
    return asked
