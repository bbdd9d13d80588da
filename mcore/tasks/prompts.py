"""Prompts: a template over the columns of a row, such as ``{premise} question: {hypothesis}``, made into texts.

A template is a stranger's text. It names columns and nothing else: no attribute, index, format or conversion is followed,
as Python's own ``str.format`` would. A brace that is meant is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter

from mcore.errors import QuestionError

MASK = "{mask}"  # stays in a prompt: where a masked language model answers; no column is meant by it
MOST_CHARACTERS = 200_000  # of one prompt: far more than any model reads
MOST_TOGETHER = 2**27  # characters of the prompts of all rows: a template may name a column a thousand times


def parts(template: str, field: str) -> list[tuple[str, str | None]]:
    """Words and the column that follows them (None: none). Raises ``QuestionError``."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise QuestionError(field, f"a brace stands alone ({error})", "write {column}, and a brace that is meant twice") from None
    for _, column, form, conversion in pieces:
        if column == "" or form or conversion:
            shown = f"{{{column or ''}{'!' + conversion if conversion else ''}{':' + form if form else ''}}}"
            raise QuestionError(field, f"{shown[:60]!r} is no column", "write the name of a column between braces, and nothing else")
    return [(words + MASK, None) if column == MASK[1:-1] else (words, column) for words, column, _, _ in pieces]


def columns_in(templates: Iterable[str], field: str) -> tuple[str, ...]:
    """The columns that these name, each once, in the order in which they come."""
    return tuple(dict.fromkeys(column for template in templates for _, column in parts(template, field) if column is not None))


def as_words(text: str) -> str:
    """A template that says just this: its braces are meant."""
    return text.replace("{", "{{").replace("}", "}}")


def render(template: str, columns: Mapping[str, list | dict[int, str]], rows: Iterable[int], field: str, most: int = MOST_TOGETHER) -> list[str]:
    """The prompt of each of these rows (places in the columns). Raises ``QuestionError``, also for more than ``most`` characters."""
    pieces = parts(template, field)
    for _, column in pieces:
        if column is not None and column not in columns:
            raise QuestionError(field, f"there is no column {column!r}", f"use one of: {', '.join(columns)}")
    prompts, size = [], 0
    for row in rows:
        words = "".join(text if column is None else text + _text(columns[column][row], column, row, field) for text, column in pieces)
        if len(words) > MOST_CHARACTERS:
            raise QuestionError(field, f"row {row} makes a prompt of {len(words):,} characters", f"make it shorter than {MOST_CHARACTERS:,}")
        if (size := size + len(words)) > most:
            raise QuestionError(field, f"it makes more than {most:,} characters of all rows", "make it shorter, or give a smaller limit")
        prompts.append(words)
    return prompts


def _text(value: object, column: str, row: int, field: str) -> str:
    """A value in words; a list is its items with commas between them."""
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(map(str, value))
    if value is None or value != value or isinstance(value, list | dict):
        raise QuestionError(field, f"row {row} has no text in {column!r}", "name another column")
    return str(value)
