"""What is kept of the Hub on this disk: listings and headers, which never change at a commit, beside the clients' own cache of files."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mcore.access import private_part
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
    """What stands at one commit of a repository. ``root`` is the cache that its files are kept in, ``licence`` what its card says."""

    repo: str
    commit: str
    files: dict[str, File]
    kind: Kind = "model"
    root: Path = Path()
    licence: str | None = None

    @property
    def folder(self) -> Path:
        """Where the files of the commit stand once they are fetched."""
        return self.root / f"{self.kind}s--{self.repo.replace('/', '--')}" / "snapshots" / self.commit


def root() -> Path:
    """The cache of whoever asks: on a host, what was read with a visitor's own token stands apart from what all may read."""
    from huggingface_hub.constants import HF_HUB_CACHE

    part = private_part() if profile().hosted else None
    return Path(HF_HUB_CACHE) / "private" / part if part else Path(HF_HUB_CACHE)


def keep(found: Listing) -> None:
    write(found, "listing", {"files": {name: asdict(file) for name, file in found.files.items()}, "licence": found.licence})


def kept(repo: str, commit: str, kind: Kind) -> Listing | None:
    """The listing of a commit if it is known here."""
    blank = Listing(repo, commit, {}, kind, root())
    try:
        told = read(blank, "listing") or {}
        return Listing(repo, commit, {name: File(**file) for name, file in told["files"].items()}, kind, blank.root, told.get("licence"))
    except (KeyError, TypeError, AttributeError):
        return None


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

    with suppress(CacheNotFound):
        cache = scan_cache_dir(found.root)
        size = cache.size_on_disk + need
        for old in sorted(cache.repos, key=lambda one: one.last_accessed):
            if size <= most:
                return
            if (old.repo_type, old.repo_id) != (found.kind, found.repo):
                cache.delete_revisions(*(revision.commit_hash for revision in old.revisions)).execute()
                size -= old.size_on_disk


def _path(found: Listing, what: str) -> Path:
    name = found.commit if what == "listing" else f"{found.commit}-{what}"
    return found.root / "listings" / f"{found.kind}s--{found.repo.replace('/', '--')}" / f"{name}.json"
