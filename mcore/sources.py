"""Addresses of checkpoints: what stands at ``builtin:``, ``local:`` and ``hub:``."""

from __future__ import annotations

from pathlib import Path

from mcore.errors import QuestionError
from mcore.hub import remote
from mcore.models import adapters, deltas
from mcore.models.checkpoints import Checkpoint, builtin, look_at


def look(address: str, field: str) -> Checkpoint:
    """What stands at ``builtin:NAME@STEP``, ``local:PATH`` or ``hub:ORG/NAME@REVISION``. Raises ``QuestionError`` that names ``field``."""
    scheme, _, rest = address.partition(":")
    if scheme == "hub":
        return remote.look(rest, field)
    if scheme == "builtin":
        address, folder = builtin(rest, field)
    else:
        folder = Path(rest).expanduser()
        if not folder.is_dir():
            wrong = "no folder is named yet" if rest == "?" else f"there is no folder {rest}"
            raise QuestionError(field, wrong, "give a folder that save_pretrained wrote")
        names = {file.name for file in folder.iterdir()}
        if deltas.is_one(names):
            return deltas.look_at(folder, address, _base(deltas.base_address(folder, field), field), field)
        if adapters.is_one(names):
            config = adapters.read_config(folder / "adapter_config.json", field)
            base = adapters.base_of_folder(folder, config, field)
            return adapters.look_at(folder, address, _base(base, field), field)
    return look_at(folder, address, field)


def _base(address: str, field: str) -> Checkpoint:
    """What an adapter in a local folder is merged into, and what a delta was tuned from: a whole model."""
    scheme, _, rest = address.partition(":")
    if scheme == "hub":
        return remote.look(rest, field, adapted=False)
    if scheme == "builtin":
        address, folder = builtin(rest, field)
        return look_at(folder, address, field)
    return look_at(Path(rest).expanduser(), address, field)
