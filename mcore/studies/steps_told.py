"""What a sweep over pre-training says, in sentences with their uncertainty; and its files. Of ``bystep.answer``, headless."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

from mcore.charts.steps import told
from mcore.names import percent, plain
from mcore.question import as_written
from mcore.studies.bystep import BARRIERS, KEPT
from mcore.studies.pretraining import Sweep

SURE = 0.05  # of a p value
FEWEST = 5  # steps of which an order can be told from chance at that level: 2 of 120


def barrier_told(answer: Mapping, measure: str) -> list[str]:
    """One sentence on the first and the last step, one on the trend, one on what the numbers cannot say."""
    found = answer["seeds"]["measures"][measure]
    what = {"accuracy_chord": "the accuracy lost between two seeds"}.get(measure, "the barrier between two seeds")
    said = _ends(found["means"], measure, what)
    words = ("Less is lost", "More is lost") if measure == "accuracy_chord" else ("The barrier falls", "The barrier rises")
    return [*said, *_trend(found["trend"], _whole(answer), words), *_unlearned(answer, "seeds")]


def kept_told(answer: Mapping, measure: str = "best") -> list[str]:
    """The same of two tasks: how much of both the best single model keeps."""
    found = answer["tasks"]["measures"][measure]
    what = "what the best model on the line keeps of both tasks" if measure == "best" else "what is kept of both tasks over the whole line"
    said = _ends(found["means"], measure, what)
    return [*said, *_trend(found["trend"], _whole(answer), ("Less is kept", "More is kept")), *_unlearned(answer, "tasks")]


def definition(measure: str) -> str:
    """What a number of this measure is."""
    return {
        "loss_chord": "The barrier of a pair is the most that the loss on the line rises above the chord between its two ends.",
        "loss_mean": "The barrier of a pair is the most that the loss on the line rises above the mean of its two ends.",
        "accuracy_chord": "Of a pair, the most that the accuracy on the line falls below the chord between its two ends.",
        "best": "A model keeps of a task what its accuracy is above always one label, as a share of what the model tuned on that task is above it. "
        "Of each pair: the largest share of both tasks at once (of the smaller of the two) at any t. One task plainly traded for the other gives 50 %.",
        "average": "A model keeps of a task what its accuracy is above always one label, as a share of what the model tuned on that task is above it. "
        "Of each pair: the mean of both shares over all t. One task plainly traded for the other gives 50 %.",
    }[measure]


def csv_of(answer: Mapping) -> bytes:
    """A line for each pair, in full precision."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    numbers = [f"{name}{part}" for name in (*BARRIERS, *KEPT) for part in ("", "_low", "_high", "_t")]
    writer.writerow(["step", "pair", "kind", "seed_a", "seed_b", "accuracy_a", "accuracy_b", "learned", *numbers])
    for kind in ("seeds", "tasks"):
        for one in answer[kind]["pairs"]:
            cells = [cell for name in (*BARRIERS, *KEPT) for cell in _cells(one.get(name))]
            writer.writerow([one["step"], one["name"], kind, *one["seeds"], *one["ends"], int(one["learned"]), *cells])
    return file.getvalue().encode()


def questions_jsonl(sweep: Sweep) -> bytes:
    """A line for each question, as ``python -m mcore run`` takes it."""
    return "".join(json.dumps(as_written(one.question), ensure_ascii=False) + "\n" for one in sweep.asked).encode()


def snippet(sweep: Sweep) -> str:
    """Python that carries out the same with the same engine."""
    fields = {"bases": dict(sweep.bases), "task": dict(sweep.task), "other": sweep.other and dict(sweep.other), "seeds": sweep.seeds}
    fields |= {"training": dict(sweep.training), "limit": sweep.limit, "points": sweep.points}
    given = "".join(f"    {name}={value!r},\n" for name, value in fields.items() if value is not None)
    return f"""from mcore.resolve import resolve
from mcore.store import Store
from mcore.studies import bystep
from mcore.studies.pretraining import Sweep
from mcore.studies.studying import run_study

sweep = Sweep(
{given})
store = Store()
for event in run_study(sweep.study, store):
    print(event)
readings = {{one.name: bystep.read(one, resolve(one.question), store) for one in sweep.asked}}
answer = bystep.answer(sweep, {{name: found for name, found in readings.items() if found}})
"""


def _ends(means: list[Mapping], measure: str, what: str) -> list[str]:
    if not means:
        return []
    first, last = means[0], means[-1]
    said = f"At step {first['step']:,} {what} is {_number(first, measure)}"
    return [f"{said}." if first is last else f"{said}; at step {last['step']:,} it is {_number(last, measure)}."]


def _number(mean: Mapping, measure: str) -> str:
    if mean["low"] is None:
        pairs = "one pair" if mean["pairs"] == 1 else f"{mean['pairs']} pairs"
        return f"{told(mean['value'], measure)} ({pairs} so far)"
    interval = (mean["low"], mean["high"])
    low, high = (told(end, measure, interval).removesuffix(" nats").removesuffix(" %") for end in interval)
    return f"{told(mean['value'], measure, interval)} (95 % interval {low} to {high})"


def _whole(answer: Mapping) -> bool:
    return len(answer["seeds"]["pairs"]) + len(answer["tasks"]["pairs"]) == answer["asked"]


def _trend(trend: Mapping | None, whole: bool, words: tuple[str, str]) -> list[str]:
    if trend is None:
        return [] if not whole else ["Three steps or more whose models have learned the task are needed to speak of a trend."]
    number = f"Spearman's ρ {plain(trend['rho'], 2)} over {trend['steps']} steps, p = {_p(trend['p'])}"
    if trend["p"] < SURE:
        return [f"{words[trend['rho'] > 0]} as pre-training goes on ({number})."]
    if trend["steps"] < FEWEST:
        return [f"{trend['steps']} steps are too few to tell a trend from chance ({number})."]
    return [f"No trend stands out from chance ({number})."]


def _p(p: float) -> str:
    return "0.001 or less" if p < 0.0015 else plain(p, 3 if p < 0.1 else 2)


def _unlearned(answer: Mapping, kind: str) -> list[str]:
    steps = sorted({one["step"] for one in answer[kind]["pairs"] if not one["learned"]})
    if not steps:
        return []
    named = ", ".join(f"{step:,}" for step in steps)
    ends = [end for one in answer[kind]["pairs"] if not one["learned"] for end in one["ends"]]
    return [
        f"From step {named} a tuned model is hardly better than always one label (accuracy from {percent(min(ends))}): "
        "that it is connected says nothing, and the step is left out of the trend. Train for longer."
    ]


def _cells(number: Mapping | None) -> list:
    return ["", "", "", ""] if number is None else [number["value"], number["low"], number["high"], number["t"]]
