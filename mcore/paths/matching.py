"""Which unit of B plays the part of which unit of A: permutations by linear assignment, from weights or from activations.

By weights: coordinate descent, one group of units after the other, each solved exactly while the others stand still
(Ainsworth, Hayase and Srinivasa 2023, weight matching). By activations: the units that are correlated most over the same
tokens (the same, activation matching). A permutation p says that B's unit p[i] takes place i. No model is known here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from scipy.optimize import linear_sum_assignment

from mcore.live.blend import WeightSet
from mcore.paths.units import Axis, Group

ROUNDS = 20  # of coordinate descent, at the most
GAIN = 1e-4  # of what a group's units have in common: a smaller one is not worth another round
Permutations = dict[str, torch.Tensor]  # group's name -> [units]; groups that stay as they are have none


def by_weights(a: WeightSet, b: WeightSet, groups: Sequence[Group], counted: Callable[[str], bool]) -> Iterator[tuple[int, Permutations]]:
    """Coordinate descent on ‖A − π(B)‖²; yields the round and what is found after each group, the last being the best.

    ``counted``: the tensors that are compared. The groups are taken in their order, those whose neighbours have not moved left out.
    """
    places = located(groups)
    twice = {name for name, standing in places.items() if len({group.name for group, _ in standing}) < len(standing)}
    neighbours = {
        group.name: {other.name for axis in group.axes if counted(axis.tensor) for other, _ in places[axis.tensor]} - {group.name} for group in groups
    }  # fmt: skip
    found: Permutations = {}
    waiting = {group.name for group in groups}
    for number in range(1, ROUNDS + 1):
        for group in groups:
            if group.name not in waiting:
                continue
            waiting.discard(group.name)
            common = torch.zeros(group.units, group.units)
            others = {name: order for name, order in found.items() if name != group.name}
            for axis in group.axes:
                if counted(axis.tensor) and axis.tensor not in twice:  # one on two axes would be no linear assignment
                    moved = permuted(b.read(axis.tensor).float(), places[axis.tensor], others)
                    common += _rows(a.read(axis.tensor).float(), axis) @ _rows(moved, axis).T
            if (order := assigned(common, found.get(group.name))) is not None:
                found[group.name] = order
                waiting |= neighbours[group.name]
            yield number, found
        if not waiting:
            return


class Moments:
    """Sums from which the correlation of every unit of A with every unit of B follows, over all tokens that were seen."""

    def __init__(self, units: int):
        self.units, self.tokens = units, 0

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """x of A, y of B: [tokens, units · width]."""
        if not self.tokens:  # sums of squares about a far zero would lose their digits
            self.shift = x.mean(dim=0), y.mean(dim=0)
            width = x.shape[1] // self.units
            self.cross = torch.zeros(width, self.units, self.units)
            self.sums, self.squares = (torch.zeros(2, width, self.units, dtype=torch.float64) for _ in range(2))
        split = [(z - shift).view(len(z), self.units, -1).permute(2, 0, 1) for z, shift in zip((x, y), self.shift, strict=True)]
        self.tokens += len(x)
        self.cross.baddbmm_(split[0].transpose(1, 2), split[1])
        for side, z in enumerate(split):
            self.sums[side] += z.sum(dim=1)
            self.squares[side] += z.square().sum(dim=1)

    def correlation(self) -> torch.Tensor:
        """[units of A, units of B], summed over a unit's elements; 0 where one of the two never changes."""
        means = self.sums / self.tokens
        variances = self.squares / self.tokens - means**2
        still = variances <= 1e-10 * (self.squares / self.tokens + 1e-30)
        scale = torch.where(still, 0.0, variances.clamp_min(1e-30).rsqrt())
        means, scale = means.float(), scale.float()
        between = (self.cross / self.tokens).baddbmm_(means[0].unsqueeze(2), means[1].unsqueeze(1), alpha=-1)
        return between.mul_(scale[0].unsqueeze(2)).mul_(scale[1].unsqueeze(1)).sum(dim=0)


def assigned(common: torch.Tensor, standing: torch.Tensor | None) -> torch.Tensor | None:
    """The permutation of B's units with the greatest sum of ``common`` [units of A, units of B]; None where ``standing`` is as good."""
    cost = common.double().neg_().numpy()
    cost -= cost.min(axis=1, keepdims=True)  # what rows and columns have in common decides nothing, and without it
    cost -= cost.min(axis=0)  # the search, which starts from prices of zero, takes half the time
    order = torch.from_numpy(linear_sum_assignment(cost)[1])
    units = torch.arange(len(common))
    before = common[units, units if standing is None else standing].double().sum()
    after = common[units, order].double().sum()
    return order if after - before > GAIN * common[units, order].abs().double().sum() else None


def located(groups: Sequence[Group]) -> dict[str, list[tuple[Group, Axis]]]:
    """Tensor -> the groups that stand in it, and where."""
    found: dict[str, list[tuple[Group, Axis]]] = defaultdict(list)
    for group in groups:
        for axis in group.axes:
            found[axis.tensor].append((group, axis))
    return found


def permuted(tensor: torch.Tensor, standing: Sequence[tuple[Group, Axis]], orders: Permutations) -> torch.Tensor:
    """The tensor with the units of every group that has moved in their new places."""
    for group, axis in standing:
        if group.name in orders:
            tensor = tensor.index_select(axis.axis, elements(orders[group.name], axis))
    return tensor


def elements(order: torch.Tensor, axis: Axis) -> torch.Tensor:
    """[size of the axis]: which element of it takes each place."""
    return torch.arange(axis.times * len(order) * axis.width).view(axis.times, len(order), axis.width)[:, order].reshape(-1)


def _rows(tensor: torch.Tensor, axis: Axis) -> torch.Tensor:
    """[units, everything that stands in the tensor at a unit]."""
    first = tensor.movedim(axis.axis, 0)
    units = len(first) // (axis.times * axis.width)
    return first.reshape(axis.times, units, -1).transpose(0, 1).reshape(units, -1)
