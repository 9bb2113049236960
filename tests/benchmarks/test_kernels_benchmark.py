"""Times of every kernel at the size of MKG-W: ``pytest tests/benchmarks --benchmark-only``.

1024 positives with 64 negatives each, 15,000 entities, vectors of 512 numbers (256 complex).
``python -m tests.benchmarks kernels`` shows the same times beside the ceilings of the machine.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness import kernels
from harness.bench.kernel_calls import StepSizes, kernel_calls, random_table
from harness.kernels import Pairs, VectorComparison
from harness.kernels.backends import Backend
from tests.benchmarks.kernels import OPS, PARTS

SIZES = StepSizes()
Work = Callable[[], object]
BACKENDS: tuple[Backend, ...] = ("numba", "reference")


@pytest.fixture(scope="module")
def table() -> Tensor:
    return random_table(SIZES)


@pytest.fixture(scope="module")
def queries() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(2 * SIZES.positives, SIZES.width, generator=generator) - 0.5


def listed_pairs(sizes: StepSizes) -> Pairs:
    """Pairs of which queries have equally many."""
    indptr = torch.linspace(0, sizes.pairs, 2 * sizes.positives + 1).long()
    generator = torch.Generator().manual_seed(3)
    return Pairs(indptr, torch.randint(sizes.entities, (sizes.pairs,), generator=generator))


def one_target_each() -> tuple[Pairs, Pairs]:
    """Targets of the ranked queries, and no known answers."""
    return Pairs.one_each(torch.arange(SIZES.ranked)), Pairs.none(SIZES.ranked)


def run(benchmark, group: str, work: Work, rounds: int) -> None:
    benchmark.group = group
    benchmark.pedantic(work, warmup_rounds=2, rounds=rounds)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("part", PARTS)
def test_kernel(benchmark, table, op, part):
    rounds = 3 if part == "ranking" else 15
    run(benchmark, part, kernel_calls(op, table, SIZES)[part], rounds)


@pytest.mark.parametrize("op", ["l1", "modulus"])
@pytest.mark.parametrize("part", PARTS)
def test_kernel_with_a_scale_per_query(benchmark, table, queries, op, part):
    """PairRE multiplies every candidate by a vector of the query's."""
    pairs = listed_pairs(SIZES)
    scale = queries.roll(1, 0).requires_grad_(part == "query gradient")
    wanted = queries.clone().requires_grad_(part == "query gradient")
    rows = table.detach().requires_grad_(part == "table gradient")
    asked, targets = SIZES.ranked, Pairs.one_each(pairs.indices[: SIZES.ranked])
    comparison = VectorComparison(op, wanted, rows, scale)
    ranked = VectorComparison(op, queries[:asked], table, scale[:asked])
    scores = kernels.score_pairs(comparison, pairs)
    outer = torch.ones_like(scores)

    def gradient(*of: Tensor) -> Work:
        return lambda: torch.autograd.grad(scores, of, outer, retain_graph=True)

    parts: dict[str, Work] = {
        "forward": lambda: kernels.score_pairs(comparison, pairs),
        "query gradient": gradient(wanted, scale),
        "table gradient": gradient(rows),
        "ranking": lambda: kernels.count_competitors([ranked], targets, Pairs.none(asked)),
    }
    run(benchmark, f"{part}, scaled", parts[part], 3 if part == "ranking" else 15)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_forward_and_backward(benchmark, table, queries, op, backend):
    pairs, score = listed_pairs(SIZES), kernels.score_pairs.version(backend)
    wanted, rows = queries.clone().requires_grad_(), table.detach().requires_grad_()

    def work() -> None:
        wanted.grad = rows.grad = None
        score(VectorComparison(op, wanted, rows), pairs).sum().backward()

    run(benchmark, "forward and backward", work, 5)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_all_pairs(benchmark, table, queries, op, backward):
    few = queries[:64].clone().requires_grad_()
    rows = table.detach().requires_grad_()

    def forward() -> Tensor:
        return kernels.score_all(VectorComparison(op, few, rows))

    scores = forward()
    outer = torch.ones_like(scores)
    work: Work = forward
    if backward:
        work = lambda: torch.autograd.grad(scores, (few, rows), outer, retain_graph=True)  # noqa: E731
    run(benchmark, "64 queries and all rows", work, 5)


def test_ranking_by_a_sum_of_two_terms(benchmark, table, queries):
    asked = queries[: SIZES.ranked]
    terms = [
        VectorComparison("l1", asked, table, weight=0.5),
        VectorComparison("dot", asked, table),
    ]
    run(benchmark, "ranking", lambda: kernels.count_competitors(terms, *one_target_each()), 3)


def test_ranking_by_a_matrix_of_scores(benchmark, table, queries):
    scores = queries[: SIZES.ranked] @ table.T
    run(benchmark, "ranking", lambda: kernels.count_in_scores(scores, *one_target_each()), 3)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_rotation_of_queries(benchmark, queries, backward):
    anchor = queries.clone().requires_grad_()
    phase = queries[:, : SIZES.width // 2].clone().requires_grad_()

    def forward() -> Tensor:
        return kernels.rotate(anchor, phase)

    turned = forward()
    outer = torch.ones_like(turned)
    work: Work = forward
    if backward:
        work = lambda: torch.autograd.grad(turned, (anchor, phase), outer, retain_graph=True)  # noqa: E731
    run(benchmark, "rotation", work, 15)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout(benchmark, backend):
    x = torch.rand(10_000_000)
    run(benchmark, "dropout", lambda: kernels.dropout.version(backend)(x, 0.3), 10)
