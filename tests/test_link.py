"""A link holds the whole question, as its author wrote it, and nothing that comes in by one can do harm."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
import zlib

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from test_question import DESIGN, LEAST

from mcore.errors import QuestionError
from mcore.link import MOST_CHARACTERS, link, mended, pack, unlink, unpack
from mcore.question import MOST_BYTES, PROBES, as_written, parse

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20).filter(lambda value: value.strip())
tasks = st.fixed_dictionaries(
    {"task": st.builds("{}{}".format, st.sampled_from(["builtin:", "local:", "hub:"]), text)},
    optional={"split": text, "limit": st.integers(1, 10**7), "sample_seed": st.integers(0, 99), "max_length": st.integers(4, 512),
              "text": text | st.lists(text, min_size=1, max_size=2), "label": text},
)  # fmt: skip
addresses = st.builds("{}{}".format, st.sampled_from(["builtin:", "local:", "hub:"]), text)
recipes = st.fixed_dictionaries(
    {"base": addresses, "task": tasks},
    optional={"method": st.just("full"), "steps": st.integers(1, 10**6), "batch_size": st.integers(1, 4096), "head_seed": st.integers(0, 2**31 - 1),
              "learning_rate": st.floats(1e-8, 10), "data_seed": st.integers(0, 2**31 - 1), "warmup": st.floats(0, 1),
              "rows": st.sampled_from(["all", "half-1", "half-2"]) | st.floats(0.001, 1)},
)  # fmt: skip
experiments = st.fixed_dictionaries(
    {"version": st.just(1), "a": addresses | recipes, "b": addresses | recipes, "tasks": st.lists(tasks, min_size=1, max_size=3)},
    optional={"path": st.fixed_dictionaries({}, optional={"kind": st.just("linear")}), "precision": st.sampled_from(["float32", "bfloat16"]),
              "points": st.integers(2, 1001) | st.lists(st.floats(0, 1), min_size=1, max_size=8), "probes": st.lists(st.sampled_from(PROBES), max_size=4),
              "labels": st.fixed_dictionaries({}, optional={"a": st.lists(text, max_size=3), "b": st.lists(text, max_size=3)})},
)  # fmt: skip


@given(experiments)
def test_a_link_gives_back_exactly_what_its_author_wrote(written):
    experiment = parse(written)
    back = unlink(link(experiment))
    assert back == experiment
    assert as_written(back) == as_written(experiment) == json.loads(json.dumps(written))


def test_the_contracts_example_is_short_enough_to_paste():
    assert len(link(parse(DESIGN))) < 1500


def test_two_recipes_with_every_field_are_short_enough_to_paste():
    recipe = parse(DESIGN).a.model_dump(mode="json")
    whole = {**DESIGN, "a": recipe, "b": {**recipe, "base": "hub:organisation-with-a-long-name/a-model-with-a-long-name@0123456789abcdef0123456789abcdef01234567"}}
    assert len(link(parse(whole))) < 1500


@pytest.mark.parametrize("form", ["{}", "?{}", "https://somebody-space.hf.space/Compare?{}", "http://localhost:8501/Compare?{}#chart", "  {}\n", "page=1&{}"])
def test_a_link_is_read_in_every_form_in_which_it_is_copied(form):
    assert as_written(unlink(form.format(link(parse(LEAST))))) == LEAST


def test_a_link_needs_no_escaping_in_an_address():
    assert set(link(parse(DESIGN))) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=&")


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode().rstrip("=")


HOSTILE = {
    "nothing": "",
    "no question": "v=1",
    "an empty question": "v=1&q=",
    "another version": f"v=2&q={pack(parse(LEAST))}",
    "no base64": "v=1&q=!!!!",
    "letters of other alphabets": "v=1&q=żółć",
    "nothing compressed": "v=1&q=" + base64.urlsafe_b64encode(b"hello").decode(),
    "cut short": link(parse(DESIGN))[:-20],
    "wrong in the middle": link(parse(DESIGN))[:80] + "AAAA" + link(parse(DESIGN))[84:],
    "too long": "v=1&q=" + "A" * (MOST_CHARACTERS + 1),
    "no object": "q=" + packed(b"[]"),
    "no json": "q=" + packed(b"{"),
    "not a number": "q=" + packed(json.dumps({**LEAST, "points": [float("nan")]}).encode()),
    "deeply nested": "q=" + packed(b"[" * 200_000),
    "deeply nested objects": "q=" + packed(b'{"a":' * 40_000),
    "no utf-8": "q=" + packed(b'{"version": "\xff"}'),
    "a bomb": "q=" + packed(b" " * 20_000_000),
    "a bomb in a question": "q=" + packed(json.dumps({**LEAST, "a": "local:" + "x" * 20_000_000}).encode()),
    "ten million points": "q=" + packed(json.dumps({**LEAST, "points": 10_000_000}).encode()),
    "a long number": "q=" + packed(b'{"version": ' + b"9" * 20_000 + b"}"),
}


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_link_is_answered_with_a_sentence_quickly_and_in_little_memory(query):
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(QuestionError) as told:
        unlink(query)
    took, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(told.value) and len(str(told.value)) < 500
    assert took < 5 and peak < 40 * MOST_BYTES


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: "q=" + base64.urlsafe_b64encode(raw).decode()))
def test_any_text_at_all_is_a_question_or_a_question_error(query):
    try:
        unlink(query)
    except QuestionError as error:
        assert "\n" not in str(error)


@given(st.text(max_size=300))
def test_the_value_of_q_alone_is_no_less_safe(value):
    with pytest.raises(QuestionError):
        unpack(value)


def packed(data) -> str:
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(data).encode())).decode().rstrip("=")


FIRST = parse(LEAST)


@pytest.mark.parametrize(("path", "value"), [
    (("points",), 10**7), (("a", "steps"), -1), (("a", "colour"), "red"), (("tasks", 0, "limit"), "many"), (("path", "kind"), "spiral"),
    (("probes",), ["loss", "charm"]), (("b", "task", "task"), 7), (("tasks",), []), (("version",), 9), (("labels",), [1]), (("a",), "hub"),
])  # fmt: skip
def test_a_link_with_one_wrong_field_keeps_all_the_others(path, value):
    """What is wrong is as if it had not been written, or as in the question that stands in for it."""
    data = json.loads(json.dumps(DESIGN))
    here = data
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    nearest, left = mended(packed(data), parse(DESIGN))
    assert left
    written, whole = as_written(nearest), as_written(parse(DESIGN))
    same = [name for name in whole if name != path[0]]
    assert {name: written.get(name) for name in same} == {name: whole[name] for name in same}
    if path[0] in ("a", "b") and len(path) > 1:
        assert getattr(nearest, path[0]).data_seed == getattr(parse(DESIGN), path[0]).data_seed


@pytest.mark.parametrize("text", ["", "broken", packed([]), packed("x"), packed(None), packed([[[]]]), "A" * (MOST_CHARACTERS + 1)])
def test_of_a_link_that_holds_no_question_nothing_is_left(text):
    assert mended(text, FIRST) == (FIRST, False)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from(["version", "a", "b", "tasks", "path", "points", "task", "limit", "steps", "base", "x", "0"]), inner, max_size=5), max_leaves=20))  # fmt: skip
def test_whatever_a_link_holds_there_is_a_question_near_it(data):
    nearest, _ = mended(packed(data), FIRST)
    assert parse(as_written(nearest)) == nearest


OLD = {  # links that were handed out with version 1, and what they mean
    "eNqrVipLLSrOzM9TsjLUUUpUslJKKs3MKcnMs0osLS5JzXMwUNJRSsIUNjcwAMmUJBZnFytZRVeDWUjKigsSc3WNlGpjawE5HiB8": {
        "version": 1, "a": "builtin:austen@0", "b": "builtin:austen@7000", "tasks": [{"task": "builtin:spam-2"}],
    },
    "eNp1kMFuwjAMht_lP2clncQOOe09EIekM2qESVBtOibUd8dZK26cLH_6_dnJAzNNkmtB6B0iwgMpCiEg3TJrLiHeRKl8ezholHNLrPWVKHUmxuIw1V8xPkY-ffQNJOu4"
    "DpHD7lJ_iGVXdaRpU1n28EbmIFfOalxJ1FSv3Kq75ELdIHMz0d1yB7u97Ts6cExmCBiwWHetuWjb5DvvfPe5d33nG59oyOvDkU5co_Zf2Ibl_xua9G7oD8dleQJkzV7h": {
        "version": 1, "a": {"base": "builtin:austen@0", "task": {"task": "builtin:novel"}, "rows": "half-1"}, "b": "local:/models/other",
        "tasks": [{"task": "builtin:novel", "split": "test"}, {"task": "local:mine.csv", "text": ["a", "b"], "label": "c"}],
        "points": [0, 0.25, 1], "precision": "bfloat16", "labels": {"b": ["x", "y"]},
    },
    "eNrNks1OxSAQhd9l1sTQNnfTle9hTDPQaUvKX2Cq0Zu-u4NVExfuXXGAOWe-CdzhhUp1KcLYKUAY72CwEoxgDufZxRGPyhQfO601KGCseyu61p-imonsBqeCQLylWa6Ww3sx"
    "iDlXCb9pJclst6m6d8kfegWesEQX16kgy5F-kB6Dgo1wnirR_Mk0I-P3TvLNf0PsfyH25wUgeU9_IUiqC45hvHVirhiypy-7Pp8VZOStDbC72Ci9iwLRwHNykRupEOSSDLUu"
    "4FOtkonWHgXtm8g9pldP80qiA9qSpqUTadE7I3O015b6tRAFiiyaYqVgPEHrXsi660fA4hPy0MP5AZ0EtAA": json.loads(
        (ROOT / "mcore" / "builtin" / "first.json").read_text()
    ),
}  # fmt: skip


@pytest.mark.parametrize("old", OLD, ids=["two checkpoints", "two tasks", "the first question"])
def test_a_link_of_version_1_means_what_it_meant(old):
    assert as_written(unlink(f"v=1&q={old}")) == OLD[old]
