"""Every metric of a split, by side and bucket; no torch, for stored ranks are checked with it."""

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
    """One number of a split."""

    side: Literal["both", "head", "tail"]
    bucket: str
    metric: str
    value: float
    queries: int


def measure(
    ranks: Ranks, protocol: Protocol, buckets: Mapping[str, NDArray[np.bool_]] | None = None
) -> Iterator[Measurement]:
    """Yield every metric per side and bucket.

    Args:
        ranks: outcome of the queries.
        protocol: the tie rule.
        buckets: name -> [n] boolean selection of triples; "all" is added. Empty ones are left out.
    """
    selections: dict[str, NDArray[np.bool_] | None] = {"all": None, **(buckets or {})}
    for bucket, where in selections.items():
        pooled: Literal["both"] = "both"
        for side in (pooled, *protocol.sides):
            values, candidates = ranks.ranks(protocol.ties, side, where)
            for name, value in metrics.compute(values, candidates).items():
                yield Measurement(side, bucket, name, value, len(values))
