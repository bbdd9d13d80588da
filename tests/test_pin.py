"""A pinned question names commits, is the same question, and stays it when the Hub goes on."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from mcore import cli
from mcore.hub import repositories as hub_client
from mcore.link import link, unlink
from mcore.pin import pinned
from mcore.question import as_written, parse
from mcore.resolve import resolve


@pytest.fixture
def commits(server, saved):
    """Two models and a data set; their commits."""
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [tiny.sentence(i) for i in range(24)], "label": [tiny.LABELS[i % 2] for i in range(24)]}), file)
    data = server.put("org/data", {"train-00000-of-00001.parquet": file.getvalue()}, kind="datasets")
    return [server.put(f"org/model-{side}", saved("bert", seed)) for side, seed in (("a", 1), ("b", 2))] + [data]


def question(**changes):
    task = {"task": "hub:org/data/default", "split": "train", "max_length": 16}
    return parse({"version": 1, "a": "hub:org/model-a", "b": "hub:org/model-b", "tasks": [task], "points": 3} | changes)


RECIPE = {"base": "hub:org/model-a", "task": {"task": "hub:org/data/default", "split": "train"}, "steps": 2}


@pytest.mark.parametrize("changes", [{}, {"a": RECIPE, "b": RECIPE | {"head_seed": 2}}, {"b": RECIPE}], ids=["checkpoints", "recipes", "one of each"])
def test_a_pinned_question_is_the_same_question(server, commits, changes):
    asked = question(**changes)
    resolved = resolve(asked)
    fixed = pinned(asked, resolved.experiment)
    assert resolve(fixed).fingerprint == resolved.fingerprint
    names = json.dumps(as_written(fixed))
    assert f"hub:org/model-a@{commits[0]}" in names and f"hub:org/data/default@{commits[2]}" in names
    unpinned = names
    for commit in commits:
        unpinned = unpinned.replace(f"@{commit}", "")
    assert json.loads(unpinned) == as_written(asked)  # nothing else is changed


def test_a_pinned_link_stays_what_it_was_when_a_branch_goes_on(server, commits, saved):
    asked = question()
    before = resolve(asked)
    shared = link(pinned(asked, before.experiment))
    server.put("org/model-b", saved("bert", 3))
    hub_client._newest.clear()  # as after a minute
    assert resolve(asked).fingerprint != before.fingerprint == resolve(unlink(shared)).fingerprint


def test_what_ships_with_the_app_has_nothing_to_pin():
    recipe = {"base": "builtin:austen@0", "task": {"task": "builtin:speech"}}
    asked = parse({"version": 1, "a": recipe, "b": "builtin:austen@1000", "tasks": [{"task": "builtin:speech"}]})
    assert pinned(asked, resolve(asked).experiment) == asked


def test_the_command_line_pins_a_link(server, commits, tmp_path, capsys):
    file = tiny.write(tmp_path / "question.json", as_written(question()))
    assert cli.main(["link", str(file)]) == 0 and unlink(capsys.readouterr().out) == question()
    assert cli.main(["link", str(file), "--pin"]) == 0
    assert unlink(capsys.readouterr().out).a == f"hub:org/model-a@{commits[0]}"
