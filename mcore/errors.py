"""The exceptions that a person may see: ``str(error)`` is one sentence that says what to do."""

from __future__ import annotations


class McoreError(Exception):
    """Anything that stops the work and can be told in a sentence."""


class QuestionError(McoreError):
    """A question that cannot be answered: names the field, what is wrong and what would be right."""

    def __init__(self, field: str, wrong: str, right: str):
        self.field, self.wrong, self.right = field, wrong.rstrip("."), right.rstrip(".")
        super().__init__(f"{self.field}: {self.wrong}; {self.right}.")


class Cancelled(McoreError):
    """Somebody asked to stop; everything finished so far is kept."""

    def __init__(self) -> None:
        super().__init__("Cancelled. Everything finished so far is kept.")
