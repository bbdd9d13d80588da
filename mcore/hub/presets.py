"""Questions to start from, about checkpoints that others put on the Hub, grouped by what they answer.

They are examples: a repository may have changed or gone since, and then the page says so as for any other name.
Nothing is looked up here, and nothing is computed before somebody presses Run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mcore.question import Experiment, Recipe, parse

GLUE = "hub:nyu-mll/glue"
FEATHER, QQP, COLA = "hub:connectivity/feather_berts_", "hub:connectivity/bert_ft_qqp-", "hub:connectivity/cola_6ep_ft-"
MEANT = ["contradiction", "entailment", "neutral"]  # what the outputs of the feather BERTs mean, which only call them LABEL_0 … 2
ROWS = 1000  # that a preset evaluates


@dataclass(frozen=True)
class Preset:
    """A whole question: its name, what one should see, and the JSON of the experiment."""

    name: str
    told: str
    asked: dict

    @property
    def question(self) -> Experiment:
        return parse(self.asked)

    @property
    def repositories(self) -> tuple[str, ...]:
        """Of its endpoints, ``ORG/NAME`` or ``ORG/NAME@REVISION``."""
        ends = [end.base if isinstance(end, Recipe) else end for end in (self.question.a, self.question.b)]
        return tuple(end.removeprefix("hub:") for end in ends)


@dataclass(frozen=True)
class Group:
    """Presets that answer one question."""

    name: str
    presets: tuple[Preset, ...]


@lru_cache(maxsize=1)
def groups() -> tuple[Group, ...]:
    """All there are."""
    mnli = {"split": "validation_matched"}
    return (
        Group("Two basins on MNLI", (
            Preset("One of each basin", "A barrier is to be expected: equally accurate BERTs that read the pairs in different ways.",
                   _asked(f"{FEATHER}0", f"{FEATHER}25", [_glue("mnli", **mnli)], labels={"a": MEANT, "b": MEANT})),
            Preset("Two of the smaller basin", "Nearly no barrier is to be expected: both belong to the smaller cluster.",
                   _asked(f"{FEATHER}25", f"{FEATHER}63", [_glue("mnli", **mnli)], labels={"a": MEANT, "b": MEANT})),
        )),
        Group("Two basins on QQP, by step", (
            Preset("One of each basin", "A barrier between paraphrase models that differ in nothing but their seeds. For an earlier step add @COMMIT: "
                   "these repositories title their commits by step.", _asked(f"{QQP}1", f"{QQP}7", [_glue("qqp")])),
            Preset("Two of the smaller basin", "Nearly no barrier is to be expected: both belong to the smaller cluster.",
                   _asked(f"{QQP}7", f"{QQP}11", [_glue("qqp")])),
        )),
        Group("An outlier on CoLA", (
            Preset("The outlier and another", "How far one run of many can be from the others: model 23 is the odd one out.",
                   _asked(f"{COLA}1", f"{COLA}23", [_glue("cola")])),
        )),
        Group("Three seeds of RoBERTa on QNLI", tuple(
            Preset(f"Seeds {a} and {b}", "The same recipe with other seeds: is there a barrier, and who forgets what between them?",
                   _asked(f"hub:utahnlp/qnli_roberta-base_seed-{a}", f"hub:utahnlp/qnli_roberta-base_seed-{b}", [_glue("qnli")]))
            for a, b in ((1, 2), (1, 3), (2, 3))
        )),
        Group("T5 across tasks", (
            Preset("SST-2 and RTE", "Each task is known at its own end; on the way the one is forgotten and the other learned.",
                   _asked(_t5("sst2"), _t5("rte"), [SST2, RTE])),
            Preset("SST-2 and CoLA", "Two tasks about one sentence, read by the likelihood of an answer.",
                   _asked(_t5("sst2"), _t5("cola"), [SST2, ACCEPTABLE])),
        )),
        Group("Small, across tasks", (
            Preset("SST-2 and MNLI", "4.4 M parameters: minutes on a laptop. Each task is read with the head of the end that has it.",
                   _asked(_tiny("sst2"), _tiny("mnli"), [_glue("sst2"), _glue("mnli", **mnli)])),
            Preset("MRPC and QQP", "Two tasks that ask nearly the same: how much of the one does the model for the other know?",
                   _asked(_tiny("mrpc"), _tiny("qqp"), [_glue("mrpc"), _glue("qqp")])),
        )),
        Group("One pre-training run by step", (
            Preset("Pythia 70M, early and late", "The loss of tokens along the line from step 1,000 to the end of pre-training.",
                   _asked("hub:EleutherAI/pythia-70m@step1000", "hub:EleutherAI/pythia-70m@step143000", [NEWS])),
            Preset("Pythia 14M, two late steps", "Late steps of one run: does the line between them stay low?",
                   _asked("hub:EleutherAI/pythia-14m@step100000", "hub:EleutherAI/pythia-14m@step143000", [NEWS])),
            Preset("MultiBERT 0, early and late", "The loss of masked tokens between two steps of one BERT.",
                   _asked("hub:google/multiberts-seed_0-step_200k", "hub:google/multiberts-seed_0-step_2000k", [NEWS])),
            Preset("RoBERTa by epoch", "The loss of masked tokens between epochs 10 and 80 of one RoBERTa.",
                   _asked("hub:yanaiela/roberta-base-epoch_10", "hub:yanaiela/roberta-base-epoch_80", [NEWS])),
        )),
    )  # fmt: skip


def _asked(a: str, b: str, tasks: list[dict], **more: object) -> dict:
    return {"version": 1, "a": a, "b": b, "tasks": tasks, "points": 11, **more}


def _glue(name: str, **more: object) -> dict:
    return {"task": f"{GLUE}/{name}", "limit": ROWS, **more}


def _t5(task: str) -> str:
    return f"hub:tanganke/flan-t5-base_glue-{task}"


def _tiny(task: str) -> str:
    return f"hub:M-FAC/bert-tiny-finetuned-{task}"


SST2 = _glue("sst2", read="answers", template="Review: {sentence}\nIs this review negative or positive?", answers=["negative", "positive"])
RTE = _glue("rte", limit=277, read="answers", template="{sentence1}\nDoes it follow that \"{sentence2}\"? Yes or no.", answers=["yes", "no"])
ACCEPTABLE = _glue("cola", read="answers", template="Sentence: {sentence}\nIs it acceptable or unacceptable English?", answers=["unacceptable", "acceptable"])
NEWS = {"task": "hub:fancyzhx/ag_news", "split": "test", "limit": 200, "text": "text", "read": "tokens"}
