"""What the store holds, as a person thinks of it: results, trained models, files that somebody sent.

Here is what there is and what each result consists of; ``clearing`` deletes it.
Names come from the questions themselves; what a row tells (barrier, accuracies, the keys of its parts)
takes a twentieth of a second to read off and is remembered in ``Notes``. Nothing that is only listed
counts as used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from mcore import plan
from mcore.errors import McoreError, QuestionError
from mcore.layers import represented
from mcore.library import resultfile
from mcore.library.notes import Notes
from mcore.library.resultfile import ResultFile
from mcore.names import endpoint_name, task_name
from mcore.paths.distances import distance_key
from mcore.paths.lengths import length_key
from mcore.paths.ways import endpoints, short, way
from mcore.question import Experiment, PathSpec, Recipe, as_written, canonical, fingerprint, parse, parse_recipe
from mcore.resolve import resolve
from mcore.resolved import Resolved
from mcore.result import collect
from mcore.store import Entry, Store
from mcore.tuning.differing import differences

Kind = Literal["experiment", "model", "exported", "import", "shipped"]
KINDS: tuple[Kind, ...] = ("experiment", "model", "exported", "import")  # those that the store holds
SKETCHED = 33  # points of a row's small curve
TRIED_AGAIN = 60.0  # seconds


@dataclass(frozen=True)
class Item:
    """One row of the library; times in seconds since 1970. ``wrong`` says why it cannot be opened."""

    key: str
    kind: Kind
    title: str
    bytes: int  # of the entry itself; a result's parts are in ``Facts``
    created: float
    question: Experiment | None = None
    recipe: Recipe | None = None
    name: str = ""  # of the file that it came in
    told: Mapping | None = None  # what is known of it without looking: an imported file's summary
    wrong: str = ""

    @property
    def words(self) -> str:
        """What a search looks through."""
        tasks = [task_name(task) for task in self.question.tasks] if self.question else []
        return " ".join([self.title, self.name, *tasks]).lower()


@dataclass(frozen=True)
class Facts:
    """What a result consists of and says: the keys of its responses, of what it has besides, of its trained ends."""

    responses: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    points: int = 0  # (t, task) pairs that it asks for
    stored: int = 0  # of them in the store when this was read off
    summary: Mapping | None = None
    wrong: str = ""
    read: float = 0.0  # when, in seconds since 1970

    @property
    def parts(self) -> tuple[str, ...]:
        return (*self.responses, *self.beside)


def items(store: Store) -> list[Item]:
    """All there is, newest first."""
    entries = {kind: store.entries(kind) for kind in KINDS}
    questions = store.get_many([entry.key for entry in entries["experiment"]], touch=False)
    found = [_experiment(entry, questions.get(entry.key)) for entry in entries["experiment"]]
    found += [_model(entry) for entry in entries["model"]]
    found += [_exported(entry) for entry in entries["exported"]]
    found += [_import(entry) for entry in entries["import"]]
    return sorted(found, key=lambda item: (-item.created, item.key))


def shipped(told: Mapping) -> Item:
    """The result that ships with the app, as a row."""
    question = parse(told["experiment"])
    return Item(told["fingerprint"], "shipped", title(question), 0, 0.0, question, told=summary(told))


def matching(
    every: Sequence[Item], kinds: Iterable[Kind] | None = None, words: str = "", tags: Iterable[str] = (), notes: Mapping | None = None
) -> list[Item]:
    """Those of some kinds that have every word (in name, file, task, note; or the key begins so) and every tag."""
    asked, wanted, notes, kinds = words.lower().split(), set(tags), notes or {}, kinds and set(kinds)
    return [
        item
        for item in every
        if (kinds is None or item.kind in kinds)
        and wanted <= set(notes[item.key].tags if item.key in notes else ())
        and all(
            word in f"{item.words} {notes[item.key].text.lower() if item.key in notes else ''}"
            or (len(word) >= 8 and item.key.startswith(word))
            for word in asked
        )
    ]


def title(question: Experiment) -> str:
    """``austen@7000 tuned on speech, 150 steps · head seed 1 → 2``."""
    a, b = question.a, question.b
    if isinstance(a, Recipe) and isinstance(b, Recipe):
        named = f"{endpoint_name(a)} · {differences(a, b).partition(';')[0]}"
    else:
        named = f"{endpoint_name(a)} → {endpoint_name(b)} · on {task_name(question.tasks[0])}"
    way = "" if question.path == PathSpec() else f" · {short(question.path)}"
    return named + way


def facts(item: Item, store: Store) -> Facts:
    """Read a result's parts and numbers; of an imported file what was told when it came; a model's accuracy."""
    if item.kind == "model":
        curve = training(item.key, store)
        return Facts(summary=_trained(curve) if curve else None, wrong=item.wrong)
    if item.kind != "experiment" or item.question is None:
        return Facts(summary=item.told, wrong=item.wrong)
    try:
        resolved = resolve(item.question)
    except QuestionError as wrong:
        return Facts(wrong=f"It cannot be opened as things are. {wrong}", read=time.time())
    except McoreError as wrong:
        return Facts(wrong=str(wrong), read=time.time())
    if resolved.fingerprint != item.key:
        changed = "A file that its question names has changed since: what was computed answers a question that is gone."
        return Facts(wrong=changed, read=time.time())
    responses = tuple(_responses(resolved, store))
    there = store.has(responses)
    told = collect(resolved, store) if there else None
    return Facts(
        responses=responses,
        beside=_beside(resolved),
        models=tuple(end.fingerprint for end in (resolved.a, resolved.b) if end.recipe),
        points=len(plan.wanted(resolved)) * len(resolved.tasks),
        stored=sum(key in there for key in responses),
        summary=summary(told) if told else None,
        read=time.time(),
    )


def training(model: str, store: Store) -> list[dict]:
    """The curve of a model's training, read without counting as use; empty where there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return list(json.loads((store.root / "folders" / model / "training.json").read_bytes())["curve"])
    return []


def _trained(curve: Sequence[Mapping]) -> dict:
    """What a row shows of a model: its accuracy, a sketch of its training loss over the share of its steps."""
    last = curve[-1]
    pick = range(0, len(curve), max(1, -(-len(curve) // SKETCHED)))
    return {
        "accuracy": [last.get("validation_accuracy")],
        "t": [curve[i]["step"] / max(1, last["step"]) for i in pick],
        "loss": [curve[i]["loss"] for i in pick],
    }


def summary(told: Mapping) -> dict:
    """What a row shows of a result: its first task's barrier, the ends' accuracies, a sketch of the loss."""
    task = told["tasks"][0]
    known, at = dict(zip(task["t"], task["accuracy"], strict=True)), endpoints(way(task))
    pick = range(0, len(task["t"]), max(1, -(-len(task["t"]) // SKETCHED)))
    return {
        "barrier": (task.get("barrier") or {}).get("loss_chord"),
        "accuracy": [known.get(t) for t in (at.get("a"), at.get("b"))],
        "measure": task.get("measure"),
        "rows": len(task["rows"]),
        "points": sum(len(one["t"]) for one in told["tasks"]),
        "t": [task["t"][i] for i in pick],
        "loss": [task["loss"][i] for i in pick],
    }


def known_facts(found: Sequence[Item], store: Store, notes: Notes | None, seconds: float = 1e9) -> dict[str, Facts]:
    """Facts of these items by key: what is remembered and still holds, the rest read for at most about ``seconds``.

    The first one that is not remembered is read however little time there is.
    """
    before = notes.seen(item.key for item in found if item.kind == "experiment") if notes else {}
    told = {key: one for key, data in before.items() if (one := _facts_of(data))}
    there = store.has({part for one in told.values() for part in one.responses})
    known, fresh, until = {}, {}, time.monotonic() + seconds
    for item in found:
        one = told.get(item.key)
        if item.kind != "experiment" or item.wrong:
            known[item.key] = facts(item, store)
        elif one and _holds(one, there):
            known[item.key] = one
        elif not fresh or time.monotonic() < until:
            known[item.key] = fresh[item.key] = facts(item, store)
    if notes and (kept := {key: vars(one) for key, one in fresh.items()}):
        with suppress(McoreError):  # it is read again next time
            notes.remember(kept)
    return known


def sizes(known: Mapping[str, Facts], store: Store) -> dict[str, int]:
    """Bytes of each result's parts; what two share counts for both."""
    told = {entry.key: entry.bytes for entry in store.known({part for one in known.values() for part in one.parts})}
    return {key: sum(told.get(part, 0) for part in one.parts) for key, one in known.items()}


def keep_file(data: bytes, name: str, store: Store) -> str:
    """Check a result file and keep it. Its key. Raises ``QuestionError``, ``McoreError`` where there is no room."""
    file = resultfile.read(data)
    told, key = resultfile.document(file), resultfile.key(file)
    about = {
        "name": name[-200:],
        "fingerprint": file.fingerprint,
        "asked": fingerprint(file.experiment),
        "question": as_written(file.experiment),
        "summary": summary(told),
    }
    store.put(key, canonical(told).encode(), "import", about)
    return key


def kept_file(key: str, store: Store) -> ResultFile | None:
    """A result file that was kept, checked again; None if it is not there any more."""
    data = store.get(key)
    return None if data is None else resultfile.read(data)


def file_for(question: Experiment, asked: str | None, store: Store) -> str | None:
    """The key of the newest imported file that answers a question; ``asked`` is its fingerprint, where it has one."""
    written = fingerprint(question)
    found = [
        entry
        for entry in store.entries("import")
        if entry.about.get("asked") == written or (asked and entry.about.get("fingerprint") == asked)
    ]
    return max(found, key=lambda entry: entry.created).key if found else None


def _experiment(entry: Entry, data: bytes | None) -> Item:
    if data is None:
        return _broken(entry, "This entry was damaged and has been dropped; what it asked is lost.")
    try:
        question = parse(data)
    except QuestionError as wrong:
        return _broken(entry, f"Its question cannot be read by this version of the app. {wrong}")
    return Item(entry.key, "experiment", title(question), entry.bytes, entry.created, question)


def _model(entry: Entry) -> Item:
    try:
        recipe = parse_recipe(entry.about.get("recipe"))
    except QuestionError as wrong:
        return _broken(entry, f"Its recipe cannot be read by this version of the app. {wrong}")
    seeds = f"{'' if recipe.task.read == 'answers' else f'head seed {recipe.head_seed}, '}data seed {recipe.data_seed}"
    return Item(entry.key, "model", f"{endpoint_name(recipe)} · {seeds}", entry.bytes, entry.created, recipe=recipe)


def _exported(entry: Entry) -> Item:
    about = entry.about
    try:
        question = parse(about.get("question"))
        taken = f"t = {float(about['t']):.12g}, {about['dtype']}"
    except (QuestionError, KeyError, TypeError, ValueError):
        return _broken(entry, "What it was made from cannot be read by this version of the app; the folder is whole.")
    return Item(entry.key, "exported", f"{title(question)} · {taken}", entry.bytes, entry.created, question)


def _import(entry: Entry) -> Item:
    about = entry.about
    try:
        question = parse(about.get("question"))
    except QuestionError as wrong:
        return _broken(entry, f"Its question cannot be read by this version of the app. {wrong}")
    told = about.get("summary")
    return Item(entry.key, "import", title(question), entry.bytes, entry.created, question, name=str(about.get("name", "")), told=told)


def _broken(entry: Entry, wrong: str) -> Item:
    return Item(entry.key, entry.kind, f"{entry.kind} {entry.key[:8]}", entry.bytes, entry.created, wrong=wrong)


def _responses(resolved: Resolved, store: Store) -> Iterable[str]:
    for i in range(len(resolved.tasks)):
        if (orders := plan.orders(resolved, i, store)) is not None:
            yield from (plan.key(resolved, plan.Point(i, t), orders) for t in plan.wanted(resolved))


def _beside(resolved: Resolved) -> tuple[str, ...]:
    """Distance, length, timing, the orders of labels, what the layers hold."""
    orders = [plan.order_key(end, task) for i, task in enumerate(resolved.tasks) for end in plan.heads(resolved, i)]
    layers = [key for of_t in represented.keys(resolved).values() for key in of_t.values()]
    return (distance_key(resolved), length_key(resolved), plan.timing_key(resolved.fingerprint), *orders, *layers)


def _holds(one: Facts, there: set[str]) -> bool:
    """Whether nothing has changed since; what could not be read, or had no labels' order yet, is tried again soon."""
    settled = bool(one.responses) or time.time() - one.read < TRIED_AGAIN
    return settled and sum(key in there for key in one.responses) == one.stored


def _facts_of(data: Mapping) -> Facts | None:
    """What was remembered; None if another version of this app wrote it."""
    with suppress(TypeError):
        keys = {name: tuple(map(str, data.get(name, ()))) for name in ("responses", "beside", "models")}
        return Facts(**{**data, **keys})
    return None
