"""How a question's tasks are read: what kind of model its two ends have in common, and what that model is asked for.

A classifier answers with its head. A language model answers with the likelihood of words: of ``answers`` after a prompt
(verbalizers), or of the text's own tokens. A body without a head that fits is read with a fitted one. No torch and no
tokenizer here: all of it is known from the two configurations and the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from mcore.errors import NoHead, QuestionError
from mcore.question import Task
from mcore.tasks.prompts import MASK
from mcore.tasks.rows import Rows
from mcore.tasks.templates import check_labels, template_for

Kind = Literal["classifier", "causal", "masked", "seq2seq", "body"]
Read = Literal["head", "answers", "tokens", "fitted"]
LANGUAGE: tuple[Kind, ...] = ("causal", "masked", "seq2seq")
ENDINGS = {"causal": ("ForCausalLM", "LMHeadModel"), "masked": ("ForMaskedLM",), "seq2seq": ("ForConditionalGeneration", "T5WithLMHeadModel")}
PRETRAINING = ("BertForPreTraining", "AlbertForPreTraining")  # a masked language model with a second head beside it
TEXT_TO_TEXT = ("t5", "mt5", "umt5", "longt5", "bart", "mbart", "pegasus", "led", "blenderbot", "blenderbot-small", "marian")
NAMES = {"classifier": "a classification head", "causal": "a causal language model's head", "masked": "a masked language model's head",
         "seq2seq": "a text-to-text model's head"}  # fmt: skip


def language_heads(config: dict) -> frozenset[Kind]:
    """The language model's heads that a configuration names under ``architectures``."""
    found = set()
    for name in map(str, config.get("architectures") or ()):
        if name in PRETRAINING:
            found.add("masked")
        found |= {kind for kind, endings in ENDINGS.items() if name.endswith(endings)}
    return frozenset(found if config.get("model_type") in TEXT_TO_TEXT else found - {"seq2seq"})


def kind_of(a: Collection[Kind], b: Collection[Kind]) -> Kind:
    """What the live model is, from the heads of A and of B: a classifier where one end is, else what both are."""
    if "classifier" in (*a, *b):
        return "classifier"
    return next((kind for kind in LANGUAGE if kind in a and kind in b), "body")


def heads_told(heads: Collection[Kind]) -> str:
    """``a masked language model's head``; ``no head``."""
    return " and ".join(NAMES[kind] for kind in NAMES if kind in heads) or "no head"


def with_template(task: Task, kind: Kind) -> Task:
    """The task with the prompt that ships for its data, where a language model is asked for labels and nobody wrote one."""
    shipped = template_for(task.task, kind) if kind in LANGUAGE else None
    if shipped is None or task.read not in (None, "answers") or task.template is not None or task.answers is not None:
        return task
    normalised = shipped.normalised if task.normalised is None else task.normalised
    told = {"template": shipped.template, "answers": list(shipped.answers), "normalised": normalised, "label": task.label or shipped.label}
    return task.model_copy(update=told)


def read_of(task: Task, rows: Rows, kind: Kind, heads: Sequence[Collection[Kind]], field: str) -> Read:
    """How the task is read, as asked or as is usual. ``heads``: of A and of B.

    Raises ``QuestionError`` below ``field`` where that cannot be, with what is possible.
    """
    read = task.read or _usual(rows, kind, heads, field)
    if read == "head" and kind != "classifier":
        raise _unread(rows, kind, f"A has {heads_told(heads[0])} and B {heads_told(heads[1])}, neither one for labels", field)
    if read in ("answers", "tokens") and kind not in LANGUAGE:
        told = f"A has {heads_told(heads[0])} and B {heads_told(heads[1])}; words are read from two language models of one kind"
        raise _unread(rows, kind, told, field)
    for name in ("answers", "normalised"):
        if read != "answers" and getattr(task, name) is not None:
            raise QuestionError(f"{field}.{name}", f"it means nothing where {read} is read", 'leave it out, or read "answers"')
    if read == "answers":
        check_answers(task, rows, kind, field)
    elif task.template and MASK in task.template:
        raise QuestionError(f"{field}.template", f"{MASK} stands for an answer, and {read} is read", "leave it out")
    if read == "tokens" and kind == "seq2seq" and not isinstance(rows.texts[0], tuple):
        raise QuestionError(
            f"{field}.text", "a text-to-text model makes one text of another, and there is one column",
            'name two: text and target; or read "answers"',
        )  # fmt: skip
    return read


def tuned_kind(task: Task, heads: Collection[Kind], classifier: bool, field: str) -> Kind:
    """What a recipe on this task makes: a language model where its task is read by answers, else a classifier.

    ``heads``: the language model's heads of its base, ``classifier``: whether that has a head for labels. Raises ``QuestionError`` below ``field``.
    """
    if task.read in ("tokens", "fitted"):
        told = "a recipe trains a classifier with its head, or a language model by its answers"
        raise QuestionError(f"{field}.read", told, 'say "head" or "answers"')
    if task.read == "answers":
        kind = next((kind for kind in LANGUAGE if kind in heads), None)
        if kind is None or classifier:
            told = NAMES["classifier"] if classifier else heads_told(heads)
            raise QuestionError(f"{field}.read", f"the base has {told}, and answers in words come from a language model", "choose another base, or leave it out")
        return kind
    if unused := next((name for name in ("answers", "normalised") if getattr(task, name) is not None), None):
        raise QuestionError(f"{field}.{unused}", "a recipe trains a classifier, which answers with its head", 'leave it out, or say "read": "answers"')
    return "classifier"


def _usual(rows: Rows, kind: Kind, heads: Sequence[Collection[Kind]], field: str) -> Read:
    if kind == "classifier":
        return "head"
    if kind in LANGUAGE and rows.answers is not None:
        return "answers"
    if kind in LANGUAGE and rows.labels is None:
        return "tokens"
    if kind in LANGUAGE:
        raise _unread(rows, kind, f"A and B have {NAMES[kind]}, and it is not said how it names a label", field)
    raise _unread(rows, kind, f"A has {heads_told(heads[0])} and B {heads_told(heads[1])}", field)


def _unread(rows: Rows, kind: Kind, wrong: str, field: str) -> QuestionError:
    return (QuestionError if rows.labels is None else NoHead)(f"{field}.read", wrong, _possible(rows, kind))


def _possible(rows: Rows, kind: Kind) -> str:
    """What can be asked for of such models on such rows."""
    ways = []
    if kind == "classifier":
        ways.append('read "head" of an endpoint whose head is for these labels')
    if kind in LANGUAGE and rows.kind == "classes":
        ways.append("name answers, one for each label")
    if kind in LANGUAGE:
        ways.append('read "tokens"')
    if rows.labels is not None:
        ways.append('read "fitted", with a head that is fitted at each t')
    return ", or ".join(ways) or "choose two checkpoints with one kind of head"


def check_answers(task: Task, rows: Rows, kind: Kind, field: str) -> None:
    """Raises ``QuestionError`` below ``field`` where such a model cannot answer such rows in words."""
    if rows.kind != "classes":
        raise QuestionError(f"{field}.answers", "an answer stands for a label, and the rows have none", 'name a label, or read "tokens"')
    if rows.answers is None:
        raise QuestionError(f"{field}.answers", "they are missing", f"name one answer for each of: {', '.join(rows.names)}")
    if isinstance(rows.answers, tuple) and len(rows.answers) != len(rows.names):
        told = f"{len(rows.answers)} answers for {len(rows.names)} labels"
        raise QuestionError(f"{field}.answers", told, f"give one for each of: {', '.join(rows.names)}")
    check_labels(task, rows.names, field)
    if not isinstance(rows.texts[0], str):
        raise QuestionError(f"{field}.template", "there are two columns of text and no prompt that holds both", "write one, such as {first} {second}")
    held = any(MASK in text for text in rows.texts)
    if kind == "masked" and not all(MASK in text for text in rows.texts):
        raise QuestionError(f"{field}.template", f"a masked language model answers where {MASK} stands, and it does not", f"write {MASK} into it")
    if kind != "masked" and task.template and held:
        raise QuestionError(f"{field}.template", f"{MASK} is for masked language models", "leave it out: the answer comes after the text")
