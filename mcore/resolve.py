"""From names to things: an experiment whose every name is resolved, checked before anything expensive starts.

Addresses become digests of files, tasks become rows, recipes become the fingerprint that their
model will have. The identity of the whole is made of contents, not of names: the same question
about a copied folder is the same question. No torch here, so that a page can resolve as one types.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

from mcore import question
from mcore.errors import NoHead, QuestionError
from mcore.evaluation import fitted
from mcore.hub import repositories as hub
from mcore.layers import representation
from mcore.layers.representation import Representation
from mcore.models.checkpoints import Checkpoint
from mcore.models.joinable import check_joinable
from mcore.models.methods import check_method, filled, shared_structure
from mcore.paths.route import route
from mcore.question import FITTED, Experiment, Recipe, Task, canonical, fingerprint
from mcore.resolved import EVALUATION_VERSION, Endpoint, Resolved, ResolvedRecipe, ResolvedTask
from mcore.sources import look
from mcore.tasks import reading
from mcore.tasks import rows as tasks
from mcore.tasks.labels import by_names, may_fit
from mcore.tasks.reading import Kind
from mcore.tasks.rowparts import alike
from mcore.tasks.rows import Rows

TRAINING_VERSION = 1  # of what a recipe means: a change in finetune.py that changes the weights raises it
LONGEST = 128  # tokens, where neither the task nor the model says less
VALIDATION_ROWS = 512  # that a recipe is watched on


def resolve(experiment: Experiment) -> Resolved:
    """Raises ``QuestionError`` where the question cannot be answered."""
    a, b = _endpoint("a", experiment), _endpoint("b", experiment)
    check_joinable(a.looked_at, b.looked_at)
    kind = reading.kind_of(a.heads, b.heads)
    path, structure = shared_structure(a.delta, b.delta, experiment.path)
    asked = list(experiment.tasks)
    if kind in reading.LANGUAGE:
        asked = [reading.with_template(_as_trained(task, f"tasks.{i}", experiment, (a, b)), kind) for i, task in enumerate(asked)]
    resolved_tasks = [_read(_task(task, f"tasks.{i}", "evaluate", a.looked_at), f"tasks.{i}", kind, a, b) for i, task in enumerate(asked)]
    heads = [_head(task, f"tasks.{i}", a, b) for i, task in enumerate(resolved_tasks)]
    first = resolved_tasks[0]
    if experiment.path.kind in FITTED:
        _check_heads(resolved_tasks, heads)
    way = route(
        path, (a.looked_at, b.looked_at), (a.fingerprint, b.fingerprint), asked[0], [task.rows for task in resolved_tasks],
        first.max_length, first.read, _outputs(heads, a, b, first), frozenset(heads), kind,
    )  # fmt: skip
    states = _representation(experiment, first, a, kind)
    written = experiment.model_dump(mode="json")
    written |= {"a": _written(a), "b": _written(b), "tasks": [t.task.model_dump(mode="json") for t in resolved_tasks]}
    written |= {"path": way.spec.model_dump(mode="json"), **({"representation": states.spec.model_dump(mode="json")} if states else {})}
    return Resolved(
        experiment=Experiment.model_validate(written),
        a=a,
        b=b,
        tasks=resolved_tasks,
        heads=heads,
        fingerprint=fingerprint({
            "a": a.fingerprint, "b": b.fingerprint, "tasks": [t.identity for t in resolved_tasks],
            "path": way.fingerprint or {"kind": "linear", "align": "none"}, "t": experiment.ts(), "probes": sorted(set(experiment.probes)),
            "precision": experiment.precision, "labels": written["labels"], "version": EVALUATION_VERSION,
            **({"representation": states.identity} if states else {}),
        }),
        notices=_aged(experiment) + _notices(a, b, resolved_tasks) + _seen(a, b, resolved_tasks, states),
        kind=kind,
        route=way,
        structure=structure,
        representation=states,
    )  # fmt: skip


def resolve_recipe(recipe: Recipe, field: str = "recipe") -> ResolvedRecipe:
    """Raises ``QuestionError`` below ``field``."""
    base = look(recipe.base, f"{field}.base")
    if base.delta:
        raise QuestionError(f"{field}.base", f"it is a base with {base.delta} beside it, and a recipe begins with a whole model", "name the base itself")
    check_method(recipe, base.config, field)
    recipe = filled(recipe)
    kind = reading.tuned_kind(recipe.task, reading.language_heads(base.config), base.labels is not None, f"{field}.task")
    asked = reading.with_template(recipe.task, kind) if kind != "classifier" else recipe.task
    training = _task(asked, f"{field}.task", "train", base)
    if training.rows.kind != "classes":
        raise QuestionError(f"{field}.task.label", "a recipe trains a classifier, and these rows have no classes", "name a column with a few classes")
    if kind != "classifier":
        reading.check_answers(training.task, training.rows, kind, f"{field}.task")
    rows = tasks.part(training.rows, recipe.rows, f"{field}.rows")
    absent = sorted(set(range(len(rows.names))) - set(rows.labels.tolist()))
    if absent and not isinstance(rows.answers, list):  # where each row has answers of its own, a label is but a place among them
        raise QuestionError(f"{field}.rows", f"no row to train on has the label {rows.names[absent[0]]!r}", "train on more rows")
    training = ResolvedTask(training.task, rows, training.max_length, "head" if kind == "classifier" else "answers")
    validation = _validation(training, f"{field}.task")
    recipe = recipe.model_copy(update={"base": base.address, "task": training.task})
    return _resolved_recipe(ResolvedRecipe(recipe, base, training, validation, "", "", None, kind))


def watched(recipe: ResolvedRecipe) -> dict[str, int]:
    """How many texts the model reads at each look: of the "validation" rows and of those that are "followed", every answer to each."""
    rows = recipe.training.rows
    each = {"validation": recipe.validation.computed if recipe.validation else 0}
    most = rows.answered if recipe.kind != "classifier" else len(rows)
    return each | {"followed": math.ceil(most * min(1.0, recipe.recipe.cartography / len(rows)))}


def _resolved_recipe(asked: ResolvedRecipe) -> ResolvedRecipe:
    """The recipe with its fingerprints, and what it goes on from."""
    recipe = asked.recipe

    def identity(recipe: Recipe) -> str:
        recipe = recipe.model_copy(update={"rows": alike(recipe.rows)})
        unused = {"head_seed"} if asked.kind != "classifier" else set()  # nothing is new in a language model
        return fingerprint({
            "recipe": recipe.model_dump(mode="json", exclude={"base", "task"} | unused), "base": asked.base.digest, "training": asked.training.identity,
            "validation": asked.validation and asked.validation.identity, "version": TRAINING_VERSION,
        })  # fmt: skip

    if recipe.stop_at == recipe.steps:
        recipe = recipe.model_copy(update={"stop_at": None})
    first = None
    if recipe.continued:
        before = recipe.model_copy(update={"continued": recipe.continued[:-1] or None})
        first = _resolved_recipe(replace(asked, recipe=before))
    schedule = recipe if recipe.continued else recipe.model_copy(update={"stop_at": None})
    return replace(asked, recipe=recipe, fingerprint=identity(recipe), schedule=identity(schedule), first=first)


def _endpoint(side: str, experiment: Experiment) -> Endpoint:
    question = getattr(experiment, side)
    source = resolve_recipe(question, side) if isinstance(question, Recipe) else look(question, side)
    labels = source.labels
    told = getattr(experiment.labels, side)
    if told is not None:
        if labels is None:
            raise QuestionError(f"labels.{side}", "this endpoint has no classification head", "leave its labels out")
        if len(told) != len(labels) or len(set(told)) != len(told):
            raise QuestionError(f"labels.{side}", f"{len(told)} names for {len(labels)} outputs", "name each output once")
        labels = tuple(told)
    return Endpoint(side, source, labels)


def _task(task: Task, field: str, role: str, model: Checkpoint) -> ResolvedTask:
    named_task, rows = tasks.open_task(task, field, role)
    longest = model.max_length
    if task.max_length and longest and task.max_length > longest:
        raise QuestionError(f"{field}.max_length", f"the model reads at most {longest} tokens", f"give at most {longest}")
    used = task.max_length or min(LONGEST, longest or LONGEST)
    return ResolvedTask(named_task.model_copy(update={"max_length": used}), rows, used)


def _validation(training: ResolvedTask, field: str) -> ResolvedTask | None:
    """Rows to watch a recipe on: the split "validation" (or what stands for it) where training is on "train", else none."""
    split = tasks.watched(training.task, field)
    if split is None:
        return None  # data without such a split are trained on unwatched
    held_out = training.task.model_copy(update={"split": split, "limit": VALIDATION_ROWS, "sample_seed": 0})
    named_task, rows = tasks.open_task(held_out, field, "watch")
    return ResolvedTask(named_task, rows, training.max_length, training.read)


def _as_trained(task: Task, field: str, experiment: Experiment, ends: tuple[Endpoint, Endpoint]) -> Task:
    """The task, asked as the language models that were trained on its data are, where the question does not say how.

    Raises ``QuestionError`` where they were trained with different prompts or answers.
    """
    told, data = ("template", "answers", "normalised"), ("columns", "form", "text", "label")
    if task.read not in (None, "answers") or any(getattr(task, name) is not None for name in told):
        return task

    def same(asked: Task) -> bool:
        return asked.task == task.task and all(getattr(task, name) in (None, getattr(asked, name)) for name in data)

    trained = [
        end.recipe.training.task for end, asked in zip(ends, (experiment.a, experiment.b), strict=True)
        if end.recipe is not None and end.recipe.kind != "classifier" and same(asked.task)
    ]  # fmt: skip
    ways = {canonical({name: getattr(one, name) for name in (*told, *data)}) for one in trained}
    if len(ways) > 1:
        raise QuestionError(f"{field}.template", "A and B were trained with different prompts or answers", "say how they are asked here")
    return task.model_copy(update={"read": "answers", **json.loads(ways.pop())}) if ways else task


def _read(task: ResolvedTask, field: str, kind: Kind, a: Endpoint, b: Endpoint) -> ResolvedTask:
    """The task with how it is read, which is written into the question unless it is by a head."""
    read = reading.read_of(task.task, task.rows, kind, (a.heads, b.heads), field)
    named_task = task.task if read == "head" else task.task.model_copy(update={"read": read})
    fitting = fitted.fitting_rows(named_task, task.rows, field) if read == "fitted" else None
    return replace(task, task=named_task, read=read, fitting=fitting)


def _representation(experiment: Experiment, first: ResolvedTask, a: Endpoint, kind: Kind) -> Representation | None:
    """What the probes of the layers look at: of the first task, or of one that is named for them. Any labelled task will do."""
    probes = representation.asked_for(experiment.probes)
    if not probes:
        return None
    spec, at = experiment.representation or question.Representation(), "representation.task"
    representation.check_layers(spec, a.looked_at.config, kind)
    wanted = spec.task
    if wanted is None:  # the first task's rows, which no model answers here
        if isinstance(first.rows.answers, list):
            raise QuestionError(at, "it is missing, and each row of the first task has answers of its own in the place of a label", "name a task with labels")
        wanted = first.task.model_copy(update=dict.fromkeys(("read", "answers", "normalised")))
    elif unused := next((name for name in ("read", "answers", "normalised") if getattr(wanted, name) is not None), None):
        raise QuestionError(f"{at}.{unused}", "the layers are looked at, and the model is not asked for an answer", "leave it out")
    task = _task(wanted, at, "evaluate", a.looked_at)
    fitting = None
    if "readout" in probes:
        if task.rows.kind == "texts":
            raise QuestionError(at, "a read-out needs labels, and these rows have none", "name a labelled task for it, or leave the probe readout out")
        fitting = fitted.fitting_rows(task.task, task.rows, at, "split")
    rows = representation.sampled(task.rows, task.task.sample_seed)
    return Representation(spec.model_copy(update={"task": task.task}), probes, rows, task.max_length, fitting)


def _fits(end: Endpoint, rows: Rows) -> bool:
    """Whether the endpoint's head can be meant for these rows; a score is read from a head with one output."""
    if rows.kind == "classes":
        return may_fit(end.labels, rows.names)
    return rows.kind == "scores" and end.labels is not None and len(end.labels) == 1


def _head(task: ResolvedTask, field: str, a: Endpoint, b: Endpoint) -> str:
    """Which endpoints have an output layer for this task, where it is read with one."""
    if task.read != "head":
        return "fitted" if task.read == "fitted" else "both"
    sides = [end.side for end in (a, b) if _fits(end, task.rows)]
    if not sides:
        told = "; ".join(f"{end.side.upper()} has {_labels_told(end.labels)}" for end in (a, b))
        wrong = NoHead if task.rows.labels is not None else QuestionError
        raise wrong(
            f"{field}.task", f"neither endpoint has a head for {_wanted_told(task.rows)} ({told})",
            "tune one of them on this task, choose another task, name the outputs in labels, or read a fitted head" if wrong is NoHead
            else "choose data with labels, or two language models, which predict the texts themselves",
        )  # fmt: skip
    if len(sides) == 2 and len(a.labels) != len(b.labels):
        raise QuestionError("b", f"its head has {len(b.labels)} outputs and that of A {len(a.labels)}", "choose two checkpoints with as many labels")
    return "both" if len(sides) == 2 else sides[0]


def _check_heads(tasks: list[ResolvedTask], heads: list[str]) -> None:
    """A fitted path has a head of its own only where the first task, on which it is fitted, is read with those of both ends."""
    for i, (task, head) in enumerate(zip(tasks, heads, strict=True)):
        if task.read == "head" and head == "both" and heads[0] != "both":
            wrong = f"it is read with the heads of A and B, and the first task, on which the path is fitted, with that of {heads[0].upper()} alone"
            raise QuestionError(f"tasks.{i}", wrong, "put it first, or ask of it along a path of its own")


def _outputs(heads: list[str], a: Endpoint, b: Endpoint, first: ResolvedTask) -> dict:
    """What says which output means which label of the first task: names, or its rows."""
    if first.read != "head":
        return {}
    sides = [end for end in (a, b) if heads[0] in ("both", end.side)]
    named = all(by_names(end.labels, first.rows.names) for end in sides)
    return {"head": heads[0], "labels": [end.labels for end in sides], "rows": None if named else first.rows.digest}


def _wanted_told(rows: Rows) -> str:
    return {"classes": f"the labels {', '.join(rows.names[:6])}", "scores": "scores, which has one output", "texts": "rows without labels"}[rows.kind]


def _labels_told(labels: tuple[str, ...] | None) -> str:
    return f"the outputs {', '.join(labels[:6])}" if labels else "no classification head"


def _written(end: Endpoint) -> str | dict:
    return end.recipe.recipe.model_dump(mode="json") if end.recipe else end.source.address


def _aged(experiment: Experiment) -> list[str]:
    """What the Hub did not answer for, so that what is known of it from earlier is used."""
    ends = [experiment.a, experiment.b]
    models = [end.base if isinstance(end, Recipe) else end for end in ends]
    data = [end.task.task for end in ends if isinstance(end, Recipe)] + [task.task for task in experiment.tasks]
    models += [experiment.path.base] if experiment.path.base else []
    data += [experiment.path.task.task] if experiment.path.task else []
    data += [experiment.representation.task.task] if experiment.representation and experiment.representation.task else []
    told = [hub.aged(address, "model") for address in models] + [hub.aged(address, "dataset") for address in data]
    return list(dict.fromkeys(filter(None, told)))


def _notices(a: Endpoint, b: Endpoint, resolved_tasks: list[ResolvedTask]) -> list[str]:
    notices = list(dict.fromkeys(notice for end in (a, b) for notice in end.looked_at.notices))
    for end in (a, b):
        if not end.recipe:
            continue
        trained = _keys(end.recipe.training)
        for task in resolved_tasks:
            if shared := len(trained & _keys(task)):
                notices.append(f"{end.side.upper()} was trained on {shared} of the {len(task.rows)} rows that are evaluated.")
    for i, task in enumerate(resolved_tasks, 1):
        if task.fitting is not None:
            which = f"Task {i} is" if len(resolved_tasks) > 1 else "It is"
            notices.append(f"{which} read with a fitted head: a read-out fitted at each t, on {len(task.fitting):,} training rows that are not evaluated.")
    return notices


def _seen(a: Endpoint, b: Endpoint, resolved_tasks: list[ResolvedTask], states: Representation | None) -> list[str]:
    """Rows that the layers are read on and that an end was trained on, where a task of their own was named for them."""
    rows = set(states.rows.texts) if states else set()
    if not rows - set().union(*map(_keys, resolved_tasks)):
        return []
    shared = {end.side: len(_keys(end.recipe.training) & rows) for end in (a, b) if end.recipe}
    return [f"{side.upper()} was trained on {count} of the {len(rows)} rows that its layers are read on." for side, count in shared.items() if count]


def _keys(task: ResolvedTask) -> set:
    return set(task.rows.texts)
