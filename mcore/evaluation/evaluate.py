"""The one evaluator: a live model and batches in, logits in the rows' own order out.

Float32 runs the model as transformers made it, so that its numbers are those of the untouched checkpoint bit for bit.
Bfloat16 keeps the matrices of the repeated blocks in bfloat16, where nearly all the work is, and lets autocast do the
rest: products run in bfloat16; sums along the residual stream, norms and the softmax stay in float32, and so does what
stands before and after the blocks. It is known by the weights alone, so a blend can go on writing into the same model.
In float32 what no logit depends on is left out (``mcore.live.trim``) from the second answer on: finding it takes as long as it
spares in several points, and somebody waits for the first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from weakref import WeakSet

import numpy as np
import torch
from transformers.pytorch_utils import Conv1D

from mcore.errors import Cancelled, QuestionError, first_line
from mcore.live.reuse import Reuse, asking
from mcore.live.trim import trimmed
from mcore.tasks.batches import Batches

LINEAR = (torch.nn.Linear, Conv1D)
BLOCKS = torch.nn.ModuleList  # what a model repeats is kept in one of these
_answered: WeakSet[torch.nn.Module] = WeakSet()


class Float32Linear(torch.nn.Linear):
    """A linear layer that autocast leaves alone: a pooler or an output layer, whose rounding would shift every row."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16() -> bool:
    """Whether bfloat16 is worth anything here. Processors without it would emulate it far slower than float32."""
    if device().type == "cuda":
        return torch.cuda.is_bf16_supported()
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def check_precision(precision: str) -> None:
    """Raise a ``QuestionError`` where this machine cannot compute in ``precision``."""
    if precision == "bfloat16" and not has_bfloat16():
        raise QuestionError("precision", "this processor has no bfloat16 products", "use float32")


def prepare(model: torch.nn.Module, precision: str = "float32", where: torch.device | None = None) -> None:
    """Puts a model in evaluation mode on its device, ready for ``precision``: "float32" or "bfloat16".

    Raises ``QuestionError`` where this machine does not have it.
    """
    check_precision(precision)
    model.eval().requires_grad_(False).to(where or device())
    if precision == "bfloat16":
        linear = _own_linear(model)
        inner = {id(layer) for blocks in model.modules() if isinstance(blocks, BLOCKS) for layer in blocks.modules()}
        for layer in linear:
            if id(layer) in inner or not inner:
                layer.to(torch.bfloat16)
            elif type(layer) is torch.nn.Linear:
                layer.__class__ = Float32Linear


def logits(
    model: torch.nn.Module,
    batches: Batches,
    stop: Callable[[], bool] = lambda: False,
    on_batch: Callable[[int, int], None] | None = None,
    reuse: Reuse | None = None,
) -> np.ndarray:
    """float32 logits [rows, classes] in the original order of the rows.

    ``on_batch`` is told tokens computed and tokens in all; ``reuse`` remembers what stands still between this point and
    others. Raises ``Cancelled`` when ``stop()`` is true between batches.
    """
    where = next(model.parameters()).device
    known = inspect.signature(model.forward).parameters
    fixed = {"use_cache": False} if "use_cache" in known else {}
    done, of = 0, sum(batch.size for batch in batches)
    found, order = [], []

    def answer(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if stop():
            raise Cancelled
        return model(**{name: value.to(where) for name, value in inputs.items() if name in known}, **fixed).logits.float()

    def trim(whole: bool):
        # In bfloat16 kernels are made and kept for every other number of rows: 30 MB on MiniLM, where memory is counted.
        if whole or model not in _answered or (reuse and reuse.spares(model)):
            return nullcontext()
        return trimmed(model, [batch.inputs for batch in batches], answer, reuse.remembered(model) if reuse else ())

    with (
        torch.inference_mode(), autocast(model, where) as half, _unpadded(model, batches),
        asking(reuse, model, batches.batches, lambda batch: answer(batch.inputs)) as ask, trim(whole=half),
    ):  # fmt: skip
        for batch in batches:
            found.append(ask(batch))
            order.extend(batch.rows)
            done += batch.size
            if on_batch:
                on_batch(done, of)
        _answered.add(model)
        if not found:
            return np.zeros((0, model.config.num_labels), dtype=np.float32)
        together = torch.cat(found).cpu()
        ordered = torch.empty_like(together)
        ordered[order] = together
        return ordered.numpy()


def _own_linear(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Linear layers whose parameters no other kind of layer shares (an embedding tied to an output layer would)."""
    others = {
        id(parameter)
        for layer in model.modules()
        if not isinstance(layer, LINEAR)
        for parameter in layer.parameters(recurse=False)
    }
    linear = [layer for layer in model.modules() if isinstance(layer, LINEAR)]
    return [layer for layer in linear if not any(id(parameter) in others for parameter in layer.parameters())]


@contextmanager
def autocast(model: torch.nn.Module, where: torch.device) -> Iterator[bool]:
    """Autocast where linear layers are kept in bfloat16, else nothing; which of the two it is.

    Raises ``QuestionError`` for a model whose code puts in a number that bfloat16 does not have, as that of DeBERTa does.
    """
    if not any(layer.weight.dtype is torch.bfloat16 for layer in _own_linear(model)):
        yield False
        return
    try:
        with torch.autocast(where.type, torch.bfloat16):
            yield True
    except RuntimeError as error:
        if "bfloat16" not in str(error).lower():
            raise
        kind = model.config.model_type
        raise QuestionError("precision", f"transformers cannot compute a {kind} model in bfloat16 ({first_line(error)})", "use float32") from None


@contextmanager
def _unpadded(model: torch.nn.Module, batches: Batches) -> Iterator[None]:
    """Lets a decoder without a padding id take several rows at once, which it refuses for fear of padding.

    Such a model gets only rows of one length together; -1 is no token's id, so the last token is the last one.
    """
    config = model.config.get_text_config()
    missing = getattr(config, "pad_token_id", None) is None
    if missing and any("attention_mask" in batch.inputs for batch in batches):
        raise ValueError("a model without a padding id needs batches cut with pad=None")
    if missing:
        config.pad_token_id = -1
    try:
        yield
    finally:
        if missing:
            config.pad_token_id = None
