"""The Findings page in every state, without a browser: the shipped run, what the store holds, the button, the way to each curve."""

from __future__ import annotations

import json

import pytest
from app_in_apptest import HOME, charts, words
from streamlit.testing.v1 import AppTest
from test_findings import barriers
from test_findings_run import carried, findings  # noqa: F401 (fixtures)

from mcore import profile
from mcore.findings import every
from mcore.findings import report as reports
from mcore.findings.every import FINDINGS
from mcore.link import unlink
from mcore.store import Store
from mcore.ui import findings as ui

FINDINGS_PAGE = "pages/5_Findings.py"


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


@pytest.fixture
def shipped(monkeypatch) -> reports.Report:
    """A run of two findings in the place of the one that ships: one shown, one not."""
    high = dict.fromkeys(FINDINGS["F4"].panels[0].groups, 0.01)
    found = {"F3": barriers("F3", {"straight line": 0.1, "curve with one bend": 0.01}), "F4": barriers("F4", high)}
    entries = {id: reports.told(FINDINGS[id], one, {}, 600.0) for id, one in found.items()}
    made = reports.report(entries, 1.9, 0)
    monkeypatch.setattr(ui.reports, "shipped", lambda: made)
    return made


def opened(**address: str) -> AppTest:
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=60)
    app.switch_page(FINDINGS_PAGE)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def buttons(app: AppTest) -> dict[str, str]:
    return {button.key: button.label for button in app.button}


def test_the_first_screen_has_seven_claims_and_a_figure_without_computing(store, shipped):
    app = opened(finding="F3")
    assert [key for key in buttons(app) if key.startswith("open-")] == [f"open-{id}" for id in FINDINGS]
    said = words(app)
    assert f"F3. {FINDINGS['F3'].claim}" in said and "Nothing of it has been computed here" in said
    assert "shipped run of " in said and charts(app) == len(FINDINGS["F3"].panels)


def test_the_shipped_run_is_marked_and_told_with_its_verdicts(store, shipped):
    app = opened(finding="F3")
    said = words(app)
    assert f"shipped run of {shipped.date} · 20 min on {shipped.machine.cores} cores" in said
    assert "both parts of the claim" in said and said.count("No run of it ships.") == 5
    assert "+0.09" in said and charts(app) == 1
    assert "▲" in said and "○" in said


def test_the_address_says_which_finding_is_open_and_a_strange_one_opens_the_first(store, shipped):
    app = opened(finding="F4")
    assert f"F4. {FINDINGS['F4'].claim}" in words(app)
    app.button(key="open-F3").click().run()
    assert app.query_params["finding"] in ("F3", ["F3"]) and f"F3. {FINDINGS['F3'].claim}" in words(app)
    for strange in ("F9", "f", "<b>"):
        assert f"F1. {FINDINGS['F1'].claim}" in words(opened(finding=strange))


def test_each_curve_of_the_shipped_run_leads_to_compare(store, shipped):
    app = opened(finding="F3")
    choice = app.selectbox(key="curve-F3")
    assert choice.options == list(shipped.findings["F3"].questions)
    choice.set_value("curve with one bend, seed 2").run()
    (way,) = [one.proto for one in app.get("page_link") if "Open this curve" in one.proto.label]
    assert unlink(way.query_string) == shipped.findings["F3"].questions["curve with one bend, seed 2"]


def test_how_it_was_tested_stands_there_in_words(store):
    finding = FINDINGS["F4"]
    said = words(opened(finding="F4"))
    for piece in ("The experiment", "Why these sizes", "What was tried", "lies on the side that the claim says"):
        assert piece in said
    assert f"{len(finding.asked)} questions" in said


def test_a_shipped_run_that_asked_something_else_says_so(store, shipped, monkeypatch):
    other = shipped.findings["F3"]
    questions = {name: question.model_copy(update={"points": 5}) for name, question in other.questions.items()}
    changed = shipped.model_copy(update={"findings": {"F3": other.model_copy(update={"questions": questions})}})
    monkeypatch.setattr(ui.reports, "shipped", lambda: changed)
    assert "asked other questions" in words(opened(finding="F3"))
    assert "asked other questions" not in words(opened(finding="F4"))


def test_without_a_shipped_run_each_finding_can_still_be_run(store, monkeypatch):
    monkeypatch.setattr(ui.reports, "shipped", lambda: None)
    app = opened(finding="F2")
    assert "There is no run that ships" in words(app) and "study-run-finding-F2" in buttons(app)


def test_the_button_asks_the_finding_as_one_job_with_a_cancel(store, app_jobs, shipped):
    app = opened(finding="F4")
    assert buttons(app)["study-run-finding-F4"] == "Run F4 here"
    app.button(key="study-run-finding-F4").click().run()
    job = app_jobs.latest(FINDINGS["F4"].study.fingerprint)
    assert job.state == "queued" and "study-cancel-finding-F4" in buttons(app)
    app.button(key="study-cancel-finding-F4").click().run()
    assert app_jobs.latest(FINDINGS["F4"].study.fingerprint).state == "cancelled"


class TestHere:
    """A stand-in of F1 and F2 whose answers a real run has put into the store."""

    @pytest.fixture
    def stand_in(self, carried, findings, app_store, monkeypatch):  # noqa: F811
        monkeypatch.setenv("MCORE_STORE", str(carried[2].root))
        monkeypatch.setattr(ui, "FINDINGS", findings)
        monkeypatch.setattr(every, "FINDINGS", findings)
        monkeypatch.setattr(ui.reports, "shipped", lambda: carried[0].report)

    def test_what_was_computed_here_stands_beside_the_shipped_run(self, stand_in):
        app = opened(finding="F1")
        said = words(app)
        assert "In the shipped run" in said and "Here" in said and charts(app) == 2
        assert "study-run-finding-F1" not in buttons(app)
        specs = [json.loads(one.proto.spec)["description"] for one in app.get("vega_lite_chart")]
        assert len(specs) == 2 and specs[0] == specs[1]

    def test_the_finding_by_rows_too(self, stand_in):
        assert charts(opened(finding="F2")) == 2

    def test_half_of_it_is_told_as_half(self, stand_in, findings, app_store, monkeypatch, tmp_path):  # noqa: F811
        from mcore.run import run

        monkeypatch.setenv("MCORE_STORE", str(tmp_path / "half"))
        ui.st.cache_resource.clear()
        store = Store(tmp_path / "half")
        for one in findings["F1"].asked[:2]:
            list(run(one.question, store))
        app = opened(finding="F1")
        assert "2 of 4 questions are answered. An effect needs two seeds." in words(app) and charts(app) == 2
        assert buttons(app)["study-run-finding-F1"] == "Run F1 here"


def test_on_a_host_all_seven_are_run_one_by_one(store, monkeypatch):
    monkeypatch.setenv("MCORE_PROFILE", "hosted")
    profile.profile.cache_clear()
    try:
        assert "more than this host takes at once" in words(opened())
    finally:
        monkeypatch.undo()
        profile.profile.cache_clear()
