"""The state of one fit of a path: what is trained of it, its optimiser, what was seen so far; saved and taken up again.

A curve is w(t) = (1 − t) A + t B + Σ cᵢ(t) dᵢ, where dᵢ is how far bend i is from its place on the chord, i/(bends + 1): the
coefficients of a Bézier curve and of a chain both have linear precision, so this is Σ cᵢ(t) Wᵢ written otherwise. The
blend is written into the live model and differentiated there by one ordinary backward pass; the chain rule from there on
is written out: the gradient to bend i is cᵢ(t) times that to w(t), and to a share s of a mix it is the sum of ⟨gradient, B − A⟩.

Memory: beside the live model and its gradients three float32 copies of what bends for every bend (the bend and Adam's two
moments), and one more of the gradient for every bend after the first. The ends are read from disk in pieces at every step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path as File

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mcore.coefficients import Path, part_of
from mcore.errors import QuestionError
from mcore.live.blend import Buffers
from mcore.live.model import Live
from mcore.paths.distances import layer_of
from mcore.question import PathSpec
from mcore.tasks.rows import Rows
from mcore.tuning.objectives import AnswerObjective, LabelObjective

STATE, PART = "state.safetensors", "state.part"


class Bends:
    """The bends of a Bézier curve or a chain, each as its distance from the chord; ``numbers`` are what is trained."""

    def __init__(self, live: Live, path: Path, head: str):
        self.live, self.path, self.head = live, path, head
        self.names = bending(live, path.spec.train or "all", head)
        self.decay = path.spec.weight_decay or 0.0
        self.away = [{name: torch.zeros_like(live.tensors[name]) for name in self.names} for _ in path.controls[2:]]
        self.numbers = [tensor for one in self.away for tensor in one.values()]

    @torch.no_grad()
    def place(self, t: float) -> None:
        """Write w(t) into the live model."""
        _place(self.live, (1 - t, t), self.head)
        for c, away in zip(self._shares(t), self.away, strict=True):
            for name in self.names if c else ():
                self.live.tensors[name].add_(away[name], alpha=c)

    @torch.no_grad()
    def send(self, t: float) -> None:
        """Send the gradient at w(t) to the bends, that of the weight decay with it: a penalty on the point of the curve (Garipov et al. 2018)."""
        shares = self._shares(t)
        for name in self.names:
            weights = self.live.tensors[name]
            gradient, weights.grad = weights.grad, None
            if self.decay:
                gradient = self.decay * weights if gradient is None else gradient.add_(weights, alpha=self.decay)
            if gradient is not None:  # else nothing that is read depends on it
                for c, away in zip(shares[1:], self.away[1:], strict=True):
                    away[name].grad = gradient * c
                self.away[0][name].grad = gradient.mul_(shares[0])

    @torch.no_grad()
    def write(self, folder: File) -> dict:
        """One file for each bend, whole models in the live model's names and A's label order."""
        for i, away in enumerate(self.away):
            t = (i + 1) / (len(self.away) + 1)
            _place(self.live, (1 - t, t), self.head)
            for name, tensor in away.items():
                self.live.tensors[name].add_(tensor)
            kept = {name: tensor.detach().contiguous() for name, tensor in _blended(self.live, self.head).items()}
            save_file(kept, folder / f"bend-{i + 1}.safetensors", metadata={"format": "pt"})
        return {"bends": len(self.away)}

    def _shares(self, t: float) -> tuple[float, ...]:
        return self.path.at(t)("")[2:]


class Mix:
    """One share of B for every tensor, layer or block, through a sigmoid; all begin at one half."""

    def __init__(self, live: Live, spec: PathSpec, head: str):
        self.live, self.head = live, head
        moving = _blended(live, head)
        self.group = {name: group_of(name, spec.per or "layer", live.output_layer) for name in moving}
        self.groups = list(dict.fromkeys(self.group.values()))
        self.names = [name for name, tensor in moving.items() if isinstance(tensor, torch.nn.Parameter)]
        self.raw = torch.zeros(len(self.groups))
        self.numbers = [self.raw]

    @property
    def shares(self) -> dict[str, float]:
        return dict(zip(self.groups, torch.sigmoid(self.raw).tolist(), strict=True))

    @torch.no_grad()
    def place(self, t: float) -> None:
        """Write the mix into the live model, which is the same whatever t is."""
        shares = self.shares
        of = {name: shares[group] for name, group in self.group.items()}
        _place(self.live, lambda name: (1 - of.get(name, 0.5), of.get(name, 0.5)), self.head)

    @torch.no_grad()
    def send(self, t: float) -> None:
        """Send the gradient at the mix to the shares."""
        sums = dict.fromkeys(self.groups, 0.0)
        a, b, room = self.live.weights["a"], self.live.weights["b"], (Buffers(), Buffers())
        for name in self.names:
            weights = self.live.tensors[name]
            gradient, weights.grad = weights.grad, None
            if gradient is not None:
                flat, start = gradient.cpu().view(-1), 0
                for left, right in zip(a.pieces(name, room[0]), b.pieces(name, room[1]), strict=True):
                    sums[self.group[name]] += float(flat[start : start + left.numel()] @ (right - left))
                    start += left.numel()
        share = torch.sigmoid(self.raw)
        self.raw.grad = torch.tensor([sums[group] for group in self.groups]) * share * (1 - share)

    def write(self, folder: File) -> dict:
        return {"mix": self.shares, "given": {name: self.shares[group] for name, group in self.group.items()}}


class Fitter:
    """A fit that stands at step ``done``; made anew or from the state that an earlier one saved in ``work``.

    ``live`` has B's labels in the order of A's; ``objective`` tells what the live model's loss is on some rows. Training mode with the
    model's own dropout; no gradient is clipped, which Adam's steps do not need.
    """

    def __init__(self, live: Live, path: Path, head: str, objective: LabelObjective | AnswerObjective, work: File):
        self.live, self.objective, self.seed, self.work = live, objective, path.spec.seed or 0, work
        self.way = Mix(live, path.spec, head) if path.spec.kind == "mix" else Bends(live, path, head)
        self.optimizer = torch.optim.AdamW(self.way.numbers, lr=path.spec.learning_rate, weight_decay=0.0, fused=True)
        for name, tensor in live.tensors.items():
            if isinstance(tensor, torch.nn.Parameter):
                tensor.requires_grad_(name in self.way.names)
        if head != "both":
            live.place_head((1.0, 0.0), head)
        self.done, self.seen = 0, []  # seen: (t, loss) of every step
        self._resume()

    def step(self, places: np.ndarray, t: float, rate: float) -> float:
        """One step at ``t`` on the rows at ``places``; returns its mean loss in nats."""
        self.live.model.train()
        seed = np.random.SeedSequence([self.seed, 4, self.done]).generate_state(1)[0]
        torch.manual_seed(int(seed))  # of the dropout
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.way.place(t)
        loss = self.objective.loss(places)
        loss.backward()
        self.way.send(t)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.seen.append((t, loss.item()))
        return self.seen[-1][1]

    def save(self) -> None:
        """Write everything that going on needs, in one file that replaces the last one whole."""
        tensors = {f"numbers.{i}": tensor for i, tensor in enumerate(self.way.numbers)}
        for i, number in enumerate(self.way.numbers):
            tensors |= {f"optimizer.{i}.{name}": tensor for name, tensor in self.optimizer.state[number].items()}
        tensors["seen"] = torch.tensor(self.seen, dtype=torch.float64).view(-1, 2)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, self.work / PART)
        os.replace(self.work / PART, self.work / STATE)

    def forget(self) -> None:
        """Drop the saved state: it leads nowhere, or where we have arrived."""
        for name in (STATE, PART):
            (self.work / name).unlink(missing_ok=True)

    def leave(self) -> None:
        """Leave the model as it was but for its weights."""
        self.live.model.eval().requires_grad_(False)
        self.live.model.zero_grad(set_to_none=True)

    def write(self, told: Mapping) -> None:
        """Leave in ``work`` what was fitted, its numbers and its history, and nothing else."""
        self.forget()
        history = {"loss": [round(loss, 6) for _, loss in self.seen]}
        if isinstance(self.way, Bends):
            history["t"] = [round(t, 6) for t, _ in self.seen]
        (self.work / "curve.json").write_text(json.dumps({**told, **self.way.write(self.work), **history}))

    def _resume(self) -> None:
        try:
            state = load_file(self.work / STATE)
        except (SafetensorError, OSError):  # none, or half of one after a power cut
            return
        for i, number in enumerate(self.way.numbers):
            number.copy_(state[f"numbers.{i}"])
            names = [name for name in state if name.startswith(f"optimizer.{i}.")]
            self.optimizer.state[number] = {name.rpartition(".")[2]: state[name].to(number.device) for name in names}
        self.seen = [(t, loss) for t, loss in state["seen"].tolist()]
        self.done = len(self.seen)


def bending(live: Live, train: str, head: str) -> list[str]:
    """The names of the parameters that may bend; the others stay on the chord. Raises ``QuestionError`` where there are none."""
    layers = {name: layer_of(name, live.output_layer) for name, tensor in _blended(live, head).items() if isinstance(tensor, torch.nn.Parameter)}
    numbers = sorted({int(layer.removeprefix("layer ")) for layer in layers.values() if layer.startswith("layer ")})
    if train.startswith("last:"):
        last = int(train.removeprefix("last:"))
        if last > len(numbers):
            raise QuestionError("path.train", f"the model has {len(numbers)} layers", f"give at most last:{len(numbers)}, or all")
        wanted = {"head", *(f"layer {number}" for number in numbers[-last:])}
    else:
        wanted = {"head"} if train == "head" else set(layers.values()) - ({"embeddings"} if train == "no-embeddings" else set())
    found = [name for name, layer in layers.items() if layer in wanted]
    if not found:
        raise QuestionError("path.train", f"nothing that A and B share is meant by {train}", "let more of it bend: all, or last:1")
    return found


def group_of(name: str, per: str, output_layer: frozenset[str]) -> str:
    """What shares one coefficient of a mix with this tensor: itself, its layer, or its block of the layer ("layer 2 attention")."""
    if per == "tensor":
        return name
    layer = layer_of(name, output_layer)
    return f"{layer} {part_of(name, output_layer)}" if per == "block" and layer.startswith("layer ") else layer


def rate_at(step: int, steps: int, peak: float) -> float:
    """Garipov et al.'s schedule, for step number ``step`` (from 0): constant, from the half on linear to 1 % at nine tenths, and there to the end."""
    along = step / steps
    return peak * (1 - 0.99 * min(1.0, max(0.0, (along - 0.5) / 0.4)))


def relabelled(rows: Rows, names: Sequence[str]) -> Rows:
    """The rows with their labels counted in the order of ``names``."""
    order = np.array([list(names).index(name) for name in rows.names])
    return Rows(rows.ids, rows.texts, order[rows.labels], tuple(names), rows.digest, rows.answers)


def _place(live: Live, coefficients, head: str) -> None:
    live.place_body(coefficients)
    if head == "both":
        live.place_head(coefficients, head)


def _blended(live: Live, head: str) -> dict[str, torch.Tensor]:
    """The tensors that go from A to B: what both have, and the output layer where both are blended."""
    return {name: tensor for name, tensor in live.tensors.items() if name not in live.only and (head == "both" or name not in live.output_layer)}
