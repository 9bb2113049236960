"""Record of a benchmark: samples of time and memory, with the machine they are from."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from harness.config.base import Config, SuiteName
from harness.config.storable import Int32, Int64, Key, Name, Plain

__all__ = ["BENCHMARK_VERSION", "BenchmarkId", "BenchmarkRecord", "BenchmarkSample", "identified"]

BENCHMARK_VERSION = 1
"""Version of the layout of the file."""

BenchmarkId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
"""Identity of a measurement. It names a file, so it must not hold a path."""


class BenchmarkSample(Config):
    """One thing that was measured."""

    stage: Key
    """What kind of thing: fusion, backbone, estimator, scoring, evaluation."""
    name: Name
    """Which one of them: of the stage "fusion" the kind of fusion."""
    sizes: dict[Name, Int64] = Field(default_factory=dict)
    """Sizes it was measured at: d, K, M, N."""
    seconds: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    """One per turn."""
    peak: Annotated[Int64, Field(ge=0)] | None = None
    """Most bytes of tensors at once, inputs among them; None when not measured."""


class BenchmarkRecord(Config):
    """One go of a benchmark on one machine."""

    version: Int32 = BENCHMARK_VERSION
    benchmark_id: BenchmarkId
    suite: SuiteName
    """Name of the suite ("complexity")."""
    source: Literal["harness", "pytest-benchmark"] = "harness"
    """What measured."""
    settings: Plain = Field(default_factory=dict)
    """The suite's."""
    samples: Annotated[tuple[BenchmarkSample, ...], Field(min_length=1)]
    """What was measured."""
    provenance: Plain = Field(default_factory=dict)
    """git commit, dirty flag, versions, machine, device, kernels, threads, time of day."""


def identified(record: BenchmarkRecord) -> BenchmarkRecord:
    """Return the record with an id made of what it holds: the same measurement, the same id."""
    content = json.dumps(record.model_dump(mode="json", exclude={"benchmark_id"}), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return record.model_copy(update={"benchmark_id": digest[:12]})
