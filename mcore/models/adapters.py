"""Adapters as peft saves them: what one says of itself, which base it belongs to, and what the two make together.

Nothing is merged here (``mcore.models.rewrite`` does). Only settings that are known to be data are handed on to peft: others name
modules to import, patterns that take for ever to match, or changes of the base that the saved weights do not tell.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from mcore.errors import QuestionError
from mcore.hub import repositories as hub
from mcore.models.checkpoints import Checkpoint, digest_of, read_json, read_tensors, tokenizer_digest, tokenizer_in
from mcore.profile import at_home, profile

FILES = ("adapter_model.safetensors", "adapter_model.bin")
WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
PREFIX = "base_model.model."  # of every name that peft saves
MARKS = ("lora_", "hada_", "lokr_", "ia3_", "oft_")  # in the names of what an adapter adds
KINDS = ("LORA", "LOHA", "LOKR", "IA3", "OFT")  # whose merging is tried in the tests
SETTINGS = (
    "r", "lora_alpha", "alpha", "fan_in_fan_out", "bias", "use_rslora", "use_dora", "lora_bias", "rank_pattern", "alpha_pattern", "modules_to_save",
    "rank_dropout_scale", "use_effective_conv2d", "decompose_both", "decompose_factor", "feedforward_modules",
    "oft_block_size", "module_dropout", "coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms",
)  # fmt: skip
CHANGES = ("layer_replication", "megatron_config", "target_parameters", "trainable_token_indices", "use_qalora", "use_bdlora", "arrow_config",
           "kasa_config", "monteclora_config", "velora_config", "alora_invocation_tokens")  # fmt: skip
HEADS = ("classifier", "score", "classification_head")
MOST_RANK = 4_096
PATTERN = re.compile(r"[\w.^$\\-]{1,200}")  # of a setting for some modules: without what makes matching slow
VERSION = 1  # of what a merged adapter is
TASKS = {"SEQ_CLS": "ForSequenceClassification", "CAUSAL_LM": "CausalLM", "SEQ_2_SEQ_LM": "ConditionalGeneration"}
# Names that the Hub led elsewhere when it gave every repository an owner.
MOVED = {
    "bert": "google-bert", "roberta": "FacebookAI", "xlm": "FacebookAI", "gpt2": "openai-community", "t5": "google-t5", "distilbert": "distilbert",
    "distilroberta": "distilbert", "distilgpt2": "distilbert", "albert": "albert", "xlnet": "xlnet", "camembert": "almanach",
}  # fmt: skip


def is_one(names: Collection[str]) -> bool:
    """Whether files with these names are an adapter, and not a model that one was merged into."""
    return "adapter_config.json" in names and not any(name in names for name in WHOLE)


def read_config(path: Path, field: str) -> dict:
    """The adapter's settings. Raises ``QuestionError`` where they cannot be merged, or not safely."""
    config = read_json(path, field)
    kind = config.get("peft_type")
    if kind not in KINDS:
        wrong = f"it is an adapter of the kind {str(kind)[:40]}, which has no weights to merge or none that this app merges"
        raise QuestionError(field, wrong, f"use one of: {', '.join(KINDS)}, or save the merged model")
    changes = [name for name in CHANGES if config.get(name)]
    begun = config.get("init_lora_weights", True)
    if changes or not (isinstance(begun, bool) or begun in ("gaussian", "eva", "orthogonal")):
        raise QuestionError(field, f"its adapter_config.json sets {changes[0] if changes else 'init_lora_weights'}", "merge it with peft and save the whole model")
    ranks = [config.get("r") or 0, *_values(config.get("rank_pattern"))]
    if not all(isinstance(rank, int) and 0 <= rank <= MOST_RANK for rank in ranks):
        raise QuestionError(field, "the rank in its adapter_config.json is no ordinary one", f"use one of at most {MOST_RANK:,}")
    for name in ("rank_pattern", "alpha_pattern"):
        if not isinstance(told := config.get(name) or {}, dict) or not all(PATTERN.fullmatch(key) for key in told):
            raise QuestionError(field, f"{name} in its adapter_config.json is no list of modules", "merge it with peft and save the whole model")
    for name in ("modules_to_save", "feedforward_modules"):
        if not isinstance(told := config.get(name) or [], list) or not all(isinstance(one, str) for one in told):
            raise QuestionError(field, f"{name} in its adapter_config.json is no list of names", "merge it with peft and save the whole model")
    return config


def settings(config: dict) -> dict:
    """What of them peft is given."""
    return {name: config[name] for name in SETTINGS if config.get(name) is not None} | {"peft_type": config["peft_type"], "inference_mode": True}


def base_on_the_hub(config: dict, field: str) -> str:
    """``ORG/NAME@REVISION`` of the base of an adapter that a stranger saved. Raises ``QuestionError`` where it is no name on the Hub."""
    name, revision = str(config.get("base_model_name_or_path") or ""), config.get("revision")
    if "/" not in name and (owner := MOVED.get(re.split(r"[-_]", name)[0])):
        name = f"{owner}/{name}"
    try:
        hub.parse(f"{name}@{revision}" if revision else name, field)
    except QuestionError:
        wrong = f"its adapter_config.json names the base {name[:100]!r}, which is no repository on the Hub"
        raise QuestionError(field, wrong, f"merge it with peft and save the whole model, or {at_home()}" if profile().hosted else
                            "merge it with peft and save the whole model") from None  # fmt: skip
    return f"{name}@{revision}" if revision else name


def base_of_folder(folder: Path, config: dict, field: str) -> str:
    """The address of the base of an adapter in a local folder: a folder too, else a name on the Hub."""
    name = str(config.get("base_model_name_or_path") or "")
    for place in (Path(name).expanduser(), folder / name):
        if name and "\0" not in name and place.is_dir():
            return f"local:{place.absolute()}"
    return f"hub:{base_on_the_hub(config, field)}"


def look_at(folder: Path, address: str, base: Checkpoint, field: str) -> Checkpoint:
    """An adapter in a local folder with its base. Raises ``QuestionError``."""
    name = next((name for name in FILES if (folder / name).is_file()), None)
    if name is None:
        raise QuestionError(field, f"there is no {FILES[0]} in {folder}", "save the adapter with peft's save_pretrained")
    own = tokenizer_in(folder)
    one = Checkpoint(
        address=address,
        folder=folder,
        digest=digest_of([folder / name, folder / "adapter_config.json", *own]),
        config=read_config(folder / "adapter_config.json", field),
        labels=None,
        tensors={} if name.endswith(".bin") else read_tensors(folder, [name], field),
        tokenizer=tokenizer_digest(own, field) if own else base.tokenizer,
        weights=(name,),
        notices=(f"The weights of {folder.name} are read from a pickle, of which nothing but tensors is loaded.",) if name.endswith(".bin") else (),
    )
    return joined(one, base, field)


def joined(one: Checkpoint, base: Checkpoint, field: str) -> Checkpoint:
    """The adapter ``one``, whose ``config`` is its own, as the model that it makes of its base."""
    if base.base:
        raise QuestionError(field, "its base is an adapter too", "merge the first one and save it whole")
    shapes = {name: stored.shape for name, stored in one.tensors.items()}
    saved = {name.removeprefix(PREFIX): stored for name, stored in one.tensors.items() if not any(mark in name for mark in MARKS)}
    config, labels = base.config, base.labels
    if task(one.config, base.config, shapes, field) == "SEQ_CLS":
        if count := outputs(shapes):
            labels = tuple(f"LABEL_{i}" for i in range(count))  # the head is new, and peft keeps no names of its outputs
        elif labels is None:
            labels = tuple(f"LABEL_{i}" for i in range(base.config.get("num_labels") or 2))
        config = base.config | {"architectures": [_classifier(base.config)], "id2label": {str(i): label for i, label in enumerate(labels)}}
        config.pop("num_labels", None)
    else:
        labels = None
    digest = hashlib.sha256(f"adapter {VERSION} {one.digest} {base.digest}".encode()).hexdigest()[:32]
    told = f"{one.address.partition(':')[2]} is an adapter; it is merged into its base {base.address}."
    known = base.tensors | saved if base.tensors else {}
    return replace(
        one, digest=digest, config=config, labels=labels, tensors=known, base=base, notices=(*base.notices, *one.notices, told)
    )


def task(config: dict, base: dict, shapes: dict[str, tuple[int, ...]], field: str) -> str:
    """What the merged model is for, in peft's words: as the adapter says, else as its head or its base does."""
    if (told := config.get("task_type")) in TASKS:
        return told
    if outputs(shapes):
        return "SEQ_CLS"
    names = base.get("architectures") or []
    found = next((task for task, part in TASKS.items() if any(part in name for name in names)), "CAUSAL_LM" if any("LMHead" in name for name in names) else None)
    if found is None or told not in (None, "FEATURE_EXTRACTION"):
        raise QuestionError(field, f"it is an adapter for the task {str(told)[:40]}, which has no head to read", f"use one for: {', '.join(TASKS)}")
    return found


def outputs(shapes: dict[str, tuple[int, ...]]) -> int | None:
    """How many outputs the head has that was saved with the adapter; None where none was."""
    heads = [shape[0] for name, shape in shapes.items() if len(shape) == 2 and set(name.split(".")) & set(HEADS) and not any(mark in name for mark in MARKS)]
    return min(heads, default=None)


def _classifier(base: dict) -> str:
    name = next(iter(base.get("architectures") or []), "")
    return re.sub(r"(For\w+|LMHeadModel|Model)$", "", name) + TASKS["SEQ_CLS"]


def _values(told: object) -> list:
    return list(told.values()) if isinstance(told, dict) else []
