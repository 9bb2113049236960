"""What tables and figures need of a run, read without the rest: ten thousand runs in a second.

A record holds a hundred metrics and a line per epoch; a table shows three numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean
from types import MappingProxyType
from typing import Any, NamedTuple

from harness.store.records import RunRecord, Status

__all__ = ["OWN_FIELDS", "MetricPlace", "Outcome", "Outcomes", "Wanted", "outcome_of"]


class MetricPlace(NamedTuple):
    """A metric, and the queries it is over (head and tail queries pooled)."""

    metric: str
    bucket: str = "all"
    split: str = "test"


class Wanted(NamedTuple):
    """The numbers that are read.

    Attributes:
        metrics: the metrics.
        diagnostics: by name.
        last_epoch: whether the numbers of the last epoch are.
        timings: by name.
        history: whether the numbers of all epochs are.
        provenance: whether it is.
    """

    metrics: frozenset[MetricPlace] = frozenset()
    diagnostics: frozenset[str] = frozenset()
    last_epoch: bool = False
    timings: frozenset[str] = frozenset()
    history: bool = False
    provenance: bool = False


@dataclass(frozen=True)
class Outcome:
    """A run without the numbers that are not wanted; fields are those of :class:`RunRecord`.

    Attributes:
        metrics: the wanted ones that it holds.
        diagnostics: likewise.
        last_epoch: last entry of the history, {} when not wanted or when there is none.
        timings: the wanted ones that it holds; of several samples the mean.
        history: numbers of all epochs, () when not wanted.
        provenance: {} when not wanted.
    """

    run_id: str
    status: Status
    model: str
    dataset: str
    dataset_digest: str
    features: str
    feature_digest: str
    seed: int
    protocol: str
    error: str | None
    modalities: tuple[str, ...]
    spec: dict[str, Any]
    notes: tuple[str, ...] = ()
    metrics: Mapping[MetricPlace, float] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    last_epoch: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Outcomes(NamedTuple):
    """The runs that there are.

    Attributes:
        runs: by id, in no order.
        problems: run id -> what is wrong with its record and which command helps.
    """

    runs: Mapping[str, Outcome]
    problems: Mapping[str, str] = MappingProxyType({})


OWN_FIELDS = (
    *("run_id", "status", "model", "dataset", "dataset_digest", "features", "feature_digest"),
    *("seed", "protocol", "error", "modalities"),
)
"""Fields that a record has of its own, under the same name."""


def outcome_of(record: RunRecord, wanted: Wanted) -> Outcome:
    """Return a record without the numbers that are not wanted."""
    own = {name: getattr(record, name) for name in OWN_FIELDS}
    places = {
        MetricPlace(m.metric, m.bucket, m.split): m.value
        for m in record.metrics
        if m.side == "both"
    }
    samples: dict[str, list[float]] = defaultdict(list)
    for sample in record.timings:
        samples[sample.name].append(sample.value)
    return Outcome(
        **own,
        spec=record.spec,
        notes=record.notes,
        metrics={place: v for place, v in places.items() if place in wanted.metrics},
        diagnostics={k: v for k, v in record.diagnostics.items() if k in wanted.diagnostics},
        last_epoch=record.history[-1] if wanted.last_epoch and record.history else {},
        timings={name: mean(samples[name]) for name in wanted.timings if name in samples},
        history=record.history if wanted.history else (),
        provenance=record.provenance if wanted.provenance else {},
    )
