"""The state of one fine-tuning: the model, its optimiser, what was seen so far; saved and taken up again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from mcore.evaluation.evaluate import device
from mcore.live.loading import tensors_of
from mcore.question import Recipe
from mcore.resolved import ResolvedRecipe
from mcore.store import Store
from mcore.tuning.beginning import begin, leave
from mcore.tuning.cartography import Cartography
from mcore.tuning.followed import followed
from mcore.tuning.modelcard import write_card
from mcore.tuning.objectives import objective

STATE = "state.safetensors"
MOMENTUM = 0.9  # of SGD


class Trainer:
    """A fine-tuning that stands at step ``done``; made anew or from the state that an earlier one saved."""

    def __init__(self, resolved: ResolvedRecipe, store: Store, side: str):
        self.resolved, self.store = resolved, store
        recipe, training = resolved.recipe, resolved.training
        self.work = self._scratch()
        first = resolved.first and store.folder(resolved.first.fingerprint)
        self.model, self.tokenizer, self.tuned = begin(resolved, first, store, side)
        self.model.to(device())
        self.objective = objective(resolved, self.model, self.tokenizer, side)
        decayed = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = _optimizer(recipe, groups)
        self.followed = followed(training.rows, recipe)
        self.watched = {
            name: self.objective.watch(rows)
            for name, rows in (("validation", resolved.validation and resolved.validation.rows), ("followed", self.followed))
            if rows is not None and len(rows)
        }
        self.done, self.curve, self.loss = 0, [], math.nan
        self.probability, self.right = np.zeros((0, len(self.followed)), np.float32), np.zeros((0, len(self.followed)), bool)
        if first:
            self._go_on_from(first)
        if (self.work / STATE).is_file():
            self._resume()

    def step(self, places: np.ndarray, rate: float) -> float:
        """One step on the rows at ``places``; returns its mean loss in nats."""
        self.model.train()
        seed = np.random.SeedSequence([self.resolved.recipe.data_seed, 4, self.done]).generate_state(1)[0]
        torch.manual_seed(int(seed))  # of the dropout
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.objective.loss(places)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.resolved.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.loss = loss.item()
        return self.loss

    def look(self, thorough: bool, stop: Callable[[], bool]) -> dict:
        """Note where the training stands; ``thorough``: with validation and the followed rows."""
        seen = {"step": self.done, "loss": self.loss, "validation_loss": None, "validation_accuracy": None}
        if thorough:
            found = {name: self.objective.look(watched, stop) for name, watched in self.watched.items()}
            if "validation" in found:
                losses, right = found["validation"]
                seen["validation_loss"], seen["validation_accuracy"] = float(losses.mean()), float(right.mean())
            if "followed" in found:
                losses, right = found["followed"]
                self.probability = np.vstack([self.probability, np.exp(-losses).astype(np.float32)])
                self.right = np.vstack([self.right, right])
        self.curve = [*(one for one in self.curve if one["step"] < self.done), seen]
        return seen

    def save(self) -> None:
        """Write everything that going on needs, in one file that replaces the last one whole."""
        tensors = {f"model.{name}": tensor.detach() for name, tensor in self._changing().items()}
        for i, parameter in enumerate(self._parameters()):
            for name, tensor in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{i}.{name}"] = tensor
        tensors["probability"], tensors["right"] = torch.from_numpy(self.probability), torch.from_numpy(self.right)
        told = {"done": str(self.done), "loss": repr(self.loss), "curve": json.dumps(self.curve)}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, self.work / "state.part", metadata=told)
        os.replace(self.work / "state.part", self.work / STATE)

    def forget(self) -> None:
        """Drop the saved state: it leads nowhere."""
        (self.work / STATE).unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the model, its tokenizer, card, curve and cartography into the store as one transformers folder."""
        if self.resolved.fingerprint == self.resolved.schedule:
            self.forget()  # else the whole training may still go on from there
        made = self.store.work(self.resolved.fingerprint)
        leave(self.resolved, self.model, self.tuned, made)
        self.tokenizer.save_pretrained(made)
        write_card(made, self.resolved, self.curve)
        if len(self.probability):
            Cartography(self.followed.ids, self.probability, self.right).write(made)
        about = {"recipe": self.resolved.recipe.model_dump(mode="json"), "accuracy": self.curve[-1]["validation_accuracy"]}
        self.store.put_folder(self.resolved.fingerprint, made, "model", about)

    def _scratch(self) -> Path:
        """Where the state is kept: with that of the whole training, unless that has gone on beyond our last step."""
        shared = self.store.work(self.resolved.schedule)
        told = _told(shared / STATE)
        beyond = told is not None and int(told["done"]) > self.resolved.recipe.last_step
        return self.store.work(self.resolved.fingerprint) if beyond else shared

    def _go_on_from(self, first: Path) -> None:
        """Take over what the training that this one continues has seen."""
        self.curve = json.loads((first / "training.json").read_text())["curve"]
        self.done, self.loss = self.curve[-1]["step"], self.curve[-1]["loss"]
        if (seen := Cartography.read(first)) is not None:
            self.probability, self.right = seen.probability, seen.right

    def _resume(self) -> None:
        told = _told(self.work / STATE)
        if told is None:
            return
        state = load_file(self.work / STATE)
        with torch.no_grad():
            for name, tensor in self._changing().items():
                tensor.copy_(state[f"model.{name}"])
        for i, parameter in enumerate(self._parameters()):
            names = [name for name in state if name.startswith(f"optimizer.{i}.")]
            self.optimizer.state[parameter] = {name.rpartition(".")[2]: state[name].to(parameter.device) for name in names}
        self.done, self.curve, self.loss = int(told["done"]), json.loads(told["curve"]), float(told["loss"])
        self.probability, self.right = state["probability"].numpy(), state["right"].numpy()

    def _changing(self) -> dict[str, torch.Tensor]:
        """The tensors that the training changes."""
        return {name: tensor for name, tensor in tensors_of(self.model).items() if self.tuned is None or name in self.tuned}

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def _optimizer(recipe: Recipe, groups: list[dict]) -> torch.optim.Optimizer:
    """Torch's own; Adam and SGD take the weight decay as a penalty in the gradient, AdamW apart from it (Loshchilov and Hutter 2019)."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, fused=True)


def _told(state: Path) -> dict[str, str] | None:
    """What a saved state says of itself; None where there is none, or half of one after a power cut."""
    try:
        with safe_open(state, framework="pt") as opened:
            return opened.metadata()
    except (SafetensorError, OSError):
        return None
