"""Times of the kernels at the size of MKG-W: ``pytest tests/benchmarks --benchmark-only``.

1024 positives with 64 negatives each, 15,000 entities, vectors of 512 numbers (256 complex).
"""

from __future__ import annotations

import pytest
import torch

from harness.kernels import cpu, reference

POSITIVES, NEGATIVES, ENTITIES, WIDTH = 1024, 64, 15_000, 512
OPS = ("dot", "l1", "modulus")


class Step:
    """Inputs of one training step: every positive has a tail query and a head query."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        n = NEGATIVES + 1
        tails = torch.randint(1, n, (POSITIVES,), generator=generator)
        sizes = torch.stack([tails, n - tails], 1).flatten()
        self.offsets = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
        self.candidates = torch.randint(ENTITIES, (POSITIVES * n,), generator=generator)
        self.query = torch.rand(2 * POSITIVES, WIDTH, generator=generator) - 0.5
        self.table = torch.rand(ENTITIES, WIDTH, generator=generator) - 0.5
        self.outer = torch.rand(POSITIVES * n, generator=generator)
        self.targets = torch.randint(ENTITIES, (2 * POSITIVES,), generator=generator)


@pytest.fixture(scope="module")
def step() -> Step:
    return Step()


def forward_and_backward(implementation, op, step):
    query, table = step.query.clone().requires_grad_(), step.table.clone().requires_grad_()
    scores = implementation.gathered(op, query, table, step.offsets, step.candidates)
    scores.backward(step.outer)


@pytest.mark.parametrize("op", OPS)
def test_forward(benchmark, step, op):
    arguments = (op, step.query, step.table, step.offsets, step.candidates)
    benchmark.pedantic(cpu.gathered, arguments, warmup_rounds=2, rounds=15)


@pytest.mark.parametrize("part", ["query", "table"])
@pytest.mark.parametrize("op", OPS)
def test_gradient(benchmark, step, op, part):
    arguments = (op, step.query, step.table, step.offsets, step.candidates, None, step.outer)
    wanted = {"per_query": part == "query", "per_row": part == "table"}
    benchmark.pedantic(cpu._pair_gradients, arguments, wanted, warmup_rounds=2, rounds=15)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("implementation", [cpu, reference], ids=["fused", "reference"])
def test_forward_and_backward(benchmark, step, op, implementation):
    benchmark.pedantic(forward_and_backward, (implementation, op, step), warmup_rounds=1, rounds=5)


@pytest.mark.parametrize("op", OPS)
def test_count_of_512_queries(benchmark, step, op):
    offsets = torch.zeros(513, dtype=torch.long)
    arguments = (op, step.query[:512], step.table, step.targets[:512], offsets, offsets[:0])
    benchmark.pedantic(cpu.count, arguments, warmup_rounds=1, rounds=3)
