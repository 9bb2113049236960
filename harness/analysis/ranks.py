"""Stored ranks of runs, paired by seed and test triple."""

from __future__ import annotations

from functools import cache, lru_cache
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.analysis.results import RunValues
from harness.errors import DataError
from harness.evaluation.metrics import RANK_METRICS
from harness.plan.spec import Protocol
from harness.store.files import RANKS
from harness.store.records import RunRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.evaluation.ranks import Ranks, Ties

    PairedValues = tuple[NDArray[np.float64], NDArray[np.float64]]

__all__ = ["RankFiles", "StoredRanks", "common_seeds", "protocol_of", "ties_of"]

CHECKED = "mrr"
"""Metric by which a file of ranks is known to be that of its record."""
CACHED_FILES = 256
"""Rank files held in memory at once; a large one is 0.5 MB."""
TOLERANCE = 1e-6
"""Largest rounding difference between a record's value and the mean of its ranks."""


def ties_of(protocol: str) -> Ties:
    """Return the rule for equal scores that the key of a protocol begins with."""
    return cast("Ties", protocol.partition("/")[0])


def common_seeds(first: RunValues, second: RunValues) -> list[int]:
    """Return the seeds that both rows have, ascending."""
    return sorted(first.keys() & second.keys())


def protocol_of(record: RunRecord) -> Protocol:
    """Return the protocol of a run."""
    return record.spec.protocol


class StoredRanks:
    """Reads the ranks of runs, ``<runs>/<run id>/ranks.npz``.

    Args:
        runs: folder of the run folders.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.load = lru_cache(CACHED_FILES)(self._load)
        # Called for every run of a table; making a Path of each would take longer than the rest.
        self.exist = cache(lambda run_id: isfile(f"{runs}/{run_id}/{RANKS}"))

    def path(self, run_id: str) -> Path:
        """Return the file of a run's ranks, which need not exist."""
        return self.runs / run_id / RANKS

    def _load(self, run_id: str) -> Ranks:
        """Load the ranks of a run; errors as ``Ranks.load``."""
        from harness.evaluation.ranks import Ranks

        return Ranks.load(self.path(run_id))

    def of(self, record: RunRecord) -> Ranks | str:
        """Return the ranks of a tested run, or why they cannot be used."""
        if not self.exist(record.run_id):
            return "no ranks here"
        try:
            ranks = self.load(record.run_id)
        except DataError:
            return "damaged ranks"
        if set(ranks.sides) != set(protocol_of(record).sides):
            return "ranks of other sides"
        stored = record.metric(CHECKED)
        mean = float(RANK_METRICS[CHECKED](*ranks.ranks(ties_of(record.protocol))).mean())
        if stored is None or abs(mean - stored) > TOLERANCE:
            return "ranks of another execution"
        return ranks


class RankFiles(StoredRanks):
    """Ranks of runs in pairs of rows.

    Args:
        runs: folder of the run folders.
        ties: rule for equal scores.
    """

    def __init__(self, runs: Path, ties: Ties) -> None:
        super().__init__(runs)
        self.ties = ties

    def have(self, row: RunValues) -> bool:
        """Return whether the ranks of all runs of a row are stored."""
        return all(self.exist(run_id) for run_id, _ in row.values())

    def triples(
        self, first: RunValues, second: RunValues, metric: str, bucket: str
    ) -> PairedValues | None:
        """Return the values of two rows [seeds, triples] over the seeds that both have.

        A triple's value is the mean over its queries; returns and errors as ``queries``.
        """
        pair = self.queries(first, second, metric, bucket)
        return (pair[0].mean(1), pair[1].mean(1)) if pair else None

    def queries(
        self, first: RunValues, second: RunValues, metric: str, bucket: str
    ) -> PairedValues | None:
        """Return the values of two rows [seeds, sides, triples] over the seeds that both have.

        Returns:
            None when the files do not say which triples are in the bucket.

        Raises:
            DataError: a file is damaged, is not the one that a record's value came from, or the
                runs were tested on other triples.
        """
        import numpy as np

        seeds = common_seeds(first, second)
        rows = [
            [self._values(*row[seed], metric, bucket) for seed in seeds] for row in (first, second)
        ]
        if any(values is None for row in rows for values in row):
            return None
        expected = self.load(first[seeds[0]][0]).triples
        for row in (first, second):
            for run_id in (row[seed][0] for seed in seeds):
                if not np.array_equal(self.load(run_id).triples, expected):
                    raise DataError(f"{self.path(run_id)}: ranks of other triples than its rivals'")
        stacked = [np.stack([v for v in row if v is not None]) for row in rows]
        return stacked[0], stacked[1]

    def _values(
        self, run_id: str, stored: float, metric: str, bucket: str
    ) -> NDArray[np.float64] | None:
        """Return a run's values [sides, triples]; None when the file has no such bucket."""
        import numpy as np

        ranks = self.load(run_id)
        in_bucket = None if bucket == "all" else ranks.buckets.get(bucket)
        if bucket != "all" and in_bucket is None:
            return None
        values = RANK_METRICS[metric](*ranks.ranks(self.ties, subset=in_bucket))
        mean = float(values.mean())
        if abs(mean - stored) > TOLERANCE * max(1.0, abs(stored)):
            raise DataError(
                f"{self.path(run_id)}: {metric} of these ranks is {mean:.6g}, the record says "
                f"{stored:.6g}; they are of another execution"
            )
        return np.asarray(values.reshape(len(ranks.sides), -1))
