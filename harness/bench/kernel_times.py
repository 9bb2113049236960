"""Times of the kernels beside what the machine's ceilings allow them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.bench import memory
from harness.bench.ceilings import Ceilings, probes, summarise
from harness.bench.roofline import Floor, floor
from harness.bench.timing import Spread, Tell, interleaved

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from harness.kernels import Op, Pairs

__all__ = [
    "OPS",
    "PARTS",
    "KernelTime",
    "Sizes",
    "demands",
    "measure",
    "table_of",
    "works",
]

OPS: tuple[Op, ...] = ("dot", "l1", "modulus")
PARTS = ("forward", "query gradient", "table gradient", "ranking")
BYTES = 4
"""Of an fp32 number."""


@dataclass(frozen=True)
class Sizes:
    """One training step, and some queries to rank; by default those of MKG-W.

    Attributes:
        positives: each has a tail query and a head query.
        negatives: per positive.
        entities: rows of the table.
        width: numbers per row.
        ranked: queries that are ranked among all rows.
    """

    positives: int = 1024
    negatives: int = 64
    entities: int = 15_000
    width: int = 512
    ranked: int = 256

    @property
    def pairs(self) -> int:
        """Scores of a step: the negatives and the positive itself."""
        return self.positives * (self.negatives + 1)


@dataclass(frozen=True)
class KernelTime:
    """What was measured of one kernel.

    Attributes:
        part: of ``PARTS``.
        op: the comparison.
        seconds: elapsed.
        demands: what it must do (``demands``).
        least: the floor under these demands.
    """

    part: str
    op: str
    seconds: Spread
    demands: Mapping[str, float]
    least: Floor


def demands(part: str, op: str, sizes: Sizes) -> dict[str, float]:
    """Return what a kernel cannot do without: rate's name (``roofline.RESOURCES``) -> amount.

    Forward pass and query gradient gather the table's row of every pair. The table gradient, which
    goes through the pairs row by row, gathers the query of every pair, writes every row's gradient
    and (but for ``dot``) reads every row once. ``modulus`` takes a root per pair and complex
    component, its gradients a reciprocal root. Ranking keeps its rows in the cache, so it is bound
    by operations: a product and a sum (``l1``: a difference and a sum) per number and pair.
    Queries, scores and lists of pairs are small beside that and not counted.
    """
    if part == "ranking":
        compared = float(sizes.ranked * sizes.entities * sizes.width)
        needed = {"fp32": 2 * compared}
        return {**needed, "root": compared / 2} if op == "modulus" else needed
    rows = float(BYTES * sizes.pairs * sizes.width)
    if part == "table gradient":
        passes = 1 if op == "dot" else 2
        needed = {
            "gather queries": rows,
            "stream": float(passes * BYTES * sizes.entities * sizes.width),
        }
    else:
        needed = {"gather table": rows}
    if op == "modulus":
        kind = "root" if part == "forward" else "reciprocal"
        needed[kind] = sizes.pairs * sizes.width / 2
    return needed


def measure(
    sizes: Sizes = Sizes(),
    rounds: int = 9,
    tell: Tell = lambda done, total, text: None,
) -> tuple[list[KernelTime], Ceilings]:
    """Time the kernels and the micro-benchmarks in turn, on the same table.

    Args:
        sizes: of the step.
        rounds: measured goes of each.
        tell: told of the progress.

    Raises:
        MachineError: the table with its gradient and the pairs do not fit into memory.
    """
    memory.require(
        BYTES * (2 * sizes.entities * sizes.width + 3 * sizes.pairs),  # an id counts twice
        f"{sizes.entities:,} rows of {sizes.width} numbers and {sizes.pairs:,} pairs",
    )
    table = table_of(sizes)
    timed = {f"{part} {op}": work for op in OPS for part, work in works(op, table, sizes).items()}
    found = probes(table)
    ways = {f"{name}/{i}": w for name, probe in found.items() for i, w in enumerate(probe.works)}
    seconds = interleaved(timed | ways, rounds, tell, again=True)
    ceilings = summarise(found, seconds)
    times = []
    for part in PARTS:
        for op in OPS:
            needed = demands(part, op, sizes)
            least = floor(needed, ceilings.medians)
            times.append(KernelTime(part, op, seconds[f"{part} {op}"], needed, least))
    return times, ceilings


def table_of(sizes: Sizes) -> Tensor:
    """Return a random table [entities, width], in memory as a run's."""
    import torch

    from harness import kernels

    kernels.prepare("cpu")
    generator = torch.Generator().manual_seed(1)
    return torch.rand(sizes.entities, sizes.width, generator=generator) - 0.5


def works(op: Op, table: Tensor, sizes: Sizes) -> dict[str, Callable[[], object]]:
    """Return part -> what to time; gradients are those of scores made beforehand."""
    import torch

    from harness import kernels

    generator = torch.Generator().manual_seed(0)
    pairs = _pairs(sizes, generator)
    query = torch.rand(2 * sizes.positives, sizes.width, generator=generator) - 0.5
    outer = torch.rand(sizes.pairs, generator=generator)
    wanted = query.clone().requires_grad_()
    rows = table.detach().requires_grad_()  # the same memory
    of_query = kernels.score_pairs(kernels.Comparison(op, wanted, table), pairs)
    of_table = kernels.score_pairs(kernels.Comparison(op, query, rows), pairs)
    plain = kernels.Comparison(op, query, table)
    targets = torch.randint(sizes.entities, (sizes.ranked,), generator=generator)
    ranked = torch.rand(sizes.ranked, sizes.width, generator=generator) - 0.5
    ranking = (
        [kernels.Comparison(op, ranked, table)],
        kernels.Pairs.one_each(targets),
        kernels.Pairs.none(sizes.ranked),
    )

    def gradient(scores: Tensor, of: Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(scores, of, outer, retain_graph=True)

    return {
        "forward": lambda: kernels.score_pairs(plain, pairs),
        "query gradient": gradient(of_query, wanted),
        "table gradient": gradient(of_table, rows),
        "ranking": lambda: kernels.count_competitors(*ranking),
    }


def _pairs(sizes: Sizes, generator: Generator) -> Pairs:
    """Return pairs as a training step lists them: any share is of tails."""
    import torch

    from harness.kernels import Pairs

    n = sizes.negatives + 1
    tails = torch.randint(1, n + 1, (sizes.positives,), generator=generator)
    candidates = torch.randint(sizes.entities, (sizes.pairs,), generator=generator)
    return Pairs.from_sizes(torch.stack([tails, n - tails], 1).flatten(), candidates)
