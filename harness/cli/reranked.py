"""Tables that are made from stored ranks each time: their options, which no other table has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.analysis.query import Results
    from harness.report.table import Table

__all__ = ["RERANKED", "Reranked"]

BREAKDOWN, PROTOCOLS = "breakdown", "protocols"
RERANKED = {
    BREAKDOWN: "A metric by parts of the test split (--by), from stored ranks",
    PROTOCOLS: "The same runs under other rules, and what each is worth",
}
"""Names of the tables, with what they show."""


@dataclass(frozen=True)
class Reranked:
    """The options --by, --metric and --suite."""

    by: str
    metric: str
    suite: str

    def check(self, tables: Sequence[str], *, html: bool) -> None:
        """Refuse options without their table, and a table without its options.

        Raises:
            ConfigError: so it is.
        """
        asked = [name for name in tables if name in RERANKED]
        if html and asked:
            raise ConfigError(f"the page has no table '{asked[0]}'; print it, or --format html")
        if BREAKDOWN in tables and not self.by:
            from harness.evaluation.subsets import SUBSETS

            raise ConfigError(f"--table {BREAKDOWN} needs --by; choose from {', '.join(SUBSETS)}")
        if BREAKDOWN not in tables and (self.by or self.metric != "mrr"):
            raise ConfigError(f"--by and --metric go with --table {BREAKDOWN}")
        if not asked and self.suite:
            raise ConfigError(
                f"--suite goes with --table {BREAKDOWN} or {PROTOCOLS}; --table {self.suite} "
                "prints the suite's own"
            )

    def table(self, results: Results, folder: Path, name: str) -> Table:
        """Return one of the tables.

        Args:
            results: stored results of the folder.
            folder: the results folder.
            name: one of ``RERANKED``.

        Raises:
            ConfigError, StoreError: as ``harness.report.tables.breakdown`` and ``protocols``.
        """
        if name == BREAKDOWN:
            from harness.report.tables.breakdown import breakdown

            options = {"metric": self.metric, "suite": self.suite}
            return breakdown(results, folder / "runs", self.by, **options)
        from harness.report.tables.protocols import protocols

        return protocols(results, folder / "runs", suite=self.suite)
