"""A small Hub that the real clients talk to, with an empty cache; and a process that is a host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
from hub_server import Hub, hub

from mcore.hub import repositories as hub_client
from mcore.hub import weights as hubweights
from mcore.profile import profile


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Hub]:
    from huggingface_hub import constants

    with hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
        monkeypatch.setattr(hub_client, "_newest", {})
        monkeypatch.setattr(hubweights, "_none", {})
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


@pytest.fixture
def host(monkeypatch) -> Iterator[Callable[..., None]]:
    """host(NAME=value): this process is a host from then on, with these variables."""

    def begin(**variables: str) -> None:
        for name, value in {"MCORE_PROFILE": "hosted", **variables}.items():
            monkeypatch.setenv(name, value)
        profile.cache_clear()

    yield begin
    profile.cache_clear()


@dataclasses.dataclass(frozen=True)
class Opened:
    """A payload: unpickled, it would make the file."""

    file: str

    def __reduce__(self) -> tuple:
        return open, (self.file, "w")
