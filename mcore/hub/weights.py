"""Which files of a repository hold its weights: safetensors, whole or in shards; a conversion that waits; pickles where they may be read.

A pickle is a program. ``mcore.models.rewrite`` loads nothing but tensors from one, and a host opens none but those of repositories that it names.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from mcore.errors import QuestionError
from mcore.hub import cache as hubcache
from mcore.hub import repositories as hub
from mcore.hub.cache import Listing
from mcore.hub.refusals import NoAnswer
from mcore.models.checkpoints import Stored, read_json, shards
from mcore.models.configs import check_dtypes
from mcore.models.headers import MOST_TENSORS
from mcore.profile import at_home, profile

PROPOSALS = ("refs/pr/1", "refs/pr/2", "refs/pr/3")  # where the Hub's own service, or anybody, proposes a conversion
MOST_LISTED = 400  # files of a repository whose proposals are looked through
MOST_REMEMBERED = 10_000  # commits without a conversion
MOST_INDEX = 150_000  # bytes of an index that is read; a longer one is known by the names of its shards

_none: dict[tuple[Path, str, str], float] = {}  # when a commit had no conversion


@dataclass(frozen=True)
class Weights:
    """The files, in the listing that has them; ``index`` says which of them has which tensor."""

    listing: Listing
    names: tuple[str, ...]
    index: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def choose(found: Listing, field: str, stem: tuple[str, str] = ("model.safetensors", "pytorch_model.bin")) -> Weights:
    """Where the weights of a repository are read from. ``stem``: names of the file where it is whole. Raises ``QuestionError``."""
    safe, pickle = stem
    if weights := _files(found, safe, field):
        return weights
    weights = _files(found, pickle, field)
    if weights is None:
        raise QuestionError(field, f"{found.repo} has no {safe}", "choose a repository that save_pretrained wrote")
    if hub.missing(found, weights.names):  # else it is read as it was read before
        place, other = _conversion(found, weights.names, safe, field)
        if other:
            chosen = _files(other, safe, field)
            told = f"The weights of {found.repo} are read from the conversion to safetensors that was proposed at {place}; anybody may propose one."
            return Weights(other, chosen.names, chosen.index, (told,))
    if profile().hosted and found.repo not in profile().allow_bin:
        wrong = f"the weights of {found.repo} are no safetensors but a pickle ({weights.names[0]}), which this host does not open"
        raise QuestionError(field, wrong, f"choose a repository that has {safe}, or {at_home()}")
    told = f"The weights of {found.repo} are read from a pickle ({weights.names[0]}), of which nothing but tensors is loaded."
    return Weights(found, weights.names, weights.index, (told,))


def tensors(weights: Weights, field: str, most: int) -> tuple[dict[str, Stored], int]:
    """What the headers say, and about how many bytes it took to read them; no tensors where that would be more than ``most``."""
    found, told, spent = weights.listing, {}, 0
    if weights.names[0].endswith(".bin"):
        return {}, 0
    for name in weights.names:
        header = hub.header(found, name, field, most - spent) if spent + hub.FIRST_READ < most else None
        if header is None:
            return {}, spent
        for tensor, entry in header.items():
            told[tensor] = Stored(found.folder / name, tuple(entry["shape"]), entry["dtype"])
        spent += max(hub.FIRST_READ, 100 * len(header))
        if len(told) > MOST_TENSORS:
            raise QuestionError(field, f"it has more than {MOST_TENSORS:,} tensors", "choose an ordinary transformers model")
    if not told:
        raise QuestionError(field, f"there are no tensors in {found.repo}", "choose a repository that save_pretrained wrote")
    check_dtypes({tensor.dtype for tensor in told.values()}, field)
    return told, spent


def _files(found: Listing, whole: str, field: str) -> Weights | None:
    if whole in found.files:
        return Weights(found, (whole,))
    index = f"{whole}.index.json"
    if index not in found.files:
        return None
    if found.files[index].size <= MOST_INDEX:
        names = shards(read_json(hub.small_file(found, index, MOST_INDEX, field), field), field)
    else:
        stem, _, kind = whole.rpartition(".")
        names = sorted(name for name in found.files if re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.{kind}", name))
    if not names or not all(name in found.files for name in names):
        raise QuestionError(field, f"the index of the weights of {found.repo} does not fit its files", "choose another revision")
    return Weights(found, tuple(names), (index,))


def _conversion(found: Listing, pickles: tuple[str, ...], safe: str, field: str) -> tuple[str, Listing | None]:
    """A proposal that adds safetensors and leaves the pickles and the configuration as they are at this commit."""
    if kept := hubcache.read(found, "conversion"):
        return str(kept.get("at")), hub.listing(found.repo, str(kept.get("commit")), field)
    key = (found.root, found.repo, found.commit)
    if len(found.files) > MOST_LISTED or time.monotonic() - _none.get(key, -hub.FRESH) < hub.FRESH:
        return "", None
    for place in PROPOSALS:
        try:
            other = hub.listing(found.repo, place, field)
        except NoAnswer:
            raise
        except QuestionError:  # there is none: a discussion may have had that number
            continue
        if _files(other, safe, field) and all(other.files.get(name) == found.files.get(name) for name in ("config.json", *pickles)):
            hubcache.write(found, "conversion", {"at": place, "commit": other.commit})
            return place, other
    if len(_none) > MOST_REMEMBERED:
        _none.clear()
    _none[key] = time.monotonic()
    return "", None
