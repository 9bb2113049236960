"""A folder of records: what is exported is imported again, damage is refused."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError, MachineError, StoreError
from harness.evaluation.ranks import Ranks
from harness.store import open_store
from harness.store.archive import export, exporting, import_records, merge, rank_archive
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample, identified
from harness.store.files import write_record, write_whole
from harness.store.memory import MemoryStore
from harness.store.records import Cell, RunRecord

pytestmark = pytest.mark.usefixtures("readable_ids")

MakeRecord = Callable[..., RunRecord]


def cell(run_id: str, seed: int = 0, suite: str = "main") -> Cell:
    values = {"label": "RotatE", "dataset": "atlas", "features": "names", "seed": seed}
    return Cell(suite=suite, position=0, run_id=run_id, **values)


def without_run(suite: str = "main", seed: int = 1) -> Cell:
    none = {"run_id": "", "reason": "needs image"}
    return cell("none", seed, suite).model_copy(update=none)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def rewrite(path: Path, changed: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in changed).encode()))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def filled(runs: Path, make_record: MakeRecord, make_measured: MakeRecord) -> MemoryStore:
    """Runs r1, r3 with ranks and r2 without: r1 in two suites, r2 in the first, r3 in the other."""
    store = MemoryStore()
    for seed, run_id in ((0, "r1"), (2, "r3")):
        store.add(make_measured(run_id, runs / run_id / "ranks.npz", seed=seed))
    store.add(make_record("r2", seed=1))
    store.plan("main", "", [cell("r1"), cell("r2", seed=1), cell("r9", seed=2)])
    store.plan("other", "", [cell("r1", suite="other"), cell("r3", 2, "other")])
    return store


def test_export_and_import_give_the_same_store(
    tmp_path: Path, filled: MemoryStore, runs: Path
) -> None:
    folder = tmp_path / "records"
    written = export(filled, ["r1", "r2", "r1", "r3"], folder, runs=runs)
    suites = ("main", "other")
    assert files(folder) == [f"{s}.{end}" for s in suites for end in ("jsonl.gz", "ranks.npz")]
    assert sorted(map(str, written)) == sorted(str(folder / name) for name in files(folder))

    there = MemoryStore()
    taken = import_records(there, folder, runs=tmp_path / "there")
    assert sorted(taken.added) == ["r1", "r2", "r3"]
    assert {r.run_id: r for r in there.find()} == {r.run_id: r for r in filled.find()}
    assert list(there.cells()) == [c for c in filled.cells() if c.run_id != "r9"]
    assert files(tmp_path / "there") == ["r1/ranks.npz", "r3/ranks.npz"]
    assert contents(tmp_path / "there") == contents(runs)
    assert not taken.absent


@pytest.mark.parametrize("interrupted", [1, 2])
def test_an_export_that_stops_halfway_leaves_the_old_content_importable(
    tmp_path: Path,
    filled: MemoryStore,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_measured: MakeRecord,
    interrupted: int,
) -> None:
    """The run's ranks are renewed: the new archive lacks arrays of the old lines."""
    folder = tmp_path / "records"
    export(filled, ["r3"], folder, runs=runs, suites=["other"])
    old = filled.get("r3")
    renewed = MemoryStore()
    other_ranks = make_measured("r3", runs / "r3" / "ranks.npz", seed=7)
    assert old is not None
    renewed.add(old.model_copy(update={"metrics": other_ranks.metrics}))
    renewed.plan("other", "", [cell("r3", 2, "other")])

    def stop_at_lines(path: Path, content: bytes) -> None:
        if path.name.endswith(".jsonl.gz"):
            raise MachineError("disk full")
        write_whole(path, content)

    for _ in range(interrupted):
        with monkeypatch.context() as patched:
            patched.setattr(exporting, "write_whole", stop_at_lines)
            with pytest.raises(MachineError, match="disk full"):
                export(renewed, ["r3"], folder, runs=runs)
    there = MemoryStore()
    import_records(there, folder, runs=tmp_path / "there")
    assert there.get("r3") == old

    export(renewed, ["r3"], folder, runs=runs)
    assert files(folder) == ["other.jsonl.gz", "other.ranks.npz"]
    again = MemoryStore()
    import_records(again, folder, runs=tmp_path / "again")
    assert again.get("r3") == renewed.get("r3")


def test_a_run_of_two_suites_is_stored_once(
    tmp_path: Path, filled: MemoryStore, runs: Path
) -> None:
    export(filled, filled.ids(), tmp_path, runs=runs)
    held = {
        name: [line["run"]["record"]["run_id"] for line in lines(tmp_path / name) if "run" in line]
        for name in ("main.jsonl.gz", "other.jsonl.gz")
    }
    assert held == {"main.jsonl.gz": ["r1", "r2"], "other.jsonl.gz": ["r3"]}


def test_a_file_holds_a_json_object_per_line_and_nothing_that_runs_code(
    tmp_path: Path, filled: MemoryStore, runs: Path
) -> None:
    export(filled, filled.ids(), tmp_path, runs=runs)
    header, *rest = lines(tmp_path / "main.jsonl.gz")
    counts = {"cells": 2, "runs": 2, "benchmarks": 0, "rank_files": 1}
    assert header == {"content": "mmkgc-harness records", "version": 1, "suite": "main"} | counts
    assert [next(iter(line)) for line in rest] == ["cell", "cell", "run", "run"]
    with np.load(tmp_path / "main.ranks.npz", allow_pickle=False) as arrays:
        members = lines(tmp_path / "main.jsonl.gz")[3]["run"]["ranks"]
        ranks = Ranks.load(runs / "r1" / "ranks.npz")
        assert np.array_equal(arrays[members["triples"]], ranks.triples)


def test_the_same_export_again_changes_no_byte(
    tmp_path: Path, filled: MemoryStore, runs: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    export(filled, ["r1", "r2", "r3"], first, runs=runs)
    before = contents(first)
    times = {name: (first / name).stat().st_mtime_ns for name in before}
    export(filled, ["r3", "r2", "r1"], first, runs=runs)
    export(filled, ["r1", "r2", "r3"], second, runs=runs)
    assert before["main.jsonl.gz"][4:8] == bytes(4)  # gzip's date
    with zipfile.ZipFile(first / "main.ranks.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert contents(first) == contents(second) == before
    assert {name: (first / name).stat().st_mtime_ns for name in before} == times


def test_what_was_imported_is_exported_byte_by_byte(
    tmp_path: Path, filled: MemoryStore, runs: Path
) -> None:
    export(filled, filled.ids(), tmp_path / "records", runs=runs)
    with contextlib.closing(open_store(tmp_path / "harness.db")) as there:
        import_records(there, tmp_path / "records", runs=tmp_path / "there")
        export(there, there.ids(), tmp_path / "again", runs=tmp_path / "there")
    assert contents(tmp_path / "again") == contents(tmp_path / "records")


def test_the_export_of_a_suite_leaves_the_others_as_they_are(
    tmp_path: Path, filled: MemoryStore, runs: Path, make_record: MakeRecord
) -> None:
    folder = tmp_path / "records"
    export(filled, ["r1", "r2"], folder, runs=runs, suites=["main"])
    assert files(folder) == ["main.jsonl.gz", "main.ranks.npz"]
    before = contents(folder)
    export(filled, ["r1", "r3"], folder, runs=runs, suites=["other"])
    assert {name: contents(folder)[name] for name in before} == before
    assert [next(iter(line)) for line in lines(folder / "other.jsonl.gz")[1:]] == [
        "cell",
        "cell",
        "run",
    ]
    there = MemoryStore()
    assert sorted(import_records(there, folder, runs=tmp_path / "x").added) == ["r1", "r2", "r3"]


def test_runs_and_places_that_the_folder_alone_knows_stay(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    here, elsewhere = MemoryStore(), MemoryStore()
    for store, run_id, seed in ((here, "r1", 0), (elsewhere, "r2", 1)):
        store.add(make_record(run_id, seed=seed))
        store.plan("main", "", [cell(run_id, seed)])
        export(store, [run_id], tmp_path, runs=tmp_path)
    there = MemoryStore()
    import_records(there, tmp_path, runs=tmp_path)
    assert list(there.ids()) == ["r1", "r2"]
    assert list(there.cells()) == [cell("r1"), cell("r2", 1)]


def test_a_run_that_takes_a_place_takes_it_in_the_file_too(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store = MemoryStore()
    for run_id in ("r1", "r2"):
        store.add(make_record(run_id))
        store.plan("main", "", [cell(run_id)])
        export(store, [run_id], tmp_path, runs=tmp_path)
    there = MemoryStore()
    assert not import_records(there, tmp_path, runs=tmp_path).refused
    assert list(there.cells()) == [cell("r2")]


def test_a_later_stage_of_a_run_takes_the_place_of_an_earlier_one_and_not_the_reverse(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    trained, tested = MemoryStore(), MemoryStore()
    trained.add(make_record("r1", status="validated"))
    tested.add(make_record("r1"))
    for store, status in ((trained, "validated"), (tested, "ok"), (trained, "ok")):
        export(store, ["r1"], tmp_path, runs=tmp_path)
        assert lines(tmp_path / "_runs.jsonl.gz")[1]["run"]["record"]["status"] == status


def test_runs_without_a_suite_have_a_file_of_their_own(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store, there = MemoryStore(), MemoryStore()
    store.add(make_record("r1"))
    export(store, ["r1"], tmp_path, runs=tmp_path)
    assert files(tmp_path) == ["_runs.jsonl.gz"]
    import_records(there, tmp_path, runs=tmp_path)
    assert there.find() == store.find()


def test_ranks_that_exceed_a_file_stand_in_numbered_parts(
    tmp_path: Path, filled: MemoryStore, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "records"
    export(filled, ["r1"], whole, runs=runs)
    monkeypatch.setattr(rank_archive, "PART_BYTES", 600)
    export(filled, ["r1"], folder, runs=runs)
    parts = files(folder)[1:]
    assert parts == ["main.ranks-2.npz", "main.ranks.npz", "other.jsonl.gz"]
    import_records(MemoryStore(), folder, runs=tmp_path / "there")
    assert contents(tmp_path / "there")["r1/ranks.npz"] == contents(runs)["r1/ranks.npz"]
    (folder / "main.ranks-2.npz").unlink()
    with pytest.raises(StoreError, match=r"main\.ranks-2\.npz is missing; put it beside"):
        import_records(MemoryStore(), folder, runs=tmp_path / "x")


def test_parts_that_are_no_longer_needed_are_removed(
    tmp_path: Path, filled: MemoryStore, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rank_archive, "PART_BYTES", 600)
        export(filled, ["r1"], tmp_path / "records", runs=runs, suites=["main"])
    filled.plan("main", "", [cell("r1"), cell("r3", seed=2)])
    export(filled, ["r1", "r3"], tmp_path / "records", runs=runs, suites=["main"])
    assert files(tmp_path / "records") == ["main.jsonl.gz", "main.ranks.npz"]
    import_records(MemoryStore(), tmp_path / "records", runs=tmp_path / "there")
    assert contents(tmp_path / "there") == contents(runs)


def test_exported_records_name_no_folder_and_no_user(
    tmp_path: Path, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/Ada L"))
    provenance = {
        "models": "/home/ada/research/models",
        "tested": {"file": ["~/x/scores.npz", "C:\\Users\\ada\\a.npz", "/home/Ada L/b.npz"]},
        "rate": "3 s/epoch, https://example.org/a/b",
    }
    error = 'File "/home/ada/venv/lib/loop.py", line 3: no such file: /data/ada/x.tsv'
    notes = ("cached in /home/Ada L/cache", "relation /people/person/spouse")
    store = MemoryStore()
    failed = {"status": "failed", "error": error, "notes": notes}
    store.add(make_record("r1", provenance=provenance, **failed))
    export(store, ["r1"], tmp_path, runs=tmp_path)
    record = lines(tmp_path / "_runs.jsonl.gz")[1]["run"]["record"]
    assert record["provenance"] == {
        "models": "models",
        "tested": {"file": ["scores.npz", "a.npz", "b.npz"]},
        "rate": "3 s/epoch, https://example.org/a/b",
    }
    assert record["error"] == 'File "loop.py", line 3: no such file: x.tsv'
    assert record["notes"] == ["cached in ~/cache", "relation /people/person/spouse"]


def test_measurements_of_a_suite_are_imported_oldest_first(tmp_path: Path) -> None:
    sample = BenchmarkSample(stage="fusion", name="mean", seconds=(0.1,))
    old, new = (
        identified(
            BenchmarkRecord(
                benchmark_id="x", suite="a", samples=(sample,), provenance={"finished": finished}
            )
        )
        for finished in ("2026-01-02", "2026-03-01")
    )
    for one in (new, old):
        export(MemoryStore(), [], tmp_path, runs=tmp_path, benchmarks=[one])
    assert files(tmp_path) == ["a.jsonl.gz"]
    there = MemoryStore()
    import_records(there, tmp_path, runs=tmp_path)
    assert there.benchmarks("a") == [old, new]


# --- one file of a folder -----------------------------------------------------------------


def test_one_suite_is_imported_from_its_file(
    tmp_path: Path, filled: MemoryStore, runs: Path
) -> None:
    export(filled, filled.ids(), tmp_path / "records", runs=runs)
    there = MemoryStore()
    taken = import_records(there, tmp_path / "records" / "other.jsonl.gz", runs=tmp_path / "x")
    assert list(taken.added) == ["r3"]
    assert files(tmp_path / "x") == ["r3/ranks.npz"]
    assert list(taken.absent) == [cell("r1", suite="other")]


def test_one_record_of_an_earlier_version_is_imported_with_its_ranks(
    tmp_path: Path, make_measured: MakeRecord
) -> None:
    record = make_measured("r1", tmp_path / "r1.npz", cells=(cell("r1"),))
    write_record(tmp_path / "r1.json", record)
    write_record(tmp_path / "r2.json", record.model_copy(update={"run_id": "r2", "cells": ()}))
    store = MemoryStore()
    assert list(import_records(store, tmp_path / "r1.json", runs=tmp_path / "x").added) == ["r1"]
    assert list(store.cells()) == [cell("r1")]
    assert files(tmp_path / "x") == ["r1/ranks.npz"]


@pytest.mark.parametrize("name", ["main.ranks.npz", "not_run.json", "notes.txt"])
def test_another_file_is_refused_with_what_to_import(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=rf"{name}: no file of records .*; import its folder: h"):
        import_records(MemoryStore(), tmp_path / name)
    with pytest.raises(ConfigError, match=r"none\.jsonl\.gz: no such file or folder"):
        import_records(MemoryStore(), tmp_path / "none.jsonl.gz")


# --- damaged files ------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path: Path, filled: MemoryStore, runs: Path) -> Path:
    export(filled, filled.ids(), tmp_path / "exported", runs=runs)
    return tmp_path / "exported"


def refused(folder: Path, tmp_path: Path, message: str) -> None:
    """Check that an import is refused with a message and leaves nothing."""
    with contextlib.closing(open_store(tmp_path / "harness.db")) as store:
        with pytest.raises(StoreError, match=message):
            import_records(store, folder, runs=tmp_path / "there")
        assert (list(store.ids()), list(store.cells())) == ([], [])
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["other.jsonl.gz", "other.ranks.npz"])
def test_a_file_that_is_cut_off_is_refused_by_name(
    exported: Path, tmp_path: Path, name: str
) -> None:
    whole = (exported / name).read_bytes()
    kind = "records" if name.endswith("gz") else "ranks"
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        (exported / name).write_bytes(whole[:length])
        empty = "|not a file of records: it is empty" if name.endswith("gz") else ""
        refused(exported, tmp_path, rf"{name}: (not a complete file of {kind}{empty})")


def test_a_changed_byte_of_ranks_is_refused_or_changes_nothing(
    exported: Path, tmp_path: Path, runs: Path
) -> None:
    path = exported / "main.ranks.npz"
    whole, noticed = path.read_bytes(), 0
    for position in range(0, len(whole), 7):
        changed = bytes([whole[position] ^ 0xFF])
        path.write_bytes(whole[:position] + changed + whole[position + 1 :])
        there = tmp_path / f"there{position}"
        try:
            import_records(MemoryStore(), exported, runs=there)
        except StoreError as error:
            noticed += "main.ranks.npz" in str(error)
        else:
            assert contents(there) == contents(runs)
    assert noticed > len(whole) / 7 / 2


def test_an_array_under_the_name_of_another_is_refused(exported: Path, tmp_path: Path) -> None:
    path = exported / "other.ranks.npz"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    first, second, *_ = members
    members[first] = members[second]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    digest = first.removesuffix(".npy")
    refused(exported, tmp_path, rf"other\.ranks\.npz: array {digest} holds other values than its")


def test_a_missing_file_of_ranks_and_ranks_without_records_are_refused(
    exported: Path, tmp_path: Path
) -> None:
    (exported / "other.ranks.npz").rename(exported / "else.ranks.npz")
    refused(exported, tmp_path, r"else\.ranks\.npz: ranks without their records, else\.jsonl\.gz")
    (exported / "else.ranks.npz").unlink()
    refused(exported, tmp_path, r"other\.jsonl\.gz: .*other\.ranks\.npz is missing")


def test_ranks_of_another_run_are_refused(exported: Path, tmp_path: Path) -> None:
    changed = lines(exported / "main.jsonl.gz")
    (first,) = (line["run"] for line in changed if line.get("run", {}).get("ranks"))
    first["ranks"]["head_better"] = first["ranks"]["tail_better"]
    rewrite(exported / "main.jsonl.gz", changed)
    message = r"main\.jsonl\.gz: run r1: .*main\.ranks\.npz: "
    refused(exported, tmp_path, message + "(other numbers follow|head query)")
    first["ranks"]["head_better"] = "0" * 24
    rewrite(exported / "main.jsonl.gz", changed)
    refused(exported, tmp_path, message + "array 0{24} is missing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, rest: [header, *rest[1:]], "holds 1 cells, its first line says 2"),
        (lambda header, rest: [header, *rest[:-1]], "holds 1 runs, its first line says 2"),
        (lambda header, rest: [header, *rest, rest[-1]], r"gz:6: run r2 is there twice"),
        (lambda header, rest: [header | {"version": 2}, *rest], "gz:1: version: this harness rea"),
        (lambda header, rest: [header | {"content": "x"}, *rest], "gz:1: content: "),
        (lambda header, rest: [header | {"rank_files": 10**12}, *rest], "gz:1: rank_files: "),
        (lambda header, rest: [header | {"suite": "x"}, *rest], "gz:2: cell of suite 'main' in"),
        (
            lambda header, rest: [header, {"row": 1}, *rest],
            "gz:2: not a record: needs one of suite",
        ),
        (lambda header, rest: [header, [1], *rest], r"gz:2: not a record: \[1\]"),
        (lambda header, rest: [header, {"run": 1}, *rest], "gz:2: version: "),
        (lambda header, rest: [header, {"cell": {}}, *rest], "gz:2: suite: "),
    ],
)
def test_lines_that_cannot_be_are_refused_with_their_number(
    exported: Path, tmp_path: Path, change: Callable[..., Any], message: str
) -> None:
    header, *rest = lines(exported / "main.jsonl.gz")
    rewrite(exported / "main.jsonl.gz", change(header, rest))
    refused(exported, tmp_path, rf"main\.jsonl\.{message}" if message[0] == "g" else message)


@pytest.mark.parametrize(
    ("name", "value", "recorded"),
    [("dataset", "mkg-w", "atlas"), ("features", "none", "names"), ("seed", 5, "0")],
)
def test_a_cell_that_contradicts_the_record_of_its_run_is_refused_with_its_line(
    exported: Path, tmp_path: Path, name: str, value: object, recorded: str
) -> None:
    """The first cell of other.jsonl.gz is of run r1, whose record is in main.jsonl.gz."""
    changed = lines(exported / "other.jsonl.gz")
    changed[1]["cell"][name] = value
    rewrite(exported / "other.jsonl.gz", changed)
    message = f"{name} is '{value}', in the record of run r1 '{recorded}'"
    refused(exported, tmp_path, rf"other\.jsonl\.gz:2: suite other, RotatE on .*: {message}$")
    store = MemoryStore()
    import_records(store, exported / "main.jsonl.gz", runs=tmp_path / "stored")
    with pytest.raises(StoreError, match=message):
        import_records(store, exported / "other.jsonl.gz", runs=tmp_path / "stored")
    assert list(store.ids()) == ["r1", "r2"]


def test_a_cell_that_contradicts_the_record_of_its_run_is_neither_exported_nor_merged(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store = MemoryStore()
    store.add(make_record("r1"))
    store.plan("main", "", [cell("r1", seed=1)])
    message = "suite main, RotatE on atlas, seed 1: seed is '1', in the record of run r1 '0'"
    with pytest.raises(StoreError, match=message):
        export(store, ["r1"], tmp_path / "records", runs=tmp_path)
    with pytest.raises(StoreError, match=message):
        merge(MemoryStore(), store)
    assert files(tmp_path) == []


def test_a_sealed_file_cannot_leave_its_folder(exported: Path, tmp_path: Path) -> None:
    changed = lines(exported / "main.jsonl.gz")
    run = changed[3]["run"]
    run["sealed"] = {"../../1.raw.npz": run["ranks"]}
    rewrite(exported / "main.jsonl.gz", changed)
    refused(exported, tmp_path, r"run r1: sealed: no such file '\.\./\.\./1\.raw\.npz'")


def test_a_file_that_cannot_be_added_leaves_nothing_of_it(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full while the cells of a file are added, after its runs."""
    for store in (MemoryStore(), open_store(tmp_path / "harness.db")):
        with monkeypatch.context() as patch, contextlib.closing(store):
            added = store.add_cells
            turns = itertools.count()

            def full(cells: Any, added: Any = added, turns: Any = turns) -> Any:
                if next(turns):
                    raise MachineError("disk full")
                return added(cells)

            patch.setattr(store, "add_cells", full)
            with pytest.raises(MachineError, match="disk full"):
                import_records(store, exported, runs=tmp_path / "there")
            assert sorted(store.ids()) == ["r1", "r2"]  # main.jsonl.gz, the first file
            assert files(tmp_path / "there") == ["r1/ranks.npz"]
            patch.setattr(store, "add_cells", added)
            assert list(import_records(store, exported, runs=tmp_path / "there").added) == ["r3"]
            assert len(store.cells()) == 4
        shutil.rmtree(tmp_path / "there")


UNSTORABLE: dict[str, tuple[str, tuple[Any, ...], Any, str]] = {
    "NUL": ("run", ("record", "notes"), ["a\0b"], "notes.0: holds a NUL character"),
    "NUL in JSON": (
        "run",
        ("record", "provenance", "versions", "torch"),
        "2\0",
        "provenance.versions.torch: holds a NUL character",
    ),
    "half of a surrogate pair": (
        "run",
        ("record", "provenance", "commit"),
        "\ud800",
        "provenance.commit: holds half of a surrogate pair",
    ),
    "a key": ("run", ("record", "provenance", "\udc00"), 1, r"provenance.'\\udc00': holds half of"),
    "NaN": (
        "run",
        ("record", "provenance", "load"),
        float("nan"),
        "provenance.load: is nan, which",
    ),
    "infinity": ("run", ("record", "history", 0, "loss"), float("inf"), "history.0.loss: Input"),
    "an integer of 71 bits": (
        "run",
        ("record", "provenance", "threads"),
        2**70,
        "provenance.threads: is an integer of more than 64 bits",
    ),
    "a seed": ("run", ("record", "seed"), 2**63, "seed: Input should be less than"),
    "a position": ("cell", ("position",), 2**70, "position: Input should be less than"),
    "a label": ("cell", ("label",), "x" * 401, "label: String should have at most 400"),
    "a digest": ("run", ("record", "dataset_digest"), "x" * 201, "dataset_digest: String should"),
}
"""Case -> kind of line, place of the value, the value, message."""


@pytest.mark.parametrize("case", UNSTORABLE)
def test_a_value_that_some_store_cannot_hold_is_refused_with_line_and_key_for_every_store(
    exported: Path, tmp_path: Path, case: str
) -> None:
    kind, (*parents, key), value, message = UNSTORABLE[case]
    changed = lines(exported / "other.jsonl.gz")
    number = max(i for i, line in enumerate(changed) if kind in line)
    place = changed[number][kind]
    for parent in parents:
        place = place[parent]
    place[key] = value
    rewrite(exported / "other.jsonl.gz", changed)
    said = rf"other\.jsonl\.gz:{number + 1}: {message}"
    for store in (MemoryStore(), open_store(tmp_path / "harness.db")):
        with contextlib.closing(store):
            with pytest.raises(StoreError, match=said):
                import_records(store, exported, runs=tmp_path / "there")
            assert (list(store.ids()), list(store.cells())) == ([], [])
    assert not (tmp_path / "there").exists()


def test_a_number_of_thousands_of_digits_is_refused_with_its_line(
    exported: Path, tmp_path: Path
) -> None:
    text = gzip.decompress((exported / "other.jsonl.gz").read_bytes()).decode()
    text = text.replace('"seed":2', f'"seed":{"1" * 5000}', 1)
    (exported / "other.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    refused(exported, tmp_path, r"other\.jsonl\.gz:\d+: not a record: .*5000 digits")


def test_nothing_is_exported_beside_files_of_an_earlier_version(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    write_record(tmp_path / "r2.json", make_record("r2"))
    store = MemoryStore()
    store.add(make_record("r1"))
    with pytest.raises(StoreError, match=r"r2\.json: .* of an earlier version.* harness db import"):
        export(store, ["r1"], tmp_path, runs=tmp_path)
    assert files(tmp_path) == ["r2.json"]


# --- folders of an earlier version ----------------------------------------------------------


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
    write_record(tmp_path / "r2.json", make_record("r2", seed=1, cells=(cell("r2", seed=1),)))
    write_record(tmp_path / "r3.json", make_record("r3"))
    store = MemoryStore()
    store.add(make_record("r1"))
    store.add(make_record("r3", status="failed", error="killed"))
    store.plan("main", "", [cell("r5", seed=1), cell("r6", seed=2)])
    taken = import_records(store, tmp_path)
    assert (list(taken.added), taken.already_stored) == (["r2", "r3"], 1)
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


def test_import_leaves_ranks_that_agree_with_the_record(
    tmp_path: Path, make_measured: MakeRecord
) -> None:
    record = make_measured("r1", tmp_path / "records" / "r1.npz")
    write_record(tmp_path / "records" / "r1.json", record)
    ranks = tmp_path / "runs" / "r1" / "ranks.npz"
    make_measured("r1", ranks)
    before = ranks.stat().st_mtime_ns
    store = MemoryStore()
    import_records(store, tmp_path / "records", runs=tmp_path / "runs")
    assert (list(store.ids()), ranks.stat().st_mtime_ns) == (["r1"], before)


@pytest.mark.parametrize("with_ranks", [True, False])
@pytest.mark.parametrize("status", [None, "validated"])
def test_a_record_is_not_added_to_a_run_folder_with_other_ranks(
    tmp_path: Path, make_measured: MakeRecord, status: str | None, with_ranks: bool
) -> None:
    """The ranks are left of a training on this machine, and the record is of another."""
    record = make_measured("r1", tmp_path / "records" / "r1.npz")
    write_record(tmp_path / "records" / "r1.json", record)
    if not with_ranks:
        (tmp_path / "records" / "r1.npz").unlink()
    ranks, store = tmp_path / "runs" / "r1" / "ranks.npz", MemoryStore()
    make_measured("r1", ranks, seed=1)
    stored = [record.model_copy(update={"status": status, "metrics": ()})] if status else []
    for earlier in stored:
        store.add(earlier)
    other_numbers = rf"r1\.json: run r1: {ranks}: other numbers follow from the ranks: .*"
    advice = rf"; `harness runs rm r1` removes {ranks.parent}$"
    with pytest.raises(StoreError, match=other_numbers + advice):
        import_records(store, tmp_path / "records", runs=tmp_path / "runs")
    ranks.write_bytes(b"")
    with pytest.raises(StoreError, match=rf"{ranks}: not a complete rank file .*{advice}"):
        import_records(store, tmp_path / "records", runs=tmp_path / "runs")
    assert list(store.find()) == stored


def test_import_adds_no_ranks_to_a_record_with_other_numbers(
    tmp_path: Path, make_measured: MakeRecord
) -> None:
    """The same run was trained on two machines, and their results differ."""
    record = make_measured("r1", tmp_path / "records" / "r1.npz")
    write_record(tmp_path / "records" / "r1.json", record)
    store, runs = MemoryStore(), tmp_path / "runs"
    halved = tuple(m.model_copy(update={"value": m.value / 2}) for m in record.metrics)
    store.add(record.model_copy(update={"metrics": halved}))
    assert import_records(store, tmp_path / "records", runs=runs).already_stored == 1
    assert not (runs / "r1" / "ranks.npz").exists()
    store.remove("r1")
    store.add(record)
    import_records(store, tmp_path / "records", runs=runs)
    assert (runs / "r1" / "ranks.npz").is_file()


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
    assert files(tmp_path) == ["main.jsonl.gz"]
    import_records(other, tmp_path, runs=tmp_path)
    assert list(other.cells()) == [cell("aaaa"), without_run()]


def test_reasons_of_an_earlier_version_are_read(tmp_path: Path, make_record: MakeRecord) -> None:
    store = MemoryStore()
    write_record(tmp_path / "aaaa.json", make_record("aaaa", cells=(cell("aaaa"),)))
    content = {"version": 1, "cells": [without_run().model_dump(mode="json")]}
    (tmp_path / "not_run.json").write_text(json.dumps(content))
    import_records(store, tmp_path, runs=tmp_path)
    assert list(store.cells()) == [cell("aaaa"), without_run()]


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
