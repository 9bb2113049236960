"""Import of pytest-benchmark's results as a record of the store.

``tests/benchmarks/conftest.py`` adds the case to each benchmark (``extra_info``), and the suite and
the machine to the file (``machine_info``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import MachineError, StoreError
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample, identified
from harness.store.files import read_benchmark
from harness.store.rows import first_problem

__all__ = ["KEY", "read_measurement"]

KEY = "harness"
"""Key of the harness's additions to pytest-benchmark's JSON."""


def read_measurement(path: Path) -> BenchmarkRecord:
    """Read a file of ``harness bench complexity --json`` or ``pytest --benchmark-json``.

    Raises:
        StoreError: the file has neither format, or none of its benchmarks has sizes.
        MachineError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise MachineError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise StoreError(f"{path}: not JSON: {error}") from None
    if isinstance(content, dict) and "machine_info" in content and "benchmarks" in content:
        try:
            return _from_pytest(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path}: not what pytest-benchmark writes: {error!r}") from None
        except ValidationError as error:
            raise StoreError(f"{path}: {first_problem(error)}") from None
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from None
    if isinstance(content, dict) and "benchmark_id" in content:
        return read_benchmark(path)
    raise StoreError(
        f"{path}: no measurement; import what `harness bench complexity --json FILE` or "
        "`pytest tests/benchmarks --benchmark-only --benchmark-json=FILE` wrote"
    )


def _from_pytest(content: Mapping[str, Any]) -> BenchmarkRecord:
    """Merge the rounds of each case, and skip benchmarks without sizes."""
    merged: dict[str, dict[str, Any]] = {}
    for benchmark in content["benchmarks"]:
        case = benchmark["extra_info"].get(KEY)
        if case is not None:
            key = json.dumps([case["stage"], case["name"], case["sizes"]], sort_keys=True)
            sample = merged.setdefault(key, {**case, "seconds": []})
            sample["seconds"].append(benchmark["stats"]["min"])
            sample["peak"] = case.get("peak") or sample.get("peak")
    if not merged:
        raise ValueError(
            "no benchmark of it belongs to a suite; these do: "
            "tests/benchmarks/test_complexity_benchmark.py"
        )
    machine = content["machine_info"][KEY]
    provenance = {**machine["provenance"], "finished": content["datetime"]}
    return identified(
        BenchmarkRecord(
            benchmark_id="none",
            suite=machine["settings"]["name"],
            source="pytest-benchmark",
            settings=machine["settings"],
            samples=tuple(BenchmarkSample.model_validate(sample) for sample in merged.values()),
            provenance=provenance,
        )
    )
