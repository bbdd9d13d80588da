"""Texts as a language model takes them, and which of the tokens that it predicts are asked for.

Tokens. A causal model is asked for every token after the first, a masked one for a fixed 15 % of them, hidden all at once,
a text-to-text model for every token of the second text, the end of it too, after it has read the first.

Answers. A causal model is asked for the answer's tokens after the prompt: both are tokenised as one text, which is cut
where the prompt's own tokens end, as evaluation harnesses do. White space between the two belongs to the answer; where
there is none, one space is put there, but after an opening mark. A masked model is asked for the tokens of an answer
that stands in the place of ``{mask}``, all of them hidden. A text-to-text model reads the prompt and is asked for the
answer as its tokenizer writes a target, with the end of the text. A prompt that is too long loses its beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mcore.errors import QuestionError
from mcore.resolved import ResolvedTask
from mcore.tasks.batches import TOKENS, Batches, cut, encode, slices
from mcore.tasks.prompts import MASK
from mcore.tasks.reading import Kind
from mcore.tasks.rows import Rows

HIDDEN = 0.15  # of a text's tokens, as masked language models are trained
MOST_LOGITS = 1 << 24  # numbers over the vocabulary in one batch: 64 MB, and half as much again for the softmax
FEWEST_TOKENS = 128
OPENING = "([{<\"'“‘«/-#@$"  # after these no space is meant

Ids = list[int]
Wanted = tuple[int, int, int]  # the place in what the model puts out, the token that is right there, and the slot it counts for


@dataclass(frozen=True)
class Passages:
    """Encoded texts in batches; ``wanted[i]`` is asked of text i. ``slots`` is [rows] or [rows, answers], flat in ``wanted``."""

    batches: Batches
    wanted: tuple[tuple[Wanted, ...], ...]
    slots: tuple[int, ...]


class Tokens:
    """A tokenizer and what its kind of model needs to know of it. ``start``: what a decoder begins with."""

    def __init__(self, tokenizer, kind: Kind, start: int | None, max_length: int, field: str):
        self.tokenizer, self.kind, self.start, self.max_length, self.field = tokenizer, kind, start, max_length, field
        added = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
        self.head, self.tail = _run(added), _run(added[::-1])  # special tokens that it puts before and after a text
        if kind == "masked" and (tokenizer.mask_token_id is None or not tokenizer.is_fast):
            raise QuestionError(field, "its tokenizer has no mask, or does not tell which token is where in a text", "choose another checkpoint")
        if kind == "seq2seq" and start is None:
            raise QuestionError(field, "its config names no decoder_start_token_id", "choose another checkpoint")

    def plain(self, texts: Sequence[str]) -> list[Ids]:
        """Whole texts without the special tokens at their ends."""
        every = self.tokenizer(list(texts), verbose=False)["input_ids"]
        return [ids[: len(ids) - self.tail] for ids in every]

    def target(self, texts: Sequence[str], truncation: bool) -> list[Ids]:
        how = {"truncation": True, "max_length": self.max_length} if truncation else {}
        return self.tokenizer(text_target=list(texts), verbose=False, **how)["input_ids"]

    def no_room(self, answer: str, count: int) -> QuestionError:
        told = f"the answer {answer[:40]!r} has {count} tokens and leaves no room for the text"
        return QuestionError(f"{self.field}.max_length", told, "give a larger one")


def passages(task: ResolvedTask, kind: Kind, tokenizer, config, field: str) -> Passages:
    """The rows of a task that is read by tokens or by answers. ``config``: the live model's. Raises ``QuestionError``."""
    tokens, text = tokens_of(tokenizer, kind, config, task.max_length, field), config.get_text_config()
    if task.read == "tokens":
        encoded, wanted = _tokens(tokens, task.rows.texts)
        slots: tuple[int, ...] = (len(task.rows),)
        if not any(wanted):
            raise QuestionError(f"{field}.text", "no text has a token to predict", "name a column with longer texts")
    else:
        encoded, wanted, slots = _answers(tokens, task.rows)
    most = max(FEWEST_TOKENS, min(TOKENS, MOST_LOGITS // text.vocab_size))
    return Passages(cut(encoded, pad_of(config), most), tuple(map(tuple, wanted)), slots)


def tokens_of(tokenizer, kind: Kind, config, max_length: int, field: str) -> Tokens:
    """The tokenizer as a model with this ``config`` uses it. Raises ``QuestionError``."""
    return Tokens(tokenizer, kind, getattr(config, "decoder_start_token_id", None), max_length, field)


def pad_of(config) -> int:
    """The token that fills up a batch: whatever it is, it is masked."""
    pad = getattr(config.get_text_config(), "pad_token_id", None)
    return 0 if pad is None else pad


def _tokens(tokens: Tokens, texts: Sequence) -> tuple[list[dict[str, Ids]], list[list[Wanted]]]:
    if tokens.kind == "seq2seq":
        encoded = encode(tokens.tokenizer, [first for first, _ in texts], tokens.max_length)
        targets = tokens.target([second for _, second in texts], truncation=True)
        with_targets = [row | _decoder(tokens, target) for row, target in zip(encoded, targets, strict=True)]
        return with_targets, [[(i, token, row) for i, token in enumerate(target)] for row, target in enumerate(targets)]
    encoded = encode(tokens.tokenizer, texts, tokens.max_length)
    if tokens.kind == "causal":
        return encoded, [[(i, token, row) for i, token in enumerate(one["input_ids"][1:])] for row, one in enumerate(encoded)]
    special, hidden, wanted = set(tokens.tokenizer.all_special_ids), [], []
    for row, one in enumerate(encoded):
        places = hidden_places(one["input_ids"], special)
        hidden.append(_masked(one, places, tokens.tokenizer.mask_token_id))
        wanted.append([(i, one["input_ids"][i], row) for i in places])
    return hidden, wanted


def hidden_places(ids: Ids, special: set[int]) -> list[int]:
    """Places of the tokens to hide: 15 %, at least one; the same for the same text, wherever it stands."""
    free = [i for i, token in enumerate(ids) if token not in special]
    seed = int.from_bytes(hashlib.sha256(repr(ids).encode()).digest()[:8], "big")
    count = max(1, round(HIDDEN * len(free)))
    return sorted(np.random.default_rng(seed).permutation(free)[:count].tolist())


def _answers(tokens: Tokens, rows: Rows) -> tuple[list[dict[str, Ids]], list[list[Wanted]], tuple[int, int]]:
    """Every answer after every text. Answers that differ in nothing but what is asked for share a passage."""
    each = rows.answers if isinstance(rows.answers, list) else [rows.answers] * len(rows)
    width = max(len(rows.names), *map(len, each))
    pairs = [(row * width + i, text, answer) for row, text in enumerate(rows.texts) for i, answer in enumerate(each[row])]
    encoded: dict[tuple, dict[str, Ids]] = {}
    wanted: dict[tuple, list[Wanted]] = {}
    slots, texts, answers = zip(*pairs, strict=True)
    for slot, (inputs, asked) in zip(slots, answered(tokens, texts, answers), strict=True):
        same = tuple(map(tuple, inputs.values()))
        encoded[same] = inputs
        wanted.setdefault(same, []).extend((place, token, slot) for place, token in asked)
    return list(encoded.values()), list(wanted.values()), (len(rows), width)


Asked = tuple[dict[str, Ids], list[tuple[int, int]]]  # one passage; places and tokens


def answered(tokens: Tokens, texts: Sequence[str], answers: Sequence[str]) -> Iterator[Asked]:
    """Each answer after (or in) its text, as the model takes it, and what it is asked for: the answer's tokens. Raises ``QuestionError``."""
    read = {"causal": _continued, "masked": _filled, "seq2seq": _targeted}[tokens.kind]
    for some in slices([len(text) + len(answer) for text, answer in zip(texts, answers, strict=True)]):
        yield from read(tokens, texts[some], answers[some])


def _continued(tokens: Tokens, texts: Sequence[str], answers: Sequence[str]) -> list[Asked]:
    stems = [text.rstrip() for text in texts]
    joined = [stem + _between(text, stem, answer) + answer for text, stem, answer in zip(texts, stems, answers, strict=True)]
    found = []
    for prompt, whole, answer in zip(tokens.plain(stems), tokens.plain(joined), answers, strict=True):
        if not prompt:  # something must come before the first token that is asked for
            first = next(i for i in (tokens.tokenizer.bos_token_id, tokens.tokenizer.eos_token_id, 0) if i is not None)
            prompt, whole = [first], [first, *whole]
        count = len(whole) - len(prompt)
        if count < 1:
            raise QuestionError(f"{tokens.field}.answers", f"{answer!r} has no token of its own after a text", "write another answer")
        room = tokens.max_length - tokens.head
        if count > room - (not tokens.head):
            raise tokens.no_room(answer, count)
        whole = whole[: tokens.head] + whole[tokens.head :][-room:]
        start = len(whole) - count
        found.append(({"input_ids": whole[:-1]}, [(i - 1, whole[i]) for i in range(start, len(whole))]))
    return found


def _between(text: str, stem: str, answer: str) -> str:
    """The white space between a prompt and its answer."""
    if answer[:1].isspace():
        return ""
    return text[len(stem) :] or (" " if stem and stem[-1] not in OPENING else "")


def _filled(tokens: Tokens, texts: Sequence[str], answers: Sequence[str]) -> list[Asked]:
    parted = [text.rpartition(MASK) for text in texts]
    filled = [left + answer + right for (left, _, right), answer in zip(parted, answers, strict=True)]
    known = tokens.tokenizer(filled, return_offsets_mapping=True, return_attention_mask=False, verbose=False)
    names = [name for name in ("input_ids", "token_type_ids") if name in known]
    found = []
    for row, ((left, _, _), answer) in enumerate(zip(parted, answers, strict=True)):
        start, end = len(left), len(left) + len(answer)
        one = {name: known[name][row] for name in names}
        places = [i for i, (first, last) in enumerate(known["offset_mapping"][row]) if first < last and first < end and last > start]
        if not places:
            raise QuestionError(f"{tokens.field}.answers", f"{answer!r} has no token", "write another answer")
        over = max(0, len(one["input_ids"]) - tokens.max_length)
        before = min(over, places[0] - tokens.head)
        after = len(one["input_ids"]) - tokens.tail - (over - before)
        if after <= places[-1]:
            raise tokens.no_room(answer, len(places))
        kept = [*range(tokens.head), *range(tokens.head + before, after), *range(len(one["input_ids"]) - tokens.tail, len(one["input_ids"]))]
        moved = {place: i for i, place in enumerate(kept)}
        asked = [(moved[i], one["input_ids"][i]) for i in places]
        one = {name: [ids[i] for i in kept] for name, ids in one.items()}
        found.append((_masked(one, [place for place, _ in asked], tokens.tokenizer.mask_token_id), asked))
    return found


def _targeted(tokens: Tokens, texts: Sequence[str], answers: Sequence[str]) -> list[Asked]:
    body, end = tokens.max_length - tokens.head - tokens.tail, tokens.tokenizer("a")["input_ids"]
    end = end[len(end) - tokens.tail :]
    targets = dict(zip(answers, tokens.target(answers, truncation=False), strict=True))
    if longest := next((answer for answer in targets if len(targets[answer]) > tokens.max_length), None):
        raise tokens.no_room(longest, len(targets[longest]))
    found = []
    for ids, answer in zip(tokens.plain(texts), answers, strict=True):
        read = {"input_ids": ids[: tokens.head] + ids[tokens.head :][-body:] + end}
        found.append((read | _decoder(tokens, targets[answer]), list(enumerate(targets[answer]))))
    return found


def _decoder(tokens: Tokens, target: Ids) -> dict[str, Ids]:
    """What a decoder takes so that it puts out ``target``: the same, one place later."""
    return {"decoder_input_ids": [tokens.start, *target[:-1]]}


def _masked(encoded: dict[str, Ids], places: Sequence[int], mask: int) -> dict[str, Ids]:
    hidden = set(places)
    return encoded | {"input_ids": [mask if i in hidden else token for i, token in enumerate(encoded["input_ids"])]}


def _run(flags: Sequence[int]) -> int:
    """How many of the first are set."""
    return next((i for i, flag in enumerate(flags) if not flag), len(flags))
