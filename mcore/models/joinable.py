"""Whether two checkpoints can be joined by a path: every aspect that is asked of them, with what was found.

Looks at configurations, shapes and tokenizers alone, so that a pair can be judged before anything is fetched or run.
Heads may differ: each task is read with the output layer of the endpoint that has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcore.errors import QuestionError
from mcore.models.checkpoints import Checkpoint, Stored

SIZES = ("vocab_size", "hidden_size", "intermediate_size", "n_embd", "d_model", "d_ff", "dim", "hidden_dim")  # those of tensors that are not read yet
DECISIVE = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_attention_heads", "n_head", "n_heads",
            "num_key_value_heads", "hidden_act", "activation", "activation_function", "layer_norm_eps", "layer_norm_epsilon",
            "position_embedding_type", "relative_attention", "rope_theta")  # settings that change what weights compute; fmt: skip
VOCABULARY = ("word_embeddings", "embed_tokens", "wte")  # in the names of tensors with a row for each token
NAMED = 3  # tensors that a sentence names


@dataclass(frozen=True)
class Finding:
    """One aspect of a pair. ``wrong`` and ``right`` are those of a ``QuestionError``, empty where nothing is wrong."""

    aspect: str
    wrong: str = ""
    right: str = ""


@dataclass(frozen=True)
class Differs:
    """A tensor of both whose shapes cannot be blended."""

    name: str
    a: tuple[int, ...]
    b: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} ({shape(self.a)} in A, {shape(self.b)} in B)"


@dataclass(frozen=True)
class Verdict:
    """Everything that was found of a pair, in the order in which it is told, and the tensors that differ."""

    findings: tuple[Finding, ...]
    tensors: tuple[Differs, ...]
    notes: tuple[str, ...] = ()  # what does not stand in the way

    @property
    def wrong(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.wrong)

    @property
    def joinable(self) -> bool:
        return not self.wrong

    def sentence(self) -> str:
        """One line: what is the same, or what is in the way and what would be right."""
        if self.joinable:
            same = [finding.aspect for finding in self.findings]
            return "; ".join([f"Can be joined: same {_listed(same)}", *self.notes]) + "."
        right = self.wrong[0].right
        return f"Cannot be joined: {'; '.join(finding.wrong for finding in self.wrong)}. {right[0].upper()}{right[1:]}."


def joinability(a: Checkpoint, b: Checkpoint) -> Verdict:
    """What can be told of the two from their configurations, headers and tokenizers."""
    tensors, decisive = _differing(a, b)
    findings, notes = [_architecture(a, b)], []
    if a.unread or b.unread:
        notes.append("shapes are compared once they are fetched")
    else:
        findings.append(_shapes(tensors, decisive))
    if any(one.tokenizer.startswith("files ") for one in (a, b)):  # too large to be read before it is fetched: ``run`` asks again
        notes.append("tokenizers are compared once they are fetched")
    else:
        wrong = "" if a.tokenizer == b.tokenizer else "its tokenizer or vocabulary is not that of A"
        findings.append(Finding("tokenizer", wrong, "choose two checkpoints with one tokenizer"))
    if a.labels and b.labels:
        if a.labels == b.labels:
            findings.append(Finding("labels"))
        else:
            notes.append(f"other labels ({_labels(a)} in A, {_labels(b)} in B)")
    elif a.labels or b.labels:
        notes.append(f"only {'A' if a.labels else 'B'} has a head")
    return Verdict(tuple(findings), tensors, tuple(notes))


def check_joinable(a: Checkpoint, b: Checkpoint, field: str = "b") -> None:
    """Raise a ``QuestionError`` about B (or what ``field`` names) where its weights cannot be blended with A's."""
    for finding in joinability(a, b).wrong:
        raise QuestionError(field, finding.wrong, finding.right)


def shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes)) or "a number"


def _architecture(a: Checkpoint, b: Checkpoint) -> Finding:
    if a.config.get("model_type") != b.config.get("model_type"):
        kinds = f"A is a {a.config.get('model_type')} model and B a {b.config.get('model_type')} model"
        return Finding("architecture", kinds, "choose two checkpoints of one architecture")
    for key in (*DECISIVE, *(SIZES if a.unread or b.unread else ())):
        if key in a.config and key in b.config and a.config[key] != b.config[key]:
            told = f"{key} is {a.config[key]} in A and {b.config[key]} in B"
            return Finding("architecture", told, "choose two checkpoints of one architecture and size")
    return Finding("architecture")


def _differing(a: Checkpoint, b: Checkpoint) -> tuple[tuple[Differs, ...], int]:
    """Tensors of both whose shapes are not one, and how many of them, the first, cannot be output layers of two label sets.

    Where there are none of the first kind, the others are such layers and nothing differs.
    """
    every = [(name, tensor, b.tensors[name]) for name, tensor in a.tensors.items() if name in b.tensors and tensor.shape != b.tensors[name].shape]
    head = {name: "embed" not in name and _only_rows_differ(one, other) for name, one, other in every}
    decisive = len(every) - sum(head.values())
    told = [Differs(name, one.shape, other.shape) for name, one, other in sorted(every, key=lambda tensor: head[tensor[0]])]
    return tuple(told) if decisive else (), decisive


def _shapes(tensors: tuple[Differs, ...], decisive: int) -> Finding:
    if not tensors:
        return Finding("shapes")
    if all(any(part in tensor.name for part in VOCABULARY) for tensor in tensors[:decisive]):
        return Finding("shapes", f"its vocabulary has another size: {tensors[0]}", "choose two checkpoints with one vocabulary")
    some = ", ".join(map(str, tensors[:NAMED])) + (f" and {len(tensors) - NAMED:,} more" if len(tensors) > NAMED else "")
    return Finding("shapes", f"{some} cannot be blended: the shapes differ", "choose two checkpoints of one size")


def _only_rows_differ(a: Stored, b: Stored) -> bool:
    """True for output layers of two label sets; an embedding's rows are its vocabulary, and many."""
    return len(a.shape) == len(b.shape) and a.shape[1:] == b.shape[1:] and max(a.shape[:1] + b.shape[:1]) <= 1000


def _labels(one: Checkpoint) -> str:
    return ", ".join(one.labels[:4]) + (f" and {len(one.labels) - 4} more" if len(one.labels) > 4 else "")


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
