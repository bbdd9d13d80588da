"""Texts that are made of parts in one column, such as ``premise: … [SEP] hypothesis: …``, taken apart by a declaration of their form.

A form is a template read backwards: the words between the columns must stand in every text, in their order, and what stands
between them is the column's value there, without the white space around it. Words are looked for from the left, each once,
so that a text takes no longer than its length however it is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcore.errors import QuestionError
from mcore.tasks.prompts import MASK, columns_in, parts

MOST_PARTS = 8


def names_in(form: str | None, field: str) -> tuple[str, ...]:
    """The names of the parts; none where there is no form. Raises ``QuestionError`` for a form that is none."""
    if form is None:
        return ()
    names, pieces = columns_in([form], field), _pieces(form, field)
    if MASK in form or len(names) != sum(name is not None for _, name in pieces) or not 1 <= len(names) <= MOST_PARTS:
        raise QuestionError(field, f"it does not name one to {MOST_PARTS} parts, each once", 'write it like "premise: {premise} [SEP] hypothesis: {hypothesis}"')
    if any(not words.strip() for words, name in pieces[1:] if name):
        raise QuestionError(field, "nothing stands between two of its parts", "write the words that tell where one ends and the next begins")
    return names


def taken_apart(form: str, texts: Sequence[str], ids: Sequence[int], field: str) -> dict[str, list[str]]:
    """Name of a part -> its value in each text. ``ids``: of the rows, for what is said. Raises ``QuestionError``."""
    names, pieces = names_in(form, field), _pieces(form, field)
    found: dict[str, list[str]] = {name: [] for name in names}
    for row, text in zip(ids, texts, strict=True):
        values = _values(pieces, text)
        if values is None:
            raise QuestionError(field, f"row {row} is not of this form: {text[:80]!r}", "write the form of every row, or leave out the rows of another")
        for name, value in values.items():
            found[name].append(value)
    return found


def _pieces(form: str, field: str) -> list[tuple[str, str | None]]:
    """Words and the part that follows them; none after the last words. Braces that are meant belong to the words beside them."""
    pieces, before = [], ""
    for words, name in parts(form, field):
        before += words
        if name is not None:
            pieces.append((before, name))
            before = ""
    return [*pieces, (before, None)] if before else pieces


def _values(pieces: Sequence[tuple[str, str | None]], text: str) -> dict[str, str] | None:
    """The parts of one text, None where it has another form."""
    values: dict[str, str] = {}
    waiting, rest = None, text.strip()
    for words, name in pieces:
        words = words.strip()
        place = rest.find(words) if words else (0 if waiting is None else len(rest))
        if place < 0 or (waiting is None and place):
            return None
        if waiting is not None:
            values[waiting] = rest[:place].strip()
        rest, waiting = rest[place + len(words) :], name
    if waiting is not None:
        values[waiting] = rest.strip()
    elif rest.strip():
        return None
    return values if all(values.values()) else None
