"""A small Hub on this machine, for the real clients: repositories with commits, branches and ranged reads, and its faults.

It answers what ``huggingface_hub`` asks for and nothing else (``hub_receiver``: what is sent to it), and keeps a list of every request.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hub_receiver import Receiver

LARGE = 10_000  # bytes from which on a file counts as LFS
ON_DISK = 5_000_000  # bytes from which on a folder's file is not read but mapped
KINDS = {"models": "", "datasets": "datasets/"}
Content = bytes | mmap.mmap


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    token: str | None
    range: str | None
    sent: int  # bytes of the answer's body


@dataclass
class Repository:
    """Commits are by the digest of their files; ``token``: who may read it; ``gated``: all may list it, but its files want that token."""

    commits: dict[str, dict[str, Content]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False
    tags: set[str] = field(default_factory=set)  # of the revisions: those that are no branches
    listed: Callable[[list[dict]], list[dict]] | None = None  # what its listing says instead of the truth


@dataclass(frozen=True)
class Fault:
    """What goes wrong with requests whose path matches: a status, an answer cut short, a slow one, a wrong length; or a file is on another host."""

    path: str
    status: int | None = None
    cut: int | None = None  # bytes after which the connection ends
    wait: float = 0.0
    length: int | None = None  # that the header claims
    elsewhere: str | None = None  # where files are
    times: int = 1_000_000


class Hub:
    """``address`` is what HF_ENDPOINT is set to."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tokens: set[str] = set()  # that it knows, besides those of its repositories
        self.writers: set[str] = set()  # tokens that may write (``hub_receiver``)
        self.inline = False  # whether large files, too, come in the commit itself
        self.received: dict[str, bytes] = {}  # large files that were sent, by their SHA-256
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self._broken: dict[Fault, int] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def put(
        self, name: str, files: Mapping[str, Content] | Path, revision: str = "main", kind: str = "models",
        token: str | None = None, gated: bool = False,
    ) -> str:  # fmt: skip
        """Commit files (or a folder's) to a branch; the commit."""
        if isinstance(files, Path):
            files = {str(file.relative_to(files)): content(file) for file in sorted(files.rglob("*")) if file.is_file()}
        repository = self.repositories.setdefault((kind, name), Repository(token=token, gated=gated))
        commit = hashlib.sha1(json.dumps({path: _digests(data)[1] for path, data in files.items()}).encode()).hexdigest()
        repository.commits[commit] = dict(files)
        repository.revisions[revision] = commit
        return commit

    def fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if re.search(fault.path, path) and self._broken.get(fault, 0) < fault.times:
                self._broken[fault] = self._broken.get(fault, 0) + 1
                return fault
        return None

    def start(self) -> Hub:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hub() -> Iterator[Hub]:
    running = Hub().start()
    try:
        yield running
    finally:
        running.stop()


class _Handler(Receiver, BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer's body does not wait for its head to be acknowledged

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path, query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
        self._fault = self.hub.fault(path)
        if self._fault and self._fault.wait:
            time.sleep(self._fault.wait)
        if self._fault and self._fault.status:
            self._send(self._fault.status, b'{"error": "as the test wants it"}', body)
        elif found := re.fullmatch(r"/api/(models|datasets)", path):
            self._search(found[1], query, body)
        elif path == "/":
            self._send(200, b"a small Hub", body)
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._info(*found.groups(), body)
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/refs", path):
            self._refs(*found.groups(), body)
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", path):
            self._tree(*found.groups(), "recursive" in query, body)
        elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/(refs/[^/]+/[^/]+|[^/]+)/(.+)", path):
            self._file("datasets" if found[1] else "models", found[2], found[3], found[4], body)
        else:
            self._missing("EntryNotFound", body)

    def _search(self, kind: str, query: Mapping[str, list[str]], body: bool) -> None:
        """Those that the asker may read and whose name holds every word, in the order in which they came."""
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        words = (query.get("search") or [""])[0].lower().split()
        found = [
            {"id": name, "downloads": 7, "likes": 0, "gated": "manual" if repository.gated else False, "tags": []}
            for (of, name), repository in self.hub.repositories.items()
            if of == kind and all(word in name.lower() for word in words) and name.startswith((query.get("author") or [""])[0]) and (not repository.token or repository.gated or repository.token == token)
        ]
        self._json(found[: int((query.get("limit") or ["100"])[0])], body)

    def _commit(self, kind: str, name: str, revision: str | None, body: bool, listing: bool = False) -> tuple[str, dict[str, Content]] | None:
        """The commit's name and files; None after an answer that says why not."""
        repository = self.hub.repositories.get((kind, name))
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        if token and token not in self.hub.tokens | self.hub.writers | {one.token for one in self.hub.repositories.values()}:
            self._send(401, b'{"error": "who?"}', body, {"X-Error-Message": "Invalid credentials in Authorization header"})
            return None
        if repository and repository.token and token != repository.token and not (repository.gated and listing):
            if repository.gated:
                self._send(401 if token is None else 403, b'{"error": "gated"}', body, {"X-Error-Code": "GatedRepo"})
            else:
                self._send(401, b'{"error": "Repository not found"}', body, {"X-Error-Code": "RepoNotFound"})
            return None
        if repository is None:
            self._missing("RepoNotFound", body)
            return None
        commit = repository.revisions.get(revision or "main", revision)
        if commit not in repository.commits:
            self._missing("RevisionNotFound", body)
            return None
        return commit, repository.commits[commit]

    def _info(self, kind: str, name: str, revision: str | None, body: bool) -> None:
        if not (found := self._commit(kind, name, revision, body, listing=True)):
            return
        commit, files = found
        repository = self.hub.repositories[kind, name]
        told = {
            "id": name, "sha": commit, "private": bool(repository.token and not repository.gated), "tags": [], "downloads": 0,
            "likes": 0, "gated": "manual" if repository.gated else False, "disabled": False,
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
            "cardData": _card(files.get("README.md", b"")), "siblings": (repository.listed or list)([{"rfilename": path, **_entry(data)} for path, data in files.items()]),
        }  # fmt: skip
        self._json(told, body)

    def _refs(self, kind: str, name: str, body: bool) -> None:
        """Branches and tags by name; what is converted and pull requests are none of them."""
        if not self._commit(kind, name, None, body, listing=True):
            return
        repository = self.hub.repositories[kind, name]
        plain = {one: commit for one, commit in repository.revisions.items() if not one.startswith("refs/")}
        told = {
            of: [{"name": one, "ref": f"refs/{ref}/{one}", "targetCommit": commit} for one, commit in plain.items() if (one in repository.tags) == (of == "tags")]
            for of, ref in (("branches", "heads"), ("tags", "tags"))
        }
        self._json(told | {"converts": []}, body)

    def _tree(self, kind: str, name: str, revision: str, under: str | None, recursive: bool, body: bool) -> None:
        if found := self._commit(kind, name, revision, body):
            inside = {path: data for path, data in found[1].items() if not under or path.startswith(f"{under}/")}
            start = len(under) + 1 if under else 0
            listed = [
                {"type": "file", "path": path, "oid": _entry(data)["blobId"], **{k: v for k, v in _entry(data).items() if k != "blobId"}}
                for path, data in inside.items() if recursive or "/" not in path[start:]
            ]  # fmt: skip
            folders = sorted({path[: path.index("/", start)] for path in inside if "/" in path[start:]})
            self._json([{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders] + listed, body)

    def _file(self, kind: str, name: str, revision: str, path: str, body: bool) -> None:
        if not (found := self._commit(kind, name, revision, body)):
            return
        commit, files = found
        if path not in files:
            self._missing("EntryNotFound", body, {"X-Repo-Commit": commit})
            return
        data, entry = files[path], _entry(files[path])
        etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
        head = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if self._fault and self._fault.elsewhere:
            linked = {"X-Linked-ETag": head["ETag"], "X-Linked-Size": str(len(data)), "Location": self._fault.elsewhere + self.path}
            self._send(302, b"", body, head | linked)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or "")
        if not asked:
            self._send(200, data, body, head)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            self._send(416, b"", body, head | {"Content-Range": f"bytes */{len(data)}"})
            return
        self._send(206, data[first : last + 1], body, head | {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def _missing(self, code: str, body: bool, head: Mapping[str, str] | None = None) -> None:
        self._send(404, b'{"error": "not found"}', body, {"X-Error-Code": code, **(head or {})})

    def _json(self, value: object, body: bool) -> None:
        self._send(200, json.dumps(value).encode(), body, {"Content-Type": "application/json"})

    def _send(self, status: int, data: Content, body: bool, head: Mapping[str, str] | None = None) -> None:
        fault = self._fault
        sent = data[: fault.cut] if fault and fault.cut is not None else data
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        self.hub.asked.append(Asked(self.command, self.path, token, self.headers.get("range"), len(sent) if body else 0))
        self.send_response(status)
        for name, value in (head or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(fault.length if fault and fault.length is not None else len(data)))
        self.end_headers()
        if body:
            with suppress(ConnectionError):  # who asked has heard enough
                self.wfile.write(sent)
        if len(sent) < len(data) or (fault and fault.length is not None):
            self.close_connection = True


def _card(readme: bytes) -> dict | None:
    """What stands between the two lines of dashes at the top of a README, as far as it is plain names and values."""
    found = re.match(r"(?s)---\n(.*?)\n---", readme.decode(errors="replace"))
    return dict(re.findall(r"^(\w+): *(.+)$", found[1], re.MULTILINE)) if found else None


def content(file: Path) -> Content:
    """A file's bytes; those of a large one stay on disk until they are asked for."""
    if file.stat().st_size < ON_DISK:
        return file.read_bytes()
    with open(file, "rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _entry(data: Content) -> dict:
    """What a listing says of a file."""
    blob, digest = _digests(data)
    entry: dict = {"size": len(data), "blobId": blob}
    if len(data) >= LARGE:
        entry["lfs"] = {"sha256": digest, "oid": digest, "size": len(data), "pointerSize": 130}
    return entry


@lru_cache(maxsize=64)
def _digests(data: Content) -> tuple[str, str]:
    """Git's own digest of a file, and its SHA-256."""
    blob = hashlib.sha1(b"blob %d\0" % len(data))
    blob.update(data)
    return blob.hexdigest(), hashlib.sha256(data).hexdigest()
