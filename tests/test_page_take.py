"""The form that takes the model at t away, in every state, without a browser; what the Library then lists."""

from __future__ import annotations

import io
import sqlite3
import zipfile

import pytest
from app_in_apptest import page, words
from browser_fixtures import carry_out, question

from mcore import events, taking
from mcore.jobs.queue import Jobs
from mcore.library import items as library
from mcore.question import as_written
from mcore.resolved import Resolved
from mcore.store import Store
from mcore.taking import Take
from mcore.ui.compare import take as form

LIBRARY = "pages/6_Library.py"


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


@pytest.fixture
def jobs(app_jobs: Jobs) -> Jobs:
    return app_jobs


@pytest.fixture
def resolved(store: Store) -> Resolved:
    return carry_out(question(), store)


def kept(resolved: Resolved, store: Store, take: Take) -> str:
    """A folder as an export leaves it, with little in it."""
    key = taking.key(resolved, take)
    (store.work(key) / "model.safetensors").write_bytes(b"weights")
    (store.work(key) / "README.md").write_text("card")
    store.put_folder(key, store.work(key), taking.KIND, {"question": as_written(question()), "t": take.t, "dtype": take.dtype})
    return key


def chosen(resolved: Resolved, store: Store, dtype: taking.Dtype = "float32") -> Take:
    return Take(taking.best_of(resolved, store).t, dtype)


def test_there_is_nothing_to_take_before_the_answer_is_whole(store):
    carry_out(question(), store, points=4)
    assert not [one for one in page(question()).expander if one.label == "Take the model at t"]


def test_it_begins_at_the_best_t_and_says_what_that_is_worth_on_other_rows(resolved, store):
    app, found = page(question()), taking.best_of(resolved, store)
    assert app.select_slider[0].value == found.t
    assert f"on the {found.chosen_on} rows that chose it; on the {found.reported} other rows" in words(app)
    assert app.button(key="take-best").disabled
    app.select_slider[0].set_value(0.5).run()
    assert "At t = 0.50: loss" in words(app) and "--t 0.5 --dtype float32" in "".join(one.value for one in app.code)
    app.button(key="take-best").click().run()
    assert app.select_slider[0].value == found.t


def test_save_puts_the_model_in_the_queue_once_and_shows_how_it_goes(resolved, store, jobs):
    app = page(question())
    app.button(key="take-save").click().run()
    job = jobs.active()[0]
    assert (job.part, job.take, job.fingerprint) == ("export", chosen(resolved, store), taking.key(resolved, job.take))
    assert "Next in the queue" in words(app)
    jobs.take("1")
    jobs.emit(job.id, events.Working("saving the model at t = 1"))
    app.run()
    assert "Saving the model at t = 1" in words(app)
    app.button(key="take-cancel").click().run()
    assert jobs.cancel_asked(job.id)
    jobs.finish(job.id, "cancelled", "Cancelled. Everything finished so far is kept.")
    app.run()
    assert "Cancelled." in words(app) and app.button(key="take-save")


def test_a_failure_is_told_where_the_button_is(resolved, store, jobs):
    jobs.submit(as_written(question()), taking.key(resolved, chosen(resolved, store)), take=chosen(resolved, store))
    jobs.finish(jobs.take("1").id, "failed", "classifier.weight has a weight that is too large for float16.")
    assert "too large for float16" in words(page(question()))


def test_what_is_saved_can_be_downloaded_and_stands_in_a_folder(resolved, store):
    key = kept(resolved, store, chosen(resolved, store))
    app = page(question())
    assert app.get("download_button") and str(store.root / "folders" / key) in [one.value for one in app.code]
    with zipfile.ZipFile(io.BytesIO(form.zipped(store.folder(key), "t-1"))) as archive:
        assert sorted(archive.namelist()) == ["t-1/README.md", "t-1/model.safetensors"] and archive.read("t-1/README.md") == b"card"
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_host_says_what_is_too_large_to_send_and_shows_no_folder(resolved, store, host, monkeypatch):
    host()
    key = kept(resolved, store, chosen(resolved, store))
    monkeypatch.setattr(form, "MOST_ZIP", 1)
    app = page(question())
    assert "are more than this host sends" in words(app) and "run it on your own machine" in words(app)
    assert not [one for one in app.code if key in one.value]


def test_send_is_a_job_of_this_visitors_own_and_tells_where_it_is(resolved, store, jobs):
    app = page(question())
    assert app.button(key="take-send").disabled
    app.text_input(key="take-repository").set_value("nameless").run()
    assert "is no repository; write ORG/NAME." in words(app) and app.button(key="take-send").disabled
    app.text_input(key="take-repository").set_value("org/blend").run()
    app.button(key="take-send").click().run()
    job = jobs.active()[0]
    assert job.take.push == "org/blend" and job.take.private and not job.take.pull_request
    assert job.fingerprint != taking.key(resolved, job.take)
    jobs.take("1")
    jobs.emit(job.id, events.Pushed("https://hub.example/org/blend"))
    jobs.finish(job.id, "done")
    app.run()
    assert "It is at https://hub.example/org/blend" in words(app)


def test_the_library_lists_a_saved_model_among_models_and_deletes_it_alone(resolved, store):
    key = kept(resolved, store, Take(0.25, "float16"))
    before = len(store.entries())
    app = page(None, LIBRARY)
    assert "1 saved model" in words(app)
    app.get("button_group")[0].set_value("Models").run()
    app.button(key=f"open-{key}").click().run()
    assert not app.exception and str(store.root / "folders" / key) in [one.value for one in app.code]
    app.button(key="delete").click().run()
    assert "What was computed of its path stays" in words(app)
    app.button(key="delete-it").click().run()
    assert store.folder(key) is None and len(store.entries()) == before - 1 and store.entries("experiment") == []


def test_an_entry_that_another_version_wrote_is_a_row_that_says_so(store):
    key = "e" * 32
    (store.work(key) / "x").write_text("x")
    store.put_folder(key, store.work(key), taking.KIND, {"question": {"version": 9}})
    assert "cannot be read by this version" in library.items(store)[0].wrong


def test_a_queue_of_before_takes_exports_too(tmp_path):
    with sqlite3.connect(tmp_path / "jobs.sqlite") as old:
        old.execute("""CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, fingerprint TEXT, experiment TEXT,
            part TEXT CHECK (part IN ('all', 'training')), state TEXT, created REAL, started REAL, finished REAL, cancel REAL, sentence TEXT,
            visitor TEXT, worker TEXT) STRICT""")
    jobs = Jobs(tmp_path)
    jobs.submit(as_written(question()), "f" * 32, part="export", take=Take(0.5, "bfloat16", "org/name", True))
    assert jobs.take("1").take == Take(0.5, "bfloat16", "org/name", True)
