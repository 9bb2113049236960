"""A store with made-up results: no number in it was ever measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from harness.analysis.hypotheses import PairedTests
from harness.analysis.query import ALL, Results, Selection
from harness.plan.spec import Protocol
from harness.report import files
from harness.report.build import results_table, sweep_figure
from harness.report.definition import AxisValue, Definition, FigureDefinition, Published
from harness.report.table import Table
from harness.report.tables.sweep_figure import SweepFigure
from harness.store.memory import MemoryStore
from harness.store.records import Cell, MetricValue, RunRecord, TimingSample


def record(
    run_id: str,
    values: Mapping[str, float] | None,
    *,
    seed: int = 0,
    dataset: str = "atlas",
    model: str = "mocme",
    features: str = "none",
    modalities: tuple[str, ...] = (),
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    error: str | None = None,
    notes: tuple[str, ...] = (),
    dataset_digest: str = "d0",
    feature_digest: str = "",
    settings: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    diagnostics: Mapping[str, float] | None = None,
    timings: Mapping[str, float] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> RunRecord:
    """Return a record; ``values`` maps "metric", "metric/bucket" or "valid:metric" to values."""
    metrics = []
    for name, value in (values or {}).items():
        split, _, rest = name.rpartition(":")
        metric, _, bucket = rest.partition("/")
        metrics.append(
            MetricValue(
                split=split or "test",
                side="both",
                bucket=bucket or "all",
                metric=metric,
                value=value,
                queries=10,
            )
        )
    return RunRecord(
        run_id=run_id,
        status="failed" if error else "ok",
        spec={
            "protocol": protocol.model_dump(mode="json"),
            **(settings or {}),
            "model": {"name": model, **(settings or {}).get("model", {})},
            "data": {"dataset": dataset, **(settings or {}).get("data", {})},
        },
        model=model,
        dataset=dataset,
        dataset_digest=dataset_digest,
        features=features,
        feature_digest=feature_digest,
        modalities=modalities,
        seed=seed,
        protocol=protocol.key,
        metrics=tuple(metrics),
        history=tuple(map(dict, history)),
        diagnostics=dict(diagnostics or {}),
        timings=tuple(TimingSample(name=n, value=v) for n, v in (timings or {}).items()),
        provenance=dict(provenance or {}),
        error=error,
        notes=notes,
    )


class Filler:
    """Fills a store with the cells of one suite, row by row."""

    def __init__(self, store: MemoryStore, suite: str = "toy", variant: str = "") -> None:
        self.store, self.suite, self.variant = store, suite, variant
        self.cells: list[Cell] = []

    def row(
        self,
        label: str,
        mrr: Sequence[float | str | None],
        *,
        dataset: str = "atlas",
        features: str = "none",
        extra: Mapping[str, float] | None = None,
        **record_options: object,
    ) -> Filler:
        """Add a row: per seed an MRR, an error message (failed run) or None (not run).

        Hit@1 and Hit@10 are 0.8 and 1.5 times the MRR; ``extra`` gives further metrics as factors.
        """
        factors = {"mrr": 1.0, "hits@1": 0.8, "hits@10": 1.5, **(extra or {})}
        for seed, value in enumerate(mrr):
            run_id = f"{self.suite[:3]}{self.variant}{len(self.cells):03d}"
            self.cells.append(
                Cell(
                    suite=self.suite,
                    variant=self.variant,
                    position=len(self.cells),
                    label=label,
                    dataset=dataset,
                    features=features,
                    seed=seed,
                    run_id=run_id,
                )
            )
            if value is not None:
                options = {"seed": seed, "dataset": dataset, "features": features, **record_options}
                if isinstance(value, str):
                    self.store.add(record(run_id, None, error=value, **options))  # type: ignore[arg-type]
                else:
                    values = {name: factor * value for name, factor in factors.items()}
                    self.store.add(record(run_id, values, **options))  # type: ignore[arg-type]
        self.store.plan(self.suite, self.variant, self.cells)
        return self


def report_table(
    store: MemoryStore,
    definition: Definition,
    published: Published | None = None,
    selection: Selection = ALL,
    tests: PairedTests | None = None,
) -> Table:
    return results_table(definition, Results(store, selection, tests), published)


def report_figure(
    store: MemoryStore,
    definition: FigureDefinition,
    published: Published | None = None,
    selection: Selection = ALL,
) -> SweepFigure:
    return sweep_figure(definition, Results(store, selection), published)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def fill(store: MemoryStore) -> Callable[..., Filler]:
    return lambda suite="toy", variant="": Filler(store, suite, variant)


@pytest.fixture
def full_store(store: MemoryStore) -> MemoryStore:
    """Made-up results of every shipped suite and of one without a definition.

    Three seeds a row; one run failed, one was not run.
    """
    for name in files.available():
        definition = files.load_any(name)
        if isinstance(definition, Definition):
            _fill_table(store, definition)
        elif isinstance(definition, FigureDefinition):
            _fill_figure(store, definition)
    Filler(store, "mine").row("A_1 & more", [0.2, 0.3]).row("B", ["50 % of it is gone", None])
    return store


def _fill_table(store: MemoryStore, definition: Definition) -> None:
    filler = Filler(store, definition.suite)
    models = {row.label: row.model for row in definition.rows if row.model}
    labels = list(models) or ["RotatE", "MoCME"]
    for dataset in [d.name for d in definition.datasets]:
        for position, label in enumerate(labels):
            mrr: list[float | str | None] = [0.30 + position / 100 + s / 500 for s in range(3)]
            if position == 1:
                mrr[1:] = ["loss is NaN", None]
            filler.row(
                label,
                mrr,
                model=models.get(label, "mocme"),
                dataset=dataset,
                features="all",
                modalities=("text", "image"),
                extra={"mrr/warm": 1.2, "mrr/cold": 0.6},
                diagnostics={"parameters": 123456.0, "backbone_parameters": 12345.0},
                notes=(f"a remark on {dataset}",),
            )


def _fill_figure(store: MemoryStore, definition: FigureDefinition) -> None:
    filler = Filler(store, definition.suite)
    ys: tuple[AxisValue | None, ...] = definition.y.values if definition.y else (None,)
    for number, dataset in enumerate(d.name for d in definition.datasets):
        for x, y in product(definition.x.values, ys):
            if y is not None and definition.invalid(x, y):
                continue
            height = 0.25 + number / 20 - 0.1 * (float(x) - 0.25) ** 2 / 16
            filler.row(
                f"{x} {y}",
                [height - s / 200 for s in range(3)],
                dataset=dataset,
                features="all",
                settings=_nested(definition, x, y),
                extra={"valid:mrr": 1.1},
                history=[{"easy": 0.5, "ambiguous": 0.4 - 0.01 * number, "hard": 0.1}],
            )


def _nested(definition: FigureDefinition, x: AxisValue, y: AxisValue | None) -> dict[str, object]:
    """Return the settings that put a run at a point."""
    if definition.y is not None:
        *keys, _ = definition.x.key.split(".")
        value: object = [x, y]
    else:
        keys, value = definition.x.key.split("."), x
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value
