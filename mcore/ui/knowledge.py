"""The Knowledge page."""

from __future__ import annotations

from mcore.ui.html import show


def knowledge() -> None:
    """Draw the page."""
    show("<h1>Knowledge</h1>")
