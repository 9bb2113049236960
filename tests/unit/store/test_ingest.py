"""Records as files, written whole and read with errors that name the file; other stores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError, StoreError
from harness.store.archive import merge
from harness.store.files import read_record, write_record
from harness.store.memory import MemoryStore
from harness.store.records import Cell, RunRecord

pytestmark = pytest.mark.usefixtures("readable_ids")

MakeRecord = Callable[..., RunRecord]


def cell(run_id: str, seed: int = 0, suite: str = "main") -> Cell:
    values = {"label": "RotatE", "dataset": "atlas", "features": "names", "seed": seed}
    return Cell(suite=suite, position=0, run_id=run_id, **values)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- one record ---------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written(tmp_path: Path, make_record: MakeRecord) -> None:
    record = make_record("aaaa", cells=(cell("aaaa"),), notes=("naïve ✓",))
    path = tmp_path / "runs" / "aaaa" / "record.json"
    write_record(path, record)
    assert read_record(path) == record
    assert files(tmp_path) == ["runs/aaaa/record.json"]


def test_a_failed_write_leaves_the_old_record_and_nothing_else(
    tmp_path: Path, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    write_record(path, make_record("aaaa"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match=r"record\.json: the disk is full"):
        write_record(path, make_record("aaaa", seed=7))
    assert read_record(path) == make_record("aaaa")
    assert files(tmp_path) == ["record.json"]


def test_settings_that_json_cannot_hold_are_refused(make_record: MakeRecord) -> None:
    with pytest.raises(ValueError, match="is nan, which JSON does not have"):
        make_record("aaaa", spec={"lr": float("nan")})


def test_a_metric_that_is_not_finite_is_refused(make_record: MakeRecord) -> None:
    with pytest.raises(ValueError, match="finite"):
        make_record("aaaa", history=({"loss": float("inf")},))


def test_a_metric_given_twice_is_refused(make_record: MakeRecord) -> None:
    metrics = make_record("aaaa").metrics
    with pytest.raises(ValueError, match="metric given twice: valid both all mrr"):
        make_record("aaaa", metrics=(*metrics, metrics[0]))


@pytest.mark.parametrize("run_id", ["../../etc", "", "a/b", ".", "a b"])
def test_a_run_id_cannot_leave_its_folder(make_record: MakeRecord, run_id: str) -> None:
    with pytest.raises(ValueError, match="run_id"):
        make_record(run_id)


def edited(**changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda content: json.dumps({**content, **changes})


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda content: "", r"record\.json:1: not a record: "),
        (lambda content: json.dumps(content, indent=1)[:400], r"record\.json:\d+: not a record"),
        (lambda content: "[1, 2]", "version: this harness reads records of version 1"),
        (edited(version=2), r"version: this harness reads records of version 1, this is 2"),
        (edited(version="one"), "version: this harness reads .* this is 'one'"),
        (edited(status="fine"), r"record\.json: status: Input should be 'ok', 'vali"),
        (edited(metrics=[{"metric": "mrr"}]), r"record\.json: metrics\.0\.split: Field required"),
        (edited(history=[{"loss": "NaN"}]), r"record\.json: history\.0\.loss: "),
        (edited(mrr=0.99), r"record\.json: mrr: Extra inputs are not permitted"),
        (edited(run_id="../x"), r"record\.json: run_id: "),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    tmp_path: Path, make_record: MakeRecord, edit: Callable[[dict[str, Any]], str], problem: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text(edit(make_record("aaaa").model_dump(mode="json")))
    with pytest.raises(StoreError, match=problem):
        read_record(path)


def test_a_binary_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b'{"version": "\xff\xfe"}')
    with pytest.raises(StoreError, match=r"record\.json: not a record"):
        read_record(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"record\.json: cannot be read \(No such file"):
        read_record(tmp_path / "record.json")


# --- another store ------------------------------------------------------------------------


def test_merge_adds_what_only_the_other_has(make_record: MakeRecord) -> None:
    mine, theirs = MemoryStore(), MemoryStore()
    mine.add(make_record("r1", provenance={"machine": "mine"}))
    mine.add(make_record("r2", seed=1, status="failed", error="killed"))
    mine.plan("main", "", [cell("r1")])
    theirs.add(make_record("r1"))
    theirs.add(make_record("r2", seed=1))
    theirs.add(make_record("r3", status="failed", error="no memory"))
    theirs.plan("main", "", [cell("r1"), cell("r2", seed=1)])
    taken = merge(mine, theirs)
    assert (list(taken.added), taken.already_stored) == (["r2", "r3"], 1)
    assert mine.get("r1") == make_record("r1", provenance={"machine": "mine"})
    assert mine.get("r2") == make_record("r2", seed=1)
    assert [c.run_id for c in mine.cells("main")] == ["r1", "r2"]
    assert list(merge(mine, theirs).added) == []


def without_run(suite: str = "main", seed: int = 1) -> Cell:
    none = {"run_id": "", "reason": "needs image"}
    return cell("none", seed, suite).model_copy(update=none)


def test_merging_brings_reasons_too(make_record: MakeRecord) -> None:
    store, other = MemoryStore(), MemoryStore()
    other.add(make_record("aaaa"))
    other.plan("main", "", [cell("aaaa"), without_run()])
    merge(store, other)
    assert list(store.cells()) == list(other.cells())
