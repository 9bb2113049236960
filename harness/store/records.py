"""Records of runs and cells of suites: plain frozen values, no SQL, no torch."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from functools import lru_cache
from statistics import mean
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    field_serializer,
    model_validator,
)
from pydantic_core import to_json

from harness.config.base import Config, SuiteName
from harness.config.override import assignments
from harness.config.storable import Int32, Int64, Key, Name, Plain, Text, as_plain
from harness.errors import ConfigError, suggest
from harness.evaluation.metrics import RANK_METRICS
from harness.plan.cell import RUN_ID, Cell, RunId, VariantName
from harness.plan.spec import IS_PLAIN, RunSpec

__all__ = [
    "BUCKETS",
    "EXTERNAL",
    "EXTERNAL_ID",
    "RECORD_VERSION",
    "RUN_ID",
    "Cell",
    "MetricKey",
    "MetricValue",
    "Numbers",
    "RunId",
    "RunRecord",
    "Status",
    "StoredSuite",
    "TimingSample",
    "check_value",
    "external_id",
]

RECORD_VERSION = 1
"""Version of the layout of ``record.json``."""


EXTERNAL = "external"
"""Model of runs that another code base made (``harness score``)."""
EXTERNAL_ID = "ext-"
"""What their ids begin with; others are hexadecimal."""

_RANGES = {"mrr": (0.0, 1.0), "amri": (-1.0, 1.0), "mr": (1.0, math.inf)}
"""Metric -> the least and the greatest value it can have; ``hits@k`` are shares, 0 to 1."""


BUCKETS = ("all", "warm", "cold")
"""Parts of a split."""

Status = Literal["ok", "validated", "pruned", "failed"]
"""What became of a run: tested; trained and validated, not tested; ended by a study when it fell
behind, to be continued; or failed."""


def check_value(metric: str, value: float) -> None:
    """Refuse a value that a metric cannot have.

    Raises:
        ValueError: it is outside of the metric's range.
    """
    share = (0.0, 1.0) if metric.startswith("hits@") else (-math.inf, math.inf)
    lowest, highest = _RANGES.get(metric, share)
    if not lowest <= value <= highest:
        raise ValueError(f"{metric} is {lowest:g} to {highest:g}, never {value:g}")


class MetricKey(NamedTuple):
    """A metric, and the queries it is over (head and tail queries pooled)."""

    metric: str
    bucket: str = "all"
    split: str = "test"


class Numbers(NamedTuple):
    """Selection of a record's numbers: a record has hundreds, a table shows three.

    Attributes:
        metrics: metrics to read.
        diagnostics: names of diagnostics.
        timings: names of timings.
        epochs: epochs of the history.
        provenance: whether the provenance is read.
    """

    metrics: frozenset[MetricKey] = frozenset()
    diagnostics: frozenset[str] = frozenset()
    timings: frozenset[str] = frozenset()
    epochs: Literal["all", "last", "none"] = "none"
    provenance: bool = False


class MetricValue(Config):
    """One number."""

    split: Literal["valid", "test"]
    side: Literal["both", "head", "tail"]
    """Queries it is over; "both" pools head and tail queries."""
    bucket: Key = "all"
    """Part of the split: "all", "warm" (head and tail occur in train), "cold" (the rest)."""
    metric: Key
    """mrr, mr, hits@1, hits@3, hits@10, amri: fractions, not percent (mr: a rank)."""
    value: float
    queries: Annotated[Int32, Field(ge=1)]
    """Number of queries it averages."""

    @property
    def key(self) -> MetricKey:
        """The metric without its side."""
        return MetricKey(self.metric, self.bucket, self.split)

    @model_validator(mode="after")
    def _possible(self) -> MetricValue:
        check_value(self.metric, self.value)
        return self


_NAMES: Mapping[str, tuple[str, ...]] = {
    "metric": tuple(RANK_METRICS),
    "split": get_args(MetricValue.model_fields["split"].annotation),
    "side": get_args(MetricValue.model_fields["side"].annotation),
    "bucket": BUCKETS,
}
"""What a metric value can be of, by its field."""


class TimingSample(Config):
    """One measured duration or size."""

    name: Name
    """"train.epoch", "evaluate.test", "memory.peak", ..."""
    value: float
    unit: Literal["s", "bytes"] = "s"


class StoredSuite(Config):
    """Title of a suite, and the settings that it was run with."""

    suite: SuiteName
    """Name of the suite."""
    variant: VariantName = ""
    title: Text = ""
    """Caption from the suite's file; "" when it has none."""
    settings: Plain = Field(default_factory=dict)
    """The ``--set`` overrides that ``variant`` is the digest of, by dotted key; {} when unknown."""

    @property
    def caption(self) -> str:
        """Title, or the suite's name."""
        return self.title or f"Suite {self.suite}"

    @property
    def set_phrase(self) -> str:
        """Settings of ``--set`` behind a caption: ", with KEY=VALUE, ..."; "" without."""
        settings = ", ".join(assignments(self.settings))
        return (
            f", with {settings}" if settings else f", variant {self.variant}" * bool(self.variant)
        )

    @property
    def set_options(self) -> str:
        """Options of `harness run` that give the settings: " --set KEY=VALUE ..."; "" without."""
        if not self.variant:
            return ""
        settings = [shlex.quote(text) for text in assignments(self.settings)] or ["..."]
        return "".join(f" --set {text}" for text in settings)


def external_id(name: str, seed: int, dataset_digest: str, protocol: str) -> str:
    """Return the id of the one external run of a name, a seed, a dataset and a protocol's key."""
    content = json.dumps([name, seed, dataset_digest, protocol])
    return EXTERNAL_ID + hashlib.sha256(content.encode()).hexdigest()[:12]


@lru_cache(maxsize=4096)
def _read(text: bytes) -> tuple[RunSpec, dict[str, Any]]:
    """Return a specification and its plain form; the seeds of a row share all of it but the seed.

    Raises:
        ValidationError: it is none.
        PydanticCustomError: a store cannot hold a value.
    """
    plain = as_plain(json.loads(text))
    return RunSpec.model_validate(plain, context=IS_PLAIN), plain


def _without_seed(values: dict[str, Any]) -> bytes:
    seedless = {key: value for key, value in values.items() if key != "seed"}
    try:
        return to_json(seedless, inf_nan_mode="constants")
    except ValueError:  # half of a surrogate pair
        return json.dumps(seedless).encode()


def _spec_of(values: Any) -> RunSpec:
    seed = values.get("seed", 0) if isinstance(values, dict) else None
    if type(seed) is int and 0 <= seed < 2**63:
        return _read(_without_seed(values))[0].model_copy(update={"seed": seed})
    return RunSpec.model_validate(values)


class RunRecord(Config):
    """The outcome of a run, as a worker leaves it (record.json) and the store keeps it."""

    version: Int32 = RECORD_VERSION
    run_id: RunId
    status: Status
    spec: Annotated[RunSpec, PlainValidator(_spec_of)]
    """The run specification. It is written again as it was read, also by another version, whose
    specifications had other keys: see ``written_spec``."""
    model: Name
    dataset: Name
    dataset_digest: Name
    features: Name = "none"
    feature_digest: Name = ""
    modalities: tuple[Text, ...] = ()
    seed: Int64
    protocol: Name = ""
    """``Protocol.key``: how the test split is ranked."""
    metrics: tuple[MetricValue, ...] = ()
    history: tuple[dict[Text, float], ...] = ()
    """One mapping per epoch: epoch, loss, seconds, logged shares, validation metrics."""
    diagnostics: dict[Name, float] = Field(default_factory=dict)
    """Fusion weights, parameter count, best epoch, ..."""
    timings: tuple[TimingSample, ...] = ()
    provenance: Plain = Field(default_factory=dict)
    """git commit, dirty flag, versions, device, kernels, threads, time of day."""
    notes: tuple[Text, ...] = ()
    """Remarks printed as footnotes with the figure (audit lines of the split, ...)."""
    error: Text | None = None
    """Message (and traceback) of a failed run."""
    cells: tuple[Cell, ...] = ()
    """Suites the run belongs to; filled when a record is exported."""

    @model_validator(mode="after")
    def _one_value_per_metric(self) -> RunRecord:
        names = set()
        for m in self.metrics:
            key = (m.split, m.side, m.bucket, m.metric)
            if key in names:
                raise ValueError(f"metric given twice: {' '.join(key)}")
            names.add(key)
        return self

    _written: dict[str, Any] | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_written(cls, values: Any, handler: ModelWrapValidatorHandler[RunRecord]) -> RunRecord:
        record = handler(values)
        spec_values = values.get("spec") if isinstance(values, dict) else None
        if isinstance(spec_values, dict):
            plain = _read(_without_seed(spec_values))[1] | {"seed": record.spec.seed}
            record._written = {key: plain[key] for key in spec_values}
        return record

    @property
    def written_spec(self) -> dict[str, Any]:
        """The specification as JSON, as the version of the harness wrote it that made the run."""
        if self._written is None:
            self._written = self.spec.model_dump(mode="json")
        return self._written

    @field_serializer("spec")
    def _as_written(self, spec: RunSpec) -> dict[str, Any]:
        return self.written_spec

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> RunRecord:
        """Return a copy with changes, which may be another specification."""
        copy = super().model_copy(update=update, deep=deep)
        if "spec" in (update or {}):
            copy._written = None
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunRecord):
            return NotImplemented
        # As written: the same specification of an earlier version has other keys.
        equal = self.written_spec == other.written_spec
        return equal and self.__dict__ == other.__dict__

    def metric(
        self, metric: str, split: str = "test", side: str = "both", bucket: str = "all"
    ) -> float | None:
        """Return one value, or None when the record does not hold it.

        Raises:
            ConfigError: there is no such metric, split, side or bucket; the nearest is offered.
        """
        for m in self.metrics:
            if (m.metric, m.split, m.side, m.bucket) == (metric, split, side, bucket):
                return m.value
        asked = {"metric": metric, "split": split, "side": side, "bucket": bucket}
        for kind, name in asked.items():
            names = {*_NAMES[kind], *(getattr(m, kind) for m in self.metrics)}
            if name not in names:
                raise ConfigError(f"no {kind} '{name}'{suggest(name, names)}")
        return None

    def timing(self, name: str) -> float | None:
        """Return the mean of the samples of a timing, or None when there are none."""
        values = [sample.value for sample in self.timings if sample.name == name]
        return mean(values) if values else None

    def only(self, numbers: Numbers) -> RunRecord:
        """Return the record with a selection of its numbers."""
        epochs = {"all": self.history, "last": self.history[-1:], "none": ()}
        selected: dict[str, Any] = {
            "metrics": tuple(
                m for m in self.metrics if m.side == "both" and m.key in numbers.metrics
            ),
            "history": epochs[numbers.epochs],
            "timings": tuple(t for t in self.timings if t.name in numbers.timings),
            "diagnostics": {k: v for k, v in self.diagnostics.items() if k in numbers.diagnostics},
            "provenance": self.provenance if numbers.provenance else {},
        }
        return self.model_copy(update=selected)
