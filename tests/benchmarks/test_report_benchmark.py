"""How long ``harness report`` takes on a store of 10,000 runs.

pytest tests/benchmarks/test_report_benchmark.py --benchmark-only
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import insert

from harness.plan.spec import Protocol
from harness.store import open_store
from harness.store.records import Cell, MetricValue, RunRecord, TimingSample
from harness.store.rows import rows_of
from harness.store.tables import Base

SUITES, ROWS, SEEDS = 10, 20, 10
DATASETS = ("mkg-w", "mkg-y", "db15k", "kvc16k", "tiva")
EPOCHS = 40
METRICS = ("mrr", "mr", "amri", "hits@1", "hits@3", "hits@10")


def record(run_id: str, row: int, dataset: str, seed: int) -> RunRecord:
    """A made-up run with as many numbers as one on a graph with cold queries keeps."""
    value = 0.2 + row / 100 + seed / 1000
    places: Any = product(("valid", "test"), ("both", "head", "tail"), ("all", "warm", "cold"))
    return RunRecord(
        run_id=run_id,
        status="ok",
        spec={
            "protocol": Protocol().model_dump(mode="json"),
            "model": {"name": "rotate", "dim": 64},
            "training": {"epochs": EPOCHS, "batch_size": 1024},
        },
        model="rotate",
        dataset=dataset,
        dataset_digest="d",
        seed=seed,
        protocol=Protocol().key,
        metrics=tuple(
            MetricValue(split=s, side=d, bucket=b, metric=m, value=value, queries=100)
            for s, d, b in places
            for m in METRICS
        ),
        history=tuple({"epoch": float(e), "loss": 1.0, "easy": 0.5} for e in range(EPOCHS)),
        timings=tuple(TimingSample(name="train.epoch", value=1.0) for _ in range(EPOCHS)),
        diagnostics={f"omega/{i}": 0.1 for i in range(12)},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with 10,000 runs in ten suites."""
    folder = tmp_path_factory.mktemp("large")
    store = open_store(folder / "harness.db")
    for suite in range(SUITES):
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        cells = []
        places = product(range(ROWS), DATASETS, range(SEEDS))
        for number, (row, dataset, seed) in enumerate(places):
            run_id = f"s{suite}r{number:05d}"
            for table, made in rows_of(record(run_id, row, dataset, seed)).items():
                rows[table] += made
            name = f"suite-{suite}"
            place = {"suite": name, "label": f"Row {row}", "dataset": dataset, "seed": seed}
            cells.append(Cell(position=row, run_id=run_id, **place))
        with store.engine.begin() as connection:
            for table, made in rows.items():
                if made:
                    connection.execute(insert(Base.metadata.tables[table]), made)
        store.plan(f"suite-{suite}", "", cells)
    store.close()
    return folder


def report(home: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", "--home", str(home), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_report_on_ten_thousand_runs(home: Path, benchmark: BenchmarkFixture) -> None:
    shown = benchmark.pedantic(report, (home,), rounds=3, warmup_rounds=1)
    assert shown.count("Suite suite-") == SUITES
