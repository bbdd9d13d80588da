"""The app without a browser, by Streamlit's AppTest: a pytest plugin with ``app_store`` and ``app_jobs``, and what reads a page."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from mcore.jobs.queue import Jobs
from mcore.link import pack
from mcore.question import Experiment
from mcore.store import Store

HOME = Path(__file__).resolve().parent.parent
COMPARE = "pages/1_Compare.py"


class NoKeeper:
    """No worker is started: these tests say themselves what the queue does."""

    def __init__(self, root: Path):
        self.root = root

    def warm(self) -> bool:
        return True

    def lent(self, visitor: str, token: str | None) -> AbstractContextManager:
        return nullcontext()


@pytest.fixture
def app_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of its own for each test, and an app that works with it."""
    monkeypatch.setenv("MCORE_STORE", str(tmp_path))
    monkeypatch.setattr("mcore.jobs.keeper.Keeper", NoKeeper)
    monkeypatch.setattr("mcore.ui.engine.Keeper", NoKeeper)
    monkeypatch.chdir(HOME)
    st.cache_resource.clear()
    st.cache_data.clear()
    return Store(tmp_path)


@pytest.fixture
def app_jobs(app_store: Store) -> Jobs:
    return Jobs(app_store.root)


def page(asked: Experiment | str | None = None, file: str = COMPARE) -> AppTest:
    """A page as it opens for the question in a link."""
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=60)
    if asked is not None:
        app.query_params["v"], app.query_params["q"] = "1", asked if isinstance(asked, str) else pack(asked)
    if file != "app.py":
        app.switch_page(file)
        if asked is not None:
            app.query_params["v"], app.query_params["q"] = "1", asked if isinstance(asked, str) else pack(asked)
    app.run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    """Everything that the page says through our own HTML, and in progress bars."""
    said = [one.proto.body for one in app.get("html") if not one.proto.body.startswith("<style>")]
    return " ".join([*said, *(one.proto.text for one in app.get("progress"))]).replace("\u00a0", " ")


def charts(app: AppTest) -> int:
    return len(app.get("vega_lite_chart"))
