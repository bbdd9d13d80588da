"""Pieces of HTML with every text escaped: what a stranger named is shown as it is written, never interpreted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

import streamlit as st

from mcore.words import glossary


def show(*pieces: str) -> None:
    """Put pieces of HTML, each made here, onto the page."""
    st.html("".join(pieces))


def text(words: str, kind: str = "body") -> str:
    """A paragraph. ``kind``: one of the styles in ``theme`` ("body", "quiet", "verdict", "error" …)."""
    return f'<p class="mc-{kind}">{escape(_unbroken(words))}</p>'


def rich(template: str, kind: str = "body") -> str:
    """A paragraph of our own words in which ``[word]`` is a word of the field, explained when pointed at."""
    parts = []
    for i, piece in enumerate(template.replace("]", "[").split("[")):
        parts.append(term(piece) if i % 2 else escape(piece))
    return f'<p class="mc-{kind} mc-terms">{"".join(parts)}</p>'


def term(word: str, name: str | None = None) -> str:
    """A word with a dotted underline; ``name`` is its entry in the glossary if the word is bent ("barriers")."""
    told = glossary.get(name or word) or glossary.get(word.rstrip("s")) or glossary.get(word.lower(), "")
    if not told:
        return escape(word)
    return f'<span class="mc-term" tabindex="0" data-told="{escape(told)}">{escape(word)}</span>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], name: str, left: int = 1) -> str:
    """A table with aligned digits; the first ``left`` columns hold words. It scrolls inside its own frame."""
    top = "".join(f'<th scope="col" class="{_side(i, left)}">{term(head)}</th>' for i, head in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f'<td class="{_side(i, left)}">{escape(cell)}</td>' for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    frame = f'<div class="mc-frame" tabindex="0" role="region" aria-label="{escape(name)}">'
    return f'{frame}<table class="mc-table"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def mark(words: str, kind: str = "") -> str:
    """A small label that says where something comes from."""
    return f'<span class="mc-mark {kind and "mc-mark-" + kind}">{escape(words)}</span>'


def figures(pairs: Iterable[tuple[str, str]]) -> str:
    """Numbers side by side, each with its name above."""
    cells = "".join(
        f'<div><div class="mc-quiet">{term(name)}</div><div class="mc-figure">{escape(value)}</div></div>'
        for name, value in pairs
    )
    return f'<div class="mc-figures mc-terms">{cells}</div>'


def _unbroken(words: str) -> str:
    """A number stays on one line with what belongs to it."""
    return re.sub(r"\bt = (?=\d)", "t\u00a0=\u00a0", re.sub(r"(?<=\d) (?=%|nats|points)", "\u00a0", words))


def _side(column: int, left: int) -> str:
    return "mc-left" if column < left else "mc-right"


def plain_label(words: str) -> str:
    """A text for the label of a widget, where Streamlit reads Markdown: everything that means something is escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])", r"\\\1", words)
