"""Sentences about results, checked by the results: the typed form of ``claims.yaml``.

A claim says that one side is better than another on a metric, by more than so many points. It is
tested like the marks of tables (``verdict``, on the seeds that both sides have), with the p-values
of a file corrected by Holm's method together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from harness.analysis.compare import differences
from harness.analysis.hypotheses import ALPHA
from harness.analysis.query import parse_metric
from harness.analysis.ranks import RankFiles, ties_of
from harness.analysis.sides import RANKED, StoredSuites, find_sides
from harness.analysis.significance import DifferenceTest, verdict
from harness.config.base import Config
from harness.config.yaml_source import Origin, read_yaml, validate
from harness.errors import ConfigError, HarnessError, suggest
from harness.evaluation.metrics import METRICS
from harness.holm import holm
from harness.store.records import MetricKey

if TYPE_CHECKING:
    from harness.evaluation.ranks import Ties

__all__ = ["Checked", "Claim", "Claims", "Status", "check", "load_claims"]

Status = Literal["supported", "not supported", "contradicted", "cannot be decided"]
"""supported, contradicted: beyond noise; not supported: either may be; cannot be decided: runs,
their ranks or a second seed are missing."""


def _ranked(text: str) -> str:
    key = parse_metric(text)
    if key.metric not in RANKED:
        raise ValueError(f"metric '{text}' is not made of ranks{suggest(text, RANKED)}")
    if key.split != "test":
        raise ValueError(f"claims are about the test split; write '{text.partition(':')[2]}'")
    return text


class Claim(Config):
    """One sentence, and the difference that supports it."""

    claim: Annotated[str, Field(min_length=1)]
    """The sentence."""
    better: str
    """The side that is said to be better: ``SUITE:ROW`` or ``RUN,RUN``."""
    than: str
    """The other side."""
    dataset: str = ""
    """Needed when both sides are on more than one."""
    metric: Annotated[str, AfterValidator(_ranked)] = "mrr"
    """A metric of ranks, or metric/bucket ("mrr/cold")."""
    by: Annotated[float, Field(ge=0)] = 0.0
    """Better by more than so many points (ranks of "mr")."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = ALPHA
    """Level that p has to reach, after the file's correction."""

    @property
    def key(self) -> MetricKey:
        """The metric and the subset of the test split."""
        return parse_metric(self.metric)


class Claims(Config):
    """A file of claims."""

    correction: Literal["holm", "none"] = "holm"
    """Of the p-values of all claims together (Holm 1979)."""
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]
    """The claims."""


@dataclass(frozen=True)
class Checked:
    """Check of a claim against the store.

    Attributes:
        claim: the claim.
        line: where it stands in its file.
        status: see ``Status``.
        reason: why it cannot be decided; "" otherwise.
        finding: difference of the metric, better minus than, with its interval, in the printed
            unit; p is of the difference against ``by``. None when it cannot be decided.
        adjusted: p after the file's correction.
        seeds, triples: compared.
    """

    claim: Claim
    line: int
    status: Status
    reason: str = ""
    finding: DifferenceTest | None = None
    adjusted: float = 1.0
    seeds: int = 0
    triples: int = 0


def load_claims(path: Path) -> tuple[Claims, tuple[Origin, ...]]:
    """Read a file of claims, with the place of each.

    Raises:
        ConfigError: it cannot be read or holds a mistake; every one is named with file and line.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path}: no such file of claims; `harness claims check FILE` takes another"
        )
    document = read_yaml(path)
    claims = validate(document, Claims)
    return claims, tuple(document.origin(("claims", i)) for i in range(len(claims.claims)))


def check(
    suites: StoredSuites, runs: Path, claims: Claims, lines: Sequence[int]
) -> tuple[Checked, ...]:
    """Check each claim against the store, in order.

    Args:
        suites: suites of the store.
        runs: the run folders, which hold the ranks.
        claims: the claims.
        lines: where each stands in its file.
    """
    files = cache(lambda ties: RankFiles(runs, ties))
    pairs = zip(claims.claims, lines, strict=True)
    tested = [_tested(suites, files, claim, line) for claim, line in pairs]
    decided = [i for i, checked in enumerate(tested) if checked.finding]
    p = [float(finding.p) for i in decided if (finding := tested[i].finding)]
    for i, adjusted in zip(decided, holm(p) if claims.correction == "holm" else p, strict=True):
        tested[i] = _decided(tested[i], adjusted)
    return tuple(tested)


def _tested(
    suites: StoredSuites,
    files: Callable[[Ties], RankFiles],
    claim: Claim,
    line: int,
) -> Checked:
    """Return a claim with its difference, its status still open; or why there is none."""
    open_ = Checked(claim, line, "cannot be decided")
    try:
        first, second = find_sides(suites, claim.better, claim.than, claim.dataset)
        ranks, key = files(ties_of(first.protocol)), claim.key
        d = differences(ranks, first, second, key.metric, key.bucket)
    except HarnessError as error:
        return replace(open_, reason=str(error))
    if len(d) < 2:
        return replace(open_, reason="one seed says nothing of training again")
    plain = verdict(d)
    against = verdict(d - _sign(claim) * claim.by) if claim.by else plain
    finding = DifferenceTest(*map(float, (plain.difference, plain.low, plain.high, against.p)))
    return replace(open_, finding=finding, seeds=len(d), triples=d.shape[1])


def _decided(checked: Checked, adjusted: float) -> Checked:
    assert checked.finding is not None
    claim = checked.claim
    status: Status = "not supported"
    margin = _sign(claim) * checked.finding.difference - claim.by
    if adjusted <= claim.alpha and margin != 0:
        status = "supported" if margin > 0 else "contradicted"
    return replace(checked, status=status, adjusted=adjusted)


def _sign(claim: Claim) -> int:
    return 1 if METRICS[claim.key.metric].higher_is_better else -1
