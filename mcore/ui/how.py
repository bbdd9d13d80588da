"""How it works, in a picture drawn here and four definitions; nothing in it is a result."""

from __future__ import annotations

import base64
import re
from html import escape

import streamlit as st

from mcore.ui.html import show
from mcore.ui.theme import COLOURS, dark
from mcore.words import glossary

TOLD = (
    "A drawing: loss over t. The loss of A at t = 0 and of B at t = 1 are joined by a dashed straight line, the chord. "
    "The loss along the path rises above it in the middle; the greatest height above the chord is the barrier. "
    "Beneath, a bar of mastered rows is narrower in the middle than at both ends."
)
# From A at (60, 150) to B at (500, 165); what is mastered stands beneath, on the same t.
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 300" font-family="Helvetica, Arial, sans-serif">
 <defs><linearGradient id="mc-way"><stop offset="0" stop-color="{a-edge}"/><stop offset="1" stop-color="{b-edge}"/></linearGradient></defs>
 <g font-size="14" fill="{text}">
  <line x1="60" y1="192" x2="500" y2="192" stroke="{line}" stroke-width="1.5"/>
  <line x1="60" y1="150" x2="500" y2="165" stroke="{quiet}" stroke-width="1.6" stroke-dasharray="6 5"/>
  <path d="M60 150 C 150 150, 190 52, 280 52 S 400 165, 500 165" fill="none" stroke="url(#mc-way)" stroke-width="4"/>
  <line x1="280" y1="60" x2="280" y2="151" stroke="{text}" stroke-width="1.5"/>
  <path d="M274 60h12M274 151h12" stroke="{text}" stroke-width="1.5"/>
  <circle cx="60" cy="150" r="9" fill="{a-edge}"/><circle cx="500" cy="165" r="9" fill="{b-edge}"/>
  <text x="36" y="155" font-weight="700" text-anchor="end" fill="{a}">A</text>
  <text x="522" y="170" font-weight="700" fill="{b}">B</text>
  <text x="294" y="112">barrier</text><text x="372" y="84">path</text>
  <text x="120" y="173" fill="{quiet}">chord</text><text x="60" y="24" fill="{quiet}">loss</text>
  <text x="60" y="212" fill="{quiet}" font-size="13">t = 0</text>
  <text x="500" y="212" fill="{quiet}" font-size="13" text-anchor="end">t = 1</text>
  <path d="M60 240 C 170 240, 220 254, 280 254 S 400 242, 500 242 V 284 H 60 Z" fill="url(#mc-way)" opacity=".3"/>
  <text x="280" y="276" text-anchor="middle">rows that are mastered</text>
 </g>
</svg>"""


def how_it_works() -> None:
    """Draw the picture and, beside it, what its words mean."""
    show("<h2>How it works</h2>")
    picture, words = st.columns([1.1, 1], gap="large", vertical_alignment="center")
    with picture:
        show(_picture())
    with words:
        told = "".join(
            f"<dt>{name}</dt><dd>{escape(glossary[name])}</dd>" for name in ("path", "chord", "barrier", "mastered")
        )
        show(f'<dl class="mc-words">{told}</dl>')


def _picture() -> str:
    """As an image: Streamlit lets no drawing through that is part of the page."""
    colours = COLOURS["dark" if dark() else "light"]
    drawn = re.sub(r"\{([a-z-]+)\}", lambda name: colours[name[1]], PICTURE)
    packed = base64.b64encode(drawn.encode()).decode()
    return f'<img class="mc-picture" alt="{escape(TOLD)}" src="data:image/svg+xml;base64,{packed}">'
