"""Processor time of rows: what is counted, what is said where nothing can be, every format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import provenance
from harness.analysis.costs import COSTS, cost, leaked_validation, load_note, notes
from harness.analysis.query import numbers_of
from harness.report.definition import Definition, Published
from harness.report.files import load_definition
from harness.report.render import FORMATS, SUFFIXES, render
from harness.report.table import Column, Table, TableCell, TableRow
from harness.store.memory import MemoryStore
from tests.unit.report.conftest import report_table

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "report"

Fill = Callable[..., Any]
Epochs = list[dict[str, float]]

METRICS = ("mrr", "cost.best", "cost.published", "cost.total", "cost.epoch", "memory.peak")
DEFINITION = Definition.model_validate(
    {
        "name": "costs",
        "title": "What rows cost",
        "suite": "toy",
        "published": "main",
        "metrics": METRICS,
        "datasets": [{"name": "atlas", "title": "Atlas"}],
        "rows": [
            {"label": "Counting", "model": "popularity"},
            {"label": "RotatE", "published": "RotatE", "model": "rotate"},
            {"label": "Never", "published": "Never", "model": "mocme"},
            {"label": "Unprinted", "model": "mocme"},
            {"label": "Absent", "published": "Never", "model": "mocme"},
        ],
    }
)
PUBLISHED = Published.model_validate(
    {
        "source": "'A paper'",
        "units": "percent",
        "statistics": {"caption": "Table 1", "rows": {}},
        "tables": {
            "main": {
                "caption": "Table 2",
                "metrics": ["mrr"],
                "rows": {"RotatE": {"atlas": [30.0]}, "Never": {"atlas": [50.0]}},
            }
        },
    }
)


def epochs(seconds: float, valid: Sequence[float], valid_seconds: float | None = 1.0) -> Epochs:
    """Return a history of two epochs per validation."""
    history: Epochs = []
    for mrr in valid:
        history.append({"epoch": len(history) + 1.0, "seconds": seconds})
        history.append({"epoch": len(history) + 1.0, "seconds": seconds, "valid_mrr": mrr})
        if valid_seconds is not None:
            history[-1]["valid_seconds"] = valid_seconds
    return history


def machine(threads: int = 2, **more: Any) -> dict[str, Any]:
    box = {"processor": "Made-up 9000", "cores": 8}
    return {"machine": box, "device": "cpu", "threads": threads, **more}


def run(fill: Fill, store: MemoryStore, history: Epochs, best: float, **more: Any) -> Any:
    """Return the outcome of a run with this history."""
    options = {"provenance": machine(), "timings": {"evaluate.valid": 3.0, "evaluate.test": 5.0}}
    diagnostics = {"best_epoch": best}
    fill().row("A", [0.3], history=history, diagnostics=diagnostics, **{**options, **more})
    return store.find(numbers=numbers_of(METRICS))[0]


def test_time_is_counted_with_validations_and_times_threads(store: MemoryStore, fill: Fill) -> None:
    made = run(fill, store, epochs(10, [0.2, 0.31, 0.3]), best=4)
    assert cost(made, "cost.epoch") == 2 * 10
    assert cost(made, "cost.best") == 2 * (4 * 10 + 2 * 1)
    assert cost(made, "cost.total") == 2 * (6 * 10 + 3 * 1 + 3 + 5)
    assert cost(made, "cost.published", target=30.0) == 2 * (4 * 10 + 2 * 1)
    assert cost(made, "cost.published", target=20.0) == 2 * (2 * 10 + 1)
    assert cost(made, "cost.published", target=31.01) is None
    assert cost(made, "cost.published") is None


def test_measured_processor_time_counts_as_it_is(store: MemoryStore, fill: Fill) -> None:
    history = epochs(10, [0.2, 0.31])
    for row in history:
        row["processor_seconds"] = 7.0
        if "valid_mrr" in row:
            row["valid_processor_seconds"] = 0.5
    made = run(fill, store, history, best=2)
    assert cost(made, "cost.epoch") == 7.0
    assert cost(made, "cost.best") == 2 * 7.0 + 0.5
    assert cost(made, "cost.published", target=31.0) == 4 * 7.0 + 2 * 0.5
    assert cost(made, "cost.total") == 4 * 7.0 + 2 * 0.5 + 2 * (3 + 5)
    busy = made.model_copy(update={"provenance": machine(2, load=9.0)})
    assert load_note([busy]) == ""


def test_a_validation_without_a_time_takes_as_long_as_the_last(
    store: MemoryStore, fill: Fill
) -> None:
    made = run(fill, store, epochs(10, [0.2, 0.3], None), best=4)
    assert cost(made, "cost.best") == 2 * (4 * 10 + 2 * 3)


def test_on_an_accelerator_the_time_of_the_device_counts(store: MemoryStore, fill: Fill) -> None:
    made = run(fill, store, epochs(10, [0.2]), 2, provenance=machine(16, device="Chip X"))
    assert cost(made, "cost.epoch") == 10


@pytest.mark.parametrize("history", [[], [{"epoch": 1.0, "loss": 1.0}]])
@pytest.mark.parametrize("name", COSTS)
def test_without_times_of_epochs_nothing_is_counted(
    store: MemoryStore, fill: Fill, history: Epochs, name: str
) -> None:
    assert cost(run(fill, store, history, 1), name, target=1.0) is None


@pytest.mark.parametrize(
    ("threads", "load", "note"),
    [
        (2, 2.3, ""),
        (2, 3.6, "measured beside other work: 1.6 further processes were busy"),
        (1, 2.0, "measured beside other work: 1.0 further processes were busy"),
    ],
)
def test_runs_beside_other_work_say_so(
    store: MemoryStore, fill: Fill, threads: int, load: float, note: str
) -> None:
    made = run(fill, store, epochs(1, [0.2]), 2, provenance=machine(threads, load=load))
    assert load_note([made]) == note


def test_provenance_holds_the_load_where_the_system_knows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def described() -> dict[str, Any]:
        return provenance.describe(device="cpu", threads=1, kernels="numba")

    monkeypatch.setattr(os, "getloadavg", lambda: (1.234, 0.5, 0.1), raising=False)
    assert described()["load"] == 1.23
    monkeypatch.delattr(os, "getloadavg")
    assert "load" not in described()


def test_validation_rows_that_train_tells_give_no_time_to_the_published_mrr(
    store: MemoryStore, fill: Fill
) -> None:
    made = run(fill, store, epochs(10, [0.9]), 2)
    assert cost(made, "cost.published", target=30.0) is not None
    told = made.model_copy(update={"dataset": "db15k"})
    assert cost(told, "cost.published", target=30.0) is None
    assert cost(told, "cost.best") is not None
    reason = (
        "8,845 of 9,904 validation rows stand in train or follow from it: "
        "validation MRR rewards memory"
    )
    assert leaked_validation("db15k") == reason
    assert f"No time to paper on db15k: {reason}." in list(notes([told]))
    assert leaked_validation("tiva") != ""
    for dataset in ("mkg-w", "mkg-y", "kvc16k", "atlas", "db15k@clean", "no such dataset"):
        assert leaked_validation(dataset) == ""


# --- the table --------------------------------------------------------------------------------


@pytest.fixture
def table(store: MemoryStore, fill: Fill) -> Table:
    """RotatE reaches its MRR with one of two seeds, the second beside other work."""
    filler = fill()
    final = {"evaluate.valid": 36.0, "evaluate.test": 36.0, "memory.peak": 2.0**30}
    counting: dict[str, Any] = {"timings": {"memory.peak": 2.0**29}, "model": "popularity"}
    filler.row("Counting", [0.1, 0.1], provenance=machine(1), **counting)
    rotate: dict[str, Any] = {"timings": final, "diagnostics": {"best_epoch": 4.0}}
    rotate["model"] = "rotate"
    first = filler.row("RotatE", [0.33, 0.32], provenance=machine(2, load=2.1), **rotate)
    records = store.find(model="rotate")
    for record, valid, load in zip(records, ([0.2, 0.31], [0.2, 0.29]), (2.1, 4.5), strict=True):
        history = tuple(epochs(360.0, valid, 36.0))
        provenance = {**record.provenance, "load": load}
        store.add(record.model_copy(update={"history": history, "provenance": provenance}))
    options = {"timings": final, "provenance": machine(1)}
    first.row("Never", [0.4], history=epochs(720.0, [0.405], 72.0), **options)
    first.row("Unprinted", [0.4], history=epochs(720.0, [0.4], 72.0), **options)
    return report_table(store, DEFINITION, PUBLISHED)


def cell(table: Table, label: str, metric: str) -> TableCell:
    (row,) = [row for row in table.rows if row.label == label]
    (position,) = [i for i, column in enumerate(table.columns) if column.metric == metric]
    return row.cells[position]


def test_hours_are_means_over_seeds(table: Table) -> None:
    best = 2 * (4 * 360 + 2 * 36) / 3600
    assert cell(table, "RotatE", "cost.best").value == pytest.approx(best)
    assert cell(table, "RotatE", "cost.best").n == 2
    assert cell(table, "RotatE", "cost.total").value == pytest.approx(best + 2 * 72 / 3600)
    assert cell(table, "RotatE", "cost.epoch").value == pytest.approx(720)
    assert cell(table, "RotatE", "memory.peak").value == 1024


def test_the_time_to_the_published_mrr_is_that_of_the_seeds_that_reach_it(table: Table) -> None:
    reached = cell(table, "RotatE", "cost.published")
    assert reached.value == pytest.approx(2 * (4 * 360 + 2 * 36) / 3600)
    assert reached.n == 1
    assert "reached by 1 of 2 seeds" in reached.notes


@pytest.mark.parametrize(
    ("label", "metric", "reason"),
    [
        ("Never", "cost.published", "best validation MRR 40.50, published 50.00"),
        ("Unprinted", "cost.published", "no published MRR"),
        ("Counting", "cost.best", "the runs hold no times of epochs"),
        ("Absent", "cost.published", "not run"),
    ],
)
def test_an_empty_cell_says_why(table: Table, label: str, metric: str, reason: str) -> None:
    empty = cell(table, label, metric)
    assert empty.value is None
    assert reason in empty.reason or (label == "Absent" and "not in suite" in empty.reason)


def test_the_table_says_what_is_counted_on_which_machines_and_beside_what(table: Table) -> None:
    notes = "\n".join(table.notes)
    assert "CPU h, CPU s: processor time of a run (older records: wall time x threads)." in notes
    assert "Measured on Made-up 9000, 8 cores, 2 threads: 2 runs." in notes
    assert "Measured on Made-up 9000, 8 cores, 1 thread: 2 runs." in notes
    assert "2 of 4 runs do not say whether the machine did other work meanwhile." in notes
    assert "Atlas: 2.64 CPU h in all, 4 runs over all rows and seeds." in notes
    beside = "measured beside other work (1 of 2 runs): 2.5 further processes were busy"
    assert beside in cell(table, "RotatE", "cost.epoch").notes


@pytest.mark.parametrize("format_", FORMATS)
def test_golden(table: Table, format_: str) -> None:
    path = GOLDEN / f"costs.{SUFFIXES.get(format_, format_)}"
    rendered = render(table, format_)
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.write_text(rendered, encoding="utf-8")
    assert rendered == path.read_text(encoding="utf-8")
    if format_ == "text":
        assert max(map(len, rendered.splitlines())) <= 80


def test_the_shipped_table_has_the_rows_of_the_main_table() -> None:
    costs, main = load_definition("costs"), load_definition("main")
    assert isinstance(costs, Definition)
    assert isinstance(main, Definition)
    assert [(r.label, r.published, r.model) for r in costs.rows] == [
        (r.label, r.published, r.model) for r in main.rows
    ]
    assert [d.name for d in costs.datasets] == [d.name for d in main.datasets]


@pytest.mark.parametrize(
    ("format_", "printed"),
    [
        ("text", "<0.001"),
        ("markdown", " <0.001 |"),
        ("html", "&lt;0.001"),
        ("latex", "$<$0.001"),
    ],
)
def test_a_cost_is_never_printed_as_zero(format_: str, printed: str) -> None:
    column = Column.of_metric("cost.best", dataset="atlas", dataset_title="atlas")
    cells = (TableCell(0.0002, 0.0001, 3), TableCell(0.5, 0.1, 3))
    rows = tuple(TableRow(label, (cell,)) for label, cell in zip("ab", cells, strict=True))
    rendered = render(Table("costs", "Costs", (column,), rows), format_)
    assert printed in rendered
    assert "0.000" not in rendered
    siunitx = Table("costs", "Costs", (column,), rows).render("latex", siunitx=True)
    assert "{$<$0.001}" in siunitx
    assert "S[table-format=1.3(3)]" in siunitx
