"""What a stranger's config.json may say: kinds, sizes and labels, bounded before anything is built from them.

No size of it is believed here; ``check_built`` in ``mcore.models.bounds`` holds them against the weights. No code that a
configuration names (``auto_map``) is ever fetched or run: such a model is opened by its ``model_type`` or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mcore.errors import QuestionError

MOST_SIZE = 10_000_000  # of anything that a config counts
MOST_LAYERS = 1_000  # of modules that are made one by one
MOST_LABELS, LONGEST_LABEL, LONGEST_WORD = 10_000, 200, 200
SIZE = re.compile(r".*(_size|_heads|_dims?|_embeddings|_buckets|_experts|_labels)|(d|n)_\w+|hidden_dim|dim|num_\w+|\w+_rank")
LAYERS = re.compile(r".*(_layers|_blocks?|_groups?|_group_num|depths?)|n_layer")
WORDS = ("model_type", "hidden_act", "activation", "activation_function", "position_embedding_type")
COUNTS = ("max_position_embeddings", "n_positions", "num_labels", "pad_token_id")  # that are reckoned with here
DTYPES = frozenset(("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"))


def check_config(config: dict, field: str) -> None:
    """Raise a ``QuestionError`` for what no transformers model says: building from it would fail or take all the memory there is."""
    for key, value in _numbers(config):
        if not 0 <= value <= MOST_SIZE and (SIZE.fullmatch(key) or LAYERS.fullmatch(key)):
            raise QuestionError(field, f"its config says that {key} is {value:,}", "choose a model of an ordinary size")
        if value > MOST_LAYERS and LAYERS.fullmatch(key):
            raise QuestionError(field, f"its config says that {key} is {value:,}", "choose a model with fewer layers")
    for key in WORDS:
        if not isinstance(config.get(key) or "", str) or len(config.get(key) or "") > LONGEST_WORD:
            raise QuestionError(field, f"{key} in its config.json is no word", "choose a model that save_pretrained wrote")
    for key in COUNTS:
        if not isinstance(config.get(key) or 0, int):
            raise QuestionError(field, f"{key} in its config.json is no whole number", "choose a model that save_pretrained wrote")
    named = config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) and len(name) <= LONGEST_WORD for name in named):
        raise QuestionError(field, "architectures in its config.json is no list of names", "choose a model that save_pretrained wrote")
    if config.get("quantization_config"):
        raise QuestionError(field, "its weights are quantised", "choose the same model in float32, float16 or bfloat16")


def labels_of(config: dict, field: str) -> tuple[str, ...] | None:
    """The names of its outputs, None where it has no classification head."""
    if not any("ForSequenceClassification" in name for name in config.get("architectures") or []):
        return None
    names = config.get("id2label")
    count = len(names) if isinstance(names, dict) else config.get("num_labels") or 2
    if count > MOST_LABELS:
        raise QuestionError(field, f"its config names {count:,} labels, more than {MOST_LABELS:,}", "choose a model with fewer outputs")
    if names is None:
        return tuple(f"LABEL_{i}" for i in range(count))
    try:
        labels = tuple(str(names[key]) for key in sorted(names, key=int))
        "".join(labels).encode()  # half a character that JSON allows cannot be written anywhere
    except (TypeError, ValueError, AttributeError):
        raise QuestionError(field, "id2label in its config.json is not a list of labels", "write {\"0\": …, \"1\": …}") from None
    if max(map(len, labels), default=0) > LONGEST_LABEL:
        raise QuestionError(field, f"a label in its config.json is longer than {LONGEST_LABEL} characters", "give its outputs names")
    return labels


def check_dtypes(dtypes: set[str], field: str) -> None:
    """Raise a ``QuestionError`` for tensors that are no plain numbers: those of eight bits and fewer need scales that are elsewhere."""
    if other := sorted(dtypes - DTYPES):
        raise QuestionError(field, f"its tensors are stored as {other[0][:20]}", "choose the same model in float32, float16, bfloat16 or float64")


def _numbers(config: dict) -> Iterator[tuple[str, int | float]]:
    """Every number under the name that it stands below, those of parts and of lists too."""
    waiting: list[tuple[str, object]] = list(config.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield key, value
        elif isinstance(value, list):
            waiting += [(key, one) for one in value]
        elif isinstance(value, dict) and key not in ("label2id", "id2label", "task_specific_params"):
            waiting += value.items()
