"""Data sets on the Hub: what `datasets` would read, read without its code, its downloads, or a second request; and what is said of the rest."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import time
import tracemalloc
from collections import OrderedDict
from itertools import pairwise

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from conftest import ROOT
from hub_server import Fault
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from mcore.errors import QuestionError
from mcore.hub import copies as hubcopies
from mcore.hub import data as hubdata
from mcore.hub import datacard
from mcore.hub import parquet as hubparquet
from mcore.hub import repositories as hub_client
from mcore.hub import rows as hubrows
from mcore.question import Task, parse
from mcore.resolve import resolve, resolve_recipe
from mcore.run import run
from mcore.tasks import rows as tasks

NLI = ["entailment", "neutral", "contradiction"]
datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def nothing_in_memory(monkeypatch):
    monkeypatch.setattr(hubdata, "_tables", OrderedDict())


def opened(address, role="evaluate", **fields):
    return tasks.open_task(Task(task=address, **fields), "tasks.0", role)


def columns(rows, classes=NLI, seed=0, long=0):
    draw = random.Random(seed)
    words = [tiny.sentence(seed + i) for i in range(2 * rows)]
    made = {"premise": words[:rows], "hypothesis": words[rows:], "label": [draw.randrange(len(classes)) for _ in range(rows)], "idx": list(range(rows))}
    return made | ({"junk": ["".join(draw.choices("abcdefgh ", k=long)) for _ in range(rows)]} if long else {})


def parquet(made, classes=NLI, label="label", group=None):
    """As `datasets` writes it, with the features beside the schema."""
    features = datasets.Dataset.from_dict(made).features.copy()
    if classes:
        features[label] = datasets.ClassLabel(names=list(classes))
    file = io.BytesIO()
    datasets.Dataset.from_dict(made, features=datasets.Features(features)).to_parquet(file, batch_size=group)
    return file.getvalue()


def bare(made, **how):
    """Parquet that tells nothing but its columns."""
    file = io.BytesIO()
    pq.write_table(pa.table(made), file, **how)
    return file.getvalue()


def csv(made):
    return datasets.Dataset.from_dict(made).to_pandas().to_csv(index=False).encode()


def jsonl(made):
    return datasets.Dataset.from_dict(made).to_pandas().to_json(orient="records", lines=True).encode()


def card(**told):
    return b"---\n" + json.dumps(told).encode() + b"\n---\n# A data set\n"


def paths(server):
    return [asked.path for asked in server.asked if asked.path.startswith(("/api/datasets", "/datasets"))]


@pytest.fixture
def mnli(server):
    """A set like GLUE MNLI: two configurations in a card, two splits to validate on, a test split without labels."""
    test = columns(9, seed=3) | {"label": [-1] * 9}
    configs = [
        {"config_name": "mnli", "data_files": [{"split": s, "path": f"mnli/{s}-*"} for s in ("train", "validation_matched", "validation_mismatched", "test_matched")]},
        {"config_name": "rte", "data_files": [{"split": "train", "path": "rte/train-*"}]},
    ]  # fmt: skip
    return server.put("nyu-mll/glue", {
        "README.md": card(configs=configs),
        "mnli/train-00000-of-00001.parquet": parquet(columns(60)),
        "mnli/validation_matched-00000-of-00001.parquet": parquet(columns(30, seed=1)),
        "mnli/validation_mismatched-00000-of-00001.parquet": parquet(columns(31, seed=2)),
        "mnli/test_matched-00000-of-00001.parquet": parquet(test),
        "rte/train-00000-of-00001.parquet": parquet(columns(20, NLI[:2]), NLI[:2]),
    }, kind="datasets")  # fmt: skip


def test_a_name_is_enough_for_a_known_data_set(mnli):
    named, rows = opened("hub:nyu-mll/glue/mnli")
    made = columns(30, seed=1)
    assert named.task == f"hub:nyu-mll/glue/mnli@{mnli}"
    assert (named.split, named.text, named.label) == ("validation_matched", ["premise", "hypothesis"], "label")
    assert rows.names == tuple(NLI) and rows.labels.tolist() == made["label"] and rows.ids.tolist() == list(range(30))
    assert rows.texts == list(zip(made["premise"], made["hypothesis"], strict=True))
    assert opened("hub:nyu-mll/glue/mnli", "train")[0].split == "train"
    assert tasks.open_task(named, "tasks.0", "evaluate")[1].digest == rows.digest


def test_a_second_time_nothing_is_asked(server, mnli):
    first = opened(f"hub:nyu-mll/glue/mnli@{mnli}", limit=10)[1]
    assert paths(server)
    server.asked.clear()
    hubdata._tables.clear()
    assert opened(f"hub:nyu-mll/glue/mnli@{mnli}", limit=10)[1].digest == first.digest and not server.asked


def test_a_revision_pins_what_is_read(server, mnli):
    before = opened("hub:nyu-mll/glue/rte", "train", text=["premise", "hypothesis"])
    server.put("nyu-mll/glue", {"rte/train-00000-of-00001.parquet": parquet(columns(25, NLI[:2]), NLI[:2])}, kind="datasets")
    hub_client._newest.clear()
    after = opened("hub:nyu-mll/glue/rte", "train", text=["premise", "hypothesis"])
    assert before[0].task != after[0].task and len(after[1]) == 25
    assert tasks.open_task(before[0], "tasks.0", "train")[1].digest == before[1].digest


def test_a_split_without_labels_says_so_and_can_be_read_by_its_tokens(mnli):
    with pytest.raises(QuestionError, match=r"^tasks\.0\.split: row 0 of 'test_matched' has no label; .*token losses"):
        opened("hub:nyu-mll/glue/mnli", split="test_matched")
    named, rows = opened("hub:nyu-mll/glue/mnli", split="test_matched", read="tokens")
    assert rows.kind == "texts" and len(rows) == 9 and named.label is None


def test_a_template_reads_columns_of_a_data_set(mnli):
    named, rows = opened("hub:nyu-mll/glue/mnli", template="{premise} {idx}? {hypothesis}", answers=["yes", "maybe", "no"], limit=7)
    made = columns(30, seed=1)
    i = rows.ids[3]
    assert rows.texts[3] == f"{made['premise'][i]} {i}? {made['hypothesis'][i]}" and rows.answers == ("yes", "maybe", "no")
    assert tasks.open_task(named, "tasks.0", "evaluate")[1].digest == rows.digest
    with pytest.raises(QuestionError, match=r"^tasks\.0\.template: .*'nothing'.*premise, hypothesis, label, idx"):
        opened("hub:nyu-mll/glue/mnli", template="{nothing}")


DATA = {"train": columns(12, NLI[:2], 1), "validation": columns(8, NLI[:2], 2), "test": columns(6, NLI[:2], 3)}
FEATURES = [{"name": "premise", "dtype": "string"}, {"name": "hypothesis", "dtype": "string"},
            {"name": "label", "dtype": {"class_label": {"names": {"0": "entailment", "1": "neutral"}}}}, {"name": "idx", "dtype": "int64"}]  # fmt: skip
LAYOUTS = {
    "numbered parquet in data": (None, {f"data/{s}-00000-of-00001.parquet": parquet(made, NLI[:2]) for s, made in DATA.items()}),
    "two files of a split": (None, {
        "data/train-00000-of-00002.parquet": parquet({k: v[:5] for k, v in DATA["train"].items()}, NLI[:2]),
        "data/train-00001-of-00002.parquet": parquet({k: v[5:] for k, v in DATA["train"].items()}, NLI[:2]),
        "data/test-00000-of-00001.parquet": parquet(DATA["test"], NLI[:2]),
    }),
    "csv at the top": (None, {f"{s}.csv": csv(made) for s, made in DATA.items()}),
    "csv with features in the card": ({"dataset_info": {"features": FEATURES}}, {f"{s}.csv": csv(made) for s, made in DATA.items()}),
    "jsonl by other words": (None, {"my_training_set.jsonl": jsonl(DATA["train"]), "data/dev.jsonl": jsonl(DATA["validation"])}),
    "folders of splits": (None, {"train/part.csv": csv(DATA["train"]), "test/part.csv": csv(DATA["test"])}),
    "one file": (None, {"rows.jsonl": jsonl(DATA["train"])}),
    "a card with patterns": (
        {"configs": [{"config_name": "only", "data_files": [{"split": "held_out", "path": ["b/**/*.csv"]}, {"split": "train", "path": "a/x?.csv"}]}]},
        {"a/x1.csv": csv(DATA["train"]), "a/x22.csv": csv(DATA["test"]), "b/c/d/y.csv": csv(DATA["validation"])},
    ),
    "a card with folders": (
        {"configs": [{"config_name": "one", "data_dir": "first"}, {"config_name": "two", "data_dir": "second", "default": True}]},
        {"first/train.csv": csv(DATA["test"]), "second/train.csv": csv(DATA["train"]), "second/validation.csv": csv(DATA["validation"])},
    ),
    "a card with one path": ({"configs": [{"config_name": "default", "data_files": "deep/*.csv"}]}, {"deep/1.csv": csv(DATA["train"])}),
    "several configurations": (
        {"configs": [{"config_name": name, "data_files": [{"split": "train", "path": f"{name}.csv"}]} for name in ("default", "other")]},
        {"default.csv": csv(DATA["train"]), "other.csv": csv(DATA["test"])},
    ),
    "features of each configuration": (
        {"configs": [{"config_name": "plain_text", "data_files": [{"split": s, "path": f"plain_text/{s}-*"} for s in DATA]}],
         "dataset_info": [{"config_name": "plain_text", "features": FEATURES}]},
        {f"plain_text/{s}-00000-of-00001.parquet": bare(made) for s, made in DATA.items()},
    ),
}  # fmt: skip
READ = """
import json, sys, datasets
told = {}
for name in json.loads(sys.argv[1]):
    read = datasets.load_dataset(name)
    told[name] = {split: [dict(rows[:]), getattr(rows.features["label"], "names", None)] for split, rows in read.items()}
print(json.dumps(told))
"""


def test_what_is_read_is_what_datasets_reads(server, tmp_path):
    """Every layout: the splits, the order of their rows and the names of their classes, against the real client."""
    names = {f"org/set-{i}": kind for i, kind in enumerate(LAYOUTS)}
    for name, kind in names.items():
        told, files = LAYOUTS[kind]
        server.put(name, files | ({"README.md": card(**told)} if told else {}), kind="datasets")
    environment = {**os.environ, "HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home"), "HF_DATASETS_CACHE": str(tmp_path / "d")}
    done = subprocess.run([sys.executable, "-c", READ, json.dumps(list(names))], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, expected in json.loads(done.stdout.splitlines()[-1]).items():
        assert set(hubdata.splits(Task(task=f"hub:{name}"), "t")) == set(expected), names[name]
        for split, (made, classes) in expected.items():
            rows = opened(f"hub:{name}", split=split)[1]
            assert rows.texts == list(zip(made["premise"], made["hypothesis"], strict=True)), names[name]
            assert rows.names == (tuple(classes) if classes else ("0", "1")) and rows.labels.tolist() == made["label"], names[name]


def test_a_loading_script_is_not_run_and_what_the_hub_converted_is_read(server, tmp_path):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    server.put("org/scripted", {"scripted.py": trap, "README.md": card(dataset_info={"features": FEATURES})}, kind="datasets")
    with pytest.raises(QuestionError, match=r"^tasks\.0\.task: org/scripted has a loading script, which is never run, .*converted none"):
        opened("hub:org/scripted/plain")
    files = {f"{config}/{split}/0000.parquet": parquet(made, NLI[:2]) for config in ("plain", "other") for split, made in DATA.items()}
    commit = server.put("org/scripted", files, revision="refs/convert/parquet", kind="datasets")
    named, rows = opened("hub:org/scripted/plain")
    assert named.task == f"hub:org/scripted/plain@{commit}" and rows.labels.tolist() == DATA["validation"]["label"]
    server.asked.clear()
    assert tasks.open_task(named, "tasks.0", "evaluate")[1].digest == rows.digest and not paths(server)
    with pytest.raises(QuestionError, match=r"2 configurations; name one of: hub:org/scripted/other, hub:org/scripted/plain"):
        opened("hub:org/scripted")
    with pytest.raises(QuestionError, match="leave the revision out"):
        opened("hub:org/scripted/plain@main")
    assert not (tmp_path / "ran").exists()


def test_stsb_is_scored_from_0_to_5(server):
    made = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "label": [1.0, 5.0, 0.0], "idx": [0, 1, 2]}
    test = made | {"label": [-1.0] * 3}
    server.put("nyu-mll/glue", {
        "stsb/validation-00000-of-00001.parquet": parquet(made, None), "stsb/test-00000-of-00001.parquet": parquet(test, None),
    }, kind="datasets")  # fmt: skip
    _, rows = opened("hub:nyu-mll/glue/stsb")
    assert rows.kind == "scores" and rows.labels.tolist() == [1.0, 5.0, 0.0] and rows.labels.dtype == np.float64
    with pytest.raises(QuestionError, match="has no label"):
        opened("hub:nyu-mll/glue/stsb", split="test")


def test_fractions_are_scores_and_texts_are_classes_by_their_names(server):
    made = {"text": list("abcd"), "label": [0.5, 1.0, 2.0, 3.0], "genre": ["x", "y", "x", "z"]}
    server.put("org/set", {"train.parquet": bare(made)}, kind="datasets")
    assert opened("hub:org/set", text="text").__getitem__(1).kind == "scores"
    _, rows = opened("hub:org/set", text="text", label="genre", limit=2)
    assert rows.names == ("x", "y", "z")  # of the whole split, not of the sample


def test_every_known_data_set_is_declared_whole():
    known = tasks.known()
    assert {f"hub:nyu-mll/glue/{name}" for name in "cola sst2 mrpc qqp stsb mnli qnli rte wnli".split()} <= set(known)
    assert {"hub:facebook/anli", "hub:jhu-cogcomp/hans", "hub:google-research-datasets/paws/labeled_final", "hub:CogComp/trec"} <= set(known)
    for address, told in known.items():
        assert told["description"] and (told["labels"] or address.endswith("stsb"))
    for told in hubdata.declarations().values():
        assert 1 <= len(told["text"]) <= 2 and ("labels" in told) != ("scores" in told)


def test_anli_is_read_by_rounds(server):
    splits = [f"{part}_r{n}" for part in ("train", "dev", "test") for n in (1, 2, 3)]
    server.put("facebook/anli", {f"plain_text/{s}-00000-of-00001.parquet": parquet(columns(7 + i)) for i, s in enumerate(splits)}, kind="datasets")
    assert opened("hub:facebook/anli")[0].split == "dev_r1" and opened("hub:facebook/anli", "train")[0].split == "train_r1"
    assert len(opened("hub:facebook/anli", split="test_r3")[1]) == 15
    assert tasks.watched(Task(task="hub:facebook/anli", split="train_r1"), "t") == "dev_r1"
    assert tasks.watched(Task(task="hub:facebook/anli", split="test_r1"), "t") is None


LARGE = columns(3000, long=600)


@pytest.fixture
def large(server, monkeypatch):
    """A split of 30 groups of rows in two files, too large to be fetched as it stands."""
    monkeypatch.setattr(hubrows, "WHOLE", 100_000)
    monkeypatch.setattr(hubparquet, "GAP", 1_000)
    first, rest = ({k: v[a:b] for k, v in LARGE.items()} for a, b in ((0, 1200), (1200, 3000)))
    files = {f"data/train-0000{i}-of-00002.parquet": parquet(part, group=100) for i, part in enumerate((first, rest))}
    server.put("org/large", files, kind="datasets")
    return sum(map(len, files.values()))


def test_of_a_large_split_only_what_holds_the_sample_is_fetched(server, large, monkeypatch):
    asked = {"text": ["premise", "hypothesis"], "limit": 5, "sample_seed": 3}
    named, rows = opened("hub:org/large", "train", **asked)
    sent = sum(asked.sent for asked in server.asked)
    assert sent < large / 4 and all(a.range for a in server.asked if "/resolve/" in a.path)
    assert rows.ids.tolist() == tasks.sample(np.arange(3000), 5, 3).tolist()
    assert rows.texts == [(LARGE["premise"][i], LARGE["hypothesis"][i]) for i in rows.ids]
    assert rows.labels.tolist() == [LARGE["label"][i] for i in rows.ids]
    server.asked.clear()
    hubdata._tables.clear()
    assert tasks.open_task(named, "tasks.0", "train")[1].digest == rows.digest and not server.asked  # kept beside the cache
    hubdata._tables.clear()
    monkeypatch.setattr(hubrows, "WHOLE", 10**9)
    monkeypatch.setattr(hubcopies, "read", lambda path: None)
    assert opened("hub:org/large", "train", **asked)[1].digest == rows.digest  # as of the whole file


def test_the_rows_of_a_sample_of_a_large_split_are_part_of_a_larger_one(large):
    small, more, all_of_them = (opened("hub:org/large", "train", text=["premise", "hypothesis"], limit=n)[1] for n in (4, 40, None))
    assert set(small.ids) < set(more.ids) and len(all_of_them) == 3000
    assert all_of_them.texts == list(zip(LARGE["premise"], LARGE["hypothesis"], strict=True))


def test_names_of_labels_are_those_of_the_whole_split_however_few_rows_are_taken(server, monkeypatch):
    monkeypatch.setattr(hubrows, "WHOLE", 1_000)
    made = {"text": [f"text {i}" for i in range(2000)], "label": [f"name {i % 20}" for i in range(2000)]}
    server.put("org/set", {"train.parquet": bare(made, row_group_size=100)}, kind="datasets")
    _, rows = opened("hub:org/set", limit=3)
    assert len(rows.names) == 20 and [rows.names[i] for i in rows.labels] == [made["label"][i] for i in rows.ids]


@pytest.mark.parametrize(("limit", "match"), [("MOST_LABELLED", r"label: which classes 'label' has is not said, and train has 2,000 rows"),
                                              ("MOST_FETCHED", "task: .* more than 10,000 that are fetched")])  # fmt: skip
def test_labels_that_fit_no_name_are_not_read_without_bound(server, monkeypatch, limit, match):
    monkeypatch.setattr(hubrows, "WHOLE", 1_000)
    made = {"text": [f"text {i}" for i in range(2000)], "label": [f"name {i * 7919 % 2000}" for i in range(2000)]}
    told = card(dataset_info={"features": [{"name": "label", "dtype": {"class_label": {"names": ["a", "b"]}}}]})
    server.put("org/set", {"train.parquet": bare(made, row_group_size=100), "README.md": told}, kind="datasets")
    monkeypatch.setattr(hubrows, limit, 1_000 if limit == "MOST_LABELLED" else 10_000)
    with pytest.raises(QuestionError, match=rf"^tasks\.0\.({match})"):
        opened("hub:org/set", limit=1)
    assert sum(a.sent for a in server.asked if a.range and "/resolve/" in a.path) < 70_000


def test_a_download_of_rows_is_told(server, large):
    told = []
    with hubrows.telling(lambda repo, done, of: told.append((repo, done, of))):
        opened("hub:org/large", "train", text=["premise", "hypothesis"], limit=50)
    assert told[-1][1] == told[-1][2] and all(a[1] < b[1] for a, b in pairwise(told)) and {repo for repo, *_ in told} == {"org/large"}


def test_a_small_split_is_fetched_and_told_of_once(server, mnli):
    told = []
    with hubrows.telling(lambda repo, done, of: told.append((done, of))):
        opened("hub:nyu-mll/glue/mnli")
        hubdata._tables.clear()
        opened("hub:nyu-mll/glue/mnli", limit=3)
    assert told[-1][0] == told[-1][1] and sorted(told) == told


def test_a_template_of_a_large_split_is_kept_too(server, large):
    asked = {"template": "{idx}: {premise} {hypothesis} {idx}", "limit": 6, "answers": ["a {idx}", "b", "c"]}
    named, rows = opened("hub:org/large", "train", **asked)
    server.asked.clear()
    hubdata._tables.clear()
    again = tasks.open_task(named, "tasks.0", "train")[1]
    assert again.digest == rows.digest and again.texts[0].startswith(f"{rows.ids[0]}: ") and again.answers[0][0] == f"a {rows.ids[0]}"
    assert not server.asked


def test_a_damaged_copy_is_made_again(server, large, tmp_path):
    asked = {"text": ["premise", "hypothesis"], "limit": 5}
    before = opened("hub:org/large", "train", **asked)[1].digest
    for copy in (tmp_path / "cache" / "rows").rglob("*.json"):
        copy.write_bytes(copy.read_bytes()[:-50])
    hubdata._tables.clear()
    assert opened("hub:org/large", "train", **asked)[1].digest == before


def test_copies_stay_small(server, large, tmp_path, monkeypatch):
    monkeypatch.setattr(hubcopies, "MOST_COPIES", 40_000)
    for seed in range(6):
        opened("hub:org/large", "train", text=["premise", "hypothesis"], limit=50, sample_seed=seed)
    copies = list((tmp_path / "cache" / "rows").rglob("*.json"))
    assert 1 <= len(copies) < 6 and sum(copy.stat().st_size for copy in copies) <= 40_000


@pytest.mark.parametrize(("path", "status", "match"), [
    ("/api/datasets/", 429, "asks for a pause"), ("/api/datasets/", 500, "did not answer"), ("/resolve/", 429, "pause|did not answer"), ("/resolve/", 500, "did not answer"),
])  # fmt: skip
def test_what_the_hub_refuses_is_a_sentence(server, mnli, status, match, path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    server.faults.append(Fault(path, status=status))
    with pytest.raises(QuestionError, match=rf"^tasks\.0\.task: .*({match})") as told:
        opened("hub:nyu-mll/glue/mnli")
    assert "\n" not in str(told.value)


def test_a_cut_in_the_middle_of_rows_is_mended(server, large):
    server.faults.append(Fault("train-00001", cut=20_000, times=1))
    _, rows = opened("hub:org/large", "train", text=["premise", "hypothesis"], limit=300)
    assert rows.texts == [(LARGE["premise"][i], LARGE["hypothesis"][i]) for i in rows.ids]


def test_a_private_and_a_gated_set_need_a_token(server, monkeypatch):
    from mcore.hub import access

    for name, gated in (("org/private", False), ("org/gated", True)):
        server.put(name, {"train.csv": csv(DATA["train"])}, kind="datasets", token="hf_secret", gated=gated)
    with pytest.raises(QuestionError, match="there is no data set org/private"):
        opened("hub:org/private")
    with pytest.raises(QuestionError, match="org/gated is gated; accept its licence at .*/datasets/org/gated"):
        opened("hub:org/gated")
    with access.using("hf_secret"):
        assert len(opened("hub:org/private")[1]) == len(opened("hub:org/gated")[1]) == 12


@pytest.mark.parametrize(("address", "match"), [
    ("hub:org/absent", "there is no data set org/absent"), ("hub:nyu-mll/glue", "2 configurations; name one of: hub:nyu-mll/glue/mnli"),
    ("hub:nyu-mll/glue/nli", "no configuration 'nli'"), ("hub:nyu-mll/glue/mnli@v9", "no revision 'v9'"), ("hub:glue", "write hub:nyu-mll/glue/cola"),
    ("hub:a/b/c/d", "is no data set"), ("hub:nyu-mll/glue/../x", "is no data set"), ("hub:nyu-mll/glue/..", "no name of a configuration"), ("hub:?", "no repository"),
])  # fmt: skip
def test_a_name_that_is_none_is_answered_with_a_sentence(mnli, address, match):
    with pytest.raises(QuestionError, match=rf"^tasks\.0\.task: .*{match}"):
        opened(address)


def bomb():
    """A short file of a million rows that all are one long text: 10 GB when it is written out."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array(["x" * 10_000]))
    return bare({"text": text, "label": pa.array(np.arange(1_000_000) % 2)})


def fatal():
    """A footer that calls a column of texts one of truths: `pyarrow` ends its process on reading it."""
    data = bytearray(bare({"text": ["a"], "label": [0]}, store_schema=False, compression="none", use_dictionary=False))
    data[len(data) - 8 - int.from_bytes(data[-8:-4], "little") + 18] = 0
    return bytes(data)


def references() -> str:
    """YAML of a kilobyte that would be a gigabyte written out: ``*a8`` is a list of ten lists of ten lists …"""
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))])


@pytest.mark.parametrize("feature", ["{name: *a8, dtype: {class_label: {names: [a, b]}}}", "{name: label, dtype: {class_label: {names: *a8}}}"])
@pytest.mark.parametrize("config", ["default", "*a8"])
def test_references_in_a_card_are_never_written_out(feature, config):
    found = datacard.front_matter(f"---\n{references()}\ndataset_info:\n- config_name: {config}\n  features:\n  - {feature}\n---\n")
    tracemalloc.start()
    assert datacard.config(["train.csv"], found, "default").classes == {}
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


HOSTILE = {
    "a footer that ends the process which reads it": ({"train.parquet": fatal()}, "is damaged"),
    "no parquet": ({"train.parquet": b"PAR1 and no more"}, "no parquet file"),
    "a footer longer than its file": ({"train.parquet": b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1"}, "no parquet file"),
    "a footer of noise": ({"train.parquet": b"PAR1" + bytes(range(256)) * 4 + (1024).to_bytes(4, "little") + b"PAR1"}, "is damaged"),
    "a million rows of one long text": ({"train.parquet": bomb()}, "MiB of memory|held at once"),
    "three thousand columns": ({"train.parquet": bare({f"c{i}": [1] for i in range(3000)})}, "3,000 columns"),
    "a file cut in its middle": ({"train.parquet": parquet(LARGE, group=100)[:-3000]}, "no parquet file"),
    "a card nested a hundred thousand times": ({"README.md": b"---\na: " + b"[" * 100_000 + b"\n---\n", "train.csv": b"text,label\na,b\n"}, "nested too deeply"),
    "a card that is no YAML": ({"README.md": b"---\na: [\n---\n", "train.csv": b"text,label\na,b\n"}, "no YAML"),
    "a card with an object of Python": (
        {"README.md": b"---\na: !!python/object/apply:os.system ['touch /tmp/ran']\n---\n", "train.csv": b"text,label\na,b\n"}, "no YAML"),
    "a card that names files elsewhere": (
        {"README.md": card(configs=[{"config_name": "default", "data_files": "../../../etc/passwd"}]), "train.csv": b"text,label\na,b\n"}, "names no parquet"),
    "a card that names too many": (
        {"README.md": card(configs=[{"config_name": "default", "data_files": ["*" * 8] * 100_000}]), **{f"{i}.csv": b"a" for i in range(30)}}, "too many files"),
    "rows without any column": ({"train.csv": b""}, "no rows"),
    "a csv that is none": ({"train.csv": b"\xff\xfe\x00text"}, "cannot be read"),
    "three texts": ({"train.csv": b"a,b,c,label\nw,x,y,0\nv,x,y,1\n"}, "3 columns could be the text"),
    "only pictures": ({"train/1.png": b"x"}, "no parquet, csv or jsonl files"),
    "files of different columns": ({"train-00000-of-00002.parquet": bare({"text": ["a"]}), "train-00001-of-00002.parquet": bare({"other": ["a"]})}, "different columns"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "match"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_data_set_gets_its_sentence(server, files, match):
    server.put("org/hostile", files, kind="datasets")
    with pytest.raises(QuestionError, match=rf"^tasks\.0\.(task|text|label|split): .*({match})") as told:
        opened("hub:org/hostile")
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


def test_damage_of_any_byte_is_rows_or_a_sentence(server):
    """Some ends the process that reads it, and no other."""
    whole = parquet(columns(40), group=10)
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    draw = random.Random(0)
    for i in range(12):
        data = bytearray(whole)
        for place in draw.sample(range(footer if i % 2 else 0, len(data)), 3):
            data[place] = draw.randrange(256)
        server.put("org/damaged", {"train.parquet": bytes(data)}, kind="datasets", revision=f"v{i}")
        try:
            assert len(opened(f"hub:org/damaged@v{i}", text=["premise", "hypothesis"], limit=20)[1]) == 20
        except QuestionError as error:
            assert "\n" not in str(error)


def test_markup_in_names_and_labels_is_text(server):
    made = {"<b>text</b>": ["<script>x</script>", "b"], "label": [0, 1]}
    server.put("org/markup", {"train.parquet": parquet(made, ["<img src=x>", "&amp;"])}, kind="datasets")
    _, rows = opened("hub:org/markup")
    assert rows.names == ("<img src=x>", "&amp;") and rows.texts[0] == "<script>x</script>"


def test_a_host_refuses_more_rows_than_it_carries_out_before_it_fetches_any(server, large, host):
    host(MCORE_MOST_ROWS="100")
    server.asked.clear()
    with pytest.raises(QuestionError, match=r"^tasks\.0\.limit: 3,000 rows are more .*at most 100"):
        opened("hub:org/large", text=["premise", "hypothesis"])
    assert sum(asked.sent for asked in server.asked) < large / 4
    host(MCORE_MOST_DOWNLOADS="50000")
    with pytest.raises(QuestionError, match=r"bytes, more than 50,000 that are fetched"):
        opened("hub:org/large", "train", text=["premise", "hypothesis"])


def test_csv_is_read_whole_and_so_has_its_limit(server, monkeypatch):
    monkeypatch.setattr(hubrows, "MOST_TEXT_FILES", 300)
    server.put("org/set", {"train.csv": csv(DATA["train"])}, kind="datasets")
    server.asked.clear()
    with pytest.raises(QuestionError, match=r"bytes, more than 300 that are read of such files; name the revision refs/convert/parquet"):
        opened("hub:org/set")
    assert not any("train.csv" in path for path in paths(server))


@pytest.fixture
def recipe(saved):
    base = f"local:{saved('bert', 5, labels=tuple(NLI), opener=AutoModel)}"
    return {"base": base, "task": {"task": "hub:nyu-mll/glue/mnli", "limit": 40}, "steps": 2, "batch_size": 8}


def test_a_recipe_learns_from_a_data_set_and_is_watched_on_its_validation_rows(server, mnli, recipe, store):
    question = parse(tiny.experiment(recipe, recipe | {"head_seed": 2}, {"task": "hub:nyu-mll/glue/mnli"}, points=2))
    resolved = resolve(question)
    trained = resolve_recipe(question.a, "a")
    assert (trained.training.task.split, trained.validation.task.split) == ("train", "validation_matched")
    assert resolved.experiment.a.task.task == f"hub:nyu-mll/glue/mnli@{mnli}" == resolved.experiment.tasks[0].task
    events = list(run(question, store))
    assert type(events[-1]).__name__ == "Done"
    server.asked.clear()
    assert resolve(resolved.experiment).fingerprint == resolved.fingerprint and not server.asked


@settings(max_examples=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("abZ019-._/@:%~ \\\n\0é<'\"{}?#") | st.characters(), max_size=12).map(lambda tail: f"hub:org/{tail}"))
def test_any_name_is_a_data_set_or_a_sentence(server, address):
    server.asked.clear()
    try:
        opened(address)
    except QuestionError as error:
        assert error.field.startswith("tasks.0")
    for asked in server.asked:
        assert asked.path.startswith(("/api/datasets/org/", "/datasets/org/")) and ".." not in asked.path


@given(st.lists(st.text(st.sampled_from("abtrain-0of1./csvjsonlparquet_*[]!\\é"), max_size=30), max_size=8), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["default", "*", "**/*.csv", "[!a", "train"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["configs", "config_name", "data_files", "split", "path", "data_dir", "dataset_info", "features", "name", "dtype", "class_label", "names", "0"]), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_any_card_over_any_files_is_understood_or_refused(files, told):
    card = told if isinstance(told, dict) else {"configs": told, "dataset_info": told}
    names, usual = datacard.names(files, card)
    assert usual is None or usual in names
    for name in names:
        found = datacard.config(files, card, name)
        assert all(set(inside) <= set(files) for inside in found.splits.values())


def test_rows_read_with_a_visitor_s_token_are_no_other_visitor_s(server, host, tmp_path, monkeypatch):
    from mcore.hub import access

    host()
    monkeypatch.setattr(hubrows, "WHOLE", 100)
    commit = server.put("org/private", {"train.parquet": parquet(columns(50))}, kind="datasets", token="hf_secret")
    address = f"hub:org/private@{commit}"
    with access.using("hf_secret"):
        named, rows = opened(address, "train", text=["premise", "hypothesis"])
    for asker in (None, "hf_other"):
        with access.using(asker), pytest.raises(QuestionError, match="org/private|does not know the token"):
            tasks.open_task(named, "tasks.0", "train")
    held = [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and rows.texts[0][0].encode() in file.read_bytes()]
    assert held and all("private" in file.relative_to(tmp_path / "cache").parts for file in held)
    assert not any(b"hf_secret" in file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())


def test_a_length_that_is_wrong_and_a_slow_answer_are_borne(server, mnli, monkeypatch):
    monkeypatch.setattr(hub_client, "RETRIES", 1)
    wrong, slow = Fault("validation_matched", length=10_000_000), Fault("/datasets/", wait=0.2)
    server.faults.append(wrong)
    with pytest.raises(QuestionError, match=r"^tasks\.0\.task: "):
        opened("hub:nyu-mll/glue/mnli")
    server.faults[:] = [slow]
    assert len(opened("hub:nyu-mll/glue/mnli")[1]) == 30
