"""A text field that searches the Hub as one types, and offers what is known here: a component, redrawn by itself.

What is typed is answered with a search in a fragment of its own, so that the page is not drawn again for a letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from mcore.hub import search as hubsearch
from mcore.hub.cache import Kind
from mcore.hub.refusals import NoAnswer
from mcore.hub.search import Found
from mcore.ui import draft, visitor
from mcore.ui.looked import count

SCRIPT = Path(__file__).with_name("search_field.js")
OFFLINE = "No network: these are on this machine."
HTML = """<div class="field"><label></label><input type="text" role="combobox" aria-autocomplete="list" aria-expanded="false"
autocomplete="off" autocapitalize="off" spellcheck="false"><div class="list" role="listbox" aria-label="Suggestions" hidden></div>
<div class="live quiet unseen" aria-live="polite"></div><div class="note quiet" hidden></div><div class="help quiet"></div></div>"""
CSS = """
.field { font-family: var(--st-font); color: var(--st-text-color); font-size: .85rem; line-height: 1.45; }
label { display: block; margin: 0 0 .25rem; }
input { box-sizing: border-box; width: 100%; min-height: 2.5rem; padding: .4rem .75rem; font: inherit; font-size: 1rem; color: inherit;
  background: var(--st-secondary-background-color); border: 1px solid transparent; border-radius: var(--st-base-radius); outline: none; }
input:focus { border-color: var(--st-primary-color); }
input::placeholder { color: inherit; opacity: .65; }
.list { margin-top: .25rem; max-height: 15rem; overflow: auto; border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
  background: var(--st-background-color); }
.head { padding: .35rem .75rem .1rem; font-weight: 600; opacity: .8; }
[role="option"] { display: flex; justify-content: space-between; gap: .2rem 1rem; flex-wrap: wrap; padding: .3rem .75rem; cursor: pointer; }
[role="option"]:hover, [role="option"][aria-selected="true"] { background: var(--st-secondary-background-color); }
[role="option"][aria-selected="true"] { box-shadow: inset 3px 0 0 var(--st-primary-color); }
.name { overflow-wrap: anywhere; } .told { opacity: .8; }
.quiet { margin-top: .25rem; opacity: .8; overflow-wrap: anywhere; }
.quiet:empty { display: none; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); margin: 0; }
"""


@dataclass(frozen=True)
class Option:
    """Something to take: what is written, how it is shown, and a few words about it."""

    value: str
    name: str
    told: str = ""


@dataclass(frozen=True)
class Options:
    """Options under one heading."""

    name: str
    options: Sequence[Option]


def search_field(
    label: str, key: str, path: draft.Path, value: str, kind: Kind, groups: Callable[[bool], Sequence[Options]],
    read: Callable[[str], str | None], told: str = "", placeholder: str = "ORG/NAME",
) -> None:  # fmt: skip
    """What is chosen or typed goes through ``read`` to ``path`` of the draft.

    ``groups`` gives what is offered before anything is typed; it is told whether there is a network.
    """
    st.fragment(_field)(label, key, path, value, kind, groups, read, told, placeholder)


def _field(
    label: str, key: str, path: draft.Path, value: str, kind: Kind, groups: Callable[[bool], Sequence[Options]],
    read: Callable[[str], str | None], told: str, placeholder: str,
) -> None:  # fmt: skip
    taken = f"{key}.taken"
    if st.session_state.pop(taken, False):
        st.rerun()
    there = hubsearch.reachable()
    words = str((st.session_state.get(key) or {}).get("words") or "").strip()
    _component()(
        key=key,
        data={
            "label": label, "help": told, "placeholder": placeholder, "value": value, "searches": there, "least": hubsearch.LEAST,
            "groups": [{"name": group.name, "options": list(map(asdict, group.options))} for group in groups(there)],
            "found": _found(words, kind) if there else {"words": words, "options": [], "said": ""},
            "note": "" if there else OFFLINE,
        },
        on_words_change=lambda: None,
        on_chosen_change=lambda: _take(key, path, read),
    )  # fmt: skip


def _take(key: str, path: draft.Path, read: Callable[[str], str | None]) -> None:
    draft.put(path, read(str(st.session_state[key]["chosen"] or "")))
    st.session_state[f"{key}.taken"] = True


def _found(words: str, kind: Kind) -> dict:
    try:
        found = hubsearch.search(words, kind, visitor.name())
    except NoAnswer as silent:
        return {"words": words, "options": [], "said": f"{silent.wrong[0].upper()}{silent.wrong[1:]}: {silent.right}."}
    said = "" if found or len(words) < hubsearch.LEAST else "Nothing on the Hub has such a name."
    return {"words": words, "options": [asdict(Option(one.repo, one.repo, _about(one))) for one in found], "said": said}


def _about(one: Found) -> str:
    size = f"{count(one.parameters)} parameters" if one.parameters else ""
    return " · ".join(filter(None, [size, f"{one.downloads:,} downloads" if one.downloads else "", "gated" if one.gated else ""]))


@st.cache_resource(show_spinner=False)
def _component() -> Callable:
    return st.components.v2.component("search_field", html=HTML, css=CSS, js=SCRIPT.read_text())
