"""Checkpoints that are written anew before they are read: pickles as safetensors, adapters merged into their bases, a tokenizer
put beside weights that have none.

The result is a plain transformers folder, kept in the store under the digest of what it was made from. A pickle is
opened by torch's restricted unpickler, which builds tensors and runs nothing; never in the process of a page.
"""

from __future__ import annotations

import shutil
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from mcore.errors import QuestionError, first_line
from mcore.models import adapters
from mcore.models.bounds import check_built
from mcore.models.checkpoints import SETTINGS, TOKENIZER_FILES, Checkpoint
from mcore.question import fingerprint
from mcore.store import Store

OPENERS = {"SEQ_CLS": AutoModelForSequenceClassification, "CAUSAL_LM": AutoModelForCausalLM, "SEQ_2_SEQ_LM": AutoModelForSeq2SeqLM}
MOST_TIMES = 3  # that a tensor's numbers may count: embeddings are tied under two or three names
DTYPES = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool))
VERSION = 1
AtHand = Callable[[Checkpoint, str, Store], Checkpoint]


def rewritten(checkpoint: Checkpoint, field: str, store: Store, at_hand: AtHand) -> Path:
    """The plain folder of a checkpoint whose files are here, written if the store has none. Raises ``QuestionError``."""
    key = fingerprint({"plain": checkpoint.digest, "version": VERSION})
    while (folder := store.folder(key)) is None:
        with store.claim(key) as mine:
            if mine:
                store.drop_work(key)
                work = store.work(key)
                if checkpoint.base:
                    _merge(checkpoint, at_hand(checkpoint.base, field, store), work, field)
                elif checkpoint.pickled:
                    _unpickle(checkpoint, work, field)
                else:
                    _copy(("config.json", *checkpoint.files), checkpoint.folder, work)
                if checkpoint.lender:
                    _copy(checkpoint.lender.files, checkpoint.lender.folder, work)
                return store.put_folder(key, work, "rewritten", {"address": checkpoint.address})
        time.sleep(0.2)  # another process is writing it
    return folder


def unpickled(files: list[Path], field: str) -> dict[str, torch.Tensor]:
    """The tensors in files that ``torch.save`` wrote. Raises ``QuestionError`` for anything else in them, of which nothing is run."""
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            zipped = zipfile.is_zipfile(file)
            if zipped:
                with zipfile.ZipFile(file) as opened:
                    if sum(part.file_size for part in opened.infolist()) > file.stat().st_size:
                        raise ValueError("it is packed")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                told = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
            if not all(isinstance(name, str) and _plain(tensor) for name, tensor in told.items()):
                raise ValueError("it holds more than tensors")
            tensors |= told
        except Exception:  # whatever a stranger's bytes lead to
            wrong = f"{file.name} is damaged, or holds something other than tensors, which is not run"
            raise QuestionError(field, wrong, "use a checkpoint whose weights are safetensors") from None
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > MOST_TIMES * sum(file.stat().st_size for file in files):
        raise QuestionError(field, f"{files[0].name} says that it holds more than its size", "use a checkpoint whose weights are safetensors")
    return tensors


def _plain(tensor: object) -> bool:
    return (
        isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and tensor.device.type == "cpu" and tensor.dtype in DTYPES
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )  # fmt: skip


def _unpickle(checkpoint: Checkpoint, work: Path, field: str) -> None:
    tensors = unpickled([checkpoint.folder / name for name in checkpoint.weights], field)
    if not tensors:
        raise QuestionError(field, f"there are no tensors in {checkpoint.weights[0]}", "use a checkpoint that was saved whole")
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()
        if own.untyped_storage().data_ptr() in seen:  # tied, and safetensors keeps no ties
            own = own.clone()
        seen.add(own.untyped_storage().data_ptr())
        tensors[name] = own
    save_file(tensors, work / "model.safetensors", metadata={"format": "pt"})
    _copy(("config.json", *TOKENIZER_FILES, *SETTINGS), checkpoint.folder, work)


def _merge(adapter: Checkpoint, base: Checkpoint, work: Path, field: str) -> None:
    config = adapters.read_config(adapter.folder / "adapter_config.json", field)
    file = adapter.folder / adapter.weights[0]
    kept = unpickled([file], field) if adapter.pickled else load_file(file)
    # Where biases are saved too, peft writes those of a saved module under three names.
    saved = {name.replace(".modules_to_save.", "."): tensor for name, tensor in kept.items() if ".original_module." not in name}
    shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    task = adapters.task(config, base.config, shapes, field)
    if task == "SEQ_CLS" and (count := adapters.outputs(shapes)) and count != len(adapter.labels):
        raise QuestionError(field, f"its head has {count} outputs, which its pickle tells too late", "save it as safetensors")
    model = _opened(base, task, adapter.labels, saved, field)
    try:
        merged = _merged(model, config, saved)
    except Exception as error:  # whatever a stranger's weights lead to inside peft
        raise QuestionError(field, f"peft cannot merge it into {base.address} ({first_line(error)})", "merge it yourself and save the whole model") from None
    merged.save_pretrained(work)
    from_adapter = any((adapter.folder / name).is_file() for name in TOKENIZER_FILES)
    _copy((*TOKENIZER_FILES, *SETTINGS), adapter.folder if from_adapter else base.folder, work)


def _opened(base: Checkpoint, task: str, labels: tuple[str, ...] | None, saved: dict[str, torch.Tensor], field: str) -> PreTrainedModel:
    """The base with a head for the task. What it lacks, the adapter must have."""
    try:
        config = AutoConfig.from_pretrained(base.folder, local_files_only=True, trust_remote_code=False)
        if labels:
            config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
        check_built(base, config, OPENERS[task], field)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, told = OPENERS[task].from_pretrained(
                base.folder, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False,
                ignore_mismatched_sizes=True, output_loading_info=True,
            )  # fmt: skip
    except QuestionError:
        raise
    except Exception as error:  # whatever a stranger's configuration leads to
        raise QuestionError(field, f"transformers cannot open its base {base.address} ({first_line(error)})", "choose another adapter") from None
    lacking = {*told["missing_keys"], *(key if isinstance(key, str) else key[0] for key in told["mismatched_keys"])}
    if lost := sorted(name for name in lacking if adapters.PREFIX + name not in saved):
        raise QuestionError(field, f"neither the adapter nor its base has the weights {', '.join(lost[:3])}", "save it with modules_to_save that name them")
    return model


def _merged(model: PreTrainedModel, config: dict, saved: dict[str, torch.Tensor]) -> PreTrainedModel:
    """The model with the adapter's weights in it. Its modules are told by the names that were saved, not by patterns."""
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict

    modules = dict(model.named_modules())
    added = [name.removeprefix(adapters.PREFIX) for name in saved if any(mark in name for mark in adapters.MARKS)]
    targets = sorted({next(parent for parent in _parents(name) if parent in modules) for name in added})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = PeftConfig.from_peft_type(**adapters.settings(config), target_modules=targets)
        adapted = get_peft_model(model, given)
        told = set_peft_model_state_dict(adapted, saved)
    lost = [name for name in told.missing_keys if any(mark in name for mark in adapters.MARKS) or "modules_to_save" in name]
    if lost or told.unexpected_keys:
        raise ValueError(f"{(lost or told.unexpected_keys)[0]} does not fit")
    return adapted.merge_and_unload()


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts) - 1, -1, -1)]


def _copy(names: tuple[str, ...], source: Path, work: Path) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, work / name)
