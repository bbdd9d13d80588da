"""The designs of F1 to F4: pairs that differ in one thing, tuning methods, a bend, and what the ends were trained on."""

from __future__ import annotations

from mcore.findings.finding import Answer, Asked, Finding, Panel, Part, Values
from mcore.findings.material import ANOTHER, barrier, question, recipe
from mcore.glossary import SMALL

LONG = 400  # steps of a long training
DELTA = {"method": "adapter", "learning_rate": 3e-3}
HEIGHT = "Barrier (nats)"
CONNECTED = {"bound": SMALL, "bound_name": "connected up to here"}


def _barriers(asked: Asked, answer: Answer) -> Values:
    return {("barrier", asked.group): barrier(answer)}


def _of(values: Values, group: str) -> float:
    return values["barrier", group]


def _mean(values: Values, *groups: str) -> float:
    return sum(_of(values, group) for group in groups) / len(groups)


def _named(seed: int, group: str, asked) -> Asked:
    return Asked(f"{group}, seed {seed}", seed, group, asked)


def f1() -> Finding:
    """Pairs that differ in exactly one thing."""
    rest = ("data order", "learning rate", "batch size")
    asked = []
    for seed in range(1, 6):
        a, long = recipe(seed), recipe(seed, steps=LONG)
        adapter = recipe(seed, **DELTA)
        pairs = {
            "head seed": (a, {**a, "head_seed": seed + ANOTHER}),
            "data order": (a, {**a, "data_seed": seed + ANOTHER}),
            "learning rate": (a, {**a, "learning_rate": a["learning_rate"] / 2}),
            "batch size": (a, {**a, "batch_size": a["batch_size"] // 2}),
            "head seed, long training": (long, {**long, "head_seed": seed + ANOTHER}),
            "adapter seed": (adapter, {**adapter, "delta_seed": seed + ANOTHER}),
            "adapter, data order": (adapter, {**adapter, "data_seed": seed + ANOTHER}),
        }
        asked += [_named(seed, group, question(*pair)) for group, pair in pairs.items()]
    return Finding(
        id="F1",
        short="How what is new begins, and long training, matter most",
        claim="The random beginning of what is newly added (a head, an adapter) and long training decide whether two minima are connected; "
              "the order of the data, the learning rate and the batch size matter much less.",
        tested="Pairs of models tuned on the task “speech” from the last pre-training step that differ in exactly one thing, and the [barrier] "
               "on the straight line between them.",
        sizes="",
        tried="",
        asked=tuple(asked),
        panels=(Panel("barrier", HEIGHT, ("head seed", *rest, "head seed, long training", "adapter seed", "adapter, data order"),
                      ("head seed", "head seed, long training", "adapter seed"), **CONNECTED),),
        parts=(
            Part("barrier by the head's seed beyond that by data order, learning rate and batch size", "nats",
                 lambda v: _of(v, "head seed") - _mean(v, *rest)),
            Part("barrier after long training beyond that after short training", "nats",
                 lambda v: _of(v, "head seed, long training") - _of(v, "head seed")),
            Part("barrier by the adapter's seed beyond that by its data order", "nats",
                 lambda v: _of(v, "adapter seed") - _of(v, "adapter, data order")),
        ),
        read=_barriers,
    )  # fmt: skip


def f2() -> Finding:
    """Full tuning against delta tuning."""
    methods = {"full": {}, "adapter": DELTA, "LoRA": {"method": "lora", "learning_rate": 3e-3}}
    asked = []
    for seed in range(1, 6):
        for group, changes in methods.items():
            asked.append(_named(seed, group, question(recipe(seed, **changes), recipe(seed + ANOTHER, **changes))))
    return Finding(
        id="F2",
        short="Full fine-tuning connects more easily than delta tuning",
        claim="Minima of full fine-tuning are linearly connected more often than minima of delta tuning (adapters, LoRA).",
        tested="", sizes="", tried="",
        asked=tuple(asked),
        panels=(Panel("barrier", HEIGHT, tuple(methods), ("adapter", "LoRA"), **CONNECTED),),
        parts=(
            Part("barrier between adapters beyond that between fully tuned models", "nats", lambda v: _of(v, "adapter") - _of(v, "full")),
            Part("barrier between LoRA models beyond that between fully tuned models", "nats", lambda v: _of(v, "LoRA") - _of(v, "full")),
        ),
        read=_barriers,
    )  # fmt: skip


def f3() -> Finding:
    """A line against a curve with one fitted bend, where the line has a barrier."""
    asked = []
    for seed in range(1, 6):
        ends = [recipe(one, step=0, steps=200) for one in (seed, seed + ANOTHER)]
        fit = {"kind": "bezier", "bends": 1, "steps": 200, "batch_size": 32, "learning_rate": 1e-3, "seed": seed}
        asked.append(_named(seed, "straight line", question(*ends)))
        asked.append(_named(seed, "curve with one bend", question(*ends, path=fit)))
    return Finding(
        id="F3",
        short="One trained bend connects what a line does not",
        claim="Minima that a straight line does not connect can be connected by a curve with one trained bend.",
        tested="", sizes="", tried="",
        asked=tuple(asked),
        panels=(Panel("barrier", HEIGHT, ("straight line", "curve with one bend"), ("straight line",), **CONNECTED),),
        parts=(
            Part("barrier that the bend removes", "nats", lambda v: _of(v, "straight line") - _of(v, "curve with one bend")),
            Part(f"how far the curve's barrier lies below {SMALL} nats, up to which we call minima connected", "nats",
                 lambda v: SMALL - _of(v, "curve with one bend")),
        ),
        read=_barriers,
    )  # fmt: skip


def f4() -> Finding:
    """The same rows, other rows; the same domain, another one."""
    one, other = "order-austen", "order-mail"
    asked = []
    for seed in range(1, 6):
        a = recipe(seed, steps=150, limit=1000, rows="half-1")
        b = {**a, "data_seed": seed + ANOTHER}
        asked.append(_named(seed, "same rows", question(a, b)))
        asked.append(_named(seed, "disjoint rows", question(a, {**b, "rows": "half-2"})))
        a = recipe(seed, task=one)
        asked.append(_named(seed, "same domain", question(a, {**a, "data_seed": seed + ANOTHER}, (one, other))))
        asked.append(_named(seed, "other domain", question(a, {**recipe(seed, task=other), "data_seed": seed + ANOTHER}, (one, other))))
    return Finding(
        id="F4",
        short="The more the training data overlap, the better connected",
        claim="The more the training data of two minima overlap (the same rows, the same domain), the better they are connected.",
        tested="", sizes="", tried="",
        asked=tuple(asked),
        panels=(Panel("barrier", HEIGHT, ("same rows", "disjoint rows", "same domain", "other domain"), ("disjoint rows", "other domain"), **CONNECTED),),
        parts=(
            Part("barrier between disjoint halves beyond that within one half", "nats", lambda v: _of(v, "disjoint rows") - _of(v, "same rows")),
            Part("barrier between domains beyond that within one", "nats", lambda v: _of(v, "other domain") - _of(v, "same domain")),
        ),
        read=lambda asked, answer: {("barrier", asked.group): sum(barrier(answer, i) for i in range(len(answer.result["tasks"]))) / len(answer.result["tasks"])},
    )  # fmt: skip
