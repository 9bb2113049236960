"""A store with made-up results: no number in it was ever measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from harness.plan.spec import Protocol
from harness.store.memory import MemoryStore
from harness.store.records import Cell, MetricValue, RunRecord


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
    settings: Mapping[str, object] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    diagnostics: Mapping[str, float] | None = None,
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
        spec={"protocol": protocol.model_dump(mode="json"), **(settings or {})},
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


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def fill(store: MemoryStore) -> Callable[..., Filler]:
    return lambda suite="toy", variant="": Filler(store, suite, variant)
