"""What the tests share: no network, no progress bars, hypothesis without a deadline, a store and small models."""

from __future__ import annotations

import os
import signal
import sys
from functools import cache
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from mcore.threads import share_the_cores  # noqa: E402 (the path is set above)

share_the_cores()  # as the worker does: the browser tests run beside it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so that it is when tests run side by side; what a test starts would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["app_in_browser", "app_in_apptest", "hub_fixtures"]

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture
def store(tmp_path):
    from mcore.store import Store

    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """saved(family, seed, **how): the folder of a small random model, made once."""
    import tiny

    @cache
    def folder(family: str, seed: int = 0, **how) -> Path:
        return tiny.save(tmp_path_factory.mktemp(f"{family}-{seed}-"), family, seed, **how)

    return folder


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    """A csv file with 24 labelled texts (no, yes)."""
    import tiny

    return tiny.task(tmp_path_factory.mktemp("task") / "rows.csv")
