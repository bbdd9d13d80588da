"""What opens under a row of the Library: the curve, the ways on, notes and tags, and deletion."""

from __future__ import annotations

import streamlit as st

from mcore.charts.overview import training_chart
from mcore.errors import McoreError
from mcore.library import clearing
from mcore.library import items as library
from mcore.library.items import Facts, Item
from mcore.library.notes import LONGEST_TAG, MOST_TAGS, MOST_TEXT, Note, note
from mcore.names import method_name, size, steps_text
from mcore.profile import profile
from mcore.question import Experiment, Recipe, as_written, parse
from mcore.ui import address, export
from mcore.ui.compare.stage import stage
from mcore.ui.compare.take import saved
from mcore.ui.drawing import draw
from mcore.ui.engine import engine
from mcore.ui.html import figures, mark, show, text
from mcore.ui.library import shelf
from mcore.ui.theme import dark

COMPARE, FINETUNE, KNOWLEDGE = "pages/1_Compare.py", "pages/2_Fine-tune.py", "pages/3_Knowledge.py"
WRONG, DOOMED = "mc.note-wrong", "mc.doomed"


def details(item: Item, facts: Facts, written: Note, tags: list[str], every: list[Item]) -> None:
    """``tags``: those that are in use; ``every``: all rows, of which one may be deleted."""
    with st.container(key="opened"):
        if wrong := item.wrong or facts.wrong:
            show(text(wrong, "error"))
        elif item.kind == "model":
            _model(item)
        elif item.kind == "exported":
            _exported(item)
        else:
            _result(item)
        if item.kind != "shipped":
            _notes(item, written, tags)
            if not profile().hosted:
                _deletion(item, every)


def _result(item: Item) -> None:
    try:
        told = shelf.document(item)
    except McoreError as error:
        show(text(str(error), "error"))
        return
    if told is None:
        show(text("None of its points is kept any more. Open it in Compare to compute them again.", "note"))
        _ways(item.question)
        return
    where = {"import": f"imported file · {item.name}", "shipped": "shipped result"}.get(item.kind, "from the store")
    stage(told["tasks"][0], item.question, where, change=False)
    if len(told["tasks"]) > 1:
        show(text(f"The first of {len(told['tasks'])} tasks; Compare shows them all.", "quiet"))
    _ways(item.question, told)


def _ways(question: Experiment, told: dict | None = None) -> None:
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        query = address.query(question)
        st.page_link(COMPARE, label="Open in Compare", query_params=query, icon=":material/timeline:")
        st.page_link(KNOWLEDGE, label="Open in Knowledge", query_params=query, icon=":material/grid_on:")
        if told:
            name = f"result-{told['fingerprint'][:8]}.json"
            st.download_button(
                "Result file (JSON)", lambda: export.json_of(told), name, "application/json", key="export-result",
                on_click="ignore", icon=":material/download:",
                help="What a collaborator imports in their own Library to see this curve.",
            )  # fmt: skip


def _model(item: Item) -> None:
    curve = library.training(item.key, engine().store)
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        if curve:
            draw(training_chart, {"A": curve}, item.recipe.last_step, dark(), "container", item.recipe.task.read == "answers", key="model-training")
    with right:
        recipe = item.recipe
        show(mark("trained model"))
        show(figures([
            ("steps", steps_text(recipe)), ("learning rate", f"{recipe.learning_rate:g}"), ("batch size", f"{recipe.batch_size:,}"),
            *([("tuned by", method_name(recipe))] if recipe.method != "full" else []),
            *([("answers", "in words")] if recipe.task.read == "answers" else [("head seed", str(recipe.head_seed))]),
            ("data seed", str(recipe.data_seed)), ("size", size(item.bytes)),
        ]))  # fmt: skip
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        query = address.query(as_end_a(item.recipe))
        st.page_link(COMPARE, label="Compare as A", query_params=query, icon=":material/timeline:")
        st.page_link(FINETUNE, label="Open in Fine-tune", query_params=query, icon=":material/tune:")


def _exported(item: Item) -> None:
    folder = engine().store.folder(item.key)
    if folder is None:
        show(text("The folder is not there any more. Take the model again in Compare.", "note"))
    else:
        show(mark("saved model"))
        saved(folder, item.title)
    _ways(item.question)


def as_end_a(recipe: Recipe) -> Experiment:
    """A question with this model as A, and as B its twin with other seeds."""
    a = as_written(recipe)
    added = {} if recipe.delta_seed is None else {"delta_seed": recipe.delta_seed + 1}
    return parse({
        "version": 1, "a": a, "b": a | {"head_seed": recipe.head_seed + 1, "data_seed": recipe.data_seed + 1, **added},
        "tasks": [{"task": recipe.task.task, "limit": 512, **{name: a["task"][name] for name in ("text", "label", "columns", "form") if a["task"].get(name)}}],
    })  # fmt: skip


def _notes(item: Item, written: Note, tags: list[str]) -> None:
    left, right = st.columns([2.3, 1], gap="large")
    keys = (f"note-{item.key}", f"tags-{item.key}")
    with left:
        st.text_area(
            "Note", written.text, max_chars=MOST_TEXT, height=96, key=keys[0], on_change=_write, args=(item.key, *keys),
            placeholder="What this result says, where it is used …",
        )  # fmt: skip
    with right:
        st.multiselect(
            "Tags", sorted({*tags, *written.tags}), list(written.tags), accept_new_options=True, max_selections=MOST_TAGS,
            key=keys[1], on_change=_write, args=(item.key, *keys), placeholder="Add a tag",
            help=f"Words to find it by: at most {MOST_TAGS}, each of up to {LONGEST_TAG} characters.",
        )  # fmt: skip
    if wrong := st.session_state.pop(WRONG, None):
        show(text(f"This is not kept. {wrong}", "error"))
    if profile().hosted:
        show(text("Notes and tags stay with you, for as long as this session lasts.", "quiet"))


def _write(key: str, of_text: str, of_tags: str) -> None:
    try:
        shelf.write(key, note(st.session_state.get(of_text, ""), st.session_state.get(of_tags, ())))
    except McoreError as error:
        st.session_state[WRONG] = str(error)


def _deletion(item: Item, every: list[Item]) -> None:
    """A button, and in its place once it is pressed what would happen and the two ways on."""
    if st.session_state.get(DOOMED) != item.key:
        st.button("Delete", icon=":material/delete:", key="delete", on_click=_ask, args=(item.key,))
        return
    job = engine().jobs.latest(item.key)
    busy = job is not None and job.state in ("queued", "running")
    show(text("It is being computed now: cancel it in Compare first." if busy else CONSEQUENCE[item.kind], "body"))
    with st.container(horizontal=True, gap="small"):
        if not busy:
            st.button("Delete it", key="delete-it", icon=":material/delete:", on_click=_delete, args=(item, every))
        st.button("Keep it", key="keep-it", on_click=_ask, args=(None,))


def _ask(key: str | None) -> None:
    st.session_state[DOOMED] = key


CONSEQUENCE = {
    "experiment": "Its computed points are deleted, but for those that another result uses. Trained models stay.",
    "model": "The trained weights are deleted. Results that were computed with them stay; further points train it anew.",
    "exported": "The saved folder is deleted. What was computed of its path stays, and the model can be saved again.",
    "import": "The imported file's result is deleted. The file that you chose stays where it is.",
}


def _delete(item: Item, every: list[Item]) -> None:
    try:
        freed = clearing.delete(item, every, engine().store, shelf.memory())
        shelf.say(f"Deleted: {size(freed)} freed.")
    except McoreError as error:
        shelf.say(str(error))
    shelf.open_or_close(item.key)
    chosen = [one.key for one in shelf.pair(every) if one.key != item.key]
    shelf.choose(chosen)
