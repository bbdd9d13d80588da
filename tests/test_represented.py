"""What the layers hold along a path agrees with a plain reference, comes after the points, is kept once, and travels in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import reference
import tiny
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_representation import by_definition
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from mcore import events, plan
from mcore.cli import main
from mcore.errors import Cancelled, QuestionError
from mcore.estimate import cost
from mcore.evaluation import fitted
from mcore.evaluation.evaluate import has_bfloat16
from mcore.layers import represented, representing
from mcore.library import resultfile
from mcore.limits import check, check_size
from mcore.pin import pinned
from mcore.profile import Profile
from mcore.question import as_written, fingerprint, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store

BOTH = ["loss", "accuracy", "cka", "readout"]
TS = [0.0, 0.25, 0.5, 1.0]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    file = tiny.learnable(tmp_path_factory.mktemp("task") / "rows.csv", rows=120)
    return {"task": f"local:{file}", "max_length": 16, "limit": 40}


@pytest.fixture(scope="module")
def question(saved, task):
    return tiny.experiment(saved("bert", 1), saved("bert", 2), task, points=TS, probes=BOTH)


def answer(question, store, **how):
    told = list(run(parse(question), store, **how))
    return collect(resolve(parse(question)), store), told


def of(kind, told):
    return [event for event in told if isinstance(event, kind)]


@pytest.fixture(scope="module")
def once(question, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("once"))
    return *answer(question, store), store


def features(model, folder, texts, longest=16) -> list[np.ndarray]:
    """By transformers alone, one row at a time: of each layer the mean over the tokens."""
    tokenizer, found = AutoTokenizer.from_pretrained(folder), []
    for text in texts:
        with torch.no_grad():
            states = model(**tokenizer(text, truncation=True, max_length=longest, return_tensors="pt"), output_hidden_states=True).hidden_states
        found.append([layer[0].mean(dim=0).double().numpy() for layer in states])
    return [np.stack(layer) for layer in zip(*found, strict=True)]


def test_cka_and_read_outs_are_those_of_a_plain_reference(once, question, saved):
    told, asked = once[0]["representation"], resolve(parse(question)).representation
    a, b = saved("bert", 1), saved("bert", 2)
    at = {t: features(reference.mixed(a, b, t), a, asked.rows.texts) for t in TS}
    assert told["layers"] == ["embeddings", "layer 0", "layer 1"] and told["t"] == TS and told["rows"] == asked.rows.ids.tolist()
    assert told["width"] == 32 and not told["encoder"]
    for i, t in enumerate(TS):
        for side, end in (("a", 0.0), ("b", 1.0)):
            expected = [by_definition(x, y) for x, y in zip(at[t], at[end], strict=True)]
            assert told[f"cka_{side}"][i] == pytest.approx(expected, abs=1e-4)
        fitting = features(reference.mixed(a, b, t), a, asked.fitting.texts)
        for k, (before, after) in enumerate(zip(fitting, at[t], strict=True)):
            theirs = make_pipeline(StandardScaler(), RidgeClassifier(alpha=fitted.PENALTY * len(before))).fit(before, asked.fitting.labels)
            assert told["readout"][i][k] == pytest.approx(theirs.score(after, asked.rows.labels), abs=1.5 / len(after))
    assert not set(asked.fitting.texts) & set(asked.rows.texts) and told["fitted_on"] == len(asked.fitting) == 60


def test_at_its_ends_a_path_is_like_a_and_like_b(once):
    told = once[0]["representation"]
    assert told["cka_a"][0] == told["cka_b"][-1] == pytest.approx([1.0] * 3, abs=1e-12)
    assert told["cka_a"][-1] == pytest.approx(told["cka_b"][0], abs=1e-12) and max(told["cka_a"][-1]) < 1


def test_points_come_first_and_the_layers_after_them(once):
    kinds = [type(event) for event in once[1]]
    looked = of(events.LayersReady, once[1])
    assert kinds.index(events.LayersReady) > max(i for i, kind in enumerate(kinds) if kind is events.PointReady)
    assert [(event.t, event.done, event.of) for event in looked] == [(t, i, 4) for i, t in enumerate((0.0, 1.0, 0.25, 0.5), 1)] and looked[-1].seconds_left == 0
    assert [events.from_json(events.to_json(event)) for event in looked] == looked
    left = [event.seconds_left for event in of(events.PointReady, once[1])]
    assert left[-1] > 0  # the layers are still to come


def test_asked_a_second_time_nothing_runs_and_anew_it_is_the_same(once, question, store, monkeypatch):
    assert answer(question, store)[0]["representation"] == once[0]["representation"]
    monkeypatch.setattr(representing, "States", None)
    again, told = answer(question, store)
    assert again["representation"] == once[0]["representation"]
    assert [type(event).__name__ for event in told if not isinstance(event, events.PointReady)] == ["Resolved", "Done"]


def test_without_these_probes_no_layer_is_looked_at_and_old_identities_hold(question, store, monkeypatch):
    monkeypatch.setattr(representing, "States", None)
    plain = {name: value for name, value in question.items() if name != "probes"}
    result, told = answer(plain, store)
    assert "representation" not in result and "representation" not in result["experiment"] and not of(events.LayersReady, told)
    asked = parse({**plain, "a": "builtin:austen@0", "b": "builtin:austen@100", "tasks": [{"task": "builtin:speech"}], "points": 26})
    assert fingerprint(asked) == "2ecd4cbe4a5ab38ab250758802065c98"  # as it was before there were such probes
    assert represented.keys(resolve(parse(plain))) == {}


def test_asking_for_them_later_evaluates_no_point_again(question, store):
    answer({**question, "probes": ["loss"]}, store)
    result, told = answer(question, store)
    assert told[0].stored == told[0].points == 4 and len(of(events.LayersReady, told)) == 4 and result["complete"]
    one, more = answer({**question, "probes": ["cka"]}, store), answer({**question, "probes": ["readout"]}, store)
    assert not of(events.LayersReady, one[1]) and not of(events.LayersReady, more[1])
    assert "readout" not in one[0]["representation"] and "cka_a" not in more[0]["representation"]


def test_a_run_that_is_cancelled_goes_on_where_it_stood(question, once, store):
    seen: list[events.LayersReady] = []
    stream = run(parse(question), store, lambda: len(seen) == 2)
    with pytest.raises(Cancelled):
        seen.extend(event for event in stream if isinstance(event, events.LayersReady))
    partial = collect(resolve(parse(question)), store)
    assert not partial["complete"] and partial["representation"]["t"] == [0.0, 1.0] and len(partial["tasks"][0]["t"]) == 4
    assert resultfile.document(resultfile.read(json.dumps(partial).encode())) == partial
    result, told = answer(question, store)
    assert [event.done for event in of(events.LayersReady, told)] == [3, 4] and result["representation"] == once[0]["representation"]


def test_what_another_process_is_computing_is_waited_for(question, once, store, monkeypatch):
    experiment = parse({**question, "probes": ["cka"]})
    every = represented.keys(resolve(experiment))
    held = store.claim(every[0.5]["cka"])
    assert held.__enter__()

    def elsewhere(seconds: float) -> None:
        store.put(every[0.5]["cka"], once[2].get(every[0.5]["cka"]), represented.KIND)
        held.__exit__(None, None, None)

    monkeypatch.setattr(representing.time, "sleep", elsewhere)
    told = list(run(experiment, store))
    assert [event.t for event in of(events.LayersReady, told)] == [0.0, 1.0, 0.25, 0.5]


@pytest.mark.parametrize("change", [
    {"layers": [0, 1]}, {"pool": "first"}, {"task": {"limit": 30}}, {"task": {"max_length": 8}}, {"task": {"sample_seed": 3}}, {"seed": 1},
])  # fmt: skip
def test_the_keys_hold_what_can_change_the_numbers(question, task, change):
    def told(**more):
        resolved = resolve(parse({**question, "representation": more}))
        return resolved.fingerprint, represented.keys(resolved)[0.5]

    if "task" in change:
        change = {"task": task | change["task"]}
    (one, before), (other, after) = told(task=task), told(**{"task": task, **change})
    assert one != other and before["readout"] != after["readout"]
    assert (before["cka"] == after["cka"]) == ("seed" in change)
    assert told(task=task) == told()  # the first task's rows are the default


def test_the_keys_hold_the_weights_and_the_ends(question, saved):
    def keys(**more):
        return represented.keys(resolve(parse({**question, **more})))

    here, other, slerp = keys(), keys(b=f"local:{saved('bert', 3)}"), keys(path={"kind": "slerp"})
    assert here[0.0] != other[0.0] and here[0.5] != other[0.5] and here[0.5] != slerp[0.5] and here[0.0] == slerp[0.0]
    assert len({key for of_t in here.values() for key in of_t.values()}) == 8
    assert keys(points=[0, 0.5, 1])[0.5] == here[0.5]


def test_one_model_twice_is_looked_at_once(question, store, saved):
    a = f"local:{saved('bert', 1)}"
    result, told = answer({**question, "b": a, "representation": {"layers": ["embeddings", 1]}}, store)
    found = result["representation"]
    assert found["layers"] == ["embeddings", "layer 1"] and found["cka_a"] == found["cka_b"] == [pytest.approx([1.0, 1.0], abs=1e-12)] * 4
    assert len(of(events.LayersReady, told)) == 4 and len(store.entries(represented.KIND)) == 2


@pytest.mark.parametrize("path", [{"kind": "partial", "move": ["attention"]}, {"kind": "slerp", "align": "weights"}, {"kind": "linear", "extend": 0.25}])
def test_along_other_paths_a_and_b_are_the_models_themselves(path, question, store, saved):
    told = answer({**question, "path": path, "points": 5, "probes": ["cka"]}, store)[0]["representation"]
    at = dict(zip(told["t"], told["cka_a"], strict=True))
    a, b = saved("bert", 1), saved("bert", 2)
    texts = resolve(parse(question)).representation.rows.texts
    apart = [by_definition(x, y) for x, y in zip(*(features(reference.load(end), a, texts) for end in (a, b)), strict=True)]
    assert at[0.0] == pytest.approx([1.0] * 3, abs=1e-12)
    if path["kind"] == "partial":
        first = dict(zip(told["t"], told["cka_b"], strict=True))
        assert first[0.0] == pytest.approx(apart, abs=1e-4) and first[1.0][0] == pytest.approx(apart[0], abs=1e-4) and max(first[1.0]) < 1
    else:
        assert at[1.0] == pytest.approx(apart, abs=1e-4) and (len(at) == 7) == ("extend" in path)


@pytest.mark.parametrize(("family", "opener", "read"), [
    ("gpt2", AutoModelForCausalLM, "tokens"), ("llama", AutoModelForCausalLM, "answers"), ("bert", AutoModelForMaskedLM, "answers"),
    ("t5", AutoModelForSeq2SeqLM, "tokens"), ("bart", AutoModelForSeq2SeqLM, "answers"), ("roberta", AutoModel, "fitted"),
])  # fmt: skip
def test_models_of_every_kind_have_layers(family, opener, read, saved, store, tmp_path):
    pairs, pool = family == "t5", "last" if family in ("gpt2", "llama") else "mean"
    file = tiny.task(tmp_path / "rows.csv", rows=60, pairs=pairs)
    asked = {"task": f"local:{file}", "max_length": 24, "limit": 20, "read": read}
    asked |= {"text": ["first", "second"]} if pairs else {}
    asked |= {"answers": ["sad", "merry"], "template": "{text}. It was {mask} ." if family == "bert" else "{text}. Was it?"} if read == "answers" else {}
    ends = [saved(family, seed, opener=opener) for seed in (1, 2)]
    result, _ = answer(tiny.experiment(*ends, asked, points=3, probes=["loss", "cka", "readout"], representation={"pool": pool}), store)
    told = result["representation"]
    assert result["complete"] and told["encoder"] == (family in ("t5", "bart")) and told["measure"] == "accuracy"
    assert all(0 <= value <= 1 for name in ("cka_a", "cka_b", "readout", "control") for of_t in told[name] for value in of_t)
    again = resolve(parse(result["experiment"]))  # what is written out asks the same
    assert again.fingerprint == result["fingerprint"] and represented.keys(again) == represented.keys(resolve(parse(result["experiment"])))
    assert json.dumps(collect(again, store)["representation"]) == json.dumps(told)
    if family == "bert":
        texts = [text.replace("{mask}", "[MASK]") for text in again.representation.rows.texts]
        states = [features(reference.load(end, AutoModelForMaskedLM).bert, ends[0], texts, 24) for end in ends]
        assert "[MASK]" in texts[0]
        assert told["cka_a"][-1] == pytest.approx([by_definition(x, y) for x, y in zip(*states, strict=True)], abs=1e-4)


def test_another_labelled_task_is_read_out_and_scores_too(question, store, tmp_path):
    lines = ["text,label", *[f"{tiny.sentence(i)} {i},{len(tiny.sentence(i)) / 7:.2f}" for i in range(200)]]
    scores = {"task": f"local:{tiny.write(tmp_path / 'scores.csv', chr(10).join(lines))}", "max_length": 32, "limit": 50}
    result, _ = answer({**question, "points": 2, "representation": {"task": scores}}, store)
    told = result["representation"]
    assert told["task"]["label"] == "label" and told["measure"] == "R²" and len(told["rows"]) == 50 and told["constant_baseline"] is None
    assert all(0.3 < value <= 1 for value in told["readout"][0]) and max(map(max, told["control"])) < 0.3
    assert resultfile.document(resultfile.read(json.dumps(result).encode())) == result
    assert pinned(parse({**question, "representation": {"task": scores}}), resolve(parse({**question, "representation": {"task": scores}})).experiment)


def test_states_that_no_row_differs_in_have_no_likeness(question, store):
    told = answer({**question, "points": 2, "representation": {"pool": "first", "layers": ["embeddings", 0]}}, store)[0]["representation"]
    assert [of_t[0] for of_t in told["cka_a"]] == [None, None] and told["cka_a"][0][1] == pytest.approx(1)
    assert {of_t[0] for of_t in told["readout"]} <= {told["constant_baseline"], 1 - told["constant_baseline"]}  # always one label


def test_what_cannot_be_asked_names_its_field(question, saved, tmp_path):
    texts = tiny.write(tmp_path / "texts.csv", "\n".join(["text", *map(tiny.sentence, range(30))]))
    language = [saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (1, 2)]
    tokens = {"task": f"local:{texts}", "text": "text", "read": "tokens", "max_length": 16}
    wrong = [
        ({**question, "representation": {"layers": [2]}}, "representation.layers: there is no layer 2; this model has embeddings and layers 0 to 1"),
        ({**question, "representation": {"task": {**question["tasks"][0], "read": "head"}}}, "representation.task.read"),
        ({**question, "representation": {"task": {"task": "builtin:none"}}}, "representation.task.task"),
        ({**question, "representation": {"task": {**question["tasks"][0], "limit": 119}}}, "representation.task.split: 0 training rows are left"),
        (tiny.experiment(*language, tokens, probes=["readout"]), "representation.task: a read-out needs labels"),
        (tiny.experiment(*language, tokens, probes=["cka"], representation={"pool": "first"}), "representation.pool: no token of this model sees"),
    ]
    for asked, told in wrong:
        with pytest.raises(QuestionError) as error:
            resolve(parse(asked))
        assert str(error.value).startswith(told)
    resolve(parse(tiny.experiment(*language, tokens, probes=["cka"])))


def test_a_host_holds_the_rows_of_the_layers_against_its_limits(question, task):
    hosted = Profile(hosted=True, rows=30, max_length=64)
    builtin = {**question, "a": "builtin:austen@0", "b": "builtin:austen@100", "tasks": [{"task": "builtin:speech", "limit": 20, "read": "fitted"}]}
    with pytest.raises(QuestionError, match=r"representation\.task\.task: this host opens no files of its own"):
        check(parse({**builtin, "representation": {"task": task}}), hosted)
    with pytest.raises(QuestionError, match=r"representation\.task\.max_length: 100 tokens"):
        check(parse({**builtin, "representation": {"task": {"task": "builtin:novel", "max_length": 100}}}), hosted)
    with pytest.raises(QuestionError, match=r"representation\.task\.limit: [\d,]+ rows"):
        check_size(resolve(parse({**builtin, "representation": {"task": {"task": "builtin:novel"}}})), hosted)
    check_size(resolve(parse(builtin)), hosted)


def test_rows_of_the_layers_that_an_end_was_trained_on_are_told(question, task, saved):
    recipe = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "task": {"task": task["task"]}, "steps": 2, "batch_size": 4}
    asked = {**question, "a": recipe, "tasks": [{"task": "builtin:speech", "limit": 20, "read": "fitted"}], "representation": {"task": task}}
    told = resolve(parse(asked)).notices
    assert "A was trained on 40 of the 40 rows that its layers are read on." in told


def test_what_is_asked_of_layers_means_nothing_without_the_probes(question):
    plain = {**question, "probes": ["loss"]}
    assert resolve(parse({**plain, "representation": {"pool": "first"}})).fingerprint == resolve(parse(plain)).fingerprint


@pytest.mark.parametrize(("path", "value", "field"), [
    (("cka_a", 0, 0), 1.5, "representation.cka_a.0.0"), (("cka_a", 0, 0), "1", "representation.cka_a.0.0"), (("cka_a", 0), [1.0], "representation.cka_a"),
    (("cka_b",), [[1.0] * 3], "representation.cka_b"), (("readout", 1, 2), -0.2, "representation.readout"),
    (("control", 1, 2), float("nan"), "representation.control.1.2"),
    (("t",), [0, 0.25, 0.5, 0.75], "representation.t"), (("t",), [0, 0.5, 0.25, 1], "representation.t"), (("measure",), "beauty", "representation.measure"),
    (("pool",), "max", "representation.pool"), (("layers",), ["x"], "representation.cka_a"),
    (("rows",), [None], "representation.rows.0"), (("task",), "builtin:speech", "representation.task"),
])  # fmt: skip
def test_a_file_in_which_the_layers_do_not_fit_together_is_refused(once, path, value, field):
    copy = json.loads(json.dumps(once[0]))
    assert resultfile.document(resultfile.read(json.dumps(copy).encode())) == copy
    place = copy["representation"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(QuestionError) as error:
        resultfile.read(json.dumps(copy).encode())
    assert error.value.field.startswith(field), error.value


def test_a_complete_file_has_the_layers_of_every_t(once):
    copy = json.loads(json.dumps(once[0]))
    for name in ("t", "cka_a", "cka_b", "readout", "control"):
        copy["representation"][name].pop()
    with pytest.raises(QuestionError, match="complete"):
        resultfile.read(json.dumps(copy).encode())


def test_the_command_line_tells_of_the_layers(question, tmp_path, capfd):
    file = tiny.write(tmp_path / "question.json", {**question, "points": 2, "probes": ["cka"]})
    assert main(["run", str(file), "--store", str(tmp_path / "store")]) == 0
    told = capfd.readouterr()
    assert "[2/2] layers at t = 1.000" in told.err and json.loads(told.out)["representation"]["cka_a"][0]


def test_their_work_is_counted_in_what_it_will_cost(question):
    resolved = resolve(parse(question))
    alone, together = (cost(resolved, {}, {0: 4}, looks=looks).evaluating for looks in (0, 4))
    assert together > 2 * alone and cost(resolve(parse({**question, "probes": ["loss"]})), {}, {0: 4}, looks=4).evaluating == alone


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16 products")
def test_in_bfloat16_it_is_hardly_another_number(question, once, store):
    told = answer({**question, "precision": "bfloat16", "probes": ["cka"]}, store)[0]["representation"]
    assert np.array(told["cka_a"]) == pytest.approx(np.array(once[0]["representation"]["cka_a"]), abs=0.02)


def test_every_row_of_the_question_survives_a_link(question):
    asked = parse({**question, "representation": {"layers": [1, "embeddings", 1], "seed": 3}})
    assert as_written(asked)["representation"] == {"layers": ["embeddings", 1], "seed": 3} and parse(as_written(asked)) == asked
    assert plan.in_order(resolve(asked)) == plan.in_order(resolve(parse(question)))
