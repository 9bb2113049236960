"""How long ``harness report`` takes on a store of 10,000 runs.

pytest tests/benchmarks/test_report_benchmark.py --benchmark-only
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import insert

from harness.analysis import hypotheses
from harness.analysis.comparisons import Comparison
from harness.analysis.hypotheses import Hypothesis
from harness.analysis.ranks import common_seeds
from harness.plan.spec import Protocol, RunSpec
from harness.report.definition import Definition, SuiteDefinition
from harness.report.files import available, load_any, load_definition
from harness.report.query import prepare_tables
from harness.store import open_store
from harness.store.files import RANKS
from harness.store.records import Cell, MetricValue, RunRecord, TimingSample
from harness.store.rows import rows_of
from harness.store.sql import SqlStore
from harness.store.tables import Base

ROWS, SEEDS = 20, 10
DATASETS = ("mkg-w", "mkg-y", "db15k", "kvc16k", "tiva")
TABLES = ("main", "ablation", "fusion")
"""Their suites are in the store, and seven that no definition describes."""
UNDESCRIBED = 7
MODEL = "rotate"
"""Model of rows that no definition names another for."""
EPOCHS = 40
METRICS = {"mrr": 0.0, "mr": 300.0, "amri": 0.1, "hits@1": -0.1, "hits@3": 0.1, "hits@10": 0.2}
"""Name -> what it is more than the MRR."""


def record(run_id: str, model: str, row: int, dataset: str, seed: int) -> RunRecord:
    """A made-up run with as many numbers as one on a graph with cold queries keeps."""
    value = 0.2 + row / 100 + seed / 1000
    places: Any = product(("valid", "test"), ("both", "head", "tail"), ("all", "warm", "cold"))
    spec = RunSpec.model_validate({"model": {"name": model}, "data": {"dataset": dataset}})
    return RunRecord(
        run_id=run_id,
        status="ok",
        spec=spec.model_copy(update={"seed": seed}).model_dump(mode="json"),
        model=model,
        dataset=dataset,
        dataset_digest="d",
        seed=seed,
        protocol=Protocol().key,
        metrics=tuple(
            MetricValue(split=s, side=d, bucket=b, metric=m, value=value + more, queries=100)
            for s, d, b in places
            for m, more in METRICS.items()
        ),
        history=tuple(
            {"epoch": float(e), "loss": 1.0, "easy": 0.5, "seconds": 1.5} for e in range(EPOCHS)
        ),
        timings=tuple(TimingSample(name="train.epoch", value=1.0) for _ in range(EPOCHS)),
        diagnostics={f"omega/{i}": 0.1 for i in range(12)},
        provenance={f"version.{i}": "1.2.3" for i in range(20)},
        notes=(f"{dataset}: 7 of the 100 test triples place an entity that train never mentions.",),
    )


def suites() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield suites with the models of their rows by label, those that definitions name."""
    others = {f"Row {i}": MODEL for i in range(ROWS)}
    for name in TABLES:
        definition = load_definition(name)
        assert isinstance(definition, Definition)
        described = {row.label: row.model or MODEL for row in definition.rows}
        yield definition.suite, dict(islice((described | others).items(), ROWS))
    for number in range(UNDESCRIBED):
        yield f"suite-{number}", others


def fill(store: SqlStore, prefix: str, suite: str, models: dict[str, str]) -> None:
    """Run a suite, without its work."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    cells = []
    places = product(enumerate(models.items()), DATASETS, range(SEEDS))
    for number, ((row, (label, model)), dataset, seed) in enumerate(places):
        run_id = f"{prefix}r{number:05d}"
        for table, made in rows_of(record(run_id, model, row, dataset, seed)).items():
            rows[table] += made
        place = {"suite": suite, "label": label, "dataset": dataset, "seed": seed}
        cells.append(Cell(position=row, run_id=run_id, **place))
    with store.engine.begin() as connection:
        for table, made in rows.items():
            connection.execute(insert(Base.metadata.tables[table]), made)
    store.plan(suite, "", cells)


def decided(_: object, hypothesis: Hypothesis) -> Comparison:
    """A made-up comparison with the nearest rival."""
    rival = hypothesis.rivals[0]
    seeds = common_seeds(hypothesis.leader, rival)
    first, second = (tuple(e[seed][0] for seed in seeds) for e in (hypothesis.leader, rival))
    return Comparison(
        first=first,
        second=second,
        metric=hypothesis.metric,
        bucket=hypothesis.bucket,
        triples=100,
        difference=0.01,
        low=0.005,
        high=0.015,
        p=0.001,
        adjusted=0.001,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with 10,000 runs in ten suites, whose rows have been compared."""
    folder = tmp_path_factory.mktemp("large")
    store = open_store(folder / "harness.db")
    assert isinstance(store, SqlStore)
    for number, (suite, models) in enumerate(suites()):
        fill(store, f"s{number}", suite, models)
    compare(store, folder / "runs")
    store.close()
    return folder


def compare(store: SqlStore, runs: Path) -> None:
    """Compare the rows of all tables, without the work; ranks are there to be asked for."""
    for run_id in store.ids():
        ranks = runs / run_id / RANKS
        ranks.parent.mkdir(parents=True)
        ranks.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hypotheses, "closest_rival", decided)
        prepare_tables(store, hypotheses.PairedTests(runs))


def n_tables() -> int:
    """Return the number of tables of all suites."""
    names = {suite for suite, _ in suites()}
    definitions = [load_any(name) for name in available()]
    return UNDESCRIBED + sum(
        isinstance(d, SuiteDefinition) and d.is_table and d.suite in names for d in definitions
    )


def report(home: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", "--home", str(home), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("table", [*TABLES, ""], ids=[*TABLES, "all"])
def test_report_on_ten_thousand_runs(home: Path, table: str, benchmark: BenchmarkFixture) -> None:
    options = ("--table", table) if table else ()
    shown = benchmark.pedantic(report, (home, *options), rounds=5, warmup_rounds=1)
    assert " ".join(shown.split()).count("Holm over") == (1 if table else n_tables())
