"""A blend writes what changes and nothing else, and what it writes is what a blend of everything would have written."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from mcore.errors import McoreError
from mcore.live.blend import PIECE, Place, WeightSet
from mcore.live.standing import SPOT, Standing, same_bytes


def stored(file, tensors) -> WeightSet:
    save_file(tensors, file)
    return WeightSet({name: Place(file, name) for name in tensors})


def numbers(seed, **shapes):
    torch.manual_seed(seed)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def read(monkeypatch):
    """Filled with the names that are read from files, and how many elements at once."""
    seen, whole = [], WeightSet.fill
    monkeypatch.setattr(WeightSet, "fill", lambda self, name, start, into: (seen.append((name, into.numel())), whole(self, name, start, into))[1])
    return seen


@pytest.fixture
def ends(tmp_path):
    """Two sets that have "same" in common, byte for byte, in two files."""
    a = numbers(1, same=(40, 3), other=(5, 4), output=(3, 2))
    return [stored(tmp_path / "a", a), stored(tmp_path / "b", numbers(2, same=(1,), other=(5, 4), output=(3, 2)) | {"same": a["same"]})]


def live_of(weights):
    return {name: torch.full(tuple(weights.stored[name].shape), torch.nan) for name in sorted(weights.names)}


def line(t):
    return lambda name: (1 - t, t)


def test_what_both_ends_hold_is_read_once_and_taken_as_it_is(ends, read):
    standing, live = Standing(), live_of(ends[0])
    for t in (0.1, 0.3, 1.0, 0.0, 0.7):
        read.clear()
        standing.write(live, ends, line(t))
        assert ("same" in {name for name, _ in read}) == (t == 0.1)
        assert torch.equal(live["same"], ends[0].read("same"))  # 0.9 w + 0.1 w is not w in the last bit
        assert torch.equal(live["other"], torch.mul(ends[0].read("other"), 1 - t).add_(ends[1].read("other"), alpha=t))


def test_a_tensor_that_rests_is_written_once(ends, read):
    standing, live = Standing(), live_of(ends[0])
    standing.write(live, ends, lambda name: (1.0, 0.0))
    before = {name: tensor.clone() for name, tensor in live.items()}
    read.clear()
    for t in (0.25, 0.5):
        standing.write(live, ends, lambda name, t=t: (1 - t, t) if name == "output" else (1.0, 0.0))
        assert torch.equal(live["other"], before["other"]) and not torch.equal(live["output"], before["output"])
    assert {name for name, _ in read} == {"output"}


@pytest.mark.parametrize("meddle", [
    lambda tensor: tensor.add_(1), lambda tensor: setattr(tensor, "data", torch.zeros_like(tensor)),
    lambda tensor: setattr(tensor, "data", tensor.data.to(torch.bfloat16)),
])  # fmt: skip
def test_what_somebody_else_has_written_into_is_written_again(ends, meddle):
    standing, live = Standing(), live_of(ends[0])
    live["other"] = torch.nn.Parameter(live["other"], requires_grad=False)
    standing.write(live, ends, line(0.0))
    with torch.no_grad():
        meddle(live["other"])
    assert standing.holds(live)["other"] is None and standing.holds(live)["same"] is not None
    standing.write(live, ends, line(0.0))
    assert torch.equal(live["other"].float(), ends[0].read("other").to(live["other"].dtype).float()) and standing.holds(live)["other"] is not None


def test_other_rows_of_an_output_layer_are_other_numbers(ends):
    standing, live = Standing(), live_of(ends[0])
    standing.write(live, ends, line(1.0))
    turned = [ends[0], ends[1].with_rows(["output"], [2, 0, 1])]
    standing.write(live, turned, line(1.0))
    assert torch.equal(live["output"], ends[1].read("output")[[2, 0, 1]])


def test_a_write_that_fails_leaves_nothing_that_counts_as_written(ends, tmp_path):
    standing, live = Standing(), live_of(ends[0])
    standing.write(live, ends, line(0.0))
    (tmp_path / "b").rename(tmp_path / "gone")
    with pytest.raises(McoreError, match="cannot be read"):
        standing.write(live, ends, line(0.5))
    (tmp_path / "gone").rename(tmp_path / "b")
    standing.write(live, ends, line(0.0))
    assert all(torch.equal(live[name], ends[0].read(name)) for name in live)


def test_whole_numbers_are_never_blended_and_come_from_the_first_that_is_meant(tmp_path):
    sets = [stored(tmp_path / str(i), {"count": torch.tensor([i, 7])}) for i in range(2)]
    standing, live = Standing(), {"count": torch.zeros(2, dtype=torch.int64)}
    for t, first in ((0.0, 0), (0.5, 0), (1.0, 1)):
        standing.write(live, sets, line(t))
        assert live["count"].tolist() == [first, 7]


def test_on_a_great_circle_what_is_the_same_is_not_taken_as_a_line(ends):
    standing, live = Standing(), live_of(ends[0])
    standing.write(live, ends, lambda name: (0.6, 0.6))
    assert torch.allclose(live["same"], 1.2 * ends[0].read("same"))


@pytest.mark.parametrize("place", [0, SPOT, PIECE - 1, PIECE, PIECE + 5])
def test_one_bit_anywhere_makes_two_tensors_differ(tmp_path, place):
    a = torch.zeros(PIECE + 6)
    b = a.clone()
    one, same = stored(tmp_path / "a", {"w": a}), stored(tmp_path / "same", {"w": b})
    b[place] = -0.0  # as a number it is equal
    assert same_bytes("w", one, same) and not same_bytes("w", one, stored(tmp_path / "b", {"w": b}))
    assert not same_bytes("w", one, stored(tmp_path / "half", {"w": a.half()}))


def test_tensors_that_differ_are_read_no_further_than_it_takes_to_see_it(tmp_path, read):
    sets = [stored(tmp_path / str(seed), numbers(seed, w=(3 * PIECE,))) for seed in range(2)]
    assert not same_bytes("w", *sets)
    assert read == [("w", SPOT)] * 2
