"""Findings carried out: a stand-in of two seeds on tiny models through the real run, the command line and the files it leaves."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import tiny
from transformers import AutoModel

from mcore import cli
from mcore.errors import McoreError, QuestionError
from mcore.events import Asked as AskedEvent
from mcore.events import Done, Missed
from mcore.findings import carrying, every
from mcore.findings import report as reports
from mcore.findings.answers import answers
from mcore.findings.finding import Asked, Finding, Panel, Part, outcome
from mcore.findings.material import barrier
from mcore.question import parse
from mcore.run import run


@pytest.fixture(scope="module")
def findings(saved, tmp_path_factory) -> dict[str, Finding]:
    """F1 and F2: two groups and two seeds each, on one small base; they share a question and a model."""
    file = tiny.learnable(tmp_path_factory.mktemp("task") / "rows.csv", rows=40)
    base = f"local:{saved('bert', 5, opener=AutoModel)}"

    def question(seed: int, **changes):
        a = {"base": base, "task": {"task": f"local:{file}"}, "steps": 2, "batch_size": 8, "head_seed": seed, "cartography": 16}
        return parse(tiny.experiment(a, {**a, **changes}, {"task": f"local:{file}", "max_length": 16}))

    def made(id: str, rate: float, by_row: bool) -> Finding:
        pairs = {"head seed": {"head_seed": 9}, "learning rate": {"learning_rate": rate}}
        asked = [Asked(f"{group}, seed {seed}", seed, group, question(seed, **changes)) for seed in (1, 2) for group, changes in pairs.items()]
        return Finding(
            id=id, short="a stand-in", claim="A stand-in.", tested="so", sizes="so", tried="so", asked=tuple(asked),
            panels=(Panel("barrier", "Barrier (nats)", tuple(pairs), ("head seed",)),),
            parts=(Part("by the head", "nats", lambda v: v["barrier", "head seed"] - v["barrier", "learning rate"]),),
            read=lambda one, answer: {("barrier", one.group): barrier(answer) if not by_row else float(answer.along.right.mean())}, by_row=by_row,
        )  # fmt: skip

    return {"F1": made("F1", 0.002, False), "F2": made("F2", 0.003, True)}


@pytest.fixture(scope="module")
def carried(findings, tmp_path_factory):
    """One run of both, its events, and the store."""
    from mcore.store import Store

    store = Store(tmp_path_factory.mktemp("store"))
    run_ = carrying.Carried(findings, store)
    return run_, list(run_), store


def test_what_two_findings_share_is_asked_once(carried):
    run_, told, _ = carried
    names = [one.name for one in told if isinstance(one, AskedEvent)]
    assert len(names) == 6 == len(set(names)) and "F1: head seed, seed 1" in names and "F2: head seed, seed 1" not in names
    assert isinstance(told[-1], Done)


def test_the_report_says_what_the_store_holds(carried, findings):
    run_, _, store = carried
    found = outcome(findings["F1"], answers(findings["F1"], store))
    entry = run_.report.findings["F1"]
    assert found.answered == found.of == 4 and entry.effects[0].n == 2
    assert entry.effects[0].mean == pytest.approx(found.effects[0].interval.mean, rel=1e-5)
    assert run_.report.kept == 0 and 0 < entry.seconds <= run_.report.seconds + 0.1
    assert reports.read(reports.written(run_.report).encode()) == run_.report


def test_a_finding_by_rows_sees_the_rows_that_were_followed(carried, findings):
    found = answers(findings["F2"], carried[2])
    along = found["head seed, seed 1"].along
    assert along.right.shape == (16, 3) and along.cartography.confidence.shape == (16,) and along.t == (0.0, 0.5, 1.0)


def test_asked_again_nothing_is_computed_and_the_report_says_so(carried, findings):
    again = carrying.Carried(findings, carried[2])
    assert {type(event) for event in again} == {Done}
    assert again.report.kept == 6 and again.report.findings["F1"].effects == carried[0].report.findings["F1"].effects
    assert again.report.seconds == pytest.approx(carried[0].report.seconds, abs=0.5)  # what it took then


def test_a_question_that_cannot_be_answered_is_named_and_its_seed_left_out(carried, findings):
    whole = findings["F1"]
    broken = replace(whole.asked[0], question=whole.asked[0].question.model_copy(update={"b": "local:/nowhere"}))
    third = [replace(one, name=one.name.replace("seed 1", "seed 3"), seed=3) for one in whole.asked[:2]]
    told = carrying.Carried({"F1": replace(whole, asked=(broken, *whole.asked[1:], *third))}, carried[2])
    assert [event.name for event in told if isinstance(event, Missed)] == ["F1: head seed, seed 1"]
    entry = told.report.findings["F1"]
    assert entry.effects[0].n == 2 and entry.missed["head seed, seed 1"].startswith("b: ")
    alone = carrying.Carried({"F1": replace(whole, asked=(broken, *whole.asked[1:]))}, carried[2])
    with pytest.raises(McoreError, match="F1: fewer than two seeds"):
        list(alone)


def test_those_that_are_named_are_chosen(findings):
    assert list(carrying.chosen(findings, None)) == ["F1", "F2"] and list(carrying.chosen(findings, " f2 ")) == ["F2"]
    assert list(carrying.chosen(findings, "F2,F1")) == ["F1", "F2"]
    for wrong in ("F9", "F1,F9", "", ","):
        with pytest.raises(QuestionError, match=r"^--only: .*use some of: F1,F2"):
            carrying.chosen(findings, wrong)


class TestCommand:
    @pytest.fixture
    def stand_in(self, findings, monkeypatch):
        monkeypatch.setattr(every, "FINDINGS", findings)

    def test_it_writes_the_file_and_a_figure(self, stand_in, carried, tmp_path, capfd):
        out = tmp_path / "made"
        assert cli.main(["findings", "--only", "F1", "--out", str(out), "--store", str(carried[2].root)]) == 0
        printed, errors = capfd.readouterr()
        assert printed.splitlines() == [str(out / "findings.json"), str(out / "F1.svg")]
        assert "F1 " in errors and "2 seeds" in errors
        report = reports.read((out / "findings.json").read_bytes())
        assert list(report.findings) == ["F1"]
        figure = (out / "F1.svg").read_text()
        assert figure.startswith("<svg") and "head seed" in figure and "Barrier (nats)" in figure
        assert not re.search(r"/tmp|/work|local:(?!/)", json.dumps({**json.loads((out / "findings.json").read_text()), "findings": {}}))

    def test_it_tells_how_it_goes(self, stand_in, tmp_path, capfd):
        assert cli.main(["findings", "--only", "F2", "--out", str(tmp_path / "made"), "--store", str(tmp_path / "store")]) == 0
        errors = capfd.readouterr().err
        assert "question 1 of 4: F2: head seed, seed 1" in errors and "left" in errors

    @pytest.mark.parametrize(("arguments", "said"), [(["--only", "F8", "--out", "new"], "--only: "), (["--out", "full"], "--out: "), ([], "command line: ")])
    def test_what_cannot_be_done_is_one_line(self, stand_in, tmp_path, capfd, arguments, said):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").write_text("here")
        told = [str(tmp_path / one) if one in ("new", "full") else one for one in arguments]
        assert cli.main(["findings", *told]) == 2
        out, errors = capfd.readouterr()
        assert out == "" and errors.startswith(said) and errors.count("\n") == 1

    def test_one_that_is_interrupted_leaves_no_file_and_goes_on_later(self, stand_in, findings, tmp_path):
        from mcore.errors import Cancelled
        from mcore.store import Store

        store, asked = Store(tmp_path / "store"), []
        stopped = carrying.Carried(findings, store, stop=lambda: len(asked) > 2)
        with pytest.raises(Cancelled):
            for event in stopped:
                asked += [event] if isinstance(event, AskedEvent) else []
        assert stopped.report is None
        again = carrying.Carried(findings, store)
        assert sum(isinstance(event, AskedEvent) for event in again) == 4 and again.report.kept == 2


def test_a_single_question_of_it_is_an_ordinary_one(carried, findings):
    """Whoever asks it by itself finds the answer there."""
    assert {type(event).__name__ for event in run(findings["F1"].asked[0].question, carried[2])} <= {"Resolved", "PointReady", "Done"}
