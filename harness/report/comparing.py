"""Comparisons of stored rows, and claims about them, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path

from harness.analysis.claims import Checked, Claims, check, load_claims
from harness.analysis.compare import SideComparison, check_names, compare_sides
from harness.analysis.ranks import RankFiles, ties_of
from harness.analysis.sides import StoredSuites, find_sides
from harness.config.listing import one_or_more
from harness.environment import results_folder
from harness.report.files import suites_by_table
from harness.store import open_home

__all__ = ["CLAIMS", "COMPARED", "check_claims", "compare"]

COMPARED = ("mrr", "hits@1", "hits@3", "hits@10")
"""Metrics that are compared by default."""
CLAIMS = "claims.yaml"
"""File of claims in a results folder."""


def compare(
    first: str,
    second: str,
    home: Path | str | None = None,
    *,
    dataset: str = "",
    metrics: Sequence[str] | str = COMPARED,
    bucket: str = "all",
    seeds: Collection[int] | None = None,
) -> SideComparison:
    """Compare two rows, or two groups of runs, query by query on the seeds that both have.

    Args:
        first, second: "SUITE:ROW" by label or model, "SUITE@VARIANT:ROW", or run ids "3f2a,91bc".
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        dataset: needed where both sides have several.
        metrics: one or several metrics of ranks.
        bucket: subset of the test split: all, warm or cold.
        seeds: seeds to use; all when None.

    Raises:
        ConfigError: a name is unknown (the nearest is offered) or ambiguous, or the sides cannot be
            compared (what differs is named).
        StoreError: the runs of a suite cannot stand side by side.
        DataError: ranks are missing, damaged, or of another test split.
    """
    metrics = one_or_more(metrics)
    check_names(metrics, bucket)
    folder = results_folder(home)
    with contextlib.closing(open_home(folder, create=False, write=False)) as store:
        sides = find_sides(StoredSuites(store, suites_by_table), first, second, dataset, seeds)
    files = RankFiles(folder / "runs", ties_of(sides[0].protocol))
    return compare_sides(files, *sides, metrics, bucket)


def check_claims(
    file: Path | None = None, home: Path | str | None = None
) -> tuple[Path, Claims, tuple[Checked, ...]]:
    """Check whether stored results support claims.

    Args:
        file: file of claims; ``claims.yaml`` of the results folder when None.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.

    Returns:
        The file, the claims, and the finding on each.

    Raises:
        ConfigError: the file cannot be read or holds a mistake.
        StoreError: the runs of a suite cannot stand side by side.
    """
    folder = results_folder(home)
    path = file or folder / CLAIMS
    claims, origins = load_claims(path)
    with contextlib.closing(open_home(folder, create=False, write=False)) as store:
        suites = StoredSuites(store, suites_by_table)
        lines = [origin.line for origin in origins]
        return path, claims, check(suites, folder / "runs", claims, lines)
