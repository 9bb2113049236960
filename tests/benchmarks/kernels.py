"""Times of the fused kernels beside the least that the machine's ceilings allow.

A call makes demands, each an amount of something the machine does at a measured rate. Demands on
one resource add up (gathered and streamed rows wait in the same queues of a core); different
resources work side by side, so the slowest decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.bench.kernel_calls import StepSizes, kernel_calls, random_table
from harness.bench.text import between, note, short, table
from harness.bench.timing import OnProgress, Spread, interleaved, silent
from harness.kernels import Op
from tests.benchmarks import ceilings
from tests.benchmarks.ceilings import GIGA, Ceilings, require

OPS: tuple[Op, ...] = ("dot", "l1", "modulus")
PARTS = ("forward", "query gradient", "table gradient", "ranking")
BYTES = 4
"""Bytes of an fp32 number."""
MEGA, MILLI = 1e6, 1e-3

RESOURCES = {
    "gather table": "memory",
    "gather queries": "memory",
    "gather cached": "memory",
    "stream": "memory",
    "root": "roots",
    "reciprocal": "roots",
    "fp32": "FLOPs",
}
"""Measured rate -> its resource."""
UNITS = {
    "gather table": "MB of table rows gathered",
    "gather queries": "MB of queries gathered",
    "stream": "MB in order",
    "root": "M square roots",
    "reciprocal": "M reciprocal square roots",
    "fp32": "MFLOP",
}
"""Demand -> its unit, in millions."""


class Floor(NamedTuple):
    """Least time of a call.

    Attributes:
        seconds: no implementation is faster.
        bound: the resource that decides ("memory", "roots", "FLOPs").
    """

    seconds: float
    bound: str


@dataclass(frozen=True)
class KernelTime:
    """Measured kernel.

    Attributes:
        part: one of ``PARTS``.
        op: operation that compares a query with a row.
        seconds: elapsed time.
        demands: rate -> amount (``demands``).
        least: floor under these demands.
    """

    part: str
    op: str
    seconds: Spread
    demands: Mapping[str, float]
    least: Floor

    @property
    def share(self) -> float:
        """Share of the ceiling that is reached, 1.0 at best."""
        return self.least.seconds / self.seconds.median


def demands(part: str, op: str, sizes: StepSizes) -> dict[str, float]:
    """Return the work that a kernel cannot avoid: rate (``RESOURCES``) -> amount.

    Forward pass and query gradient gather the table's row of every pair. The table gradient, which
    visits the pairs row by row, gathers the query of every pair, writes every row's gradient and
    (except ``dot``) reads every row once. ``modulus`` takes a root per pair and complex component,
    its gradients a reciprocal root. Ranking keeps its rows in the cache, so operations bound it: a
    product and a sum (``l1``: a difference and a sum) per number and pair. Queries, scores and
    lists of pairs are small beside that and not counted.
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


def floor(needed: Mapping[str, float], rates: Mapping[str, float]) -> Floor:
    """Return the least time of a call.

    Args:
        needed: rate (``RESOURCES``) -> amount, in bytes, roots or operations.
        rates: rate -> amount per second.

    Raises:
        KeyError: a demand has no rate or no resource.
    """
    seconds: dict[str, float] = {}
    for name, amount in needed.items():
        resource = RESOURCES[name]
        seconds[resource] = seconds.get(resource, 0.0) + amount / rates[name]
    bound = max(seconds, key=lambda resource: seconds[resource])
    return Floor(seconds[bound], bound)


def measure(
    sizes: StepSizes, rounds: int = 9, on_progress: OnProgress = silent
) -> tuple[list[KernelTime], Ceilings]:
    """Time kernels and micro-benchmarks interleaved, on the same table.

    Args:
        sizes: sizes of the step.
        rounds: measured repeats of each.
        on_progress: progress callback.

    Raises:
        MachineError: the table with its gradient and the pairs do not fit into memory.
    """
    require(
        BYTES * (2 * sizes.entities * sizes.width + 3 * sizes.pairs),  # ids take 8 bytes
        f"{sizes.entities:,} rows of {sizes.width} numbers and {sizes.pairs:,} pairs",
    )
    rows = random_table(sizes)
    calls = {f"{part} {op}": t for op in OPS for part, t in kernel_calls(op, rows, sizes).items()}
    probes = ceilings.probes(rows)
    tasks = calls | ceilings.probe_tasks(probes)
    seconds = interleaved(tasks, rounds, on_progress, again=True)
    limits = ceilings.summarise(probes, seconds)
    times = []
    for part in PARTS:
        for op in OPS:
            needed = demands(part, op, sizes)
            least = floor(needed, limits.medians)
            times.append(KernelTime(part, op, seconds[f"{part} {op}"], needed, least))
    return times, limits


def kernels_text(sizes: StepSizes, times: Sequence[KernelTime], limits: Ceilings) -> str:
    """Format the kernels' times beside their floors, and their demands."""
    headers = ["kernel", "op", "ms", "range", "GB/s", "G√/s", "floor", "share", "bound"]
    legend = (
        "floor: milliseconds that the ceilings leave for the work a call cannot avoid; share: "
        f"floor / median; bound: what sets the floor. A call needs: {'; '.join(_needs(times))}."
    )
    title = (
        f"One step: {sizes.positives} positives, {sizes.negatives} negatives each, "
        f"{sizes.entities:,} entities, vectors of {sizes.width} numbers; {sizes.ranked} queries "
        "ranked."
    )
    rows = table(headers, [_row(one) for one in times], left_columns=2)
    return "\n".join([note(title), "", rows, "", note(legend), *ceilings.check_lines(limits)])


def _row(one: KernelTime) -> list[str]:
    seconds = one.seconds.median
    return [
        one.part,
        one.op,
        short(seconds / MILLI),
        between(one.seconds, MILLI),
        _per_second(one.demands, "memory", seconds),
        _per_second(one.demands, "roots", seconds),
        short(one.least.seconds / MILLI),
        f"{one.share:.2f}",
        one.least.bound,
    ]


def _needs(times: Sequence[KernelTime]) -> list[str]:
    """Return the demands in words, those shared by several operations once."""
    ops: dict[tuple[str, str], list[str]] = {}
    for one in times:
        amounts = (f"{short(n / MEGA)} {UNITS[name]}" for name, n in one.demands.items())
        ops.setdefault((one.part, " + ".join(amounts)), []).append(one.op)
    return [f"{part} {', '.join(of)}: {amounts}" for (part, amounts), of in ops.items()]


def _per_second(needed: Mapping[str, float], resource: str, seconds: float) -> str:
    amount = sum(value for name, value in needed.items() if RESOURCES[name] == resource)
    return short(amount / seconds / GIGA) if amount else "-"
