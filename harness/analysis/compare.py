"""Two sides compared query by query: which is better, by how much, how sure that is.

Differences are first minus second in the printed unit (points of percent; ranks of "mr"). What they
mean, and which test answers what, is in ``docs/statistics.md``; the tests themselves are in
:mod:`harness.analysis.significance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.analysis.hypotheses import ALPHA
from harness.analysis.query import BUCKETS
from harness.analysis.ranks import RankFiles, common_seeds
from harness.analysis.sides import RANKED, Side
from harness.analysis.verdict import (
    headline,
    shown_difference,
    shown_number,
    shown_p,
    side_names,
)
from harness.errors import ConfigError, MissingDataError, suggest
from harness.evaluation.metrics import METRICS
from harness.frames import html_table
from harness.store.records import MetricKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.analysis.significance import DifferenceTest, Effect

__all__ = [
    "MetricComparison",
    "Outlook",
    "Share",
    "SideComparison",
    "check_names",
    "compare_sides",
    "differences",
]

Answer = Literal["better", "worse", "open"]
"""Of the first side, at level ``ALPHA``; "open" never says that the two are equal."""


@dataclass(frozen=True)
class Share:
    """Shares of the queries on which the first side is ahead, level and behind, over all seeds."""

    won: float
    tied: float
    lost: float


@dataclass(frozen=True)
class Outlook:
    """Effect of more seeds on a difference that is as large as the one seen.

    Attributes:
        seeds: how many in all settle it with probability 0.8; None when a thousand would not.
        triples_suffice: whether it would be found if seeds had no noise; if not, none of them help.
        half_of_triples: half the interval that the test triples leave, however many seeds.
    """

    seeds: int | None
    triples_suffice: bool
    half_of_triples: float


@dataclass(frozen=True)
class MetricComparison:
    """Two sides on one metric.

    Attributes:
        metric: its name.
        first, second: means over the common seeds.
        finding: difference, interval and p that count: ``verdict``, and ``triples`` of one seed.
        triples: these trained models on other triples: permutations and bootstrap of the triples.
        seeds: trained again, on these triples: the paired t-test; None of one seed.
        seeds_swapped: p of the permutation test of seeds; None of one seed.
        both: trained again, on other triples; None of one seed.
        effect: size beside the variation between triples.
        share: queries won, tied and lost.
        outlook: what more seeds would do; None of one seed.
    """

    metric: str
    first: float
    second: float
    finding: DifferenceTest
    triples: DifferenceTest
    seeds: DifferenceTest | None
    seeds_swapped: float | None
    both: DifferenceTest | None
    effect: Effect
    share: Share
    outlook: Outlook | None

    @property
    def answer(self) -> Answer:
        """Answer for the first side: better, worse, or neither beyond noise."""
        if self.finding.p > ALPHA or self.finding.difference == 0:
            return "open"
        ahead = (self.finding.difference > 0) == bool(METRICS[self.metric].higher_is_better)
        return "better" if ahead else "worse"


@dataclass(frozen=True, repr=False)
class SideComparison:
    """Two sides on a dataset.

    Attributes:
        first, second: the sides.
        bucket: the part of the test split.
        seeds: those that both have.
        triples, queries: of the test split, in that part.
        metrics: the comparisons, in the order asked for.
    """

    first: Side
    second: Side
    bucket: str
    seeds: tuple[int, ...]
    triples: int
    queries: int
    metrics: tuple[MetricComparison, ...]

    @property
    def dataset(self) -> str:
        """The dataset of both."""
        return self.first.result.dataset

    def __str__(self) -> str:
        """Return which side is better on the first metric, by how much, and how sure that is."""
        return headline(self, self.metrics[0])

    def __repr__(self) -> str:
        return f"<SideComparison: {self}>"

    def _repr_html_(self) -> str:
        rows = [
            (
                METRICS[c.metric].title,
                shown_number(c.metric, c.first),
                shown_number(c.metric, c.second),
                shown_difference(c.metric, c.finding),
                shown_p(c.finding.p),
            )
            for c in self.metrics
        ]
        headings = ("metric", *side_names(self), "difference (95 % interval)", "p")
        return html_table([], [str(self)]) + html_table(rows, headings)


def check_names(metrics: Sequence[str], bucket: str) -> None:
    """Refuse metrics and parts of the test split that there are not.

    Raises:
        ConfigError: the message offers the nearest.
    """
    for metric in metrics:
        if metric not in RANKED:
            raise ConfigError(f"no metric '{metric}' of ranks{suggest(metric, RANKED)}")
    if bucket not in BUCKETS:
        raise ConfigError(f"no bucket '{bucket}'{suggest(bucket, BUCKETS)}")


def compare_sides(
    files: RankFiles, first: Side, second: Side, metrics: Sequence[str], bucket: str = "all"
) -> SideComparison:
    """Compare two sides over the seeds that both have.

    Args:
        files: the ranks of the runs.
        first, second: what ``find_sides`` returned.
        metrics: names, at least one.
        bucket: part of the test split: all, warm or cold.

    Raises:
        ConfigError: a name is wrong, or the test split has no such part.
        DataError: ranks are missing, damaged, or of another test split.
    """
    check_names(metrics, bucket)
    paired = [(metric, _paired(files, first, second, metric, bucket)) for metric in metrics]
    _, sides, triples = paired[0][1][0].shape
    common = tuple(common_seeds(*(side.run_values(metrics[0], bucket) for side in (first, second))))
    compared = tuple(_compared(metric, *values) for metric, values in paired)
    return SideComparison(first, second, bucket, common, triples, sides * triples, compared)


def differences(
    files: RankFiles, first: Side, second: Side, metric: str, bucket: str
) -> NDArray[np.float64]:
    """Return first minus second [seeds, triples], as printed; errors as ``compare_sides``."""
    return _per_triple(metric, *_paired(files, first, second, metric, bucket))


def _paired(
    files: RankFiles, first: Side, second: Side, metric: str, bucket: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of both sides, [seeds, sides of a triple, triples] each."""
    a, b = (side.run_values(metric, bucket) for side in (first, second))
    if not common_seeds(a, b):
        dataset = first.result.dataset
        key = MetricKey(metric, bucket)
        if reason := first.result.why_no_subset(key) or second.result.why_no_subset(key):
            raise ConfigError(f"{dataset}: {reason}")
        raise ConfigError(f"the runs have no {METRICS[metric].title} on {dataset} in common")
    for entry in (a, b):
        for seed in common_seeds(a, b):
            if not files.have({seed: entry[seed]}):
                raise MissingDataError(
                    f"{files.runs / entry[seed][0]}: these ranks are not on this machine; "
                    "`harness db import DIR` brings those of exported records"
                )
    pair = files.queries(a, b, metric, bucket)
    if pair is None:
        raise MissingDataError(
            f"{files.runs}: the ranks of these runs do not say which triples are {bucket}"
        )
    if pair[0].shape[-1] < 2:
        subset = f"of {bucket} triples " * (bucket != "all")
        raise ConfigError(f"one test triple {subset}says nothing about others")
    return pair


def _compared(
    metric: str, first: NDArray[np.float64], second: NDArray[np.float64]
) -> MetricComparison:
    from harness.analysis import significance as tests

    factor = METRICS[metric].factor
    d = _per_triple(metric, first, second)
    triples = tests.over_triples(d)
    several = len(d) > 1
    return MetricComparison(
        metric=metric,
        first=float(first.mean()) * factor,
        second=float(second.mean()) * factor,
        finding=_plain(tests.verdict(d)) if several else triples,
        triples=triples,
        seeds=_plain(tests.over_seeds(d)) if several else None,
        seeds_swapped=tests.permuted_seeds(d) if several else None,
        both=_plain(tests.over_both(d)) if several else None,
        effect=tests.effect(d),
        share=_share(first - second, bool(METRICS[metric].higher_is_better)),
        outlook=_outlook(d) if several else None,
    )


def _per_triple(
    metric: str, first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return differences [seeds, triples]: the queries of a triple are one observation."""
    d: NDArray[np.float64] = (first - second).mean(1) * METRICS[metric].factor
    return d


def _plain(finding: DifferenceTest) -> DifferenceTest:
    """Return a finding whose numbers are plain floats."""
    return type(finding)(*map(float, (finding.difference, finding.low, finding.high, finding.p)))


def _share(d: NDArray[np.float64], higher_is_better: bool) -> Share:
    won, lost = float((d > 0).mean()), float((d < 0).mean())
    if not higher_is_better:
        won, lost = lost, won
    return Share(won, 1.0 - won - lost, lost)


def _outlook(d: NDArray[np.float64]) -> Outlook:
    from harness.analysis import significance as tests

    return Outlook(
        tests.seeds_to_settle(d, ALPHA), tests.triples_suffice(d, ALPHA), tests.half_of_triples(d)
    )
