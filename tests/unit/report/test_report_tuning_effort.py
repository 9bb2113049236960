"""The table of tuning effort: settings that studies tried for each method, and their hours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.query import Results, Selection
from harness.errors import ConfigError
from harness.plan.spec import RunSpec
from harness.plan.suite import find_suite
from harness.report import files
from harness.report.query import named_table
from harness.report.render import render
from harness.report.table import Table, TableCell
from harness.report.tables.tuning_effort import Method, methods_by_row
from harness.store.memory import MemoryStore
from harness.store.records import Status
from tests.unit.report.conftest import Filler

Fill = Callable[..., Filler]

SUITE = """\
name: toy
datasets: [atlas, mkg-w]
rows:
  - lookup
  - transe
  - {model: transe, label: KBGAN, set: {negatives.strategy.name: kbgan}}
  - {model: transe, label: TransE + features, set: {model.residual.gain: 0.2}}
  - {model: native, set: {adversary.kind: wasserstein}}
"""
ROWS = """\
title: Rows
suite: toy
metrics: [mrr]
datasets: [{name: mkg-w, title: MKG-W}, {name: db15k, title: DB15K}, {name: tiva}]
rows: [{label: KBGAN, group: Sampling}, {label: TRANSE, title: TransE}, {label: Absent}]
others: Others
"""
EFFORT = """\
title: Tried
studies: [first, second]
rows_from: rows.yaml
"""
STUDY = """\
name: second
datasets: [atlas]
rows: [transe]
study: {sampler: grid, space: {model.margin: [1.0]}}
"""
KBGAN: dict[str, Any] = {"negatives": {"strategy": {"name": "kbgan"}}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = {"toy": SUITE, "rows": ROWS, "effort": EFFORT, "second": STUDY}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def trial(
    filler: Filler, number: int, *, status: Status = "validated", seeds: int = 1, **options: Any
) -> list[str]:
    """Add a trial whose runs take an hour each; return their ids."""
    history = [{"epoch": 1.0, "seconds": 1.0, "processor_seconds": 3600.0, "valid_mrr": 0.1}]
    settings = {"model": {"margin": float(number)}, **options.pop("settings", {})}
    fields = {"model": "transe", "dataset": "mkg-w", "history": history, **options}
    filler.row(f"any label trial {number}", [0.1] * seeds, settings=settings, **fields)
    run_ids = [cell.run_id for cell in filler.cells[-seeds:]]
    for run_id in run_ids:
        stored = filler.store.get(run_id)
        assert stored is not None
        filler.store.remove(run_id)
        spec = stored.spec.model_copy(update={"seed": stored.seed})
        filler.store.add(stored.model_copy(update={"status": status, "spec": spec}))
    return run_ids


def table(store: MemoryStore, *datasets: str) -> Table:
    return named_table(Results(store, Selection(datasets=datasets)), "effort.yaml")


def cells(table: Table, label: str) -> tuple[TableCell, ...]:
    return next(row.cells for row in table.rows if row.label == label)


def values(table: Table, label: str) -> list[float | None]:
    return [cell.value for cell in cells(table, label)]


def test_a_row_has_the_number_of_its_settings_and_their_hours(
    store: MemoryStore, fill: Fill
) -> None:
    filler = fill("first")
    for number in range(3):
        trial(filler, number)
    trial(filler, 3, settings=KBGAN)
    effort = table(store)
    assert values(effort, "TransE") == pytest.approx([3, 3.0])
    assert values(effort, "KBGAN") == pytest.approx([1, 1.0])
    assert values(effort, "NativE") == [0, 0]
    assert [column.title for column in effort.columns] == ["Settings", "CPU h"]


def test_rows_are_those_of_the_table_then_the_suites_others(store: MemoryStore, fill: Fill) -> None:
    trial(fill("first"), 0)
    rows = [(row.label, row.group) for row in table(store).rows]
    others = [(label, "Others") for label in ("Lookup", "TransE + features", "NativE")]
    assert rows == [("KBGAN", "Sampling"), ("TransE", ""), ("Absent", ""), *others]


def test_seeds_are_one_setting_and_each_has_its_hours(store: MemoryStore, fill: Fill) -> None:
    trial(fill("first"), 0, seeds=3)
    assert values(table(store), "TransE") == pytest.approx([1, 3.0])
    results = Results(store, Selection(seeds={0}))
    assert values(named_table(results, "effort.yaml"), "TransE") == pytest.approx([1, 3.0])


def test_a_run_of_two_studies_counts_once(store: MemoryStore, fill: Fill) -> None:
    (run_id,) = trial(fill("first"), 0)
    (other_id,) = trial(fill("second"), 1)
    shared = store.cells("second")[0].model_copy(
        update={"run_id": run_id, "label": "shared trial 0", "position": 1}
    )
    store.plan("second", "", [*store.cells("second"), shared])
    settings, hours = cells(table(store), "TransE")
    assert (settings.value, hours.value) == pytest.approx((2, 2.0))
    assert settings.runs == hours.runs == (run_id, other_id)


def test_trials_on_clean_splits_count_for_their_dataset(store: MemoryStore, fill: Fill) -> None:
    filler = fill("first")
    trial(filler, 0, dataset="db15k@clean")
    trial(filler, 1, dataset="db15k@clean")
    trial(filler, 1, dataset="db15k")
    effort = table(store)
    assert [c.dataset_title for c in effort.columns] == ["DB15K"] * 2
    assert values(effort, "TransE") == pytest.approx([2, 3.0])


@pytest.mark.parametrize(("status", "count"), [("pruned", 1), ("ok", 1), ("failed", 0)])
def test_pruned_trials_count_and_failed_ones_do_not(
    store: MemoryStore, fill: Fill, status: Status, count: int
) -> None:
    trial(fill("first"), 0, status=status)
    assert values(table(store), "TransE")[:2] == pytest.approx([count, count])


def test_several_datasets_are_added_up(store: MemoryStore, fill: Fill) -> None:
    filler = fill("first")
    trial(filler, 0)
    trial(filler, 0, dataset="db15k")
    trial(filler, 1, dataset="db15k")
    effort = table(store)
    titles = dict.fromkeys(column.dataset_title for column in effort.columns)
    assert list(titles) == ["MKG-W", "DB15K", "All datasets"]
    assert values(effort, "TransE") == pytest.approx([1, 1.0, 2, 2.0, 3, 3.0])


def test_datasets_that_are_not_selected_are_not_mentioned(store: MemoryStore, fill: Fill) -> None:
    filler = fill("first")
    trial(filler, 0, model="native")
    trial(filler, 0, dataset="db15k")
    effort = table(store, "db15k")
    assert values(effort, "TransE") == pytest.approx([1, 1.0])
    assert "Not in the table" not in " ".join(effort.notes)


def test_a_variant_that_stands_beside_its_dataset_has_no_columns(
    store: MemoryStore, fill: Fill, folder: Path
) -> None:
    beside = "{name: db15k@clean, title: clean, against: db15k}"
    text = ROWS.replace("{name: tiva}", beside)
    (folder / "rows.yaml").write_text(text, encoding="utf-8")
    trial(fill("first"), 0, dataset="db15k@clean")
    assert [column.dataset_title for column in table(store).columns] == ["DB15K"] * 2


def test_trials_without_a_row_or_a_dataset_are_in_the_notes(store: MemoryStore, fill: Fill) -> None:
    filler = fill("first")
    trial(filler, 0, model="native")
    trial(filler, 1, model="native", settings={"adversary": {"kind": "wasserstein"}})
    trial(filler, 2, dataset="atlas")
    effort = table(store)
    assert values(effort, "NativE")[0] == 1
    notes = " ".join(effort.notes)
    assert "Not in the table: 1 setting of methods that are no row: native on MKG-W (1)." in notes
    assert "Not in the table: 1 setting on other datasets: atlas (1)." in notes
    assert "on other datasets" not in " ".join(table(store, "mkg-w").notes)  # it was asked for


def test_a_row_that_learns_nothing_and_one_that_the_suite_lacks_say_so(
    store: MemoryStore, fill: Fill
) -> None:
    trial(fill("first"), 0)
    effort = table(store)
    assert cells(effort, "Lookup")[0].reason == "learns nothing: there is nothing to search"
    assert cells(effort, "Absent")[1].reason == "not in suite 'toy'"


def test_a_study_that_was_not_run_is_named_with_its_command(store: MemoryStore, fill: Fill) -> None:
    trial(fill("first"), 0)
    notes = table(store).notes
    assert "Studies and suites: first." in notes
    assert "Not run, and not counted: `harness study run second`." in notes


def test_hours_say_which_runs_hold_no_times(store: MemoryStore, fill: Fill) -> None:
    filler = fill("first")
    trial(filler, 0, history=[])
    assert cells(table(store), "TransE")[1].reason == "the runs hold no times of epochs"
    trial(filler, 1)
    hours = cells(table(store), "TransE")[1]
    assert hours.value == pytest.approx(1.0)
    assert hours.notes == ("without 1 of 2 runs, which hold no times",)


def test_an_unknown_study_is_refused_with_its_line(
    store: MemoryStore, fill: Fill, folder: Path
) -> None:
    trial(fill("first"), 0)
    text = EFFORT.replace("second", "frist")
    (folder / "effort.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"effort\.yaml:2: studies\[1\]: no study 'frist'; did you mean 'first'"
    ):
        table(store)


def test_a_suite_that_searches_nothing_is_refused(store: MemoryStore, folder: Path) -> None:
    (folder / "effort.yaml").write_text(EFFORT.replace("second", "toy"), encoding="utf-8")
    (folder / "first.yaml").write_text(STUDY.replace("second", "first"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"studies\[1\]: suite 'toy' is no study"):
        table(store)


def no_trial(filler: Filler) -> None:
    settings = {"model": {"margin": 7.0}}
    filler.row("any row", [0.1], model="transe", dataset="mkg-w", settings=settings)


def test_a_row_of_a_study_that_is_no_trial_is_not_counted(store: MemoryStore, fill: Fill) -> None:
    filler = fill("first")
    trial(filler, 0)
    no_trial(filler)
    assert values(table(store), "TransE")[0] == 1


def test_every_row_of_a_suite_of_settings_is_one(
    store: MemoryStore, fill: Fill, folder: Path
) -> None:
    text = EFFORT.replace("studies: [first, second]", "studies: [second]\nsettings_suites: [first]")
    (folder / "effort.yaml").write_text(text, encoding="utf-8")
    filler = fill("first")
    trial(filler, 0)
    no_trial(filler)
    assert values(table(store), "TransE")[0] == 2


def test_a_study_is_no_suite_of_settings(store: MemoryStore, folder: Path) -> None:
    text = EFFORT.replace("studies: [first, second]", "studies: [first]\nsettings_suites: [second]")
    (folder / "effort.yaml").write_text(text, encoding="utf-8")
    (folder / "first.yaml").write_text(STUDY.replace("second", "first"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"settings_suites\[0\]: suite 'second' is a study"):
        table(store)


def test_rows_without_the_file_of_their_suite_are_refused(
    store: MemoryStore, fill: Fill, folder: Path
) -> None:
    trial(fill("first"), 0)
    (folder / "toy.yaml").unlink()
    with pytest.raises(ConfigError, match=r"effort\.yaml:3: rows_from: there is no suite file toy"):
        table(store)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "rotate"),
        ({"negatives": {"strategy": {"name": "mmrns"}}}, "rotate with mmrns"),
        ({"model": {"name": "rotate", "residual": {"gain": 0.2}}}, "rotate + features"),
        ({"model": {"name": "rotate", "residual": {"hide": 0.5}}}, "rotate"),
        ({"adversary": {"kind": "logistic"}}, "rotate with logistic"),
    ],
)
def test_a_method_is_what_is_trained(settings: dict[str, Any], text: str) -> None:
    spec = {"model": {"name": "rotate"}, "data": {"dataset": "atlas"}, **settings}
    assert str(Method.of(RunSpec.model_validate(spec))) == text


def test_the_shipped_table_tells_the_rows_of_the_main_table_apart() -> None:
    methods = methods_by_row(find_suite("main_table"))
    assert methods["KBGAN"] == {Method("transe", "kbgan", False, "none")}
    assert methods["NativE"] == {Method("native", "", False, "wasserstein")}
    trained = [method for of_row in methods.values() for method in of_row]
    assert len(trained) == len(set(trained)) == len(methods) - 2


@pytest.mark.parametrize("format_", ["text", "markdown", "latex", "html", "csv", "json"])
def test_the_shipped_table_is_printed_in_every_format(store: MemoryStore, format_: str) -> None:
    assert files.load_any("tuning_effort").is_table
    text = render(named_table(Results(store), "tuning_effort"), format_)
    assert "MoCME" in text
    if format_ == "text":
        assert max(map(len, text.splitlines())) <= 80
