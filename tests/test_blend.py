"""Blending: the arithmetic, the exact ends, every dtype and layout on disk, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from mcore.errors import McoreError
from mcore.live import blend as blending
from mcore.live.blend import Place, WeightSet, blend, distance

SHAPES = {"embedding": (50, 8), "linear": (8, 8), "bias": (8,), "scale": ()}


def numbers(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def on_disk(folder: Path, name: str, tensors: dict[str, torch.Tensor]) -> WeightSet:
    file = folder / f"{name}.safetensors"
    save_file(tensors, file)
    return WeightSet({tensor: Place(file, tensor) for tensor in tensors})


def empty(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, 7) for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> tuple[list[dict], list[WeightSet]]:
    folder = tmp_path_factory.mktemp("three")
    tensors = [numbers(seed) for seed in range(3)]
    return tensors, [on_disk(folder, str(i), each) for i, each in enumerate(tensors)]


@pytest.fixture
def small_pieces(monkeypatch):
    """Tensors of a test then need several pieces, the last one smaller."""
    monkeypatch.setattr(blending, "PIECE", 48)


coefficient = st.floats(-4, 4, width=32)


@given(coefficients=st.tuples(coefficient, coefficient, coefficient))
def test_a_blend_is_the_weighted_sum(three, coefficients):
    tensors, sets = three
    live = empty(tensors[0])
    blend(live, sets, coefficients)
    for name in SHAPES:
        exact = sum(c * each[name].double() for c, each in zip(coefficients, tensors, strict=True))
        torch.testing.assert_close(live[name].double(), torch.as_tensor(exact), rtol=1e-6, atol=1e-5)


@given(t=st.floats(0, 1), bend=st.floats(0, 1))
def test_bends_on_the_chord_give_the_line(three, tmp_path_factory, t, bend):
    (a, b, _), (set_a, set_b, _) = three
    middle = {name: (1 - bend) * a[name] + bend * b[name] for name in SHAPES}
    chain = on_disk(tmp_path_factory.mktemp("bend"), "middle", middle)
    curve, line = empty(a), empty(a)
    weights = ((1 - t) ** 2, 2 * t * (1 - t), t**2)
    blend(curve, [set_a, chain, set_b], weights)
    along = weights[1] * bend + weights[2]
    blend(line, [set_a, set_b], (1 - along, along))
    for name in SHAPES:
        torch.testing.assert_close(curve[name], line[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_ends_are_exact_for_every_dtype_on_disk(tmp_path, dtype, small_pieces):
    a, b = numbers(1, dtype), numbers(2, dtype)
    sets = [on_disk(tmp_path, "a", a), on_disk(tmp_path, "b", b)]
    for coefficients, end in (((1, 0), a), ((0, 1), b)):
        live = empty({name: tensor.float() for name, tensor in a.items()})
        blend(live, sets, coefficients)
        assert all(torch.equal(live[name], end[name].float()) for name in SHAPES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_blended_in_float32(tmp_path, dtype, small_pieces):
    a, b = numbers(1, dtype), numbers(2, dtype)
    live = empty({name: tensor.float() for name, tensor in a.items()})
    blend(live, [on_disk(tmp_path, "a", a), on_disk(tmp_path, "b", b)], (0.25, 0.75))
    for name in SHAPES:
        torch.testing.assert_close(live[name], 0.25 * a[name].float() + 0.75 * b[name].float(), rtol=1e-6, atol=1e-6)


def test_a_bfloat16_parameter_takes_the_float32_blend_rounded_once(three, small_pieces):
    (a, *_), sets = three
    live = empty({name: tensor.bfloat16() for name, tensor in a.items()})
    fine = empty(a)
    blend(live, sets[:2], (0.5, 0.5))
    blend(fine, sets[:2], (0.5, 0.5))
    assert all(torch.equal(live[name], fine[name].bfloat16()) for name in SHAPES)


def test_pieces_change_nothing(three, monkeypatch):
    tensors, sets = three
    whole, cut = empty(tensors[0]), empty(tensors[0])
    blend(whole, sets, (0.3, 0.5, 0.2))
    monkeypatch.setattr(blending, "PIECE", 48)
    blend(cut, sets, (0.3, 0.5, 0.2))
    assert all(torch.equal(whole[name], cut[name]) for name in SHAPES)


def test_a_set_with_coefficient_zero_is_never_read(three, tmp_path):
    tensors, sets = three
    gone = on_disk(tmp_path, "gone", numbers(5))
    next(iter(gone.where.values())).file.unlink()
    live = empty(tensors[0])
    blend(live, [gone, sets[1]], (0, 1))
    assert torch.equal(live["linear"], tensors[1]["linear"])
    with pytest.raises(McoreError, match="cannot be read"):
        blend(live, [gone, sets[1]], (0.5, 0.5))


def test_integer_tensors_are_taken_whole_from_the_first_set_that_counts(tmp_path):
    sets = [on_disk(tmp_path, str(i), {"steps": torch.tensor([i, 10 * i]), "mask": torch.tensor([i > 0])}) for i in range(3)]
    live = {"steps": torch.zeros(2, dtype=torch.int64), "mask": torch.zeros(1, dtype=torch.bool)}
    blend(live, sets, (0, 0.5, 0.5))
    assert live["steps"].tolist() == [1, 10] and live["mask"].tolist() == [True]


def test_coefficients_may_differ_by_tensor(three):
    (a, b, _), sets = three
    live = empty(a)
    blend(live, sets[:2], lambda name: (1, 0) if name == "bias" else (0, 1))
    assert torch.equal(live["bias"], a["bias"]) and torch.equal(live["linear"], b["linear"])


def test_shards_are_one_set(tmp_path):
    tensors = numbers(1)
    where = {}
    for name, tensor in tensors.items():
        save_file({f"body.{name}": tensor}, tmp_path / f"{name}.safetensors")
        where[name] = Place(tmp_path / f"{name}.safetensors", f"body.{name}")
    live = empty(tensors)
    blend(live, [WeightSet(where)], [1.0])
    assert all(torch.equal(live[name], tensors[name]) for name in SHAPES)


@given(first=st.permutations(range(8)), second=st.permutations(range(8)))
def test_permuted_rows_compose(three, first, second):
    (a, b, _), (set_a, set_b, _) = three
    permuted = set_a.with_rows(["linear", "bias"], first).with_rows(["linear"], second)
    assert torch.equal(permuted.read("linear"), a["linear"][first][second])
    assert torch.equal(permuted.read("bias"), a["bias"][first])
    live = empty(a)
    blend(live, [permuted, set_b], (0.5, 0.5))
    torch.testing.assert_close(live["linear"], 0.5 * a["linear"][first][second] + 0.5 * b["linear"])
    assert torch.equal(set_a.read("linear"), a["linear"])


def test_what_is_not_contiguous_is_written_too(three):
    (a, b, _), sets = three
    for coefficients in ((1, 0), (0.5, 0.5)):
        live = torch.zeros(8, 8).t()
        blend({"linear": live}, sets[:2], coefficients)
        torch.testing.assert_close(live, coefficients[0] * a["linear"] + coefficients[1] * b["linear"])


def test_numbers_that_are_not_finite_are_found(tmp_path, three, small_pieces):
    assert three[1][0].first_not_finite() is None
    bad = numbers(1)
    bad["linear"][7, 7] = float("nan")
    assert on_disk(tmp_path, "bad", bad).first_not_finite() == "linear"
    huge = {"huge": torch.full((100,), 3e38)}  # finite, though their sum is not
    assert on_disk(tmp_path, "huge", huge).first_not_finite() is None


def test_distances_are_those_of_the_tensors(three, small_pieces):
    (a, b, _), sets = three
    for name, apart in distance(sets[0], sets[1], SHAPES).items():
        x, y = a[name].double().view(-1), b[name].double().view(-1)
        expected = [((x - y) ** 2).sum(), x @ y, x @ x, y @ y]
        assert [apart.squared, apart.dot, apart.norm_a, apart.norm_b] == pytest.approx([float(e) for e in expected])
        assert apart.count == x.numel()


def test_what_does_not_fit_is_refused_before_anything_is_written(three, tmp_path):
    tensors, sets = three
    live = empty(tensors[0])
    fewer = on_disk(tmp_path, "fewer", {"bias": torch.zeros(8)})
    other = on_disk(tmp_path, "other", {**numbers(1), "linear": torch.zeros(9, 8)})
    with pytest.raises(McoreError, match="lack embedding, linear, scale"):
        blend(live, [sets[0], fewer], (0.5, 0.5))
    with pytest.raises(McoreError, match=r"linear has shape \[9, 8\] on disk and \[8, 8\]"):
        blend(live, [sets[0], other], (0.5, 0.5))
    assert all((tensor == 7).all() for tensor in live.values())
    with pytest.raises(McoreError, match="lack nothing_of_the_kind"):
        WeightSet({"x": Place(sets[0].where["bias"].file, "nothing_of_the_kind")})
    with pytest.raises(McoreError, match="do not put in a new order"):
        sets[0].with_rows(["linear"], [0, 1])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no such format", (2**40).to_bytes(8, "little") + b"{}"])
def test_a_damaged_file_is_told_in_a_sentence(tmp_path, damage):
    file = tmp_path / "damaged.safetensors"
    file.write_bytes(damage)
    with pytest.raises(McoreError, match="is damaged or not a safetensors file"):
        WeightSet({"x": Place(file, "x")})


def test_a_file_cut_short_is_damaged(tmp_path):
    on_disk(tmp_path, "whole", numbers(1))
    content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(content[:-10])
    with pytest.raises(McoreError, match="damaged"):
        WeightSet({"bias": Place(tmp_path / "short.safetensors", "bias")})


def test_a_header_that_is_no_table_is_damaged(tmp_path):
    text = json.dumps(["not", "a", "table"]).encode()
    (tmp_path / "list.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(McoreError, match="damaged"):
        WeightSet({"x": Place(tmp_path / "list.safetensors", "x")})
