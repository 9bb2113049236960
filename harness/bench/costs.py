"""What stages should cost by their formulas: an estimate, before anything is measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import torch

from harness.bench.stages import QUERIES, ROWS
from harness.plan.complexity import Case

__all__ = ["Cost", "Rates", "cost", "measure_rates"]

BACKWARD = 3
"""A backward pass takes twice the operations of a forward pass."""
HIDDEN, BINS = 128, 16
"""Hidden width and outcomes of the estimator's heads: the defaults."""
PER_COMPONENT = 14
"""Operations of RotatE's comparison of one complex component."""

PRODUCTS: Mapping[str, int] = {"concat": 2, "gate": 4, "self_attention": 6}
"""Kind of fusion -> operations per entity, modality and pair of coordinates; others have none."""
HELD: Mapping[str, float] = {"product": 3, "gate": 3, "self_attention": 6.5, "concat": 2}
"""Kind of fusion -> numbers held per entity, modality and coordinate beside views and gradients."""


class Cost(NamedTuple):
    """Of one go.

    Attributes:
        operations: floating-point operations.
        numbers: fp32 numbers alive at once, inputs and gradients among them.
    """

    operations: float
    numbers: float

    def seconds(self, rates: Rates) -> float:
        """Return about how long it takes; every number is read or written about three times."""
        return self.operations / rates.operations + 3 * self.numbers / rates.numbers

    @property
    def bytes(self) -> float:
        """Memory."""
        return 4 * self.numbers


class Rates(NamedTuple):
    """What a device does per second: operations of a matrix product, numbers that are copied."""

    operations: float
    numbers: float


def cost(case: Case) -> Cost:
    """Return what a case should cost; memory is within a half of what is measured."""
    d, k, m, n = case.sizes.d, case.sizes.K, case.sizes.M, case.sizes.N
    width = 2 * d
    vectors, views = m * n * width, m * k * n * width
    experts = 2 * m * k * width**2
    if case.stage == "fusion":
        products = PRODUCTS.get(case.name, 0) * n * m * width**2
        numbers = 2 * views + HELD.get(case.name, 1) * vectors
        return Cost(BACKWARD * (products + 2 * views), numbers)
    if case.stage == "backbone":
        return Cost(BACKWARD * (2 * n * experts), 3 * views + vectors + 2 * experts)
    if case.stage == "estimator":
        rows = min(ROWS, n)
        heads = 2 * rows * (m * k + m) * (width * HIDDEN + HIDDEN * BINS)
        return Cost(BACKWARD * heads, views + 4 * views * rows / n)
    passes = BACKWARD if case.stage == "scoring" else 2
    return Cost(passes * QUERIES * n * PER_COMPONENT * d, 2 * n * width)


def measure_rates(device: torch.device, goes: int = 3) -> Rates:
    """Measure the device for a tenth of a second."""
    side, length = 1024, 2**24
    square = torch.rand(side, side, device=device)
    source, target = (torch.rand(length, device=device) for _ in range(2))

    def best(work: object) -> float:
        assert callable(work)
        seconds = []
        for _ in range(goes):
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    return Rates(
        2 * side**3 / best(lambda: square @ square), length / best(lambda: target.copy_(source))
    )
