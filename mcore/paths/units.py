"""Which hidden units of an architecture may change places together, as data: tensors and axes, by model_type.

A unit is what can stand anywhere among its like without a change in what the model computes: a feed-forward unit, an
attention head (with grouped queries, a group that shares keys and values), a place in the residual stream, which norms
with a gain for each place allow. All tensors that write or read the units of one group move together. A line of a
description is a pattern of tensor names, the axis, and how many times the units stand on it one after the other. In a
pattern ``#`` is a number that tells groups apart (a block), ``*`` one that does not; what is captured tells groups apart too.
No torch here, so that a page can say which architectures are described.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from mcore.errors import McoreError

Line = tuple[str, int] | tuple[str, int, int]  # pattern, axis, times
Description = Mapping[str, tuple[Line, ...]]  # kind of unit -> its lines

LAYER, HEADS, RESIDUAL, EMBEDDING = "encoder.layer.", "heads", "residual", "embedding"
BERT_BLOCKS: Description = {
    RESIDUAL: (
        (LAYER + "*.attention.self.(?:query|key|value).weight", 1), (LAYER + "*.(?:attention.)?output.dense.weight", 0),
        (LAYER + "*.(?:attention.)?output.(?:dense.bias|LayerNorm.(?:weight|bias))", 0), (LAYER + "*.intermediate.dense.weight", 1),
    ),
    "feed-forward": ((LAYER + "#.intermediate.dense.(?:weight|bias)", 0), (LAYER + "#.output.dense.weight", 1)),
    HEADS: ((LAYER + "#.attention.self.(?:query|key|value).(?:weight|bias)", 0), (LAYER + "#.attention.output.dense.weight", 1)),
}  # fmt: skip
EMBEDDINGS: tuple[Line, ...] = (
    ("embeddings.(?:word|position|token_type)_embeddings.weight", 1), ("embeddings.LayerNorm.(?:weight|bias)", 0)
)  # fmt: skip
DENSE_HEAD: tuple[Line, ...] = (("classifier.dense.(?:weight|bias)", 0), ("classifier.out_proj.weight", 1))
BERT: Description = BERT_BLOCKS | {
    RESIDUAL: (
        *EMBEDDINGS, *BERT_BLOCKS[RESIDUAL], ("(?:pooler|classifier).dense.weight", 1),
        *(line for place in ("cls.predictions.transform.", "lm_head.") for line in (
            (place + "dense.weight", 0), (place + "dense.weight", 1), (place + "(?:dense.bias|(?:LayerNorm|layer_norm).(?:weight|bias))", 0))),
        ("(?:cls.predictions|lm_head).decoder.weight", 1),
    ),
    "head": (("pooler.dense.(?:weight|bias)", 0), ("classifier.weight", 1), *DENSE_HEAD),
}  # fmt: skip
ELECTRA: Description = {
    EMBEDDING: (
        *EMBEDDINGS, ("embeddings_project.weight", 1), ("generator_predictions.dense.(?:weight|bias)", 0),
        ("generator_predictions.LayerNorm.(?:weight|bias)", 0), ("generator_lm_head.weight", 1),
    ),
    **BERT_BLOCKS,
    RESIDUAL: (
        ("embeddings_project.(?:weight|bias)", 0), *BERT_BLOCKS[RESIDUAL], ("generator_predictions.dense.weight", 1), ("classifier.dense.weight", 1),
    ),
    "head": DENSE_HEAD,
}  # fmt: skip
DISTILBERT: Description = {
    RESIDUAL: (
        *EMBEDDINGS, ("layer.*.attention.(?:q|k|v)_lin.weight", 1), ("layer.*.(?:attention.out_lin|ffn.lin2).(?:weight|bias)", 0),
        ("layer.*.(?:sa|output)_layer_norm.(?:weight|bias)", 0), ("layer.*.ffn.lin1.weight", 1), ("pre_classifier.weight", 1),
        ("vocab_transform.(?:weight|bias)", 0), ("vocab_transform.weight", 1), ("vocab_layer_norm.(?:weight|bias)", 0), ("vocab_projector.weight", 1),
    ),
    "feed-forward": (("layer.#.ffn.lin1.(?:weight|bias)", 0), ("layer.#.ffn.lin2.weight", 1)),
    HEADS: (("layer.#.attention.(?:q|k|v)_lin.(?:weight|bias)", 0), ("layer.#.attention.out_lin.weight", 1)),
    "head": (("pre_classifier.(?:weight|bias)", 0), ("classifier.weight", 1)),
}  # fmt: skip
GPT2: Description = {  # its weights are [in, out], and c_attn holds queries, keys and values side by side
    RESIDUAL: (
        ("(?:wte|wpe).weight", 1), ("h.*.ln_(?:1|2).(?:weight|bias)", 0), ("h.*.(?:attn.c_attn|mlp.c_fc).weight", 0),
        ("h.*.(?:attn|mlp).c_proj.weight", 1), ("h.*.(?:attn|mlp).c_proj.bias", 0), ("ln_f.(?:weight|bias)", 0), ("(?:lm_head|score).weight", 1),
    ),
    "feed-forward": (("h.#.mlp.c_fc.weight", 1), ("h.#.mlp.c_fc.bias", 0), ("h.#.mlp.c_proj.weight", 0)),
    HEADS: (("h.#.attn.c_attn.weight", 1, 3), ("h.#.attn.c_attn.bias", 0, 3), ("h.#.attn.c_proj.weight", 0)),
}  # fmt: skip
SELF = "(encoder|decoder).block.*.layer.0.SelfAttention."  # block 0 has the position bias of each head for all blocks
CROSS = "decoder.block.#.layer.1.EncDecAttention."
T5: Description = {  # encoder and decoder share their embeddings, and the decoder reads what the encoder wrote: one residual stream
    RESIDUAL: (
        ("(?:shared|lm_head|embed_tokens).weight", 1), ("block.*.layer.*.(?:SelfAttention|EncDecAttention).(?:q|k|v).weight", 1),
        ("block.*.layer.*.(?:SelfAttention|EncDecAttention).o.weight", 0), ("block.*.layer.*.layer_norm.weight", 0),
        ("block.*.layer.*.DenseReluDense.wi(?:_0|_1)?.weight", 1), ("block.*.layer.*.DenseReluDense.wo.weight", 0),
        ("final_layer_norm.weight", 0), ("classification_head.dense.weight", 1),
    ),
    "feed-forward": tuple(
        (f"{side}.block.#.layer.*.DenseReluDense.{name}.weight", axis) for side in ("(encoder)", "(decoder)") for name, axis in (("wi(?:_0|_1)?", 0), ("wo", 1))
    ),
    HEADS: ((SELF + "(?:q|k|v).weight", 0), (SELF + "o.weight", 1), (SELF + "relative_attention_bias.weight", 1)),
    "cross-attention heads": ((CROSS + "(?:q|k|v).weight", 0), (CROSS + "o.weight", 1)),
    "head": (("classification_head.dense.(?:weight|bias)", 0), ("classification_head.out_proj.weight", 1)),
}  # fmt: skip
LLAMA: Description = {
    RESIDUAL: (
        ("(?:embed_tokens|lm_head|score).weight", 1), ("layers.*.(?:input|post_attention)_layernorm.weight", 0), ("norm.weight", 0),
        ("layers.*.self_attn.(?:q|k|v)_proj.weight", 1), ("layers.*.mlp.(?:gate|up)_proj.weight", 1),
        ("layers.*.(?:self_attn.o|mlp.down)_proj.(?:weight|bias)", 0),
    ),
    "feed-forward": (("layers.#.mlp.(?:gate|up)_proj.(?:weight|bias)", 0), ("layers.#.mlp.down_proj.weight", 1)),
    HEADS: (("layers.#.self_attn.(?:q|k|v)_proj.(?:weight|bias)", 0), ("layers.#.self_attn.o_proj.weight", 1)),
}  # fmt: skip
GPT_NEOX: Description = {  # queries, keys and values stand together head by head
    RESIDUAL: (
        ("(?:embed_in|embed_out|lm_head|score).weight", 1), ("layers.*.(?:input|post_attention)_layernorm.(?:weight|bias)", 0),
        ("layers.*.(?:attention.query_key_value|mlp.dense_h_to_4h).weight", 1),
        ("layers.*.(?:attention.dense|mlp.dense_4h_to_h).(?:weight|bias)", 0), ("final_layer_norm.(?:weight|bias)", 0),
    ),
    "feed-forward": (("layers.#.mlp.dense_h_to_4h.(?:weight|bias)", 0), ("layers.#.mlp.dense_4h_to_h.weight", 1)),
    HEADS: (("layers.#.attention.query_key_value.(?:weight|bias)", 0), ("layers.#.attention.dense.weight", 1)),
}  # fmt: skip
ARCHITECTURES: dict[str, Description] = {
    "bert": BERT, "roberta": BERT, "xlm-roberta": BERT, "camembert": BERT, "electra": ELECTRA, "distilbert": DISTILBERT,
    "gpt2": GPT2, "gpt_neox": GPT_NEOX, "llama": LLAMA, "mistral": LLAMA, "qwen2": LLAMA, "t5": T5,
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """Where the units of a group stand in a tensor: on ``axis``, ``times`` times one after the other, each ``width`` elements wide."""

    tensor: str
    axis: int
    times: int
    width: int


@dataclass(frozen=True)
class Group:
    """Units that may change places among themselves, and every place where they stand."""

    name: str
    kind: str
    units: int
    axes: tuple[Axis, ...]


def groups(model_type: str, config: object, shapes: Mapping[str, tuple[int, ...]]) -> list[Group]:
    """The groups of a described architecture in the order of its description. ``shapes``: of the live tensors; ``config``: transformers' own."""
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 1)
    one_stream = getattr(config, "embedding_size", None) == getattr(config, "hidden_size", None)
    found: dict[tuple[str, ...], list[tuple[str, int, int]]] = {}
    for kind, lines in ARCHITECTURES[model_type].items():
        for pattern, axis, *times in lines:
            compiled = _compiled(pattern)
            for name in shapes:
                if told := compiled.search(name):
                    group = RESIDUAL if kind == EMBEDDING and one_stream else kind  # nothing is projected between them then
                    found.setdefault((group, *told.groups()), []).append((name, axis, *(times or (1,))))
    return [_group(key, places, heads, shapes) for key, places in found.items()]


def _group(key: tuple[str, ...], places: list[tuple[str, int, int]], heads: int, shapes: Mapping[str, tuple[int, ...]]) -> Group:
    first, axis, times = places[0]
    units = heads if HEADS in key[0] else shapes[first][axis] // times
    axes = tuple(Axis(name, axis, times, shapes[name][axis] // (units * times)) for name, axis, times in dict.fromkeys(places))
    if wrong := next((one for one in axes if prod((units, one.times, one.width)) != shapes[one.tensor][one.axis]), None):
        raise McoreError(f"{wrong.tensor} has {shapes[wrong.tensor]} numbers, which are not {units} units; compare without alignment.")
    return Group(" ".join((key[0], *key[1:])), key[0], units, axes)


def _compiled(pattern: str) -> re.Pattern:
    return re.compile(r"(?:^|\.)" + pattern.replace(".", r"\.").replace("*", r"\d+").replace("#", r"(\d+)") + "$")
