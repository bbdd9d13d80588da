"""The Fine-tune page: two recipes side by side, how their training goes, and what came of it."""

from __future__ import annotations

from html import escape

import streamlit as st

from mcore import presets
from mcore.errors import QuestionError
from mcore.names import endpoint_name
from mcore.question import Experiment, Recipe, as_written
from mcore.tuning import pairs
from mcore.ui import address, draft, engine
from mcore.ui.compare.endpoints import field_of
from mcore.ui.differs import differs
from mcore.ui.engine import Standing
from mcore.ui.finetune.trained import watched
from mcore.ui.finetune.training import KEEP, RUN, Trainings, keep_as_it_is, submit, trainings
from mcore.ui.forms import hub as hub_form
from mcore.ui.forms import token
from mcore.ui.forms.recipe import become_recipe, recipe_form
from mcore.ui.html import rich, show, text

AS_TRAINED = ("text", "label", "columns", "form")  # of a task, for what is evaluated: prompts follow from how it was trained
SAID = (
    "Two recipes start from a pre-trained model and end in two minima, A and B. "
    "Change one thing between them, and what you see on the [path] between A and B comes from that."
)


def finetune() -> None:
    """Draw the page for the question in the address."""
    link_wrong = address.read("fine-tune", presets.first_question())
    show("<h1>Fine-tune two models, side by side</h1>", rich(SAID, "quiet"))
    if link_wrong:
        show(text(link_wrong, "error"))
    _questions()
    question, now, wrong = _asked()
    if question and not link_wrong:
        address.write(question)
    standing = _acted(now)
    if now:
        hub_form.remember(question)
    _recipes(question, standing.now if standing else now, wrong)
    if wrong and not field_of(wrong):
        show(text(str(wrong), "error"))
        token.offer(wrong, "wrong")
    if standing:
        watched(standing)


def _questions() -> None:
    """The pairs that pose a question; the one that the recipes pose now is marked."""
    known = {pair.name: pair for pair in pairs.pairs()}
    a, b = draft.get(("a",)), draft.get(("b",))
    draft.set_value("pair", next((name for name, pair in known.items() if pairs.posed(pair, a, b)), None))
    st.pills(
        "Begin with a question", list(known), key="pair", on_change=_pose,
        help="Each pair of recipes differs in one thing. All the rest stays as it is in A.",
    )  # fmt: skip
    asked = known.get(st.session_state["pair"])
    show(text(asked.asks if asked else "A question of your own: change what you like on either side.", "quiet"))


def _pose() -> None:
    pair = next((one for one in pairs.pairs() if one.name == st.session_state["pair"]), None)
    if pair is not None:
        like = next((end for side in "ab" if isinstance(end := draft.get((side,)), dict)), None)
        a, b = pairs.pose(pair, like or as_written(presets.first_question())["a"])
        draft.put(("a",), a)
        draft.put(("b",), b)


def _asked() -> tuple[Experiment | None, Standing | None, QuestionError | None]:
    """The question, how far its answer is, and what is wrong with it; evaluated is what was trained on, if nothing else can be."""
    question = None
    for _ in range(2):
        try:
            question = draft.experiment()
            return question, engine.standing(question), None
        except QuestionError as wrong:
            if not (question and wrong.field.startswith("tasks")) or not _evaluate_what_is_trained(question):
                return question, None, wrong
    return question, None, None


def _evaluate_what_is_trained(question: Experiment) -> bool:
    """Whether the tasks had to be changed for that."""
    trained = {end.task.task: end.task for end in (question.a, question.b) if isinstance(end, Recipe)}
    asked = [{"task": name} | {field: value for field in AS_TRAINED if (value := getattr(task, field)) is not None} for name, task in trained.items()]
    before = [{name: value for name, value in as_written(task).items() if name in ("task", *AS_TRAINED)} for task in question.tasks]
    if not asked or asked == before:
        return False
    like = {name: value for name, value in draft.get(("tasks", 0)).items() if name in ("limit", "sample_seed")}
    draft.put(("tasks",), [task | like for task in asked])
    return True


def _acted(now: Standing | None) -> Trainings | None:
    """Where the trainings stand, after what a click has asked for."""
    if now is None:
        return None
    standing = trainings(now)
    if KEEP in st.session_state and not standing.active:
        keep_as_it_is(standing)
        st.rerun()
    if st.session_state.pop(RUN, False):
        submit(now)
        standing = trainings(engine.standing(now.question))
    return standing


def _recipes(question: Experiment | None, now: Standing | None, wrong: QuestionError | None) -> None:
    a, b = draft.get(("a",)), draft.get(("b",))
    if isinstance(a, dict) and isinstance(b, dict):
        untold = '<div class="mc-differs"><b></b><span>what differs is told once both are right</span></div>'
        show(differs(question, now, "differs") if question else untold, _marked(a, b))
    for side, column in zip("ab", st.columns(2, gap="medium"), strict=True):
        with column, st.container(key=f"card-{side}"):
            _recipe(side, question)
            if field_of(wrong) == side:
                show(text(str(wrong), "error"))
                token.offer(wrong, f"wrong-{side}")


def _recipe(side: str, question: Experiment | None) -> None:
    end = draft.get((side,))
    name = escape(endpoint_name(getattr(question, side))) if question else "&nbsp;"
    show(f'<p class="mc-head"><span class="mc-end mc-{side}">Recipe {side.upper()}</span></p><p class="mc-name">{name}</p>')
    if isinstance(end, dict):
        recipe_form(side)
        return
    show(text("This end is a model as it is: there is nothing to train.", "body"))
    st.button("Fine-tune it instead", key=f"become-{side}", on_click=become_recipe, args=(side,), icon=":material/model_training:")


def _marked(a: dict, b: dict) -> str:
    """A style sheet that marks the inputs whose values differ."""
    def flat(recipe: dict) -> dict[str, object]:
        task = {f"task-{name}": value for name, value in recipe.get("task", {}).items()}
        standard = {name: field.default for name, field in Recipe.model_fields.items() if name not in ("base", "task")}
        return standard | {name: value for name, value in recipe.items() if name != "task"} | task

    left, right = flat(a), flat(b)
    differ = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    rules = "".join(
        f".st-key-in-{side}-{name} {{ box-shadow: -3px 0 0 var(--mc-{side}-edge); padding-left: .5rem; }}"
        for side in "ab" for name in differ
    )  # fmt: skip
    return f"<style>{rules}</style>"
