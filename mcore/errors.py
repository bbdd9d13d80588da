"""The exceptions that a person may see: ``str(error)`` is one sentence that says what to do."""

from __future__ import annotations

LONGEST = 500  # characters of what is wrong, and of what is right


class McoreError(Exception):
    """Anything that stops the work and can be told in a sentence."""


class QuestionError(McoreError):
    """A question that cannot be answered: names the field, what is wrong and what would be right."""

    def __init__(self, field: str, wrong: str, right: str):
        self.field, self.wrong, self.right = field, _line(wrong), _line(right)
        super().__init__(f"{self.field}: {self.wrong}; {self.right}.")


def first_line(error: Exception) -> str:
    """What another library's exception says, as a part of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _line(text: str) -> str:
    """One line of an ordinary length, whatever a stranger's words in it are."""
    text = " ".join(text.encode(errors="replace").decode().split()).rstrip(".")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


class NoHead(QuestionError):
    """Neither endpoint says which label it means, and a head could be fitted that does."""


class Cancelled(McoreError):
    """Somebody asked to stop; everything finished so far is kept."""

    def __init__(self) -> None:
        super().__init__("Cancelled. Everything finished so far is kept.")
