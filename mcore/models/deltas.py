"""The folder of a delta-tuned model: what was tuned, in the live model's names, beside the address of the base that it belongs to.

``delta.safetensors`` holds what was tuned and nothing else, ``delta.json`` says by which method and of which base; config.json, tokenizer
and card are as in any transformers folder. No torch here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from mcore.errors import QuestionError
from mcore.models import methods
from mcore.models.checkpoints import Checkpoint, digest_of, read_json, read_tensors, tokenizer_digest, tokenizer_in
from mcore.models.configs import check_config, labels_of
from mcore.models.methods import Structure
from mcore.question import Address, Frozen

FILE, TOLD = "delta.safetensors", "delta.json"
Count = Annotated[int, Field(ge=1, le=4096)]


class Told(Frozen):
    """What delta.json says. ``parameters``: how many were tuned."""

    LATER = ("rank", "alpha", "bottleneck", "placement", "activation", "prefix_length")

    version: Literal[1]
    method: Literal["lora", "prefix", "adapter", "bitfit"]
    base: Address
    base_digest: str = Field(max_length=64)
    parameters: int = Field(ge=0)
    biases: bool = True
    layers: str = Field("all", pattern=r"^(all|last:[1-9]\d{0,2})$")
    rank: Count | None = None
    alpha: float | None = Field(None, gt=0, le=1e4)
    bottleneck: Count | None = None
    placement: Literal["houlsby", "pfeiffer"] | None = None
    activation: Literal["relu", "gelu", "silu", "tanh"] | None = None
    prefix_length: Count | None = None

    @property
    def structure(self) -> Structure:
        return Structure(self.method, biases=self.biases, **{name: getattr(self, name) for name in methods.STRUCTURAL})


def is_one(names: Collection[str]) -> bool:
    """Whether a folder with these files is a delta-tuned model."""
    return TOLD in names and FILE in names


def read(folder: Path, field: str) -> Told:
    """Raises ``QuestionError`` where delta.json does not say what this app writes."""
    try:
        told = Told.model_validate(read_json(folder / TOLD, field))
        needed = [
            name for name in methods.DEFAULTS[told.method] if name in methods.STRUCTURAL and getattr(told, name) is None
        ]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise QuestionError(
            field,
            f"{TOLD} in {folder} is not as this app writes it ({'.'.join(map(str, first['loc']))})",
            "make the folder again",
        ) from None
    if needed:
        raise QuestionError(field, f"{TOLD} in {folder} lacks {needed[0]}", "make the folder again")
    return told


def base_address(folder: Path, field: str) -> str:
    """Where the base of a delta stands that somebody has saved: as it says, or beside it. Raises ``QuestionError``."""
    told = read(folder, field)
    scheme, _, rest = told.base.partition(":")
    if scheme != "local" or "\0" in rest:
        return told.base
    name = rest.rpartition("@")[0] or rest
    for place in (
        Path(rest).expanduser(),
        *([folder / rest, folder.parent / name] if not Path(name).is_absolute() else []),
    ):
        if place.is_dir() and place.resolve() != folder.resolve():
            return f"local:{place.absolute()}"
    raise QuestionError(
        field,
        f"its base, the folder {name}, is not there",
        f"put that folder beside it, or write its path as the base in {TOLD}",
    )


def write(folder: Path, structure: Structure, base: str, digest: str, parameters: int) -> None:
    """Write ``delta.json``. ``base``: its address and, below, its digest; ``parameters``: how many were tuned."""
    told = Told(
        version=1,
        method=structure.method,
        base=base,
        base_digest=digest,
        parameters=parameters,
        biases=structure.biases,
        **structure.settings,
    )
    (folder / TOLD).write_text(json.dumps(told.model_dump(mode="json"), indent=1) + "\n")


def look_at(folder: Path, address: str, base: Checkpoint, field: str, digest: str = "") -> Checkpoint:
    """What stands in such a folder, with its base; ``digest`` where it is known without reading the files. Raises ``QuestionError``."""
    told, config, tokenizer = read(folder, field), read_json(folder / "config.json", field), tokenizer_in(folder)
    one = Checkpoint(
        address=address,
        folder=folder,
        digest=digest or digest_of([folder / FILE, folder / TOLD, folder / "config.json", *tokenizer]),
        config=config,
        labels=labels_of(config, field),
        tensors=read_tensors(folder, [FILE], field),
        tokenizer=tokenizer_digest(tokenizer, field) if tokenizer else base.tokenizer,
        weights=(FILE,),
        delta=told.structure,
    )
    return joined(one, base, told, field, digest)


def joined(one: Checkpoint, base: Checkpoint, told: Told, field: str, digest: str = "") -> Checkpoint:
    """The delta ``one`` on its base, whose tensors it has too. Raises ``QuestionError`` where it cannot be one of that base."""
    if base.digest != told.base_digest:
        raise QuestionError(
            field, f"its base {told.base} is no longer what it was tuned on", "put the base back, or tune it again"
        )
    if base.delta:
        raise QuestionError(field, f"its base {told.base} is not a whole model", "make the folder again")
    check_config(one.config, field)
    kind = one.config.get("model_type")
    if kind != base.config.get("model_type") or kind not in methods.ARCHITECTURES:
        raise QuestionError(
            field,
            f"its config.json describes another architecture than that of its base {told.base}",
            "make the folder again",
        )
    whole = digest or hashlib.sha256(f"delta {one.digest} {base.digest}".encode()).hexdigest()[:32]
    return replace(
        one, digest=whole, base=base, tensors=base.tensors | one.tensors, notices=(*base.notices, *one.notices)
    )
