"""What the Hub says of a revision: asked for as its client does, but bounded, and with no name of a file that leads elsewhere."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from mcore.errors import QuestionError
from mcore.hub.cache import File, Kind

MOST_BYTES = {"model": 500_000, "dataset": 8_000_000}  # of an answer: about 2,000 and 30,000 files
NOWHERE = re.compile(r"(^|/)\.{0,2}(/|$)|[\\\0-\x1f\x7f]|^\w:|[\ud800-\udfff]")  # a part that is empty, "." or "..", or signs that are no name's
LONGEST_PATH = 1_000


def info(endpoint: str, repo: str, revision: str, field: str, kind: Kind, token: str | bool | None, timeout: float) -> dict:
    """The Hub's answer as JSON. Raises what the client raises, and ``QuestionError`` where it is too long to be an ordinary one."""
    address = f"{endpoint}/api/{kind}s/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    if (told := _bounded(address, token, timeout, MOST_BYTES[kind])) is None:
        raise QuestionError(field, f"{repo} has too many files: to list them takes more than {MOST_BYTES[kind]:,} bytes", "choose an ordinary repository")
    return told


def refs(endpoint: str, repo: str, field: str, token: str | bool | None, timeout: float) -> list[str]:
    """The names of a model's branches, then of its tags. Raises as ``info`` does."""
    told = _bounded(f"{endpoint}/api/models/{repo}/refs", token, timeout, MOST_BYTES["model"])
    if told is None:
        raise QuestionError(field, f"{repo} has too many branches to list them", "write how those of its steps are named, with {step}, and the steps")
    try:
        return [str(one["name"]) for kind in ("branches", "tags") for one in told.get(kind) or []]
    except (KeyError, TypeError):
        raise QuestionError(field, f"the Hub's list of the branches of {repo} is damaged", "try again") from None


def _bounded(address: str, token: str | bool | None, timeout: float, most: int) -> dict | None:
    """An answer as JSON; None where it is longer than ``most`` bytes."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    text = b""
    with get_session().stream("GET", address, headers=build_hf_headers(token=token), timeout=timeout, follow_redirects=True) as answer:
        if answer.status_code >= 400:
            answer.read()
        hf_raise_for_status(answer)
        for piece in answer.iter_bytes():
            text += piece
            if len(text) > most:
                return None
    try:
        told = json.loads(text)
    except RecursionError:
        raise ValueError("its answer is no JSON") from None
    return told if isinstance(told, dict) else {}


def files(told: dict, repo: str, field: str) -> dict[str, File]:
    """Path -> file of a listing. Raises ``QuestionError``."""
    found = {}
    try:
        for one in told.get("siblings") or []:
            name, lfs = one["rfilename"], one.get("lfs")
            if NOWHERE.search(name) or len(name) > LONGEST_PATH:
                raise QuestionError(field, f"{repo} has a file named {name[:100]!r}, which leads out of it", "choose another repository")
            found[name] = File(max(0, int(one.get("size") or 0)), str(lfs["sha256"] if lfs else one.get("blobId")))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise QuestionError(field, f"the Hub's list of the files of {repo} is damaged", "try again") from None
    return found


def licence(told: dict) -> str | None:
    """As the repository's card says it."""
    card = told.get("cardData")
    named = card.get("license") if isinstance(card, dict) else None
    return ", ".join(map(str, named))[:100] if isinstance(named, list) else str(named)[:100] if named else None
