"""A folder of records: what is exported is imported again, damage is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import MachineError, StoreError
from harness.exchange import export, import_records
from harness.store.files import write_record
from harness.store.memory import MemoryStore
from harness.store.records import Cell, RunRecord

MakeRecord = Callable[..., RunRecord]


def cell(run_id: str, seed: int = 0, suite: str = "main") -> Cell:
    return Cell(suite=suite, position=0, label="RotatE", dataset="atlas", seed=seed, run_id=run_id)


def without_run(suite: str = "main", seed: int = 1) -> Cell:
    none = {"run_id": "", "reason": "needs image"}
    return cell("none", seed, suite).model_copy(update=none)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_export_and_import_give_the_same_store(
    tmp_path: Path, make_record: MakeRecord, make_measured: MakeRecord
) -> None:
    here, runs, folder = MemoryStore(), tmp_path / "runs", tmp_path / "records"
    here.add(make_measured("r1", runs / "r1" / "ranks.npz"))
    here.add(make_record("r2"))
    here.plan("main", "", [cell("r1"), cell("r2", seed=1), cell("r9", seed=2)])
    here.plan("other", "", [cell("r1", suite="other")])

    written = export(here, ["r1", "r2", "r1"], folder, runs=runs)
    assert files(folder) == ["r1.json", "r1.npz", "r2.json"]
    assert sorted(map(str, written)) == sorted(str(folder / name) for name in files(folder))

    there = MemoryStore()
    taken = import_records(there, folder, runs=tmp_path / "there")
    assert list(taken.added) == ["r1", "r2"]
    assert there.find() == here.find()
    assert list(there.cells()) == [c for c in here.cells() if c.run_id != "r9"]
    (copied,) = (tmp_path / "there").rglob("*.npz")
    assert copied.read_bytes() == (runs / "r1" / "ranks.npz").read_bytes()


def test_export_of_an_unknown_run_writes_nothing(tmp_path: Path, make_record: MakeRecord) -> None:
    store = MemoryStore()
    store.add(make_record("r1"))
    with pytest.raises(StoreError, match="no record of r2"):
        export(store, ["r1", "r2"], tmp_path / "records")
    assert files(tmp_path) == []


def test_import_keeps_results_and_cells_that_are_there(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    theirs = make_record("r1", provenance={"machine": "theirs"}, cells=(cell("r1"),))
    write_record(tmp_path / "r1.json", theirs)
    write_record(tmp_path / "r2.json", make_record("r2", cells=(cell("r2", seed=1),)))
    write_record(tmp_path / "r3.json", make_record("r3"))
    store = MemoryStore()
    store.add(make_record("r1"))
    store.add(make_record("r3", status="failed", error="killed"))
    store.plan("main", "", [cell("r5", seed=1), cell("r6", seed=2)])
    taken = import_records(store, tmp_path)
    assert (list(taken.added), taken.kept) == (["r2", "r3"], 1)
    assert store.get("r1") == make_record("r1")
    assert store.get("r3") == make_record("r3")
    assert list(taken.refused) == [cell("r2", seed=1)]
    assert [c.run_id for c in store.cells("main")] == ["r1", "r5", "r6"]


def test_import_of_a_folder_with_a_damaged_record_adds_nothing(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    write_record(tmp_path / "r1.json", make_record("r1"))
    (tmp_path / "r2.json").write_text("{}")
    store = MemoryStore()
    with pytest.raises(StoreError, match=r"r2\.json: version"):
        import_records(store, tmp_path)
    assert list(store.ids()) == []


def test_import_of_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no records"):
        import_records(MemoryStore(), tmp_path)


def test_import_leaves_ranks_that_are_there(tmp_path: Path, make_measured: MakeRecord) -> None:
    record = make_measured("r1", tmp_path / "records" / "r1.npz")
    write_record(tmp_path / "records" / "r1.json", record)
    (tmp_path / "runs" / "r1").mkdir(parents=True)
    (tmp_path / "runs" / "r1" / "ranks.npz").write_bytes(b"mine")
    import_records(MemoryStore(), tmp_path / "records", runs=tmp_path / "runs")
    assert (tmp_path / "runs" / "r1" / "ranks.npz").read_bytes() == b"mine"


# --- damaged ranks ------------------------------------------------------------------------


@pytest.fixture
def records(tmp_path: Path, make_measured: MakeRecord) -> Path:
    """A folder with the records and ranks of three runs."""
    folder = tmp_path / "records"
    for seed, run_id in enumerate(("r1", "r2", "r3")):
        measured = make_measured(run_id, folder / f"{run_id}.npz", seed=seed)
        write_record(folder / f"{run_id}.json", measured)
    return folder


def test_a_record_whose_ranks_are_damaged_is_not_imported_nor_is_any_other(
    records: Path, tmp_path: Path
) -> None:
    for run_id in ("r1", "r3"):
        content = (records / f"{run_id}.npz").read_bytes()
        (records / f"{run_id}.npz").write_bytes(content[: len(content) // 2])
    store = MemoryStore()
    with pytest.raises(StoreError) as raised:
        import_records(store, records, runs=tmp_path / "runs")
    first, second = str(raised.value).splitlines()
    npz = records / "r1.npz"
    assert first.startswith(f"{records / 'r1.json'}: run r1: {npz}: not a complete rank file (")
    assert "run r3" in second
    assert list(store.ids()) == []
    assert not (tmp_path / "runs").exists()


def test_a_record_whose_metrics_are_not_those_of_its_ranks_is_not_imported(records: Path) -> None:
    (records / "r2.npz").write_bytes((records / "r1.npz").read_bytes())
    message = r"r2\.json: run r2: .*r2\.npz: other numbers follow from the ranks: test both all mrr"
    with pytest.raises(StoreError, match=message):
        import_records(MemoryStore(), records)


def test_a_metric_that_cannot_be_is_refused_with_its_place(records: Path) -> None:
    content = json.loads((records / "r1.json").read_text())
    content["metrics"][0]["value"] = 1.25
    (records / "r1.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"r1\.json: metrics\.0: mrr is 0 to 1, never 1\.25"):
        import_records(MemoryStore(), records)


def test_damaged_ranks_are_not_exported(tmp_path: Path, make_measured: MakeRecord) -> None:
    store, ranks = MemoryStore(), tmp_path / "runs" / "r1" / "ranks.npz"
    store.add(make_measured("r1", ranks))
    ranks.write_bytes(b"")
    with pytest.raises(StoreError, match=r"run r1: .*ranks\.npz: not a complete rank file"):
        export(store, ["r1"], tmp_path / "records", runs=tmp_path / "runs")
    assert not (tmp_path / "records").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, make_record: MakeRecord) -> None:
    store = MemoryStore()
    store.add(make_record("r1"))
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file: is a file, not a folder$"):
        export(store, ["r1"], tmp_path / "file")
    with pytest.raises(MachineError, match=r"^/proc/x: this folder cannot be made \([^;]*\)$"):
        export(store, ["r1"], Path("/proc/x"))


# --- places without a run -----------------------------------------------------------------


def test_reasons_for_no_run_travel_with_the_records(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store, other = MemoryStore(), MemoryStore()
    store.add(make_record("aaaa"))
    store.plan("main", "", [cell("aaaa"), without_run()])
    store.plan("unrelated", "", [without_run("unrelated")])
    export(store, ["aaaa"], tmp_path, runs=tmp_path)
    assert files(tmp_path) == ["aaaa.json", "not_run.json"]
    import_records(other, tmp_path, runs=tmp_path)
    assert list(other.cells()) == [cell("aaaa"), without_run()]


def test_suites_exported_one_after_the_other_keep_their_reasons(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store, other = MemoryStore(), MemoryStore()
    for run_id, suite in (("aaaa", "first"), ("bbbb", "second")):
        store.add(make_record(run_id))
        store.plan(suite, "", [cell(run_id, suite=suite), without_run(suite)])
        export(store, [run_id], tmp_path, runs=tmp_path)
    store.plan("first", "", [cell("aaaa", suite="first")])
    export(store, ["aaaa"], tmp_path, runs=tmp_path)
    import_records(other, tmp_path, runs=tmp_path)
    assert [c.suite for c in other.cells() if c.reason] == ["second"]
