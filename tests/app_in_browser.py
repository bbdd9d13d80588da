"""The app in a real browser, for every test that needs it: a pytest plugin with ``address``, ``page`` and the browser.

An app is started once for each test file, on a port and with a store of its own, with the real worker.
``tests/conftest.py`` registers this file, so that a test only names what it wants.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

HOME = Path(__file__).resolve().parent.parent
SHOTS = HOME / ".shots"
AT_REST = """() => document.querySelector('h1')
  && document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')
  && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(chart => chart.querySelector('svg'))"""
CHART = '[data-testid="stVegaLiteChart"]'


def lacking(what: str) -> None:
    """Skip the test for want of ``what``; where that must not go unnoticed (CI), fail."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    """The distribution's chromium."""
    if not (found := chromium()):
        lacking("There is no chromium on the PATH.")
    return browser_type_launch_args | found


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app of this file keeps what it computes; a test file may put answers there."""
    return tmp_path_factory.mktemp("app") / "store"


@pytest.fixture(scope="module")
def address(store_folder: Path) -> Iterator[str]:
    """The address of an app of this test file's own."""
    log = store_folder.parent / "app.log"
    with running_app(store_folder, log) as address:
        yield address
    assert "Traceback" not in log.read_text()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.set_default_timeout(30_000)
    return page


def chromium() -> dict:
    """How Playwright starts the distribution's chromium; nothing where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {"executable_path": found, "args": root} if found else {}


def at_rest(page: Page) -> None:
    """Wait until the page is drawn: its script has ended and every chart is there."""
    for _ in range(2):  # what a click sets off begins a moment after it
        page.wait_for_timeout(300)
        page.wait_for_function(AT_REST, timeout=30_000)


@contextmanager
def running_app(store: Path, log: Path, **environment: str) -> Iterator[str]:
    """An app on a free port of this machine, from its start to its end; what it says goes to ``log``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
    with open(log, "wb") as told:
        app = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", *options],
            cwd=HOME, stdout=told, stderr=told, env=os.environ | {"MCORE_STORE": str(store)} | environment,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            app.terminate()
            app.wait(timeout=20)


def wait_for(address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")
