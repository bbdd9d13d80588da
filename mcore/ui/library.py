"""The Library page."""

from __future__ import annotations

from mcore.ui.html import show


def library() -> None:
    """Draw the page."""
    show("<h1>Library</h1>")
