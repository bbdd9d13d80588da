"""The tab Representations: what it says before anything is computed, its button, its maps and lines, its words and its file."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from app_in_apptest import charts, page, words
from browser_fixtures import carry_out, question
from streamlit.testing.v1 import AppTest

from mcore.charts import layers as charts_layers
from mcore.charts.theme import DARK, LIGHT, to_svg
from mcore.events import LayersReady
from mcore.jobs.queue import Jobs
from mcore.layers import represented
from mcore.layers.representation import layer_names
from mcore.question import Experiment, as_written, parse
from mcore.resolve import resolve
from mcore.store import Store
from mcore.ui.compare.representations import csv_of
from mcore.ui.forms.layers import PATH
from mcore.ui.progress import progress

LAYERS = layer_names(4)
ASKED = question(probes=["loss", "accuracy", "cka", "readout"])


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


def told(ts: list[float], measure: str = "accuracy") -> dict:
    """The part of a result, with layers that differ the more the higher they are, and most in the middle."""
    def likeness(t: float, end: float) -> list[float]:
        return [1 - 0.08 * k * abs(t - end) * (1.5 - abs(t - 0.5)) for k in range(len(LAYERS))]

    return {
        "task": {"task": "builtin:speech", "split": "validation"}, "rows": list(range(64)), "pool": "mean", "encoder": False,
        "layers": list(LAYERS), "width": 128, "t": ts, "cka_a": [likeness(t, 0.0) for t in ts], "cka_b": [likeness(t, 1.0) for t in ts],
        "readout": [[0.7 + 0.05 * k - 0.2 * t * (1 - t) for k in range(len(LAYERS))] for t in ts], "control": [[0.5 + 0.01 * t] * len(LAYERS) for t in ts],
        "measure": measure, "fitted_on": 1024, "seed": 0, "constant_baseline": 0.52 if measure == "accuracy" else None,
    }  # fmt: skip


def look(experiment: Experiment, store: Store, count: int | None = None) -> None:
    """Put what the layers hold, at the first ``count`` t, into the store."""
    every = represented.keys(resolve(experiment))
    for t, keys in list(every.items())[:count]:
        part = told([t])
        named = {"layers": list(LAYERS), "width": 128, "encoder": False}
        found = {"cka": {side: part[f"cka_{side}"][0] for side in "ab"}, "readout": {name: part[name][0] for name in ("readout", "control")}}
        for probe, key in keys.items():
            store.put(key, represented.pack(named | found[probe]), represented.KIND)


def opened(asked: Experiment) -> AppTest:
    app = page(asked)
    app.session_state["tab"] = "Representations"
    app.run()
    assert not app.exception
    return app


def specs(app: AppTest) -> list[str]:
    return [one.proto.spec for one in app.get("vega_lite_chart")]


def test_what_is_not_computed_yet_is_explained_and_one_click_asks_for_it_and_queues_it(store: Store, app_jobs: Jobs) -> None:
    plain = question(probes=["loss", "accuracy"])
    carry_out(plain, store)
    app = opened(plain)
    assert "Here is what its layers hold on the way" in words(app) and "It runs the model again at 7 t, on 1,088 rows" in words(app)
    app.button(key="look-at-layers").click().run()
    assert not app.exception
    changed = parse(app.session_state["mc.draft"])
    assert changed.probes == ["loss", "accuracy", "readout", "cka"] and as_written(changed) == as_written(plain) | {"probes": changed.probes}
    job = app_jobs.latest(resolve(changed).fingerprint)
    assert job is not None and job.state == "queued"


def test_maps_and_lines_appear_with_their_words_and_numbers(store: Store) -> None:
    carry_out(ASKED, store)
    look(ASKED, store)
    app = opened(ASKED)
    assert app.button(key="run").disabled and "from the store" in words(app)
    drawn = specs(app)
    assert any("CKA with A by layer and t" in one for one in drawn) and any("CKA with B by layer and t" in one for one in drawn)
    assert any("Accuracy of a read-out of layer 3" in one for one in drawn)
    assert "least alike in layer 3" in words(app) and "farthest from both at t = 0.50" in words(app) and "hidden states, the mean over a text" in words(app)
    assert not [one for one in app.button if one.key == "look-at-layers"] and "With fewer rows than features in a layer CKA comes out too high" in words(app)
    app.selectbox(key="readout-layer").set_value("embeddings").run()
    assert not app.exception and any("Accuracy of a read-out of the embeddings: 70.0 % at A, 70.0 % at B" in one for one in specs(app))


def test_what_is_missing_is_said_and_what_is_there_is_drawn(store: Store) -> None:
    carry_out(ASKED, store)
    app = opened(ASKED)
    assert "Run reads the layers at 7 t on 1,088 rows" in words(app) and not app.button(key="run").disabled
    assert "Run reads them; what is there of the points is kept." in words(app)
    look(ASKED, store, 3)
    app = opened(ASKED)
    assert "3 of 7 t" in words(app) and "Run reads the layers at 4 t" in words(app) and charts(app) >= 4


def test_while_the_layers_are_looked_at_the_maps_grow(store: Store, app_jobs: Jobs) -> None:
    carry_out(ASKED, store)
    resolved = resolve(ASKED)
    app_jobs.submit(as_written(ASKED), resolved.fingerprint)
    job = app_jobs.take("worker")
    look(ASKED, store, 2)
    app_jobs.emit(job.id, LayersReady(1.0, 2, 7, 9.0))
    app = opened(ASKED)
    assert "Reading the layers, last at t = 1.00: 2 of 7 t" in words(app) and "about 9 s left" in words(app) and "2 of 7 t" in words(app)
    assert any("CKA with A by layer and t" in one for one in specs(app))
    before, after = (progress(resolved, [LayersReady(0.0, done, 7)], 7, 7).fraction for done in (1, 6))
    assert 0 < before < after < 1 == progress(resolved, [LayersReady(0.0, 7, 7)], 7, 7).fraction


def test_with_one_of_the_probes_the_other_is_offered(store: Store) -> None:
    asked = question(probes=["loss", "cka"])
    carry_out(asked, store)
    look(asked, store)
    app = opened(asked)
    assert not any("read-out of" in one for one in specs(app)) and app.button(key="look-at-layers")
    app.button(key="look-at-layers").click().run()
    assert parse(app.session_state["mc.draft"]).probes == ["loss", "cka", "readout"]


def test_where_nothing_can_be_read_out_cka_alone_is_offered_and_why_is_said(store: Store, tmp_path) -> None:
    rows = ["text,label", *[f"some text {i},{i % 2}" for i in range(30)]]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(rows))
    asked = question(tasks=[{"task": f"local:{file}", "max_length": 16}], probes=["loss"], labels={"a": ["0", "1"], "b": ["0", "1"]})
    carry_out(asked, store)
    app = opened(asked)
    assert "Without read-outs here: representation.task.split: 0 training rows are left" in words(app)
    app.button(key="look-at-layers").click().run()
    assert parse(app.session_state["mc.draft"]).probes == ["loss", "cka"]


def test_the_form_asks_for_other_features_only_where_layers_are_looked_at(store: Store) -> None:
    carry_out(ASKED, store)
    plain, app = page(question(probes=["loss"])), page(ASKED)
    keys = {one.key for one in [*plain.text_input, *plain.get("button_group")]}
    assert not [key for key in keys if key and "representation" in key]
    app.text_input(key="in.representation.layers").set_value("embeddings, 2").run()
    app.text_input(key="in.representation.task").set_value("builtin:novel").run()
    next(one for one in app.get("button_group") if one.key == "in.representation.pool").set_value("first").run()
    assert not app.exception
    assert app.session_state["mc.draft"][PATH[0]] == {"layers": ["embeddings", 2], "task": {"task": "builtin:novel"}, "pool": "first"}
    app.text_input(key="in.representation.layers").set_value("9").run()
    assert "representation.layers: there is no layer 9; this model has embeddings and layers 0 to 3" in words(app)
    app.text_input(key="in.representation.layers").set_value("").run()
    assert "layers" not in app.session_state["mc.draft"][PATH[0]] and "mc-error" not in words(app)


@pytest.mark.parametrize("dark", [False, True])
def test_the_maps_share_their_scale_and_take_the_colours_of_the_ends(dark: bool) -> None:
    part, look_of = told([0.0, 0.25, 1.0]), DARK if dark else LIGHT
    for side, colour in (("a", look_of.a), ("b", look_of.b)):
        spec = charts_layers.cka_chart(part, side, dark).to_dict()
        scale = spec["layer"][0]["encoding"]["color"]["scale"]
        assert scale["domain"] == [charts_layers.lowest(part), 1] and scale["range"] == [look_of.grid, colour]
        cells = next(iter(spec["datasets"].values())) if "datasets" in spec else spec["layer"][0]["data"]["values"]
        assert len(cells) == 15 and spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [-0.125, 1.375]
        assert {(cell["from"], cell["to"]) for cell in cells} == {(-0.125, 0.125), (0.125, 0.625), (0.625, 1.375)}
    least = min(np.min(part["cka_a"]), np.min(part["cka_b"]))
    assert 0 < least - charts_layers.lowest(part) < 0.1


def test_the_read_outs_scale_is_that_of_every_layer() -> None:
    part = told([0.0, 0.5, 1.0])
    domains = {json.dumps(charts_layers.readout_chart(part, layer).to_dict()["layer"][-1]["encoding"]["y"]["scale"]["domain"]) for layer in LAYERS}
    assert len(domains) == 1 and json.loads(domains.pop())[0] < 0.5


def test_a_paper_gets_the_maps_and_the_read_out_named_on_white() -> None:
    part = told([0.0, 0.5, 1.0])
    figures = [*(charts_layers.cka_figure(part, side) for side in "ab"), charts_layers.readout_figure(part, "layer 2")]
    first, second, third = (to_svg(one).decode() for one in figures)
    assert f"CKA with A, from {charts_layers.lowest(part):.3g} (faint) to 1" in first and "CKA with B" in second
    assert "Accuracy of the read-out of layer 2" in third
    assert all('fill="white"' in one or "background" in one for one in (first, second, third))


def test_cells_without_a_number_are_dashes_and_empty_in_the_file() -> None:
    part = told([0.0, 1.0])
    part["cka_a"][0][0] = part["cka_b"][1][0] = part["cka_a"][1][0] = part["cka_b"][0][0] = None
    assert charts_layers.cka_chart(part, "a").to_dict() and "layer 3" in charts_layers.cka_told(part)[0]
    rows = list(csv.DictReader(io.StringIO(csv_of(part).decode())))
    assert len(rows) == 10 and rows[0] == {"t": "0.0", "layer": "embeddings", "cka_a": "", "cka_b": "", "readout": "0.7", "control": "0.5"}
    assert float(rows[1]["cka_b"]) == part["cka_b"][0][1]


def test_scores_are_told_by_r_squared_and_a_partial_path_by_its_ends() -> None:
    part = told([0.0, 0.5, 1.0], "R²") | {"way": {"kind": "partial", "move": ["attention"]}}
    said = charts_layers.readout_told(part, "layer 3")
    assert said.startswith("R² of a read-out of layer 3: 0.90 at A, 0.90 at A with B's attention, between them at least 0.85")
    assert charts_layers.margin(part) == "" and charts_layers.readout_chart(part, "layer 3").to_dict()
    assert not charts_layers.cka_told(part)[0].startswith("The features of A and B")


def test_a_partial_result_without_a_middle_has_its_words() -> None:
    assert charts_layers.cka_told(told([0.0])) == [] and "nothing is computed yet" in charts_layers.readout_told(told([]), "layer 0")
    assert "Nothing is computed yet." in charts_layers.cka_chart(told([]), "a").to_dict()["description"]
    assert charts_layers.readout_chart(told([]), "layer 0").to_dict()
