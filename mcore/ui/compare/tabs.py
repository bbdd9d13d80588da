"""Under the stage: who forgets what, how far apart the weights are, every number, and how to get it all again."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from mcore.charts.overview import figure, knowledge_chart, layers_chart, to_png, to_svg
from mcore.knowledge.mastered import exchanged
from mcore.names import finite, percent, plain, share, t_text, unit
from mcore.paths.ways import between, ends, way
from mcore.ui import address, export
from mcore.ui.compare.fit import fit_tab
from mcore.ui.compare.label_order import order_table
from mcore.ui.compare.paths import paths_tab
from mcore.ui.compare.representations import representations_tab
from mcore.ui.compare.share import shared_link
from mcore.ui.compare.stage import training_curves
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import figures, rich, show, table, text
from mcore.ui.theme import dark

COLUMNS = {
    "loss": ("loss", 3),
    "accuracy": ("accuracy", None),
    "macro_f1": ("macro F1", 3),
    "confidence": ("confidence", None),
    "calibration_error": ("calibration error", 3),
    "agreement_a": ("agreement with A", None),
    "agreement_b": ("agreement with B", None),
    "ensemble_loss": ("ensemble's loss", 3),
    "ensemble_accuracy": ("ensemble's accuracy", None),
}

RIGHT = {"accuracy": "predicts its label right", "within 0.5": "comes within 0.5 of its score"}


def tabs(now: Standing, result: Mapping, number: int) -> None:
    """Only the open one is drawn."""
    names = ["Knowledge", "Paths", "Weights", "Representations", *(["Fit"] if now.resolved.route.fitting else []), *(["Training"] if result.get("training") else []), "Numbers", "Reproduce"]
    task = result["tasks"][number]
    drawn = {
        "Knowledge": lambda: _knowledge(now, task, number),
        "Paths": lambda: paths_tab(now, result),
        "Weights": lambda: _weights(result),
        "Representations": lambda: representations_tab(now, result, task),
        "Fit": lambda: fit_tab(now, result),
        "Training": lambda: _training(now, result),
        "Numbers": lambda: _numbers(result, task, number),
        "Reproduce": lambda: _reproduce(now, result, task),
    }
    for name, tab in zip(names, st.tabs(names, key="tab", bind="query-params"), strict=True):
        if tab.open:
            with tab:
                drawn[name]()


def _knowledge(now: Standing, task: Mapping, number: int) -> None:
    told = task.get("knowledge")
    if share(task) == "tokens predicted right":
        show(text("No row is right or wrong here: each is a text whose tokens are predicted one by one.", "body"))
        return
    if not told or len(task["t"]) < 2:
        show(
            text("Add the probe “knowledge” under More to see which rows are forgotten and learned on the way.", "body")
        )
        return
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        draw(knowledge_chart, task, dark(), key="knowledge-chart")
    with right:
        show(
            rich(
                f"A row is [mastered] at t if the model there {RIGHT[share(task)]}; "
                "between neighbouring points rows are newly [forgotten] or [learned]."
            )
        )
        if {0.0, 1.0} <= set(task["t"]):
            told = between(task)["knowledge"]
            counts, (first, last) = exchanged(told), ends(way(task))
            show(
                figures(
                    [
                        (f"mastered by {first}", f"{told['mastered'][0]:,} of {len(task['rows']):,}"),
                        (f"mastered by {last}", f"{told['mastered'][-1]:,}"),
                        (f"lost on the way to {last}", f"{counts['only_a']:,}"),
                        (f"only {last} masters", f"{counts['only_b']:,}"),
                        ("lost midway, regained", f"{counts['regained']:,}"),
                    ]
                )
            )
    _cartography(task)
    if share(task) != "accuracy":  # the Knowledge page is about labels
        return
    st.page_link(
        "pages/3_Knowledge.py", label="Every row at every t, with its text", icon=":material/grid_on:",
        query_params=address.query(now.question) | ({"task": str(number + 1)} if number else {}),
    )  # fmt: skip


def _cartography(task: Mapping) -> None:
    told = task["knowledge"].get("cartography")
    if not told:
        return
    groups = [("all followed rows", told["all"])]
    for kind in ("forgotten", "learned"):
        weighed = [(len(rows), one) for rows, one in zip(task["knowledge"][kind], told[kind], strict=True) if one]
        if total := sum(count for count, _ in weighed):
            groups.append(
                (f"newly {kind}", {key: sum(n * one[key] for n, one in weighed) / total for key in weighed[0][1]})
            )
    rows = [
        [name, *(plain(one[key], 2) for key in ("confidence", "variability", "correctness"))] for name, one in groups
    ]
    side = told["endpoint"].upper()
    show(text(f"What these rows were like while {side} was trained on them ({told['known']:,} rows followed)", "head"))
    show(table(["rows", "confidence", "variability", "correctness"], rows, "Data cartography"))


def _weights(result: Mapping) -> None:
    told = result["distance"]
    if not told:
        show(text("The distance between A and B is measured when the run ends.", "body"))
        return
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        show(text("Distance between A and B by layer", "head"))
        draw(layers_chart, told, dark(), key="layers-chart")
    with right:
        show(
            figures(
                [
                    ("L2 distance", plain(told["l2"], 2)),
                    ("cosine", plain(told["cosine"], 4)),
                    ("L2 / √n", f"{told['l2_per_sqrt_n']:.2g}" if finite(told["l2_per_sqrt_n"]) else "–"),
                    ("n, parameters on the path", f"{told['parameters']:,}"),
                ]
            )
        )


def _training(now: Standing, result: Mapping) -> None:
    training = result["training"]
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        training_curves({side.upper(): told["curve"] for side, told in training.items()}, now.question)
    with right:
        for side, told in training.items():
            reached = percent(told["accuracy"]) if finite(told["accuracy"]) else "–"
            show(
                figures(
                    [
                        (f"{side.upper()}: right on its validation rows", reached),
                        ("validation loss (nats)", plain(told["loss"], 2)),
                    ]
                )
            )


def _numbers(result: Mapping, task: Mapping, number: int) -> None:
    there = {key: told for key, told in COLUMNS.items() if task.get(key)}
    digits = 2 if len(task["t"]) <= 101 else 3
    body = [
        [
            plain(t, digits),
            *(percent(task[key][i]) if form is None else plain(task[key][i], form) for key, (_, form) in there.items()),
        ]
        for i, t in enumerate(task["t"])
    ]
    names = [share(task) if key == "accuracy" else name for key, (name, _) in there.items()]
    show(table(["t", *names], body, "Every probe at every t", left=0))
    show(_barriers(task))
    name = f"path-{result['fingerprint'][:8]}" + (f"-{number + 1}" if len(result["tasks"]) > 1 else "")
    files = (
        ("CSV", "csv", "text/csv", lambda: export.csv_of(task)),
        ("JSON", "json", "application/json", lambda: export.json_of(result)),
        ("Figure, SVG", "svg", "image/svg+xml", lambda: to_svg(figure(task))),
        ("Figure, PNG", "png", "image/png", lambda: to_png(figure(task), 4)),
    )
    with st.container(horizontal=True, gap="small"):
        for label, end, mime, made in files:
            st.download_button(
                label, made, f"{name}.{end}", mime, key=f"download-{end}", on_click="ignore", icon=":material/download:"
            )


def _barriers(task: Mapping) -> str:
    names = {
        "loss_chord": "loss, above the chord",
        "loss_mean": "loss, above the ends' mean",
        "accuracy_chord": f"{share(task)}, below the chord",
    }
    if not task.get("barrier"):
        return ""
    body = []
    for key, name in names.items():
        told = task["barrier"][key]
        form = (
            (lambda v: f"{plain(100 * v, 1)} points") if key == "accuracy_chord" else (lambda v: f"{plain(v, 3)} {unit(task)}")
        )
        body.append([name, form(told["value"]), f"{form(told['low'])} to {form(told['high'])}", t_text(told["t"])])
    return text("Barriers", "head") + table(["barrier", "value", "95 % interval", "at t"], body, "Barriers")


def _reproduce(now: Standing, result: Mapping, task: Mapping) -> None:
    question = now.question
    left, right = st.columns(2, gap="large")
    with left:
        show(text("Link to this question and its answer", "head"))
        question = shared_link(question, now, "pin")
        show(text("Command line, the question saved as question.json", "head"))
        st.code(export.COMMAND, language="bash", wrap_lines=True)
        show(text("Python", "head"))
        st.code(export.snippet(question), language="python", wrap_lines=True)
    with right:
        show(text("The question", "head"))
        st.code(export.question_json(question), language="json", wrap_lines=True)
        show(text("What it stood for", "head"))
        show(table(["what", "identity"], export.identities(result), "Identities and versions", left=2))
    for side, told in (task.get("label_order") or {}).items():
        if told and told["from"] != "names":
            show(text(f"Labels of {side.upper()}", "head"), order_table(now, side, told))


def notice_of_order(task: Mapping) -> str:
    """One sentence where the order of the labels deserves a look, else nothing."""
    unsure = [side.upper() for side, told in (task.get("label_order") or {}).items() if told and told["ambiguous"]]
    whose = " and ".join(f"{side}'s" for side in unsure)
    return (
        f"The order of {whose} labels is uncertain: see Labels below, and name them there."
        if unsure
        else ""
    )
