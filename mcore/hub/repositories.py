"""Repositories on the Hub: a name to a commit, a look at a model without its weights, and what is needed of it on this disk.

Everything that is read here is a stranger's: names are checked before they are asked for, sizes before they are
fetched. Nothing is ever executed. What stands at a commit never changes, so what is known of one is kept and not
asked for again: a question whose commits are known makes no request.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from mcore.errors import Cancelled, QuestionError
from mcore.hub import info as hubinfo
from mcore.hub.access import has_token, private_part, token
from mcore.hub.cache import Kind, Listing, forget, keep, kept, make_room, read, remember, remembered, root, write
from mcore.hub.refusals import NoAnswer, Refused, endpoint, told_of
from mcore.models import headers

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
COMMIT = re.compile(r"[0-9a-f]{40}")
FRESH = 60.0  # seconds that a branch's commit is taken to be its newest
TIMEOUT = 10.0  # seconds that an answer may take
FIRST_READ, MOST_HEADER = 16 * 1024, 16 * 2**20  # bytes of a safetensors header read at once, and at the most
SPARE_DISK = 500_000_000  # bytes that a download leaves free
RETRIES = 3
T = TypeVar("T")


_newest: dict[tuple[Kind, str, str, str | None], tuple[float, str]] = {}
_aged: dict[tuple[Kind, str, str, str | None], str | None] = {}  # the day of what stands for the newest; None: it is the newest
_guard = threading.Lock()


def parse(rest: str, field: str) -> tuple[str, str | None]:
    """``ORG/NAME@REVISION`` as repository and revision. Raises ``QuestionError``."""
    if rest == "?":  # an input that waits for a name
        raise QuestionError(field, "no repository is named yet", "write hub:ORG/NAME or hub:ORG/NAME@REVISION")
    name, _, revision = rest.partition("@")
    if not NAME.fullmatch(name) or ".." in name or "--" in name:
        raise QuestionError(field, f"{rest[:100]!r} is no repository", "write hub:ORG/NAME or hub:ORG/NAME@REVISION")
    if revision and (not REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        raise QuestionError(field, f"{revision[:100]!r} is no revision", "name a branch, a tag, refs/pr/N or a commit")
    return name, revision or None


def listing(repo: str, revision: str | None, field: str, kind: Kind = "model") -> Listing:
    """The commit that a revision names, and its files. Raises ``QuestionError`` that says what can be done.

    Where the Hub does not answer, it is the commit that the revision was last known to name, and ``aged`` tells so.
    """
    revision = revision or "main"
    if there := _known(repo, revision, kind):
        return there
    try:
        found = _asked_for(repo, revision, field, kind)
        keep(found)
        remember(found, revision)
        day = None
    except NoAnswer:
        if (before := remembered(repo, revision, kind)) is None:
            raise
        found, day = before
    _newest_is(found, revision, kind, day)
    return found


def _newest_is(found: Listing, revision: str, kind: Kind, day: str | None) -> None:
    """``day``: of which it is known, where the Hub did not answer."""
    part = private_part() if found.private else None
    with _guard:
        _newest[kind, found.repo, revision, part] = (time.monotonic(), found.commit)
        _aged[kind, found.repo, revision, part] = day


def aged(address: str, kind: Kind) -> str | None:
    """A sentence where the Hub did not answer for this address and an earlier commit stands for it."""
    if not address.startswith("hub:"):
        return None
    name, _, revision = address.removeprefix("hub:").partition("@")
    repo, revision = "/".join(name.split("/")[:2]), revision or "main"
    with _guard:
        day = next((day for part in (None, private_part()) if (day := _aged.get((kind, repo, revision, part)))), None)
    return f"The Hub did not answer: {repo}@{revision} is read as it was on {day}." if day else None


def _asked_for(repo: str, revision: str, field: str, kind: Kind) -> Listing:
    from huggingface_hub.constants import ENDPOINT

    with told_of(repo, revision, field, kind):
        told, private = _asked(lambda given: hubinfo.info(endpoint() or ENDPOINT, repo, revision, field, kind, given, TIMEOUT))
    if not COMMIT.fullmatch(str(told.get("sha"))):
        raise QuestionError(field, f"the Hub named no commit for {repo}@{revision}", "try again, or name a commit")
    private = private or bool(told.get("gated"))  # anybody may list what is gated
    return Listing(repo, told["sha"], hubinfo.files(told, repo, field), kind, root(private), hubinfo.licence(told), private)


def revisions(repo: str, field: str) -> list[str]:
    """The names of a model's branches, then of its tags, as the Hub has them. Raises ``QuestionError``."""
    from huggingface_hub.constants import ENDPOINT

    with told_of(repo, "main", field, "model"):
        told, _ = _asked(lambda given: hubinfo.refs(endpoint() or ENDPOINT, repo, field, given, TIMEOUT))
    return [name for name in told if REVISION.fullmatch(name) and ".." not in name and "//" not in name]


def stood_in(repo: str, revision: str | None, kind: Kind = "model") -> bool:
    """Whether the commit that a revision was last known to name stands for it now, without a request."""
    revision = revision or "main"
    before = None if COMMIT.fullmatch(revision) else remembered(repo, revision, kind)
    if before:
        _newest_is(before[0], revision, kind, before[1])
    return before is not None


def known(repo: str, revision: str | None, kind: Kind = "model") -> bool:
    """Whether ``listing`` can answer without a request."""
    return _known(repo, revision or "main", kind) is not None


def _known(repo: str, revision: str, kind: Kind) -> Listing | None:
    if COMMIT.fullmatch(revision):
        return kept(repo, revision, kind)
    with _guard:
        asked, newest = max(_newest.get((kind, repo, revision, part), (-FRESH, "")) for part in {None, private_part()})
    return kept(repo, newest, kind) if time.monotonic() - asked < FRESH else None


def _asked(call: Callable[[str | bool | None], T]) -> tuple[T, bool]:
    """What ``call`` gives without a token, or with one where that is refused, and whether it was: no public repository sees a token."""
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    try:
        return call(token()), False
    except HfHubHTTPError as error:
        refused = error.response.status_code in (401, 403, 404) and not isinstance(error, RevisionNotFoundError)
        if not refused or not has_token():
            raise
    return call(token(private=True)), True


def small_file(found: Listing, name: str, most: int, field: str) -> Path | None:
    """One file of at most ``most`` bytes, fetched if need be; None where the repository has no such file."""
    file = found.files.get(name)
    if file is None:
        return None
    if file.size > most:
        raise QuestionError(field, f"{name} of {found.repo} is {file.size:,} bytes, more than {most:,}", "choose an ordinary repository")
    return _fetched(found, name, field)


def header(found: Listing, name: str, field: str, most: int) -> dict[str, dict] | None:
    """The tensors that a safetensors file says it holds, by ranged reads: name -> dtype, shape, data_offsets.

    None where the header is longer than ``most`` bytes.
    """
    what = hashlib.sha256(name.encode()).hexdigest()[:16]
    if (told := read(found, what)) is None and (told := _header(found, name, field, most)) is not None:
        write(found, what, told)
    return told


def _header(found: Listing, name: str, field: str, most: int) -> dict[str, dict] | None:
    size = found.files[name].size
    first = ranged(found, name, 0, min(FIRST_READ, size), field)
    length = int.from_bytes(first[:8], "little")
    if len(first) < 8 or not 2 <= length <= min(MOST_HEADER, size - 8):
        raise QuestionError(field, f"{name} of {found.repo} is no safetensors file", "choose a repository whose weights are whole")
    if max(length, len(first)) > most:
        return None
    text = first[8:] + (ranged(found, name, len(first), 8 + length, field) if 8 + length > len(first) else b"")
    try:
        return headers.entries(text[:length], size - 8 - length)
    except ValueError as error:
        raise QuestionError(field, f"the header of {name} of {found.repo} is damaged: {error}", "choose a repository whose weights are whole") from None


def missing(found: Listing, names: Iterable[str]) -> list[str]:
    """Those of the files that are not on this disk yet."""
    here = found.folder
    return [name for name in names if not (here / name).is_file() or (here / name).stat().st_size != found.files[name].size]


def fetch(
    found: Listing, names: Iterable[str], field: str, told: Callable[[int], None], stop: Callable[[], bool]
) -> Path:
    """Fetch files of a commit, each to its end or from where an earlier try ended. ``told`` is given bytes as they come.

    Raises ``QuestionError`` (no room, no such thing, ``NoAnswer`` after some tries) and ``Cancelled``.
    """
    wanted = missing(found, names)
    need = sum(found.files[name].size for name in wanted)
    make_room(found, need)
    room = shutil.disk_usage(_existing(found.folder)).free - SPARE_DISK
    if need > room:
        raise QuestionError(field, f"{found.repo} needs {need:,} bytes and the disk has {max(0, room):,} to give", "free some space or choose a smaller model")
    for name in wanted:
        _fetched(found, name, field, told, stop)
    return found.folder


def _fetched(
    found: Listing, name: str, field: str, told: Callable[[int], None] = lambda count: None, stop: Callable[[], bool] = lambda: False
) -> Path:
    here = found.folder / name
    if here.is_file() and here.stat().st_size == found.files[name].size:
        return here
    from huggingface_hub import hf_hub_download

    path = Path(_patiently(lambda: hf_hub_download(
        found.repo, name, repo_type=found.kind, revision=found.commit, cache_dir=found.root, endpoint=endpoint(), token=token(found.private),
        tqdm_class=_counter(told, stop), etag_timeout=TIMEOUT,
    ), found, field, stop))  # fmt: skip
    if path.stat().st_size != found.files[name].size:
        raise QuestionError(field, f"{name} of {found.repo} came with another size than the Hub says", "try again")
    return path


def ranged(found: Listing, name: str, begin: int, end: int, field: str) -> bytes:
    """Bytes of a file from ``begin`` to before ``end``."""
    here = found.folder / name
    if here.is_file():
        with open(here, "rb") as file:
            file.seek(begin)
            return file.read(end - begin)
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    def read() -> bytes:
        headers = build_hf_headers(token=token(found.private)) | {"Range": f"bytes={begin}-{end - 1}"}
        url = hf_hub_url(found.repo, name, repo_type=found.kind, revision=found.commit, endpoint=endpoint())
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
            hf_raise_for_status(answer)
            whole, data = answer.status_code != 206, bytearray()
            for piece in answer.iter_bytes():  # a server that knows no ranges would send the whole file
                data += piece
                if len(data) >= (end if whole else end - begin):
                    break
        return bytes(data[begin:end] if whole else data[: end - begin])

    return _patiently(read, found, field)


def _patiently(call: Callable[[], T], found: Listing, field: str, stop: Callable[[], bool] = lambda: False) -> T:
    """What ``call`` gives, after some tries if need be: what has come of a file is kept, the next try goes on from there."""
    for attempt in range(RETRIES):
        try:
            with told_of(found.repo, found.commit, field, found.kind):
                return call()
        except Refused:
            forget(found)  # it may have been open when it was listed: the next try asks for it anew
            raise
        except NoAnswer:
            if attempt + 1 == RETRIES or stop():
                raise
        time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def _counter(told: Callable[[int], None], stop: Callable[[], bool]) -> type:
    """A progress bar that shows nothing: it tells how many bytes came, and ends the download when it is to stop."""
    from tqdm import tqdm

    class Counter(tqdm):
        def __init__(self, *given: object, **named: object) -> None:
            named.pop("name", None)
            super().__init__(*given, **(named | {"disable": True}))

        def update(self, count: float | None = 1) -> None:
            if stop():
                raise Cancelled
            told(int(count or 0))

    return Counter


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
