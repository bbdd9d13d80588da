"""Rows tokenised once and cut into batches that hold hardly any padding, for every point of a path.

Rows of one length stand together, so most batches need no attention mask at all, and a batch is cut by the number of
its tokens: few enough that what a layer writes stays in the processor's cache, enough to keep every core busy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

TOKENS = 1024  # in one batch on a processor; on two cores 256 to 1,024 are within a few percent of each other
TOKENS_GPU = 16_384
SPARE = 0.03  # the share of padding from which on a batch is closed
AT_ONCE = 4_000_000  # characters that are tokenised at once: a tokenizer holds whatever is cut off until it has done all
FEWEST = 128  # tokens below which a batch is not closed for its padding: starting a batch would cost more than it saves

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Batch:
    """Some rows as a model takes them. ``rows`` are their places in the original order; tensors are [rows, tokens]."""

    rows: tuple[int, ...]
    inputs: Mapping[str, torch.Tensor] = field(repr=False)

    @property
    def size(self) -> int:
        """Tokens that the model computes, padding included."""
        return self.inputs["input_ids"].numel()


@dataclass(frozen=True)
class Batches:
    """All rows, cut. ``tokens`` counts real tokens; ``padding`` is the share of what is computed that is not real."""

    batches: tuple[Batch, ...]
    rows: int
    tokens: int

    @property
    def padding(self) -> float:
        size = sum(batch.size for batch in self.batches)
        return 1 - self.tokens / size if size else 0.0

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def make_batches(
    tokenizer, texts: Sequence[Text], max_length: int, pad: int | None, tokens: int = TOKENS
) -> Batches:
    """Tokenises texts, or pairs of them, and cuts them into batches.

    ``pad`` is the id that the *model* takes for padding, ``model.config.get_text_config().pad_token_id``, whatever the
    tokenizer says: some models find positions or the last real token by it. A model that has none (None) gets only
    rows of one length together.
    """
    return cut(encode(tokenizer, texts, max_length), pad, tokens)


def encode(tokenizer, texts: Sequence[Text], max_length: int) -> list[dict[str, list[int]]]:
    """Each row's ``input_ids`` and, from tokenizers that give them, ``token_type_ids``; no padding, cut at ``max_length``."""
    if not len(texts):
        return []
    pairs, rows = not isinstance(texts[0], str), []
    for some in slices([sum(map(len, text)) if pairs else len(text) for text in texts]):
        columns = ([str(a) for a, _ in texts[some]], [str(b) for _, b in texts[some]]) if pairs else ([str(text) for text in texts[some]],)
        known = tokenizer(
            *columns, truncation=True, max_length=max_length, padding=False, return_attention_mask=False, verbose=False
        )
        names = [name for name in ("input_ids", "token_type_ids") if name in known]
        found = [dict(zip(names, values, strict=True)) for values in zip(*(known[name] for name in names), strict=True)]
        rows += [row if row["input_ids"] else _blank(tokenizer, names) for row in found]
    return rows


def slices(lengths: Sequence[int]) -> Iterator[slice]:
    """Neighbouring texts of these lengths, as many as are tokenised at once."""
    begin = size = 0
    for i, length in enumerate(lengths):
        if size and size + length > AT_ONCE:
            yield slice(begin, i)
            begin, size = i, 0
        size += length
    if begin < len(lengths):
        yield slice(begin, len(lengths))


def cut(rows: Sequence[Mapping[str, list[int]]], pad: int | None, tokens: int = TOKENS) -> Batches:
    """Encoded rows, longest first, in batches of at most ``tokens`` tokens (a longer row has a batch to itself).

    A row's length is that of its longest part: it may have ``decoder_input_ids`` beside its ``input_ids``. With ``pad`` None only rows of one length share a batch.
    """
    lengths = [max(map(len, row.values())) for row in rows]
    batches, group, real = [], [], 0
    for row in sorted(range(len(rows)), key=lambda row: -lengths[row]):
        if group:
            width, size = lengths[group[0]], lengths[group[0]] * (len(group) + 1)
            spared = size - width >= FEWEST and real + lengths[row] < (1 - SPARE) * size
            if size > tokens or spared or (pad is None and lengths[row] != width):
                batches.append(padded(rows, group, pad))
                group, real = [], 0
        group.append(row)
        real += lengths[row]
    if group:
        batches.append(padded(rows, group, pad))
    return Batches(tuple(batches), len(rows), sum(lengths))


def padded(rows: Sequence[Mapping[str, list[int]]], group: Sequence[int], pad: int | None) -> Batch:
    """The encoded rows at these places as one batch, in the order of ``group``."""
    inputs = {}
    for name in rows[group[0]]:
        fill = pad if name.endswith("input_ids") else 0
        width = max(len(rows[row][name]) for row in group)
        inputs[name] = torch.tensor([rows[row][name] + [fill] * (width - len(rows[row][name])) for row in group])
    lengths = torch.tensor([len(rows[row]["input_ids"]) for row in group])
    width = inputs["input_ids"].shape[1]
    if (lengths < width).any():
        inputs["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
    return Batch(tuple(group), inputs)


def _blank(tokenizer, names: Sequence[str]) -> dict[str, list[int]]:
    """What stands for a text without any token: one token that means nothing, as no model takes an empty row."""
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, 0)
    return {name: [next(i for i in ids if i is not None) if name == "input_ids" else 0] for name in names}
