"""What is kept of the Hub on this disk: listings and headers, which never change at a commit, beside the clients' own cache of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

from mcore.database import held
from mcore.hub.access import house, private_part
from mcore.profile import profile

Kind = Literal["model", "dataset"]
DATA = (".safetensors", ".bin", ".parquet", ".csv", ".jsonl")  # weights or rows: what is fetched only for a run


@dataclass(frozen=True)
class File:
    """A file as a listing has it; ``digest`` is of its content."""

    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """What stands at one commit of a repository. ``root`` is the cache that its files are kept in, ``licence`` what its card says.

    ``private``: its files are read with a token only.
    """

    repo: str
    commit: str
    files: dict[str, File]
    kind: Kind = "model"
    root: Path = Path()
    licence: str | None = None
    private: bool = False

    @property
    def folder(self) -> Path:
        """Where the files of the commit stand once they are fetched."""
        return self.root / f"{self.kind}s--{self.repo.replace('/', '--')}" / "snapshots" / self.commit


_claimed = ExitStack()


def root(private: bool = False) -> Path:
    """The cache of whoever asks: on a host, what is read with a visitor's own token stands apart from what all may read."""
    from huggingface_hub.constants import HF_HUB_CACHE

    part = private_part() if private and profile().hosted else None
    return _private() / house() / part if part else Path(HF_HUB_CACHE)


def claim() -> None:
    """Called once by a host's app: what its visitors read with their tokens is theirs until it ends; what earlier apps left is removed."""
    _private().mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in {path.name.partition(".")[0] for path in _private().iterdir()}:
        with held(_private() / f"{name}.lock") as abandoned:
            if abandoned:
                shutil.rmtree(_private() / name, ignore_errors=True)
    _claimed.enter_context(held(_private() / f"{house()}.lock"))


def _private() -> Path:
    return root() / "private"


def keep(found: Listing) -> None:
    files = {name: asdict(file) for name, file in found.files.items()}
    write(found, "listing", {"files": files, "licence": found.licence, "private": found.private})


def kept(repo: str, commit: str, kind: Kind) -> Listing | None:
    """The listing of a commit if it is known here: to this visitor, or to all."""
    for place in dict.fromkeys((root(private=True), root())):
        with suppress(KeyError, TypeError, AttributeError):
            told = read(Listing(repo, commit, {}, kind, place), "listing") or {}
            files, private = {name: File(**file) for name, file in told["files"].items()}, bool(told.get("private"))
            return Listing(repo, commit, files, kind, root(private), told.get("licence"), private)
    return None


def remember(found: Listing, revision: str) -> None:
    """The commit that a branch or a tag was last known to name."""
    write(replace(found, commit="newest"), _place(revision), {"revision": revision, "commit": found.commit, "day": f"{date.today()}"})


def remembered(repo: str, revision: str, kind: Kind) -> tuple[Listing, str] | None:
    """What a branch or a tag was last known to name, and on what day that was (YYYY-MM-DD)."""
    for place in dict.fromkeys((root(private=True), root())):
        told = read(Listing(repo, "newest", {}, kind, place), _place(revision)) or {}
        if told.get("revision") == revision and (found := kept(repo, str(told.get("commit")), kind)):
            return found, str(told.get("day"))
    return None


def _place(revision: str) -> str:
    return hashlib.sha256(revision.encode()).hexdigest()[:16]


def forget(found: Listing) -> None:
    """Let the commit be asked for anew."""
    _path(found, "listing").unlink(missing_ok=True)


def here(kind: Kind) -> list[tuple[str, str]]:
    """Repositories that have files on this disk, each with the commit that was used last; the newest first."""
    found = {}
    for snapshot in root().glob(f"{kind}s--*--*/snapshots/*"):
        with suppress(OSError):
            repo, commit = snapshot.parent.parent.name.removeprefix(f"{kind}s--").replace("--", "/", 1), snapshot.name
            if _path(Listing(repo, commit, {}, kind, root()), "listing").is_file() and any(file.suffix in DATA for file in snapshot.rglob("*")):
                found[repo] = max(found.get(repo, (0.0, "")), (snapshot.stat().st_mtime, commit))
    return [(repo, commit) for repo, (_, commit) in sorted(found.items(), key=lambda one: one[1], reverse=True)]


def read(found: Listing, what: str) -> dict | None:
    """Something that was kept of a commit; None where it is not there or damaged."""
    with suppress(OSError, ValueError):
        told = json.loads(_path(found, what).read_text())
        return told if isinstance(told, dict) else None
    return None


def write(found: Listing, what: str, told: dict) -> None:
    with suppress(OSError):  # then it is asked for again
        path = _path(found, what)
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        temp.write_text(json.dumps(told))
        os.replace(temp, path)


def make_room(found: Listing, need: int) -> None:
    """Where a host bounds what is kept from the Hub: let go of what was used least recently, but not of this repository."""
    most = profile().downloads
    if most is None:
        return
    from huggingface_hub import CacheNotFound, scan_cache_dir

    caches = []
    for place in (root(), *_private().glob("*/*/")):
        with suppress(CacheNotFound):
            caches.append((place, scan_cache_dir(place)))
    size = sum(cache.size_on_disk for _, cache in caches) + need
    repositories = [(old.last_accessed, place, cache, old) for place, cache in caches for old in cache.repos]
    for _, place, within, old in sorted(repositories, key=lambda one: one[0]):
        if size <= most:
            return
        if (place, old.repo_type, old.repo_id) != (found.root, found.kind, found.repo):
            within.delete_revisions(*(revision.commit_hash for revision in old.revisions)).execute()
            size -= old.size_on_disk


def _path(found: Listing, what: str) -> Path:
    name = found.commit if what == "listing" else f"{found.commit}-{what}"
    return found.root / "listings" / f"{found.kind}s--{found.repo.replace('/', '--')}" / f"{name}.json"
