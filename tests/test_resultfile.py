"""A result file from a collaborator: exact when it is right, one sentence that names the field when it is not."""

from __future__ import annotations

import json
import time

import pytest
from browser_fixtures import carry_out, question
from hypothesis import given, settings
from hypothesis import strategies as st

from mcore import presets
from mcore.errors import QuestionError
from mcore.library import resultfile
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store
from mcore.ui.export import json_of


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> dict:
    store = Store(tmp_path_factory.mktemp("store"))
    asked = question(tasks=[{"task": "builtin:speech", "limit": 64}, {"task": "builtin:speech", "limit": 32, "split": "test"}])
    carry_out(asked, store)
    return collect(resolve(asked), store)


def changed(result: dict, path: tuple, value: object) -> bytes:
    """The file with one value replaced (or, for ``...``, taken out)."""
    copy = json.loads(json.dumps(result))
    here = copy
    for step in path[:-1]:
        here = here[step]
    if value is ...:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return json.dumps(copy).encode()


def refused(data: bytes) -> QuestionError:
    with pytest.raises(QuestionError) as caught:
        resultfile.read(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return caught.value


def test_what_was_downloaded_comes_back_exactly(result):
    file = resultfile.read(json_of(result))
    assert resultfile.document(file) == result
    again = resultfile.read(json_of(resultfile.document(file)))
    assert again == file and resultfile.key(again) == resultfile.key(file)


def test_squared_errors_of_large_scores_come_back(result):
    large = [1e11 * (i + 1) for i in range(len(result["tasks"][0]["loss"]))]
    rise = {"value": 1e11, "low": 0.0, "high": 2e11, "t": 0.5}
    copy = json.loads(changed(result, ("tasks", 0, "loss"), large))
    copy["tasks"][0]["barrier"]["loss_chord"] = rise
    read = resultfile.document(resultfile.read(json_of(copy)))["tasks"][0]
    assert read["loss"] == large and read["barrier"]["loss_chord"] == rise


def test_a_partial_result_comes_back_exactly(tmp_path):
    store = Store(tmp_path)
    carry_out(question(), store, points=2)
    told = collect(resolve(question()), store)
    assert not told["complete"] and told["tasks"][0]["barrier"] is None
    assert resultfile.document(resultfile.read(json_of(told))) == told


def test_the_shipped_result_is_a_result_file():
    told = dict(presets.shipped_result())
    file = resultfile.document(resultfile.read(json_of(told)))
    told.pop("shipped")
    assert file == told


def test_the_value_is_frozen(result):
    file = resultfile.read(json_of(result))
    with pytest.raises(ValueError, match="frozen"):
        file.tasks[0].loss = ()
    assert isinstance(file.tasks[0].loss, tuple)


def test_unknown_fields_are_dropped_and_change_no_key(result):
    copy = json.loads(json_of(result)) | {"surprise": {"deep": [1, 2]}}
    copy["tasks"][0]["also"] = "x"
    file = resultfile.read(json.dumps(copy).encode())
    assert resultfile.document(file) == result and resultfile.key(file) == resultfile.key(resultfile.read(json_of(result)))


def test_another_content_has_another_key(result):
    other = changed(result, ("tasks", 0, "loss", 3), 0.123)
    assert resultfile.key(resultfile.read(other)) != resultfile.key(resultfile.read(json_of(result)))


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("tasks", 0, "t", 6), 1.6, "tasks.0.t.6"),
        (("tasks", 0, "t"), [0, 0.5, 0.5], "tasks.0.t"),
        (("tasks", 0, "t", 3), 0.51, "tasks.0.t"),
        (("tasks", 1, "loss"), [0.1], "tasks.1.loss"),
        (("tasks", 0, "loss", 2), "<script>alert(1)</script>", "tasks.0.loss.2"),
        (("tasks", 0, "loss", 2), float("nan"), "tasks.0.loss.2"),
        (("tasks", 0, "loss", 2), float("inf"), "tasks.0.loss.2"),
        (("tasks", 0, "loss", 2), True, "tasks.0.loss.2"),
        (("tasks", 0, "accuracy", 0), -0.1, "tasks.0.accuracy.0"),
        (("tasks", 0, "accuracy", 0), None, "tasks.0.accuracy.0"),
        (("tasks", 0, "rows"), list(range(100_001)), "tasks.0.rows"),
        (("tasks", 0, "rows", 0), [[[]]], "tasks.0.rows.0"),
        (("tasks", 0, "labels"), [], "tasks.0.labels"),
        (("tasks", 0, "labels", 0), "x" * 3000, "tasks.0.labels.0"),
        (("tasks", 0, "head"), "c", "tasks.0.head"),
        (("tasks", 0, "ensemble_loss"), [1.0, 2.0], "tasks.0.ensemble_loss"),
        (("tasks", 0, "knowledge", "mastered"), [], "tasks.0.knowledge.forgotten"),
        (("tasks", 0, "knowledge", "learned"), [[]], "tasks.0.knowledge.learned"),
        (("tasks", 0, "barrier", "loss_chord", "low"), 99.0, "tasks.0.barrier.loss_chord.high"),
        (("tasks", 0, "barrier", "loss_chord", "t"), 2, "tasks.0.barrier.loss_chord.t"),
        (("tasks", 0, "label_order", "a", "from"), "a guess", "tasks.0.label_order.a.from"),
        (("tasks", 0), ..., "tasks"),
        (("tasks",), {"0": 1}, "tasks"),
        (("experiment",), ..., "experiment"),
        (("experiment",), "x", "experiment"),
        (("experiment", "a", "steps"), -5, "experiment.a.steps"),
        (("experiment", "tasks"), [], "experiment.tasks"),
        (("experiment", "surprise"), 1, "experiment.surprise"),
        (("experiment", "a", "base"), "file:///etc/passwd", "experiment.a.base"),
        (("experiment", "labels", "a"), ["x" * 1000] * 300, "experiment"),
        (("fingerprint",), "../../etc/passwd", "fingerprint"),
        (("identities", "tasks"), [], "identities.tasks"),
        (("complete",), "yes", "complete"),
        (("notices",), ["x"] * 101, "notices"),
        (("timing", "seconds"), -1, "timing.seconds"),
        (("training", "a", "curve", 0, "loss"), "low", "training.a.curve.0.loss"),
    ],
)
def test_a_wrong_field_is_named(result, path, value, field):
    assert refused(changed(result, path, value)).field == field


def test_a_number_of_any_length_is_only_a_wrong_value(result):
    for digits in (b"1" * 5000, b"1" * 1_000_000, b"1e" + b"9" * 1000):
        refused(json_of(result).replace(b'"points": 7', b'"points": ' + digits, 1))


def test_a_result_that_says_it_is_complete_must_be(result):
    copy = json.loads(json_of(result))
    task = copy["tasks"][0]
    for name, values in task.items():
        if name != "rows" and isinstance(values, list) and len(values) == 7:
            values.pop(3)
    for name in ("knowledge", "barrier"):
        task[name] = None
    assert refused(json.dumps(copy).encode()).field == "complete"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe{\x00}\x00", b"\x80\x04\x95pickle", b"PK\x03\x04zip", b"{" * 100_000,
        b"[" * 5_000_000, b'{"a":' * 1000 + b"1" + b"}" * 1000, b"1," * 10_000_000, b"[" + b"1," * 9_000_000 + b"1]",
        b'"' + b"\\u0000" * 1_000_000, b"x" * (resultfile.MOST_BYTES + 1), b'{"fingerprint": NaN}', b"1e99999", b"\x00" * 1000,
    ],
    ids=range(18),
)  # fmt: skip
def test_what_is_no_result_file_is_refused_in_a_sentence_and_at_once(data):
    began = time.monotonic()
    assert refused(data).field in ("file", "fingerprint")
    assert time.monotonic() - began < 3  # with room for a busy machine


def test_a_file_that_is_cut_short_says_so(result):
    assert "cut short" in str(refused(json_of(result)[:-200]))


def test_a_large_honest_file_is_read_quickly(result):
    copy = json.loads(json_of(result))
    copy["tasks"][0]["rows"] = list(range(100_000))
    copy["tasks"][0]["knowledge"]["forgotten"][0] = list(range(100_000))
    began = time.monotonic()
    file = resultfile.read(json.dumps(copy, indent=1).encode())
    assert len(file.tasks[0].rows) == 100_000 and time.monotonic() - began < 5


@settings(max_examples=150)
@given(data=st.data())
def test_no_damage_to_a_file_does_more_than_refuse_it(result, data):
    """Bytes are changed at random: the file is read or refused with a sentence, nothing else happens."""
    raw = bytearray(json.dumps(result).encode())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=6)):
        raw[place] = data.draw(st.integers(0, 255))
    try:
        assert resultfile.document(resultfile.read(bytes(raw)))
    except QuestionError as error:
        assert str(error)
