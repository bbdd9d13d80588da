"""Findings: the verdict rule, effects from answers of known make, designs that ask what they say, files that are read strictly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError
from test_headless import imported_by

from mcore.errors import McoreError, QuestionError
from mcore.findings import report as reports
from mcore.findings.answers import together as joined
from mcore.findings.every import FINDINGS
from mcore.findings.finding import Along, Answer, Effect, Outcome, _effect, outcome, together, verdict
from mcore.findings.knowledge import EARLY, LATE, kept, steepest
from mcore.findings.said import MARKS, effect_told, summary, verdict_told
from mcore.question import Recipe, canonical
from mcore.resolve import resolve
from mcore.tuning.cartography import Cartography

NOISE = (0.0, 0.004, -0.003, 0.002, -0.001)


def barrier_of(value: float, tasks: int = 1) -> Answer:
    one = {"value": value, "low": value, "high": value, "t": 0.5}
    return Answer({"tasks": [{"barrier": {"loss_chord": one, "loss_mean": one, "accuracy_chord": one}}] * tasks})


def barriers(id: str, heights: dict[str, float]) -> Outcome:
    """The finding's outcome where each group has this barrier, a little apart from seed to seed."""
    finding = FINDINGS[id]
    found = {one.name: barrier_of(heights[one.group] + NOISE[one.seed % len(NOISE)] * (len(one.group) % 3), len(one.question.tasks)) for one in finding.asked}
    return outcome(finding, found)


class TestVerdict:
    @pytest.mark.parametrize(("low", "high", "said"), [(0.1, 0.3, "shown"), (-0.3, -0.1, "opposite"), (-0.1, 0.2, "not shown"), (0.0, 0.1, "not shown"), (-0.1, 0.0, "not shown")])
    def test_it_asks_on_which_side_of_zero_the_whole_interval_lies(self, low, high, said):
        assert verdict(low, high) == said

    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            (["shown", "shown"], "shown"),
            (["shown", "not shown"], "not shown"),
            (["shown", "opposite"], "not shown"),
            (["opposite", "not shown"], "opposite"),
            (["not shown"], "not shown"),
            (["shown", None], None),
            ([], None),
        ],
    )
    def test_a_claim_is_shown_only_where_every_part_of_it_is(self, parts, said):
        assert together(parts) == said

    def test_a_mark_has_a_shape_of_its_own_for_each_verdict(self):
        assert set(MARKS) == {"shown", "not shown", "opposite"} and len(set(MARKS.values())) == 3


class TestEffects:
    """Answers whose effects are known give those effects, one way and the other."""

    @pytest.mark.parametrize("id", ["F1", "F2", "F3", "F4", "F5"])
    @pytest.mark.parametrize(("high", "low", "said"), [(0.04, 0.01, "shown"), (0.01, 0.04, "opposite")])
    def test_of_barriers(self, id, high, low, said):
        finding = FINDINGS[id]
        (panel,) = finding.panels
        heights = {group: high if group in panel.strong else low for group in panel.groups}
        if id == "F1":  # long training is held against short training, whose head seed is strong itself
            heights["head seed, long training"] = high + 0.03 if said == "shown" else high - 0.03
        found = barriers(id, heights)
        assert found.answered == found.of == len(finding.asked)
        said_of = [one.verdict for one in found.effects]
        if id == "F3":  # the second part holds the curve alone against the bound
            assert said_of[0] == said and said_of[1] == "shown"
        else:
            assert set(said_of) == {said} and found.verdict == said
        assert found.effects[0].interval.n == finding.seeds

    def test_a_curve_that_does_not_connect_is_told(self):
        found = barriers("F3", {"straight line": 0.4, "curve with one bend": 0.2})
        assert [one.verdict for one in found.effects] == ["shown", "opposite"] and found.verdict == "not shown"

    @pytest.mark.parametrize(("early", "late", "said"), [(0.3, 0.8, "shown"), (0.8, 0.3, "opposite"), (0.5, 0.5, "not shown")])
    def test_of_what_is_kept_of_two_tasks(self, early, late, said):
        finding = FINDINGS["F6"]
        found = {}
        for one in finding.asked:
            step = int(one.group.split()[1].replace(",", ""))
            share = (early if step in EARLY else late) + NOISE[one.seed] + (0.01 * one.seed * (step == LATE[0]) if said == "not shown" else 0)
            found[one.name] = Answer({"tasks": [
                {"accuracy": [0.9, 0.5 + 0.4 * share, 0.5], "constant_baseline": 0.5},
                {"accuracy": [0.2, 0.2 + 0.5 * share, 0.7], "constant_baseline": 0.2},
            ]})  # fmt: skip
        assert kept(next(iter(found.values()))) == pytest.approx(early + NOISE[1], abs=1e-9)
        assert outcome(finding, found).verdict == said

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_the_order_of_forgetting(self, turned):
        """Rows are lost one after the other, in the order of their confidence, or against it."""
        finding, t = FINDINGS["F7"], np.linspace(0, 1, 21)
        found = {}
        for one in finding.asked:
            if one.group == "two minima":
                right = np.ones((100, 2), bool)
                right[: 5 + one.seed, 0] = right[50 : 57 + one.seed, 1] = False
                found[one.name] = Answer({}, Along((0.0, 1.0), right, None))
                continue
            last = np.linspace(0.03, 0.99, 200)
            sure = np.roll(np.linspace(0.3, 0.95, 200), one.seed)
            probability = np.stack([sure - 0.3 * (1 - sure), sure + 0.3 * (1 - sure)])
            probability = probability[:, ::-1] if turned else probability
            right = last[:, None] >= t[None, :]
            found[one.name] = Answer({}, Along(tuple(t), right, Cartography(np.arange(200), probability, probability > 0.5)))
        told = outcome(finding, found)
        gradual, confidence, variability, alone = (one.verdict for one in told.effects)
        assert gradual == alone == "shown"
        assert confidence == variability == ("opposite" if turned else "shown")
        assert told.verdict == ("not shown" if turned else "shown")
        assert len([row for row in told.rows if row.panel == "forgotten"]) == 21 * finding.seeds

    def test_all_that_is_lost_at_once_is_not_gradual(self):
        t = np.linspace(0, 1, 21)
        assert steepest(t, np.full(50, 0.5)) == 1.0 and steepest(t, np.array([])) == 1.0
        assert steepest(t, np.linspace(0.0001, 1, 1000)) == pytest.approx(0.2, abs=0.01)

    def test_a_seed_of_which_an_answer_is_missing_is_left_out_of_that_effect_alone(self):
        finding = FINDINGS["F4"]
        found = {one.name: barrier_of(0.1 * one.seed, len(one.question.tasks)) for one in finding.asked if one.name != "disjoint rows, seed 2"}
        told = outcome(finding, found)
        assert [one.interval.n for one in told.effects] == [finding.seeds - 1, finding.seeds]
        assert (told.answered, told.of) == (len(finding.asked) - 1, len(finding.asked))

    def test_nothing_and_one_seed_have_no_effect(self):
        finding = FINDINGS["F1"]
        assert outcome(finding, {}).verdict is None and outcome(finding, {}).rows == ()
        one = outcome(finding, {asked.name: barrier_of(0.1) for asked in finding.asked if asked.seed == 1})
        assert one.rows and all(effect.interval is None for effect in one.effects)


class TestDesigns:
    def test_seven_findings_each_with_at_least_three_seeds(self):
        assert list(FINDINGS) == [f"F{n}" for n in range(1, 8)]
        for id, finding in FINDINGS.items():
            assert finding.id == id and finding.seeds >= 3
            assert all((finding.claim, finding.short, finding.tested, finding.sizes, finding.tried))
            assert len(finding.study.questions) == len(finding.asked) <= 40  # what a host takes at once

    def test_every_group_of_a_figure_is_asked_for_each_seed(self):
        """Of F1 what takes longest is asked for the first four alone."""
        slow = {"head seed, long training", "adapter seed", "adapter, data order"}
        for id in ("F1", "F2", "F3", "F4", "F5", "F6"):
            finding = FINDINGS[id]
            (panel,) = finding.panels
            seeds = {group: range(1, 5 if group in slow else finding.seeds + 1) for group in panel.groups}
            assert {(one.group, one.seed) for one in finding.asked} == {(group, seed) for group in panel.groups for seed in seeds[group]}
            assert set(panel.strong) < set(panel.groups)

    def test_pairs_of_f1_differ_in_exactly_what_their_group_says(self):
        field = {"head seed": "head_seed", "data order": "data_seed", "learning rate": "learning_rate", "batch size": "batch_size",
                 "head seed, long training": "head_seed", "adapter seed": "delta_seed", "adapter, data order": "data_seed"}  # fmt: skip
        for one in FINDINGS["F1"].asked:
            a, b = one.question.a, one.question.b
            assert [name for name in Recipe.model_fields if getattr(a, name) != getattr(b, name)] == [field[one.group]]

    def test_every_question_can_be_asked_here(self):
        """Names resolve, and no two seeds of one group ask the same; the rows of F7 are those that were followed."""
        for finding in FINDINGS.values():
            first = [one for one in finding.asked if one.seed == 1]
            for one in first:
                assert resolve(one.question).fingerprint
            assert len({canonical(one.question) for one in finding.asked}) == len(finding.asked)

    def test_the_halves_of_f4_are_disjoint_and_of_one_size(self):
        of = {one.group: resolve(one.question) for one in FINDINGS["F4"].asked if one.seed == 1}
        ids = [set(end.recipe.training.rows.ids.tolist()) for end in (of["disjoint rows"].a, of["disjoint rows"].b)]
        assert not ids[0] & ids[1] and len(ids[0]) == len(ids[1])
        assert of["same rows"].a.fingerprint == of["disjoint rows"].a.fingerprint

    def test_a_page_reads_them_without_torch(self):
        found = imported_by(["mcore.findings.answers", "mcore.findings.every", "mcore.findings.report", "mcore.findings.said", "mcore.charts.findings"])
        assert not found & {"torch", "transformers", "streamlit", "pyarrow"}

    def test_asked_together_each_question_and_each_model_stands_once(self):
        study, askers = joined(FINDINGS)
        every = [canonical(one) for one in study.questions.values()]
        assert len(every) == len(set(every)) <= 500
        assert sum(map(len, askers.values())) == sum(len(one.asked) for one in FINDINGS.values())
        recipes = [canonical(end) for one in study.questions.values() for end in (one.a, one.b)]
        assert len(set(recipes)) < 0.7 * len(recipes)


def told(id: str = "F3") -> reports.Told:
    return reports.told(FINDINGS[id], barriers(id, {"straight line": 0.1, "curve with one bend": 0.01}), {"curve with one bend, seed 2": "b: no such base"}, 12.3)


@pytest.fixture
def written() -> dict:
    """A whole file, as plain values."""
    return json.loads(reports.written(reports.report({"F3": told()}, 2.13, 0)))


class TestFile:
    def test_it_says_what_is_needed_to_do_it_again_and_nothing_of_the_machine_but_its_processor(self, written):
        assert set(written) == {"version", "date", "machine", "versions", "seconds", "findings"}
        assert set(written["machine"]) == {"cores", "processor", "load"} and written["seconds"] == 12.3
        assert {"python", "torch", "transformers"} <= set(written["versions"])
        entry = written["findings"]["F3"]
        assert [one["verdict"] for one in entry["effects"]] == ["shown", "shown"] and entry["verdict"] == "shown"
        assert entry["questions"].keys() == FINDINGS["F3"].study.questions.keys()

    def test_it_comes_back_as_it_was(self, written):
        text = json.dumps(written).encode()
        again = reports.read(text)
        assert again.findings["F3"] == told() and json.loads(reports.written(again)) == written
        assert again.findings["F3"].questions["straight line, seed 1"] == FINDINGS["F3"].study.questions["straight line, seed 1"]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            (lambda d: d.update(version=2), "version"),
            (lambda d: d.update(seconds="60"), "seconds"),
            (lambda d: d.update(host="mine"), "host"),
            (lambda d: d.update(date="today"), "date"),
            (lambda d: d["findings"].update(F0=d["findings"]["F3"]), "findings.F0"),
            (lambda d: d["findings"]["F3"].update(verdict="opposite"), "findings.F3"),
            (lambda d: d["findings"]["F3"]["effects"][0].update(verdict="opposite"), "findings.F3.effects.0"),
            (lambda d: d["findings"]["F3"]["effects"][0].update(low=9.0), "findings.F3.effects.0"),
            (lambda d: d["findings"]["F3"]["effects"][0].update(mean=float("1e300")), "findings.F3.effects.0.mean"),
            (lambda d: d["findings"]["F3"]["rows"][0].update(question="another"), "findings.F3"),
            (lambda d: d["findings"]["F3"]["questions"].update({"more": {"version": 1}}), "findings.F3.questions"),
            (lambda d: d["findings"]["F3"]["questions"]["straight line, seed 1"].update(points=10**9), "findings.F3.questions"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_its_name(self, written, change, field):
        change(written)
        with pytest.raises(QuestionError) as refused:
            reports.read(json.dumps(written).encode())
        assert refused.value.field.startswith(field) or field in str(refused.value)

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b" " * (reports.MOST_BYTES + 1), b'{"seconds": NaN}'])
    def test_what_is_no_such_file_is_refused(self, data):
        with pytest.raises(QuestionError):
            reports.read(data)

    def test_an_effect_without_an_interval_cannot_be_written(self):
        with pytest.raises(McoreError, match="fewer than two seeds"):
            reports.told(FINDINGS["F3"], Outcome((Effect("so", "nats", False, None),), (), 0, 10), {}, 0.0)

    def test_values_are_frozen(self):
        with pytest.raises(ValidationError):
            told().effects[0].mean = 3


class TestShipped:
    """The run that ships with the app."""

    def test_it_asked_all_that_the_app_asks(self):
        there = reports.shipped()
        assert list(there.findings) == list(FINDINGS)
        for id, finding in FINDINGS.items():
            asked = {name: canonical(one) for name, one in there.findings[id].questions.items()}
            assert asked == {name: canonical(one) for name, one in finding.study.questions.items()} and not there.findings[id].missed

    def test_its_effects_and_verdicts_follow_from_its_values(self):
        for id, entry in reports.shipped().findings.items():
            by_seed: dict = {}
            for row in entry.rows:
                by_seed.setdefault(row.seed, {})[row.panel, row.x] = row.value
            for part, effect in zip(FINDINGS[id].parts, entry.effects, strict=True):
                again = _effect(part, by_seed)
                assert (again.says, again.verdict, again.interval.n) == (effect.says, effect.verdict, effect.n)
                assert (again.interval.mean, again.interval.low, again.interval.high) == pytest.approx((effect.mean, effect.low, effect.high), abs=1e-4)


class TestWords:
    def test_an_effect_is_told_with_its_sign_and_the_digits_that_its_interval_carries(self):
        effect = told().effects[0]
        assert effect_told(effect.model_copy(update={"mean": 0.0261, "low": 0.0171, "high": 0.0351})) == "+0.026 nats (0.017 to 0.035)"
        assert effect_told(effect.model_copy(update={"mean": -0.5, "low": -1.0, "high": 0.0})) == "−0.50 nats (−1.00 to 0.00)"
        assert effect_told(effect.model_copy(update={"mean": 0.1234, "low": 0.1, "high": 0.1468, "unit": "1", "percent": True})) == "+12.3 % (10.0 to 14.7)"
        assert effect_told(effect.model_copy(update={"mean": 0.00001, "low": -0.001, "high": 0.001})).startswith("0.0000 nats")

    def test_the_verdict_is_told_with_what_it_is_made_of(self):
        parts = told().effects
        assert verdict_told(parts) == f": both parts of the claim, over {['', '', 'two', 'three', 'four', 'five'][FINDINGS['F3'].seeds]} seeds."
        assert "one shown, one opposite" in verdict_told((parts[0], parts[1].model_copy(update={"verdict": "opposite"})))
        assert verdict_told(parts[:1]).endswith("lies on the side of the claim.")
        missing = [one.model_copy(update={"verdict": "not shown"}) for one in parts]
        assert verdict_told(missing).startswith(": neither part of the claim") and verdict_told([*missing, missing[0]]).startswith(": no part of the claim")

    def test_the_terminal_has_a_line_for_each_effect(self):
        lines = summary(reports.report({"F3": told()}, None, 0))
        assert lines[0] == "F3 shown" and len(lines) == 1 + len(FINDINGS["F3"].parts)
