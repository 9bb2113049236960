"""Stored ranks of test queries in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.analysis.ranks import StoredRanks, protocol_of
from harness.errors import DataError
from harness.report.page.charts import BINS, Chart, bars
from harness.report.page.facts import FactTable
from harness.store.records import RunRecord

__all__ = ["RankSummary", "rank_summary"]

TOPS = (1, 3, 10, 100)


@dataclass(frozen=True)
class RankSummary:
    """Ranks of the true answers, the runs' queries pooled.

    Attributes:
        queries: how many were pooled.
        runs: of how many runs.
        unavailable: runs whose ranks are not among them, and why; "" when all are.
        table: predicted side, share of queries in the top 1, 3, 10, 100, median rank.
        chart: shares by bins of ranks, predicted heads and tails apart.
    """

    queries: int
    runs: int
    unavailable: str
    table: FactTable
    chart: Chart


def rank_summary(records: Sequence[RunRecord], runs: Path) -> RankSummary | str:
    """Return the summary of the ranks that the run folders hold, or why there is none."""
    ranks_of_runs: list[dict[str, NDArray[np.float64]]] = []
    reasons: list[str] = []
    stored = StoredRanks(runs)
    for record in records:
        if not stored.exist(record.run_id):
            reasons.append(f"run {record.run_id} has no ranks here")
            continue
        try:
            ranks_of_runs.append(_by_side(stored, record))
        except DataError as error:
            reason = str(error).removeprefix(f"{stored.path(record.run_id)}: ")
            reasons.append(f"ranks of run {record.run_id}: {reason}")
    if not ranks_of_runs:
        return "; ".join(reasons)
    sides = list(ranks_of_runs[0])
    pooled = {side: np.concatenate([ranks[side] for ranks in ranks_of_runs]) for side in sides}
    all_ranks = np.concatenate(list(pooled.values()))
    by_side = {"both": all_ranks, **pooled} if len(sides) > 1 else pooled
    return RankSummary(
        queries=len(all_ranks),
        runs=len(ranks_of_runs),
        unavailable="; ".join(reasons),
        table=FactTable(
            ("predicted", *(f"top {k}" for k in TOPS), "median rank"),
            tuple((side, *_row(ranks)) for side, ranks in by_side.items()),
        ),
        chart=bars(
            "Share of test queries by rank",
            [f"{side}s" for side in sides],
            [_shares(pooled[side]) for side in sides],
        ),
    )


def _by_side(stored: StoredRanks, record: RunRecord) -> dict[str, NDArray[np.float64]]:
    try:
        protocol = protocol_of(record)
    except ValidationError:
        raise DataError("the record does not say how ties are ranked") from None
    ranks = stored.load(record.run_id)
    return {side: ranks.ranks(protocol.ties, side)[0] for side in ranks.sides}


def _row(ranks: NDArray[np.float64]) -> tuple[str, ...]:
    if not len(ranks):
        return ("",) * (len(TOPS) + 1)
    shares = [f"{100 * float(np.mean(ranks <= top)):.2f} %" for top in TOPS]
    return (*shares, f"{float(np.median(ranks)):,.6g}")


def _shares(ranks: NDArray[np.float64]) -> list[float]:
    bins = np.searchsorted(BINS, ranks)
    counts = np.bincount(bins, minlength=len(BINS) + 1)
    return [float(count) / max(len(ranks), 1) for count in counts]
