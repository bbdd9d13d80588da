"""Share links: the whole question in a query string, and back.

``v`` is the version, ``q`` the question as compressed JSON in URL-safe base64. What comes in
is a stranger's text: its size is bounded before and after decompression, and it is validated
like any other question.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from urllib.parse import parse_qs, urlsplit

from mcore.errors import QuestionError
from mcore.question import MOST_BYTES, Experiment, as_written, parse

VERSION = "1"
MOST_CHARACTERS = 32 * 1024
MOST_MENDED = 40  # wrong fields of a link that are left out before it is given up


def link(experiment: Experiment) -> str:
    """The query string (without a question mark) that holds the experiment as its author wrote it."""
    return f"v={VERSION}&q={pack(experiment)}"


def pack(experiment: Experiment) -> str:
    """The value of ``q``."""
    text = json.dumps(as_written(experiment), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def unlink(query: str) -> Experiment:
    """The experiment in a query string or a whole address. Raises ``QuestionError``."""
    if len(query) > MOST_CHARACTERS:
        raise QuestionError("link", f"it is {len(query):,} characters long", f"a link has at most {MOST_CHARACTERS:,}")
    text = query.strip().partition("#")[0]
    values = parse_qs(urlsplit(text).query if "?" in text else text)
    if values.get("v", [VERSION])[0] != VERSION:
        raise QuestionError("link", f"its version is {values['v'][0][:20]!r}", f"this explorer reads version {VERSION}")
    if "q" not in values:
        raise QuestionError("link", "it holds no question", "copy the whole link, with its q=…")
    return unpack(values["q"][0])


def mended(packed: str, like: Experiment) -> tuple[Experiment, bool]:
    """The valid question nearest to a link's that cannot be asked, and whether anything is left of it.

    What is wrong is left out, so that it has its default; what must be there is taken from ``like``.
    """
    try:
        data = json.loads(_text(packed))
    except (QuestionError, ValueError, RecursionError):
        return like, False
    standard = as_written(like)
    for _ in range(MOST_MENDED):
        try:
            return parse(data), True
        except QuestionError as wrong:
            if not isinstance(data, dict) or not _left_out(data, wrong.field.split("."), standard):
                break
    return like, False


def _left_out(data: dict, path: list[str], standard: dict) -> bool:
    """Take out the field at ``path``, or put the standard's in where it is missing; else the same with what holds it."""
    *above, last = path
    here, there = _at(data, above), _at(standard, above)
    if isinstance(here, dict) and last in here:
        del here[last]
        return True
    if isinstance(here, list) and last.isdigit() and int(last) < len(here) > 1:
        del here[int(last)]
        return True
    if isinstance(here, dict) and isinstance(there, dict) and last in there:
        here[last] = there[last]
        return True
    return bool(above) and _left_out(data, above, standard)


def _at(value: object, path: list[str]) -> object:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def unpack(packed: str) -> Experiment:
    """The experiment in the value of ``q``. Raises ``QuestionError``."""
    return parse(_text(packed))


def _text(packed: str) -> bytes:
    """The JSON in the value of ``q``, of bounded size. Raises ``QuestionError``."""
    if len(packed) > MOST_CHARACTERS:
        raise QuestionError("link", f"it is {len(packed):,} characters long", f"a link has at most {MOST_CHARACTERS:,}")
    try:
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        machine = zlib.decompressobj()
        text = machine.decompress(raw, MOST_BYTES + 1)
        complete = machine.eof or len(text) > MOST_BYTES
    except (binascii.Error, ValueError, zlib.error):
        complete = False
    if not complete:
        raise QuestionError("link", "it is damaged or cut short", "copy the whole link again")
    return text
