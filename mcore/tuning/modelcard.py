"""The README of a fine-tuned model: the recipe that makes it again, and what it reached."""

from __future__ import annotations

import json
from pathlib import Path

from mcore.models import deltas
from mcore.names import steps_text
from mcore.portable import portable_recipe
from mcore.question import Recipe
from mcore.resolved import ResolvedRecipe


def write_card(folder: Path, resolved: ResolvedRecipe, curve: list[dict], whole: bool = False) -> None:
    """Write ``README.md`` and, for programs, ``training.json`` (recipe, curve) into ``folder``. ``whole``: it holds no delta, but the model."""
    given = portable_recipe(resolved)
    recipe = given.model_dump(mode="json")
    last = next((seen for seen in reversed(curve) if seen["validation_accuracy"] is not None), None)
    reached = (
        f"Validation ({len(resolved.validation.rows)} rows): accuracy {last['validation_accuracy']:.1%}, "
        f"loss {last['validation_loss']:.3f} nats."
        if last and resolved.validation
        else "There were no validation rows to watch it on."
    )
    library = "library_name: transformers\n" if resolved.delta is None or whole else ""
    card = f"""---
{library}tags:
- mode-connectivity
---
# {given.base} tuned on {given.task.task}

Made by the Mode Connectivity Explorer from the recipe below: {len(resolved.training.rows):,} training rows,
{steps_text(resolved.recipe)}. {reached}
{_method_told(resolved, whole)}
Labels: {", ".join(resolved.training.rows.names)}.{_answers_told(resolved)}

```json
{json.dumps(recipe, indent=1)}
```

`python -m mcore finetune RECIPE.json --out DIR` with this recipe makes the model again (fingerprint
`{resolved.fingerprint}`).{_paths_told(resolved.recipe, given)}
"""
    (folder / "README.md").write_text(card, encoding="utf-8")
    told = {"recipe": recipe, "fingerprint": resolved.fingerprint, "labels": list(resolved.training.rows.names), "curve": curve}
    (folder / "training.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _answers_told(resolved: ResolvedRecipe) -> str:
    """How a language model is asked for a label."""
    if resolved.kind == "classifier":
        return ""
    answers = ", ".join(json.dumps(answer, ensure_ascii=False) for answer in resolved.recipe.task.answers or ())
    prompt = json.dumps(resolved.recipe.task.template or "{text}", ensure_ascii=False)
    return f"""

It answers in words: trained on the right one of {answers}, each in the place of a label, after the prompt {prompt}. The training
loss is in nats per token of the right answer; the loss on validation rows is that of the label among all, by the likelihoods of the answers."""


def _method_told(resolved: ResolvedRecipe, whole: bool) -> str:
    """What was tuned of the model, and what opens this folder; nothing where that is everything, and transformers."""
    if resolved.delta is None:
        return ""
    tuned = f"Tuned by {resolved.delta}, and its head; the rest of the base stands still."
    if whole:
        return f"\n{tuned} The weights here are whole and load with transformers alone.\n"
    return f"""
{tuned} `{deltas.FILE}` holds what was tuned and nothing else, `{deltas.TOLD}` says of which base.
transformers alone does not open it: name the folder as an endpoint of the app (`local:FOLDER`).
"""


def _paths_told(recipe: Recipe, given: Recipe) -> str:
    """Says so where the recipe above cannot be carried out as it stands."""
    if given == recipe:
        return ""
    return """

`local:NAME@DIGEST` stands for a folder or a file of the machine that it was made on, by its last name and the first digits of its
digest: put the path of the same files on your machine there."""
