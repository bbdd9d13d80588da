"""The home page: what mode connectivity is, and a first experiment that is carried out in front of the visitor."""

from __future__ import annotations

import secrets

import streamlit as st

from mcore import presets
from mcore.names import endpoint_name
from mcore.question import Experiment, Recipe, as_written, parse
from mcore.ui import address, engine
from mcore.ui.compare.answer import answer, shipped
from mcore.ui.engine import Standing
from mcore.ui.how import how_it_works
from mcore.ui.html import rich, show, text
from mcore.ui.library.keeping import keeping
from mcore.ui.limits import at_home, limits, running_button

COMPARE = "pages/1_Compare.py"
OF_A_QUESTION = (COMPARE, "pages/2_Fine-tune.py", "pages/3_Knowledge.py")  # pages that open with the question that is shown
IN_A_ROW = 3
SAID = (
    "Fine-tune a language model twice, and you get two models, A and B: two places in the space of all weights. "
    "Walk straight from one to the other, and at every step, t, stands a whole model that nobody trained: "
    "a [weight average] of the two. "
    "If the loss stays as low on the way as at the [endpoints], A and B are linearly mode connected; "
    "if it rises, there is a [barrier] between them."
)


def home() -> None:
    """Draw the page."""
    st.session_state[address.PAGE] = "home"
    question = presets.first_question()
    show("<h1>Are two fine-tuned models connected?</h1>", rich(SAID, "lead"))
    now = engine.standing(question)
    show("<h2>The first experiment</h2>", text(_told(question), "body"))
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        _buttons(now)
        st.page_link(
            COMPARE,
            label="Open it in Compare, to change anything",
            query_params=address.query(question),
            icon=":material/tune:",
        )
    limits()
    answer(now, below=shipped, details=False)
    how_it_works()
    _way_on(question)
    keeping()


def _way_on(question: Experiment) -> None:
    """Each other page and what it is for."""
    ways = (
        (COMPARE, "Compare two models", ":material/tune:",
         "Choose both ends: another [seed] of the [head], another [pre-training step], another task"
         f"{at_home(', a folder of your own')}."),
        ("pages/2_Fine-tune.py", "Fine-tune two models", ":material/model_training:",
         "Two recipes side by side that differ in one thing; stop one early, continue the other."),
        ("pages/3_Knowledge.py", "See what is forgotten", ":material/grid_on:",
         "Every row at every t: what is [mastered], [forgotten] and [learned] on the way, down to the text."),
        ("pages/4_Pre-training.py", "Go back in pre-training", ":material/history:",
         "The [barrier] between two [seed]s at each [pre-training step]; and how well two tasks are kept between a model of each."),
        ("pages/5_Findings.py", "Test the paper's findings", ":material/science:",
         "Seven claims about [path]s between minima, each with an experiment, its effect over [seed]s, and whether it shows here."),
        ("pages/6_Library.py", "Find it again", ":material/folder_open:",
         "All that was computed: notes, two results on one chart, files to share."),
    )  # fmt: skip
    show("<h2>The way on</h2>")
    for row in (ways[i : i + IN_A_ROW] for i in range(0, len(ways), IN_A_ROW)):
        for column, (file, label, icon, told) in zip(st.columns(IN_A_ROW, gap="medium"), row, strict=False):
            with column:
                st.page_link(file, label=f"**{label}**", icon=icon, query_params=address.query(question) if file in OF_A_QUESTION else None)
                show(rich(told, "quiet"))


def _told(question: Experiment) -> str:
    a, b, task = question.a, question.b, question.tasks[0]
    if not isinstance(a, Recipe) or not isinstance(b, Recipe):
        return f"{endpoint_name(a)} and {endpoint_name(b)}."
    return (
        f"A small BERT that was pre-trained on Jane Austen's novels and on e-mails is fine-tuned twice on the task "
        f"“{task.task.removeprefix('builtin:')}”, "
        f"{a.steps} steps each, with different seeds; then {len(question.ts())} models on the straight line between "
        f"the two are evaluated on "
        f"{task.limit:,} held-out rows. It runs here, on this machine, while you watch."
    )


def _buttons(now: Standing) -> None:
    if now.active:
        running_button(now.job, run=lambda: engine.submit(now), cancel=lambda: engine.cancel(now.job))
    elif now.complete:
        st.button(
            "Train two new ones, with other seeds",
            icon=":material/casino:",
            key="again",
            on_click=_again,
            args=(now.question,),
        )
        if target := st.session_state.pop("mc.go", None):
            st.switch_page(COMPARE, query_params=target)
    else:
        st.button(
            "Run it now",
            type="primary",
            icon=":material/play_arrow:",
            key="run",
            on_click=engine.submit,
            args=(now,),
            shortcut="Enter",
        )


def _again(question: Experiment) -> None:
    """The same question with seeds that nobody has chosen, in the queue at once; Compare shows it."""
    written = as_written(question)
    seeds = {"a": 1000 + secrets.randbelow(4000), "b": 5000 + secrets.randbelow(5000)}
    for side, seed in seeds.items():
        written[side] |= {"head_seed": seed, "data_seed": seed}
    changed = parse(written)
    engine.submit(engine.standing(changed))
    st.session_state["mc.go"] = address.query(changed)
