"""How numbers and endpoints are written: one form for each kind of number, five words for a model.

Pure functions of numbers and of ``question.Endpoint`` values. What a result means stands in ``words``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from mcore.models.methods import filled
from mcore.question import Endpoint, Recipe, Task


def nats(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """A loss to two digits, or three where its interval is narrow enough to carry them."""
    narrow = interval is not None and abs(interval[1] - interval[0]) < 0.02
    return plain(value, 3 if narrow else 2)


def unit(result: Mapping) -> str:
    """What the losses of one task's entry of a result are in (``mcore.evaluation.measures``); nats, where an older one does not tell."""
    return (result.get("measure") or {}).get("loss", "nats")


def share(result: Mapping) -> str:
    """What the accuracies of one task's entry of a result are: ``accuracy``, ``tokens predicted right``, ``within 0.5``."""
    return (result.get("measure") or {}).get("accuracy", "accuracy")


def reader(result: Mapping) -> str:
    """``, read-out fitted at each t`` where one task's entry of a result was read so; nothing for a head that was trained."""
    return ", read-out fitted at each t" if result.get("head") == "fitted" else ""


def right(result: Mapping, fraction: float) -> str:
    """``85.3 % right``, ``41.0 % of tokens right``, ``72.0 % within 0.5``."""
    ending = {"accuracy": "right", "tokens predicted right": "of tokens right"}.get(share(result), share(result))
    return f"{percent(fraction)} {ending}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one digit: ``85.3 %``."""
    return "–" if not finite(fraction) else f"{plain(100 * fraction, 1)} %"


def t_text(t: float) -> str:
    """A coordinate on the path to two digits."""
    return plain(t, 2)


def same_t(ts: Iterable[float]) -> set[float]:
    """The t as a set in which 0.1 + 0.2 and 0.3 are one: a t is asked for here and computed there."""
    return {round(float(t), 9) for t in ts}


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = math.floor(seconds + 0.5)
    if whole < 1:
        return "under 1 s"
    for unit, name, part, small in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name} {rest} {small}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def size(count: float) -> str:
    """Bytes in decimal units, three digits: ``17.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):  # noqa: B007 (used below)
        if count < 999.5:
            break
        count /= 1000
    else:
        unit = "TB"
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.{1 if count >= 9.995 else 2}f} {unit}"


def plain(value: float | None, digits: int) -> str:
    """A number to so many digits, with a real minus and no minus zero; a dash where there is none."""
    if not finite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def finite(value: float | None) -> bool:
    """Whether it is there and is a number."""
    return value is not None and math.isfinite(value)


def endpoint_name(endpoint: Endpoint) -> str:
    """About five words: ``austen@7000 tuned on speech, 150 steps``; of a checkpoint on its way ``… on speech @ step 100 of 150``."""
    if isinstance(endpoint, Recipe):
        steps = f" @ step {steps_text(endpoint).removesuffix(' steps')}" if on_its_way(endpoint) else f", {steps_text(endpoint)}"
        return f"{endpoint_name(endpoint.base)} tuned on {task_name(endpoint.task)}{in_words(endpoint)}{by_method(endpoint)}{steps}"
    name, revision = parts_of(endpoint)
    return name.rpartition("/")[2] + (f"@{revision}" if revision else "")


def method_name(recipe: Recipe) -> str:
    """``LoRA r 8``, ``Houlsby adapters of 24``, ``a prefix of 16``, ``BitFit``, ``full fine-tuning``."""
    asked = filled(recipe)
    return {
        "full": "full fine-tuning", "lora": f"LoRA r {asked.rank}", "adapter": f"{(asked.placement or '').capitalize()} adapters of {asked.bottleneck}",
        "prefix": f"a prefix of {asked.prefix_length}", "bitfit": "BitFit",
    }[recipe.method]  # fmt: skip


def by_method(recipe: Recipe) -> str:
    """`` by LoRA r 8``; nothing where everything is tuned."""
    return f" by {method_name(recipe)}" if recipe.method != "full" else ""


def in_words(recipe: Recipe) -> str:
    """`` in words`` for a language model, nothing for a classifier."""
    return " in words" if recipe.task.read == "answers" else ""


def on_its_way(recipe: Recipe) -> bool:
    """Whether it is a checkpoint of a training that goes on beyond it."""
    return recipe.stop_at is not None and recipe.stop_at < recipe.steps and not recipe.continued


def steps_text(recipe: Recipe) -> str:
    """``150 steps``, ``84 of 150 steps``, ``150 + 100 steps``."""
    first = f"{recipe.stop_at:,} of {recipe.steps:,}" if recipe.stop_at else f"{recipe.steps:,}"
    every = " + ".join([first, *(f"{more:,}" for more in recipe.continued or ())])
    return "1 step" if every == "1" else f"{every} steps"


def task_name(task: Task) -> str:
    """``speech``, ``glue/mnli``, ``glue/mnli@0f3c4a1``, ``mine.csv``."""
    scheme, _, rest = task.task.partition(":")
    parts = re.sub(r"@([0-9a-f]{7})[0-9a-f]{33}$", r"@\1", rest).split("/")
    return PurePath(rest).name if scheme == "local" else "/".join(parts[1:]) if len(parts) > 1 else rest


def parts_of(address: str) -> tuple[str, str]:
    """The name of a checkpoint, and its revision or step in few letters."""
    scheme, _, rest = address.partition(":")
    if scheme == "local":
        return PurePath(rest).name, ""
    name, _, revision = rest.partition("@")
    return name, revision[:7] if re.fullmatch("[0-9a-f]{40}", revision) else revision


def address_name(address: str) -> str:
    """An address as it is told where two are compared."""
    name, revision = parts_of(address)
    return address.partition(":")[2] if address.startswith("local:") else name + (f"@{revision}" if revision else "")


def value_text(value: object) -> str:
    """A value of a field in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return re.sub(r"e-0?", "e-", f"{value:g}")
    return "default" if value is None else f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
