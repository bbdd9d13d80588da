"""How fast this machine multiplies matrices of a model's own shapes in float32, the most that a model could reach."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import torch

TOKENS = (256, 512, 1024, 2048)  # rows of the left-hand matrix
SECONDS = 0.05  # that each product is repeated for


class Products:
    """The best rate seen so far for each shape; ``measure`` is called again and again between other work."""

    def __init__(self, model: torch.nn.Module):
        self.shapes = Counter(
            tuple(layer.weight.shape)
            for layer in model.modules()
            if isinstance(layer, torch.nn.Linear) and min(layer.weight.shape) > 16
        )
        self.best: dict[tuple[int, int], float] = dict.fromkeys(self.shapes, 0.0)

    @torch.inference_mode()
    def measure(self) -> None:
        for (out, into), fastest in self.best.items():
            weight, bias = torch.randn(out, into), torch.randn(out)
            for tokens in TOKENS:
                x, flops = torch.randn(tokens, into), 2 * tokens * into * out
                for product in (
                    lambda x=x, w=weight, b=bias: torch.nn.functional.linear(x, w, b),
                    lambda x=x, w=weight: torch.mm(x, w.t()),
                ):
                    fastest = max(fastest, flops / _seconds(product))
            self.best[out, into] = fastest

    @property
    def rate(self) -> float:
        """Floating-point operations per second over all layers, each at its shape's best rate."""
        work = {shape: count * shape[0] * shape[1] for shape, count in self.shapes.items()}
        return sum(work.values()) / sum(work[shape] / self.best[shape] for shape in work)


def _seconds(product: Callable[[], torch.Tensor]) -> float:
    """The shortest of some repetitions."""
    product()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return best
