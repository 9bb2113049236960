"""Hypotheses of a table, tested on the stored ranks of its runs.

A hypothesis says that a row is ahead of every rival. It is decided by the rival that the row is
hardest to tell from (an intersection-union test), so it counts once in Holm's correction over the
table, however many rivals there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.comparisons import FOLDER, Comparison, ComparisonCache
from harness.analysis.ranks import RankFiles, common_seeds, ties_of
from harness.analysis.results import RunValues
from harness.errors import DataError
from harness.evaluation.metrics import METRICS
from harness.holm import holm

__all__ = ["ALPHA", "Hypothesis", "HypothesisTest", "PairedTests", "closest_rival"]

ALPHA = 0.05
"""Level of all tests."""
METHOD = 1
"""Version of the tests: comparisons cached by another version are computed again."""


@dataclass(frozen=True)
class Hypothesis:
    """A row is ahead of every rival on one metric of the test split.

    Attributes:
        metric, bucket: metric and subset of the test split.
        leader: runs of the row that is ahead by its mean.
        rivals: runs of the other rows, nearest first.
    """

    metric: str
    bucket: str
    leader: RunValues
    rivals: tuple[RunValues, ...]

    def rival_of(self, comparison: Comparison) -> int:
        """Return the position of the rival that a comparison is with."""
        run_ids = [
            tuple(rival[seed][0] for seed in common_seeds(self.leader, rival))
            for rival in self.rivals
        ]
        return run_ids.index(comparison.second)


HypothesisTest = Callable[[Sequence[Hypothesis]], Sequence[Comparison | None]]
"""Tests the hypotheses of one table together; None where a comparison cannot be made."""


class PairedTests:
    """Paired tests of the hypotheses of tables, cached in the results folder.

    Args:
        runs: folder of the run folders; the cache is beside it.
        on_progress: receives the table's name, the hypotheses tested and their number.
    """

    def __init__(
        self,
        runs: Path,
        on_progress: Callable[[str, int, int], None] = lambda table, tested, total: None,
    ) -> None:
        self.runs, self.on_progress = runs, on_progress
        self.cache = ComparisonCache(runs.parent / FOLDER)
        self.problems: dict[str, None] = {}
        """Reasons why rank files could not be used, each once."""

    def test(
        self, table: str, protocol: str, hypotheses: Sequence[Hypothesis]
    ) -> list[Comparison | None]:
        """Return the deciding comparison of each hypothesis, p-values adjusted over the table.

        Args:
            table: name of the table, with the selection of its runs.
            protocol: key of the protocol of all its runs.
            hypotheses: all hypotheses of the table.
        """
        files = RankFiles(self.runs, ties_of(protocol))
        testable = [
            i for i, h in enumerate(hypotheses) if all(map(files.have, (h.leader, *h.rivals)))
        ]
        if not testable:
            return [None] * len(hypotheses)
        family = [hypotheses[i] for i in testable]
        digest = _digest(protocol, family)
        comparisons = self.cache.read(table, digest)
        if not comparisons:
            comparisons, complete = self._compare(table, files, family)
            if complete:
                self.cache.write(table, digest, comparisons)
        by_position = {testable[i]: comparison for i, comparison in comparisons.items()}
        return [by_position.get(i) for i in range(len(hypotheses))]

    def _compare(
        self, table: str, files: RankFiles, hypotheses: Sequence[Hypothesis]
    ) -> tuple[dict[int, Comparison], bool]:
        """Return the deciding comparisons by position, and whether every file could be used."""
        comparisons: dict[int, Comparison] = {}
        complete = True
        for i, hypothesis in enumerate(hypotheses):
            try:
                if comparison := closest_rival(files, hypothesis):
                    comparisons[i] = comparison
            except DataError as error:
                self.problems[str(error)] = None
                complete = False
            self.on_progress(table, i + 1, len(hypotheses))
        adjusted = holm([c.p for c in comparisons.values()])
        pairs = zip(comparisons.items(), adjusted, strict=True)
        return {i: replace(c, adjusted=p) for (i, c), p in pairs}, complete


def closest_rival(files: RankFiles, hypothesis: Hypothesis) -> Comparison | None:
    """Compare the leader with the rival that it is hardest to tell from.

    A rival that is ahead on the seeds that both have counts as p = 1. The p-value is not adjusted.

    Returns:
        None when one of the comparisons cannot be made.

    Raises:
        DataError: a rank file is damaged or belongs to another run.
    """
    comparisons = list(_comparisons(files, hypothesis))
    if any(comparison is None for comparison in comparisons):
        return None
    return max((c for c in comparisons if c), key=lambda c: c.p)


def _comparisons(files: RankFiles, hypothesis: Hypothesis) -> Iterator[Comparison | None]:
    from harness.analysis.significance import verdict

    leader, metric, bucket = hypothesis.leader, hypothesis.metric, hypothesis.bucket
    sign = 1 if METRICS[metric].higher_is_better else -1
    for rival in hypothesis.rivals:
        pair = files.triples(leader, rival, metric, bucket)
        if pair is None or pair[0].shape[1] < 2:
            yield None
            continue
        test = verdict(pair[0] - pair[1])
        seeds = common_seeds(leader, rival)
        p = float(test.p) if sign * test.difference > 0 else 1.0
        yield Comparison(
            first=tuple(leader[seed][0] for seed in seeds),
            second=tuple(rival[seed][0] for seed in seeds),
            metric=metric,
            bucket=bucket,
            triples=pair[0].shape[1],
            difference=float(test.difference),
            low=float(test.low),
            high=float(test.high),
            p=p,
            adjusted=p,
        )


def _digest(protocol: str, hypotheses: Sequence[Hypothesis]) -> str:
    """Return a digest of a family of hypotheses: its runs, seeds and stored values."""
    family = [(h.metric, h.bucket, h.leader, h.rivals) for h in hypotheses]
    return hashlib.sha256(json.dumps([METHOD, protocol, family]).encode()).hexdigest()[:32]
