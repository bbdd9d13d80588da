"""How numbers and endpoints are written: one form for each kind of number, five words for a model.

Pure functions of numbers and of ``question.Endpoint`` values. What a result means stands in ``words``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from mcore.methods import filled
from mcore.question import Endpoint, Recipe, Task


def nats(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """A loss to two digits, or three where its interval is narrow enough to carry them."""
    narrow = interval is not None and abs(interval[1] - interval[0]) < 0.02
    return plain(value, 3 if narrow else 2)


def unit(result: Mapping) -> str:
    """What the losses of one task's entry of a result are in (``mcore.measures``); nats, where an older one does not tell."""
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
    """About five words: ``austen@7000 tuned on speech, 150 steps``."""
    if isinstance(endpoint, Recipe):
        return f"{endpoint_name(endpoint.base)} tuned on {task_name(endpoint.task)}{_by(endpoint)}, {steps_text(endpoint)}"
    name, revision = _parts(endpoint)
    return name.rpartition("/")[2] + (f"@{revision}" if revision else "")


def method_name(recipe: Recipe) -> str:
    """``LoRA r 8``, ``Houlsby adapters of 24``, ``a prefix of 16``, ``BitFit``, ``full fine-tuning``."""
    asked = filled(recipe)
    return {
        "full": "full fine-tuning", "lora": f"LoRA r {asked.rank}", "adapter": f"{(asked.placement or '').capitalize()} adapters of {asked.bottleneck}",
        "prefix": f"a prefix of {asked.prefix_length}", "bitfit": "BitFit",
    }[recipe.method]  # fmt: skip


def _by(recipe: Recipe) -> str:
    return f" by {method_name(recipe)}" if recipe.method != "full" else ""


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


def differences(a: Endpoint, b: Endpoint) -> str:
    """One line on what differs: ``head seed 1 → 2; everything else the same``."""
    if isinstance(a, Recipe) and isinstance(b, Recipe):
        found = [*_bases(a.base, b.base), *_tasks(a.task, b.task), *_steps(a, b)] + [
            f"{label} {_value(old)} → {_value(new)}"
            for field, label in _FIELDS.items()
            if (old := getattr(a, field)) != (new := getattr(b, field))
        ] + _methods(a, b)
        return "; ".join([", ".join(found), "everything else the same"]) if found else "the same recipe: nothing differs"
    for recipe, base, told in ((b, a, "B is A"), (a, b, "A is B")):
        if isinstance(recipe, Recipe) and recipe.base == base:
            return f"{told} tuned on {task_name(recipe.task)}{_by(recipe)} for {steps_text(recipe)}"
    if isinstance(a, Recipe) or isinstance(b, Recipe):
        kinds = ["a recipe" if isinstance(one, Recipe) else "a checkpoint" for one in (a, b)]
        return f"A is {kinds[0]}, B {kinds[1]}: {endpoint_name(a)} → {endpoint_name(b)}"
    return ", ".join(_bases(a, b)) or "the same checkpoint: nothing differs"


_FIELDS = {
    "batch_size": "batch size", "learning_rate": "learning rate",
    "head_seed": "head seed", "data_seed": "data seed", "rows": "training rows", "weight_decay": "weight decay",
    "warmup": "warm-up", "clip": "gradient clip", "cartography": "rows followed",
}  # fmt: skip


_ADDED = {
    "rank": "rank", "alpha": "alpha", "bottleneck": "bottleneck", "placement": "placement", "activation": "activation",
    "prefix_length": "prefix length", "init_scale": "initial scale", "delta_seed": "seed", "layers": "layers", "train_norms": "norms tuned",
}  # fmt: skip
_OWNER = {"lora": "LoRA", "adapter": "adapter", "prefix": "prefix", "bitfit": "BitFit"}


def _methods(a: Recipe, b: Recipe) -> list[str]:
    """What differs in the tuning method, with what is left out as it will be: another head seed starts an adapter elsewhere too."""
    if a.method != b.method:
        return [f"method {method_name(a)} → {method_name(b)}"]
    old, new = filled(a), filled(b)
    return [
        f"{_OWNER[a.method]} {label} {_value(was)} → {_value(now)}"
        for field, label in _ADDED.items()
        if (was := getattr(old, field)) != (now := getattr(new, field))
    ]


def _parts(address: str) -> tuple[str, str]:
    scheme, _, rest = address.partition(":")
    if scheme == "local":
        return PurePath(rest).name, ""
    name, _, revision = rest.partition("@")
    return name, revision[:7] if re.fullmatch("[0-9a-f]{40}", revision) else revision


def _bases(a: str, b: str) -> list[str]:
    if a == b:
        return []
    (name, old), (other, new) = _parts(a), _parts(b)
    if name != other or a.startswith("local:"):
        return [f"{'base' if a.startswith('builtin:') else 'checkpoint'} {_address(a)} → {_address(b)}"]
    steps = all(re.fullmatch(r"(step)?\d+", one) for one in (old, new))
    return [f"{'pre-training step' if steps else 'revision'} {old or 'main'} → {new or 'main'}"]


def _address(address: str) -> str:
    name, revision = _parts(address)
    return address.partition(":")[2] if address.startswith("local:") else name + (f"@{revision}" if revision else "")


def _tasks(a: Task, b: Task) -> list[str]:
    if a.task != b.task:
        return [f"task {task_name(a)} → {task_name(b)}"]
    return [
        f"task's {field.replace('_', ' ')} {_value(old)} → {_value(new)}"
        for field in Task.model_fields
        if (old := getattr(a, field)) != (new := getattr(b, field))
    ]


def _steps(a: Recipe, b: Recipe) -> list[str]:
    if (a.steps, a.stop_at, a.continued) == (b.steps, b.stop_at, b.continued):
        return []
    old, new = (steps_text(one).removesuffix(" steps").removesuffix(" step") for one in (a, b))
    return [f"training steps {old} → {new}"]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return re.sub(r"e-0?", "e-", f"{value:g}")
    return "default" if value is None else f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
