"""The Fine-tune page."""

from __future__ import annotations

from mcore.ui.html import show


def finetune() -> None:
    """Draw the page."""
    show("<h1>Fine-tune</h1>")
