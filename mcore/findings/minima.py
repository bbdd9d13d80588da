"""The designs of F1 to F4: pairs that differ in one thing, tuning methods, a bend, and what the ends were trained on."""

from __future__ import annotations

from mcore.findings.finding import Answer, Asked, Finding, Panel, Part, Values
from mcore.findings.material import ANOTHER, barrier, question, recipe
from mcore.glossary import SMALL

LONG = 300  # steps of a long training
FEWER = 4  # seeds of what takes longest
ORDER = 200  # steps in which the order of words is learned
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
    for seed in range(1, 7):
        a, long = recipe(seed), recipe(seed, steps=LONG)
        adapter = recipe(seed, **DELTA)
        pairs = {
            "head seed": (a, {**a, "head_seed": seed + ANOTHER}),
            "data order": (a, {**a, "data_seed": seed + ANOTHER}),
            "learning rate": (a, {**a, "learning_rate": a["learning_rate"] / 2}),
            "batch size": (a, {**a, "batch_size": a["batch_size"] // 2}),
        }
        if seed <= FEWER:
            pairs |= {
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
        sizes="100 steps reach 92 % on held-out rows, and the two heads still differ enough for a barrier; 300 steps are what the time for all "
              "seven findings leaves for long training. Six seeds; four of long training and of adapters.",
        tried="With one seed: 100 steps at a learning rate of 0.001 have a barrier of 0.027 nats by the head's seed, and of at most 0.001 by the "
              "rest; 400 steps have 0.005 by the head's seed. Here longer training rather lowers the barrier: the task is easy, and a training "
              "whose rate falls to zero settles. An adapter that begins near zero (0.01, the usual scale) had no barrier by its seed. A run with four seeds left the first "
              "part open: +0.019 nats (−0.003 to 0.041).",
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
    for seed in range(1, 7):
        for group, changes in methods.items():
            asked.append(_named(seed, group, question(recipe(seed, **changes), recipe(seed + ANOTHER, **changes))))
    return Finding(
        id="F2",
        short="Full fine-tuning connects more easily than delta tuning",
        claim="Minima of full fine-tuning are linearly connected more often than minima of delta tuning (adapters, LoRA).",
        tested="Two models of every method that share nothing but base and task (seeds of head, of what is added, and of the data order differ), "
               "and the [barrier] between them. Of a delta method only what was tuned is on the path: the backbone is shared.",
        sizes="100 steps each. Adapters and LoRA with a learning rate of 0.003, full tuning with 0.001: so all three reach 92 to 93 % on held-out "
              "rows, and no barrier is that of a model which has not learned. Six seeds.",
        tried="With one seed: 0.104 nats for LoRA, 0.037 for adapters, 0.027 for full tuning. A run with four seeds left LoRA open: +0.040 nats (−0.008 to 0.088).",
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
    for seed in range(1, 5):
        ends = [recipe(one, step=0) for one in (seed, seed + ANOTHER)]
        fit = {"kind": "bezier", "bends": 1, "steps": 150, "batch_size": 32, "learning_rate": 1e-3, "seed": seed}
        asked.append(_named(seed, "straight line", question(*ends)))
        asked.append(_named(seed, "curve with one bend", question(*ends, path=fit)))
    return Finding(
        id="F3",
        short="One trained bend connects what a line does not",
        claim="Minima that a straight line does not connect can be connected by a curve with one trained bend.",
        tested="Two models that are tuned on “speech” from the base before any pre-training, with other seeds: the [barrier] on the straight line, and "
               "on a [Bézier curve] with one [bend] that is fitted for 150 steps on training rows.",
        sizes="Before pre-training 100 steps reach 91 % and leave a barrier on the line; from the last step they leave too low a one for anything to be "
              "removed. The models are those of F5 at step 0. 150 steps of fitting are one and a half trainings. Four seeds.",
        tried="Fits of 300 steps at 300 steps of tuning took a barrier of 0.105 nats away entirely (benchmarks/curve.py). What a fit finds may also be a "
              "better model that was trained for longer: the benchmark tells the loss of an end after as many steps more.",
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
    for seed in range(1, 4):
        a = recipe(seed, rows="half-1")
        b = recipe(seed + ANOTHER, rows="half-1")
        asked.append(_named(seed, "same rows", question(a, b)))
        asked.append(_named(seed, "disjoint rows", question(a, {**b, "rows": "half-2"})))
        a = recipe(seed, one, steps=ORDER)
        asked.append(_named(seed, "same domain", question(a, recipe(seed + ANOTHER, one, steps=ORDER), (one, other))))
        asked.append(_named(seed, "other domain", question(a, recipe(seed + ANOTHER, other, steps=ORDER), (one, other))))
    return Finding(
        id="F4",
        short="The more the training data overlap, the better connected",
        claim="The more the training data of two minima overlap (the same rows, the same domain), the better they are connected.",
        tested="Pairs with other seeds. Rows: both ends are tuned on one half of the training rows of “speech”, or on the two disjoint halves. Domain: both "
               "on “order-austen” (have two words changed places?, in Austen's sentences), or one of them on “order-mail”, the same question about "
               "e-mails; the [barrier] is the mean over both domains' held-out rows.",
        sizes="Halves of 4,000 rows in 100 steps: neither end overfits. The order of words is harder: 200 steps. Three seeds.",
        tried="Halves of 1,000 and of 500 rows: the barrier was 0 within a half and between halves, since both ends overfit and the middle of the way "
              "is better than either. 100 steps on the order of words: the ends on e-mails had learned too little (56 %) for a barrier to be told.",
        asked=tuple(asked),
        panels=(Panel("barrier", HEIGHT, ("same rows", "disjoint rows", "same domain", "other domain"), ("disjoint rows", "other domain"), **CONNECTED),),
        parts=(
            Part("barrier between disjoint halves beyond that within one half", "nats", lambda v: _of(v, "disjoint rows") - _of(v, "same rows")),
            Part("barrier between domains beyond that within one", "nats", lambda v: _of(v, "other domain") - _of(v, "same domain")),
        ),
        read=lambda asked, answer: {("barrier", asked.group): sum(barrier(answer, i) for i in range(len(answer.result["tasks"]))) / len(answer.result["tasks"])},
    )  # fmt: skip
