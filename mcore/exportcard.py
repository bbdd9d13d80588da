"""The README of a model that was taken from a path: what it is, how to make it again, and what was measured of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mcore.evaluation.measures import named
from mcore.link import link
from mcore.models import deltas
from mcore.models.methods import Structure
from mcore.names import endpoint_name, task_name
from mcore.pin import pinned
from mcore.portable import portable
from mcore.question import Experiment
from mcore.resolved import Endpoint, Resolved
from mcore.store import Store
from mcore.taking import Take, measured_at

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")  # as the Hub's cards name them


def write_card(folder: Path, experiment: Experiment, resolved: Resolved, take: Take, names: list[str] | None, store: Store) -> None:
    """Write ``README.md``; ``experiment``: as its author wrote it; ``names``: of the outputs, None where it has no classification head."""
    licences = [licence(end) for end in (resolved.a, resolved.b)]
    a, b = (_plain(endpoint_name(end)) for end in (experiment.a, experiment.b))
    t = f"{take.t:.12g}"
    question, asked = portable(pinned(experiment, resolved.experiment), resolved), portable(resolved.experiment, resolved)
    command = f"python -m mcore export EXPERIMENT.json --t {t} --dtype {take.dtype} --out MODEL_DIR"
    delta = resolved.structure if resolved.structure and resolved.structure.kind == "injected" else None
    library = "" if delta else "library_name: transformers\n"
    card = f"""---
{library}{_front(resolved, licences)}tags:
- mode-connectivity
- merge
---
# {a} → {b}, t = {t}

The model at t = {t} of a path in weight space ({resolved.route.spec.kind}) from A (t = 0) to B (t = 1), made by the Mode Connectivity
Explorer. Its weights were blended in float32 and saved in {take.dtype}.{_delta_told(delta)}

- A: {a}. Licence: {licences[0] or "not known"}.
- B: {b}. Licence: {licences[1] or "not known"}.
- {_head(resolved, names)}

## What was measured at this t

{_measured(resolved, take, store)}

## How to make it again

`{command}` with this experiment, in which every name is resolved (fingerprint `{resolved.fingerprint}`):

```json
{json.dumps(asked.model_dump(mode="json"), indent=1)}
```

{_link_told(resolved.experiment, asked)}

```
{link(question)}
```
"""
    (folder / "README.md").write_text(card, encoding="utf-8")


def _delta_told(delta: Structure | None) -> str:
    """What opens it, where transformers alone does not."""
    if delta is None:
        return ""
    return f"""

It is {delta} beside a base that stands still: `{deltas.FILE}` holds what was tuned and nothing else, `{deltas.TOLD}` says of which base.
transformers alone does not open it: name the folder, or its repository, as an endpoint of the app."""


def _link_told(experiment: Experiment, given: Experiment) -> str:
    """What stands over the link; whether it leads anywhere but on the author's machine."""
    if given == experiment:
        return "The share link's query string:"
    return """`local:NAME@DIGEST` stands for a folder or a file of the machine that this model was made on, by its last name and the
first digits of its digest: of a file its SHA-256, of a model what the app shows as the identity of its weights. So this experiment
cannot be run as it stands, nor opened from the link: put the path of the same files on your machine in each such place. The
fingerprint tells whether they are the same. The share link's query string:"""


def licence(end: Endpoint) -> str | None:
    """As the repository of the endpoint, or of its base, says it; None where nothing does."""
    return end.looked_at.listing.licence if end.looked_at.listing else None


def _front(resolved: Resolved, licences: list[str | None]) -> str:
    """The lines of the card's head that programs read: a licence where both ends have the same one, and the repositories."""
    lines = [f"license: {licences[0]}"] if licences[0] == licences[1] and LICENCE.fullmatch(licences[0] or "") else []
    repositories = dict.fromkeys(end.looked_at.listing.repo for end in (resolved.a, resolved.b) if end.looked_at.listing)
    if repositories:
        lines += ["base_model:", *(f"- {name}" for name in repositories), "base_model_relation: merge"]
    return "".join(f"{line}\n" for line in lines)


def _head(resolved: Resolved, names: list[str] | None) -> str:
    head, task = resolved.heads[0], resolved.tasks[0]
    if task.read == "fitted":
        return "It is a body without a head: the numbers below are those of a read-out that was fitted at this t, which is not part of it."
    if names is None:
        return f"It is a {resolved.kind} language model."
    whose = "blended from those of both" if head == "both" else f"that of {head.upper()} alone, the only one that has one for the first task"
    return f"Its head is {whose}; its outputs: {json.dumps(names, ensure_ascii=False)}."


def _measured(resolved: Resolved, take: Take, store: Store) -> str:
    lines = []
    for number, task in enumerate(resolved.tasks):
        if found := measured_at(resolved, number, [take.t], store).get(take.t):
            words, where = named(task), f"{_plain(task_name(task.task))}, {len(task.rows):,} rows"
            other = "" if resolved.heads[number] == resolved.heads[0] else ", with another head than this model's"
            lines.append(f"- {where}{other}: loss {found.loss:.4f} ({words['loss']}), {words['accuracy']} {found.accuracy:.1%}")
    return "\n".join(lines) or "Nothing: this t was not evaluated before the model was saved."


def _plain(name: str) -> str:
    """A stranger's words without what Markdown would make of them."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", " ".join(name.split()))
