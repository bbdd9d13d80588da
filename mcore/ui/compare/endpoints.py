"""The two cards: what A and B are, opened in place to be changed, and one line between them on what differs."""

from __future__ import annotations

from html import escape

import streamlit as st

from mcore.errors import QuestionError
from mcore.models.added import tuned
from mcore.models.checkpoints import Checkpoint
from mcore.names import endpoint_name, size
from mcore.profile import profile
from mcore.question import Endpoint, Experiment, Recipe
from mcore.resolve import LONGEST
from mcore.resolved import Endpoint as ResolvedEndpoint
from mcore.store import Entry
from mcore.tasks.reading import LANGUAGE, language_heads
from mcore.tuning.differing import SAID
from mcore.ui import addresses, draft, visitor
from mcore.ui.differs import differs
from mcore.ui.engine import Standing, engine
from mcore.ui.forms import inputs, token
from mcore.ui.forms.hub import hub_form
from mcore.ui.forms.recipe import become_recipe, recipe_form
from mcore.ui.html import show, term, text
from mcore.ui.looked import address, checkpoints, count, facts, show_verdict, verdict

KINDS = ("Recipe", "Pre-trained", "Hub", "Trained here", "Folder")
NOTHING = ("hub:?", "local:?")  # what an endpoint is while nothing is named
TOLD = {
    "Recipe": "Fine-tune a base on a task, here and now.",
    "Pre-trained": "A step of the family that ships with the app, as it is.",
    "Hub": "A model on the Hub: a tuned classifier, a language model, an adapter, or a base to read with the other end's head.",
    "Trained here": "A model that was fine-tuned here before.",
    "Folder": "A folder that save_pretrained wrote.",
}


def cards(
    question: Experiment | None, now: Standing | None, ends: dict[str, str], wrong: QuestionError | None
) -> None:
    """``ends``: side -> what it reaches on the first task, where it is known. ``wrong``: shown at the card that it names."""
    found = checkpoints(question, now)
    judged = verdict(question, found) if question else None
    if judged and wrong and wrong.wrong in {finding.wrong for finding in judged.wrong}:
        wrong = None  # said once, beneath the cards
    left, between, right = st.columns([5, 2, 5], gap="medium")
    with left:
        _card("a", question, found.get("a"), now, ends, wrong)
    with between:
        chosen = question and not {address(question.a), address(question.b)} & {*NOTHING}
        show(differs(question, now) if chosen else '<div class="mc-between"><b></b></div>')
    with right:
        _card("b", question, found.get("b"), now, ends, wrong)
    if judged:
        show_verdict(judged)


def field_of(wrong: QuestionError | None) -> str:
    """Where an error belongs: "a", "b", or "" for the strip of choices."""
    top = wrong.field.partition(".")[0] if wrong else ""
    return top if top in ("a", "b") else ""


def _card(
    side: str, question: Experiment | None, model: Checkpoint | None, now: Standing | None, ends: dict[str, str], wrong: QuestionError | None
) -> None:
    with st.container(key=f"card-{side}", height="stretch"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
            t = 0 if side == "a" else 1
            st.html(f'<span class="mc-end mc-{side}">{side.upper()} · t = {t}</span>', width="content")
            with st.popover("Change", key=f"change-{side}"):
                _form(side)
        if question:
            end = getattr(question, side)
            name, line = ("None chosen yet", "") if end in NOTHING else (endpoint_name(end), _recipe_line(end))
            pieces = [f'<p class="mc-name">{escape(name)}</p>', text(line, "quiet")]
            show(*pieces, f'<p class="mc-quiet mc-terms">{" · ".join(_facts(side, end, model, now, ends))}</p>')
        if field_of(wrong) == side:
            show(text(str(wrong), "quiet" if question and end in NOTHING else "error"))
            token.offer(wrong, f"wrong-{side}")


def _recipe_line(end: Endpoint) -> str:
    if not isinstance(end, Recipe):
        return end
    told = [] if end.task.read == "answers" else [f"head seed {end.head_seed}"]
    if end.delta_seed not in (None, end.head_seed):
        told.append(f"seed of what is added {end.delta_seed}")
    told += [f"data seed {end.data_seed}", f"lr {end.learning_rate:g}", f"batch {end.batch_size}"]
    told += [SAID[end.optimizer]] if end.optimizer else []
    return " · ".join([*told, *([] if end.rows == "all" else [f"rows {end.rows}"])])


def _facts(side: str, end: Endpoint, model: Checkpoint | None, now: Standing | None, ends: dict[str, str]) -> list[str]:
    """What is known of it, as HTML: of a stranger's checkpoint everything, of what was made here what one asks for."""
    if not model:
        return ["&nbsp;"]
    own, speaks = address(end).startswith("builtin:"), now is not None and now.resolved.kind in LANGUAGE
    told = [escape(fact) for fact in ([f"{count(model.parameters)} parameters", size(model.bytes)] if own else facts(model))]
    if isinstance(end, Recipe):
        told += ["trained" if now.trained.get(side) else "not trained yet", *_tuned(now.resolved.endpoint(side))] if now else []
    elif model.labels is None and not speaks and (own or not language_heads(model.config)):
        told.append(f"no {term('head')} of its own")
    if side in ends:
        told.insert(0, f"<strong>{escape(ends[side])}</strong>")
    return told


def _tuned(end: ResolvedEndpoint) -> list[str]:
    """How many parameters its method tunes, where that is not all of them."""
    if not end.delta:
        return []
    found = tuned(end.delta, end.source.base, len(end.labels) if end.labels else None, bool(end.recipe.recipe.train_norms))
    return [f"{count(found)} of them tuned"] if found else []


def _form(side: str) -> None:
    end = draft.get((side,))
    key = f"kind-{side}"
    draft.set_value(key, _kind(side, end))
    st.segmented_control(
        "What it is", _kinds(), key=key, required=True, on_change=_turn, args=(side,), label_visibility="collapsed"
    )
    kind = st.session_state[key]
    st.caption(TOLD.get(kind, ""))
    if kind == "Recipe":
        recipe_form(side)
    elif kind == "Pre-trained":
        inputs.checkpoint_field(
            "Step", (side,), "Pre-training steps of the family that ships with the app. Or paste an address."
        )
    elif kind == "Hub":
        hub_form(side)
        token.place(side)
    elif kind == "Folder":
        st.text_input(
            "Folder",
            help="The path of a folder with config.json, model.safetensors and tokenizer.json; or paste an address.",
            placeholder="/path/to/model",
            **draft.bound(f"in.{side}", (side,), "" if end == "local:?" else end, addresses.checkpoint),
        )
    else:
        _stored_form(side)


def _kinds() -> tuple[str, ...]:
    """What an endpoint can be; a host has no folders for its visitors."""
    return tuple(kind for kind in KINDS if not (profile().hosted and kind == "Folder"))


def _stored_form(side: str) -> None:
    entries = {entry.key: entry for entry in engine().store.entries("model") if _listed(entry)}
    if not entries:
        st.caption("Nothing was trained here yet: run a recipe once, and its model stands here.")
        return
    chosen = st.selectbox(
        "Model",
        list(entries),
        index=None,
        key=f"stored-{side}",
        format_func=lambda key: _model_name(entries[key].about["recipe"]),
        placeholder=f"{len(entries)} to choose from",
    )
    recipe, at = chosen and entries[chosen].about["recipe"], None
    if recipe and recipe["steps"] > 1:
        at = st.number_input(
            "At step", 1, recipe["steps"], None, key=f"step-{side}", placeholder="as it was trained",
            help="A checkpoint on its way: the training as far as that step, on the schedule of the whole. It is carried out again where it is not kept.",
        )  # fmt: skip
    st.button("Use it", key=f"use-{side}", disabled=chosen is None, on_click=_use, args=(side, recipe, at))


def _listed(entry: Entry) -> bool:
    return bool(entry.about.get("recipe")) and visitor.may_see(entry.key)


def _model_name(recipe: dict) -> str:
    try:
        read = Recipe.model_validate(recipe)
    except ValueError:
        return "a model of another version"
    return f"{endpoint_name(read)} · head {read.head_seed} · data {read.data_seed} · lr {read.learning_rate:g}"


def _use(side: str, recipe: dict, at: int | None) -> None:
    """Put the recipe that a model was trained by in the draft; what a built-in task would be given anyway is left out."""
    usual = {"split": "train", "text": ["text"], "label": "label", "max_length": LONGEST, "sample_seed": 0}
    builtin = recipe["task"]["task"].startswith("builtin:")
    plain_task = {name: value for name, value in recipe["task"].items() if value is not None and not (builtin and usual.get(name) == value)}
    if at is not None:
        recipe = {name: value for name, value in recipe.items() if name != "continued"} | {"stop_at": at}
    draft.put((side,), {**recipe, "task": plain_task})
    st.session_state.pop(f"chosen-kind-{side}", None)


def _kind(side: str, end: object) -> str:
    """The kind that a person has just chosen, else what the draft is."""
    chosen = st.session_state.get(f"chosen-kind-{side}")
    if chosen == "Trained here" or (chosen == "Folder" and isinstance(end, str)):
        return chosen
    schemes = {"builtin": "Pre-trained", "hub": "Hub"}
    kind = "Recipe" if isinstance(end, dict) else schemes.get(str(end).partition(":")[0], "Folder")
    return kind if kind in _kinds() else "Pre-trained"


def _turn(side: str) -> None:
    """Turn the endpoint into the kind that was chosen, keeping what can be kept."""
    kind, end = st.session_state[f"kind-{side}"], draft.get((side,))
    st.session_state[f"chosen-kind-{side}"] = kind
    base = end.get("base") if isinstance(end, dict) else end
    if kind == "Recipe" and not isinstance(end, dict):
        become_recipe(side)
    elif kind == "Pre-trained" and not str(end).startswith("builtin:"):
        draft.put((side,), base if str(base).startswith("builtin:") else inputs.family_steps()[-1])
    elif kind == "Hub" and not str(end).startswith("hub:"):
        draft.put((side,), "hub:?")
    elif kind == "Folder" and not str(end).startswith("local:"):
        draft.put((side,), "local:?")
