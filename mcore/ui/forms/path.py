"""The path: which kind leads from A to B, and behind "Settings" the fields that belong to that kind and no others."""

from __future__ import annotations

import streamlit as st

from mcore.paths.route import DEFAULTS
from mcore.paths.ways import ALIGNED, COUNTS, LORA, NAMES, TOLD, short
from mcore.question import BELONGS, FITTED, PARTS, PathSpec
from mcore.ui import draft
from mcore.ui.forms import inputs
from mcore.ui.html import rich, show, text

PATH = ("path",)
ROWS = {"all": "all training rows", "half-1": "first half", "half-2": "second half"}
TRAIN = {"all": "everything", "no-embeddings": "all but the embeddings", "head": "the head", "last:1": "the last layer", "last:2": "the last 2 layers"}
STILL = "Of A and B only what was tuned moves."
ALIGN = {"none": "none", **{name: told.removeprefix("aligned ") for name, told in ALIGNED.items()}}
MOVE = {**{part: part for part in PARTS}, "layers:0-0": "layer 0", "layers:0-1": "layers 0 to 1"}


def path_form() -> None:
    """The kinds side by side, the settings of the chosen one, and one sentence on it."""
    kind = _kind()
    with st.container(key="ways", horizontal=True, vertical_alignment="bottom", gap="small"):
        draft.set_value("in.path.kind", kind)
        st.segmented_control("Path", list(NAMES), format_func=NAMES.get, required=True, width="content", key="in.path.kind", on_change=_turn)
        with st.popover("Settings", key="path-settings", width="content"):
            _settings(kind)
        lora = _lora()
    show(rich(f"{STILL if _deltas() else ''} {TOLD[kind]} {LORA.get(lora, '')}".strip(), "quiet"), text(f"As it stands: {chosen}.", "quiet") if (chosen := _chosen(kind)) else "")


def _deltas() -> bool:
    """Whether both ends are recipes that leave most of one base as it is."""
    ends = [draft.get((side,)) for side in "ab"]
    tuned = all(isinstance(end, dict) and end.get("method", "full") != "full" for end in ends)
    return tuned and ends[0].get("base") == ends[1].get("base")


def _lora() -> str:
    """Which of LoRA moves, to be chosen where both ends have it; nothing where none has."""
    ends = [draft.get((side,)) for side in "ab"]
    tuned = [isinstance(end, dict) and end.get("method") == "lora" for end in ends]
    given = draft.get((*PATH, "lora"))
    if not any(tuned) and not given:
        return ""
    alike = all(tuned) and len({(end.get("rank", 8), float(end.get("alpha", 16)), end.get("layers", "all")) for end in ends}) == 1
    usual = "factors" if alike and _kind() != "task-vector" and draft.get((*PATH, "align"), "none") == "none" else "merged"
    st.segmented_control(
        "Of LoRA", ["factors", "merged"], format_func=str.capitalize, required=True, width="content",
        help="Between two ends tuned by LoRA alike, its two thin matrices move, or their product does, merged into the weights.",
        **draft.bound("in.path.lora", (*PATH, "lora"), given or usual, lambda chosen: None if chosen == usual else chosen),
    )  # fmt: skip
    return given or usual


def _chosen(kind: str) -> str:
    """What the settings make of it in a few words; nothing for a plain line, or where they cannot be read."""
    try:
        spec = PathSpec.model_validate(draft.get(PATH) or {})
    except ValueError:
        return ""
    return "" if kind == "linear" and spec.align == "none" else short(spec)


def _kind() -> str:
    given = draft.get((*PATH, "kind"), "linear")
    return given if given in NAMES else "linear"


def _turn() -> None:
    """Another kind: what it shares with the one before is kept, what only that one had is dropped."""
    before, kind = draft.get(PATH), st.session_state["in.path.kind"]
    before = before if isinstance(before, dict) else {}
    way = {name: value for name, value in before.items() if name in ("align", "lora") or kind in BELONGS.get(name, ())}
    if "mix" in (kind, before.get("kind")):
        way.pop("learning_rate", None)  # of shares and of weights: they have nothing in common
    if kind == "partial":
        way["move"] = [PARTS[0]]
    if kind == "task-vector":
        way["base"] = common_base(draft.get(("a",)), draft.get(("b",)))
    way = {**({} if kind == "linear" else {"kind": kind}), **way}
    draft.put(PATH, way or None)


def common_base(a: object, b: object) -> str:
    """What both endpoints were tuned from, as far as they tell; else a place for an address."""
    bases = [end["base"] if isinstance(end, dict) else end for end in (a, b) if isinstance(end, dict | str)]
    tuned = [end["base"] for end in (a, b) if isinstance(end, dict)]
    if tuned:
        return tuned[0]
    family = str(bases[0]).partition("@")[0] if bases else ""
    return f"{family}@0" if family.startswith("builtin:") else "hub:?"


def _settings(kind: str) -> None:
    if kind in ("bezier", "chain"):
        _bends()
    if kind in FITTED:
        _fit(kind)
    if kind == "partial":
        _parts()
    if kind == "task-vector":
        inputs.checkpoint_field("Base", (*PATH, "base"), "What A and B were tuned from: a step of the family, or an address.")
        _number(kind, "scale", "Scale", "How much of both task vectors there is at t = 0.5: 1 adds them up whole.")
    if kind in BELONGS["extend"]:
        inputs.number_field("Beyond the ends", (*PATH, "extend"), "Go on for so much of the way before A and after B: up to 0.5.", 0)
    st.segmented_control(
        "Align B to A first", list(ALIGN), format_func=ALIGN.get, required=True,
        help="Permutes B's hidden units to match A's, by their weights or by their activations. B computes what it computed before.",
        **draft.bound("in.path.align", (*PATH, "align"), draft.get((*PATH, "align"), "none"), lambda chosen: None if chosen == "none" else chosen),
    )  # fmt: skip


def _bends() -> None:
    given = draft.get((*PATH, "bends"), 1)
    st.segmented_control(
        "Bends", list(COUNTS), required=True, help="Control points between A and B that are fitted; each costs the memory of a model.",
        **draft.bound("in.path.bends", (*PATH, "bends"), given if given in COUNTS else 1),
    )  # fmt: skip


def _fit(kind: str) -> None:
    if kind == "mix":
        given = draft.get((*PATH, "per"), "layer")
        st.segmented_control(
            "One share for each", ["tensor", "layer", "block"], required=True, help="A block is the attention or the feed-forward part of a layer.",
            **draft.bound("in.path.per", (*PATH, "per"), given if given in ("tensor", "layer", "block") else "layer"),
        )  # fmt: skip
    left, right = st.columns(2)
    with left:
        _number(kind, "steps", "Steps", "Of the fit; each draws one t and one batch.")
        _number(kind, "batch_size", "Batch size")
    with right:
        _number(kind, "learning_rate", "Learning rate")
        _number(kind, "seed", "Seed", "Fixes which t and which rows are drawn.")
    if kind != "mix":
        with left:
            _number(kind, "weight_decay", "Weight decay", "On the weights of the model at t.")
        with right:
            _train()
    _rows()


def _train() -> None:
    given = draft.get((*PATH, "train"), "all")
    st.selectbox(
        "What may bend", TRAIN if given in TRAIN else [*TRAIN, given], format_func=lambda name: TRAIN.get(name, name), accept_new_options=True,
        help="The rest stays on the chord. last:K are the last K layers.",
        **draft.bound("in.path.train", (*PATH, "train"), given, lambda name: None if name == "all" else name),
    )  # fmt: skip


def _rows() -> None:
    given = draft.get((*PATH, "rows"), "all")
    given = given if given in ROWS else inputs.shown(given)
    st.selectbox(
        "Rows to fit on", ROWS if given in ROWS else [*ROWS, given], format_func=lambda name: ROWS.get(name, name), accept_new_options=True,
        help="Of the training split, never those that are evaluated; a fraction such as 0.25 is possible too.",
        **draft.bound("in.path.rows", (*PATH, "rows"), given, lambda name: None if name == "all" else inputs.number(name or "")),
    )  # fmt: skip
    st.text_input(
        "Task to fit on", placeholder="the first task's training rows", help="Its labels must be those of the first task.",
        **draft.bound("in.path.task", (*PATH, "task"), draft.get((*PATH, "task", "task"), ""), lambda words: {"task": words.strip()} if words.strip() else None),
    )  # fmt: skip


def _parts() -> None:
    given = draft.get((*PATH, "move"), [])
    given = given if isinstance(given, list) else []
    st.multiselect(
        "What moves from A to B", [*MOVE, *(name for name in given if name not in MOVE)], format_func=lambda name: MOVE.get(name, name),
        accept_new_options=True, help="Parts, or layers as layers:K-M, counted from 0.", **draft.bound("in.path.move", (*PATH, "move"), given),
    )  # fmt: skip
    st.segmented_control(
        "The rest stays at", ["a", "b"], format_func=str.upper, required=True,
        **draft.bound("in.path.rest", (*PATH, "rest"), draft.get((*PATH, "rest"), "a"), lambda side: None if side == "a" else side),
    )  # fmt: skip


def _number(kind: str, name: str, label: str, told: str | None = None) -> None:
    inputs.number_field(label, (*PATH, name), told, DEFAULTS[kind][name])
