"""Calls of the fused kernels at the sizes of a training step, on random vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from harness.bench.timing import Task
    from harness.kernels import Op, Pairs

__all__ = ["StepSizes", "kernel_calls", "random_table"]


@dataclass(frozen=True)
class StepSizes:
    """Sizes of a training step and of a ranking; defaults are those of MKG-W.

    Attributes:
        positives: number of triples of the step; each makes a tail query and a head query.
        negatives: negatives per positive.
        entities: rows of the table.
        width: width of a row.
        ranked: number of queries that are ranked among all rows.
    """

    positives: int = 1024
    negatives: int = 64
    entities: int = 15_000
    width: int = 512
    ranked: int = 256

    @property
    def pairs(self) -> int:
        """Number of scores of a step, positives included."""
        return self.positives * (self.negatives + 1)


def random_table(sizes: StepSizes) -> Tensor:
    """Return a random table [entities, width], allocated as in a run."""
    import torch

    from harness import kernels

    kernels.prepare("cpu")
    generator = torch.Generator().manual_seed(1)
    return torch.rand(sizes.entities, sizes.width, generator=generator) - 0.5


def kernel_calls(op: Op, table: Tensor, sizes: StepSizes) -> dict[str, Task]:
    """Return the calls by name: forward, query gradient, table gradient, ranking.

    Gradients start from scores computed beforehand.
    """
    import torch

    from harness import kernels

    generator = torch.Generator().manual_seed(0)
    pairs = _pairs(sizes, generator)
    queries = torch.rand(2 * sizes.positives, sizes.width, generator=generator) - 0.5
    outer = torch.rand(sizes.pairs, generator=generator)
    query_leaf = queries.clone().requires_grad_()
    table_leaf = table.detach().requires_grad_()  # shares the table's memory
    comparison = kernels.VectorComparison(op, queries, table)
    query_scores = kernels.score_pairs(kernels.VectorComparison(op, query_leaf, table), pairs)
    table_scores = kernels.score_pairs(kernels.VectorComparison(op, queries, table_leaf), pairs)
    targets = torch.randint(sizes.entities, (sizes.ranked,), generator=generator)
    ranked = torch.rand(sizes.ranked, sizes.width, generator=generator) - 0.5
    ranking = (
        [kernels.VectorComparison(op, ranked, table)],
        kernels.Pairs.one_each(targets),
        kernels.Pairs.none(sizes.ranked),
    )

    def gradient(scores: Tensor, leaf: Tensor) -> Task:
        return lambda: torch.autograd.grad(scores, leaf, outer, retain_graph=True)

    return {
        "forward": lambda: kernels.score_pairs(comparison, pairs),
        "query gradient": gradient(query_scores, query_leaf),
        "table gradient": gradient(table_scores, table_leaf),
        "ranking": lambda: kernels.count_competitors(*ranking),
    }


def _pairs(sizes: StepSizes, generator: Generator) -> Pairs:
    """Return the pairs of a step with random candidates, a random share of which are tails."""
    import torch

    from harness.kernels import Pairs

    n = sizes.negatives + 1
    tails = torch.randint(1, n + 1, (sizes.positives,), generator=generator)
    candidates = torch.randint(sizes.entities, (sizes.pairs,), generator=generator)
    return Pairs.from_sizes(torch.stack([tails, n - tails], 1).flatten(), candidates)
