"""The Library page: what was trained and computed here, to be found again, put side by side, kept, sent and deleted.

What is searched for, of which kind, which page, which row is open and which two are on one chart all stand
in the address. Only the rows on the screen are looked at closely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from mcore.charts.pair import pair_chart, pair_told
from mcore.errors import McoreError
from mcore.library import items as core
from mcore.library.items import Facts, Item
from mcore.library.notes import Note
from mcore.names import size
from mcore.profile import profile
from mcore.ui import address, html
from mcore.ui.drawing import draw
from mcore.ui.engine import engine
from mcore.ui.guard import guarded
from mcore.ui.html import show, text
from mcore.ui.library import imported, shelf
from mcore.ui.library.item import COMPARE, details
from mcore.ui.library.keeping import free_space
from mcore.ui.library.rows import KINDS, STYLE, meter, row
from mcore.ui.theme import dark

PAGE = 20  # rows
READING = 0.4  # seconds that one drawing of the page may spend on rows that nobody has looked at before
SHOWN = {"All": None, "Results": ("experiment", "shipped"), "Models": ("model", "exported"), "Imported": ("import",)}
WORDS = 200  # characters


def library() -> None:
    """Draw the page."""
    st.session_state[address.PAGE] = "library"
    st.html(f"<style>{STYLE}</style>")
    every, notes = shelf.items(), shelf.notes()
    _top(every)
    if said := st.session_state.pop(shelf.SAID, None):
        st.toast(html.plain_label(said))
    found = _filtered(every, notes)
    _pair(shelf.pair(every))
    if not any(item.kind != "shipped" for item in every):
        _empty()
    if found:
        _rows(found, every, notes)
    else:
        show(text("Nothing here fits. Use fewer words, or show all.", "body"))
        st.button("Show all", key="show-all", on_click=_show_all)


def _top(every: Sequence[Item]) -> None:
    show("<h1>Library</h1>")
    store = engine().store
    left, right = st.columns([2.2, 1], gap="large", vertical_alignment="center")
    with left:
        if profile().hosted:
            show(text("What you asked for or opened in this session, and the result that ships with the app. "
                      "Nobody else sees this list; a link shares a question.", "body"))  # fmt: skip
        else:
            used = store.size()
            full = " The least recently used leave first when it is full." if used > 0.9 * store.limit_bytes else ""
            show(text(f"{_counted(every)} {size(used)} of at most {size(store.limit_bytes)} on this machine.{full}", "body"))
            show(meter(used, store.limit_bytes))
        if shelf.memory() is None:
            show(text("Notes and tags cannot be kept: the file library.sqlite in the store cannot be used.", "note"))
    if profile().hosted:
        return
    with right, st.container(horizontal=True, gap="small", horizontal_alignment="right"):
        with st.popover("Import", icon=":material/upload:", key="import"):
            if taken := imported.chooser():
                st.query_params[shelf.OPEN] = taken[: shelf.SHORT]
                shelf.say("Imported. It is open in the list.")
                st.rerun()
        with st.popover("Free space", icon=":material/delete_sweep:", key="free-space", on_change="rerun") as opened:
            if opened.open:
                free_space(list(every))


def _counted(every: Sequence[Item]) -> str:
    names = {"experiment": "result", "model": "trained model", "exported": "saved model", "import": "imported file"}
    counts = [(sum(item.kind == kind for item in every), name) for kind, name in names.items()]
    told = [f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts if count]
    return f"{', '.join(told)}:" if told else "Nothing is kept yet:"


def _filtered(every: Sequence[Item], notes: Mapping[str, Note]) -> list[Item]:
    tags = sorted({tag for item in every if item.key in notes for tag in notes[item.key].tags})
    with st.container(key="library-filter", horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = st.segmented_control("Show", list(SHOWN), default="All", required=True, key="show", bind="query-params")
        words = st.text_input(
            "Search", key="find", bind="query-params", max_chars=WORDS, live=True, width=280, icon=":material/search:",
            placeholder="name, task, note",
        )  # fmt: skip
        tagged = st.multiselect("Tags", tags, key="tag", bind="query-params", width=280, placeholder="any") if tags else []
    return core.matching(every, SHOWN.get(kind), words[:WORDS], tagged, notes)


def _show_all() -> None:
    st.session_state.update({"show": "All", "find": "", **({"tag": []} if "tag" in st.session_state else {})})


def _empty() -> None:
    show(text(
        "Whatever is trained or computed here is kept in this list. Until then, this is the first question's result, "
        "which ships with the app.", "body",
    ))  # fmt: skip
    st.page_link(COMPARE, label="Ask the first question in Compare", icon=":material/arrow_forward:")


def _rows(found: list[Item], every: list[Item], notes: Mapping[str, Note]) -> None:
    pages = -(-len(found) // PAGE)
    page = min(pages, st.session_state.get("page", 1)) if pages > 1 else 1
    below = st.container()
    if pages > 1:
        show(text(f"{len(found):,} of {len(every):,}, newest first", "quiet"))
        page = st.pagination(pages, key="page", bind="query-params")
    shown = found[(page - 1) * PAGE : page * PAGE]
    opened = shelf.opened(every)
    if opened is None and not any(item.kind != "shipped" for item in every):
        opened = found[0]
    if opened and opened not in shown:
        shown = [opened, *shown]  # a link opens what it names, on whatever page it stands
    with below:
        pending = not {item.key for item in shown} <= set(shelf.facts(shown, READING))
        (st.fragment(_list, run_every=0.2) if pending else _list)(shown, opened, every, notes, pending)


def _list(shown: list[Item], opened: Item | None, every: list[Item], notes: Mapping[str, Note], pending: bool) -> None:
    with guarded():
        facts = shelf.facts(shown, READING)
        if pending and len(facts) == len(shown):
            st.rerun()
        sizes = core.sizes({key: one for key, one in facts.items() if one.parts}, engine().store)
        chosen = [item.key for item in shelf.pair(every)]
        tags = sorted({tag for note in notes.values() for tag in note.tags})
        for item in shown:
            here = opened is not None and item.key == opened.key
            one = facts.get(item.key)
            with st.container(key=f"row-{item.key}"):
                _row(item, one, sizes.get(item.key, 0) + item.bytes, notes.get(item.key), chosen, here)
                if here and one is not None:
                    details(item, one, notes.get(item.key, Note()), tags, every)


def _row(item: Item, facts: Facts | None, bytes_: int, note: Note | None, chosen: list[str], opened: bool) -> None:
    left, right = st.columns([8, 1.1], vertical_alignment="center")
    with left:
        icon = ":material/expand_less:" if opened else ":material/expand_more:"
        st.button(
            html.plain_label(item.title), key=f"open-{item.key}", type="tertiary", icon=icon,
            on_click=shelf.open_or_close, args=(item.key,),
        )  # fmt: skip
        show(row(item, facts, bytes_, note, dark()))
    with right:
        if facts and facts.summary and item.question:
            key = f"pick-{item.key}"
            st.session_state[key] = item.key in chosen
            st.checkbox("Compare", key=key, on_change=_pick, args=(item.key, chosen))


def _pick(key: str, chosen: list[str]) -> None:
    if key in chosen:
        shelf.choose([one for one in chosen if one != key])
    else:
        shelf.choose([*chosen, key])
        if chosen:
            shelf.say("Both are on one chart above the list.")


def _pair(chosen: list[Item]) -> None:
    if not chosen:
        return
    with st.container(key="pair"):
        if len(chosen) == 1:
            show(text(f"Chosen: {chosen[0].title}. Tick “Compare” at another result to see both on one chart.", "body"))
        else:
            _both(chosen)
        st.button("Clear the choice", key="clear-pair", on_click=shelf.choose, args=([],))


def _both(chosen: list[Item]) -> None:
    show("<h2>Two results on one chart</h2>")
    try:
        told = [shelf.document(item) for item in chosen]
    except McoreError as error:
        show(text(str(error), "error"))
        return
    if not all(told):
        show(text("One of the two has no points any more: open it in Compare to compute them again.", "note"))
        return
    tasks = [one["tasks"][0] for one in told]
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        draw(pair_chart, *tasks, dark(), key="pair-chart")
    with right:
        for number, item in enumerate(chosen, 1):
            line = ("whole line, dots", "dashed line, open squares")[number - 1]
            show(text(f"{number}: {item.title}", "body"), text(f"{line} · {KINDS[item.kind]}", "quiet"))
        show(text("What this means", "head"), *(text(sentence, "body") for sentence in pair_told(*tasks)))
