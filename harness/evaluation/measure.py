"""Metrics of a split by side and bucket, without torch, for checks of stored ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.evaluation import metrics
from harness.evaluation.ranks import Ranks
from harness.plan.spec import Protocol

__all__ = ["Measurement", "measure"]


class Measurement(NamedTuple):
    """One metric value of a split."""

    side: Literal["both", "head", "tail"]
    bucket: str
    metric: str
    value: float
    queries: int


def measure(
    ranks: Ranks, protocol: Protocol, buckets: Mapping[str, NDArray[np.bool_]] | None = None
) -> Iterator[Measurement]:
    """Compute every metric by side and bucket.

    Args:
        ranks: ranks of the queries.
        protocol: protocol with the tie rule.
        buckets: name -> mask bool [n] of triples; "all" is added. Empty ones are omitted.
    """
    selections: dict[str, NDArray[np.bool_] | None] = {"all": None, **(buckets or {})}
    for bucket, subset in selections.items():
        pooled: Literal["both"] = "both"
        for side in (pooled, *protocol.sides):
            values, candidates = ranks.ranks(protocol.ties, side, subset)
            for name, value in metrics.compute(values, candidates).items():
                yield Measurement(side, bucket, name, value, len(values))
