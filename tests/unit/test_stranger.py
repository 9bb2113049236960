"""Records and databases of somebody else: names that lead out of a folder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from harness.cli.main import app
from harness.cli.score import _cell
from harness.errors import ConfigError, StoreError
from harness.store import open_store
from harness.store.archive import import_records
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import run_folder, write_below
from harness.store.memory import MemoryStore
from harness.store.records import Cell, RunRecord

ESCAPE = "x/../../README"
NAMES = [ESCAPE, "/etc/passwd", "..", "", "a b", "Suite", "a\n", "a\x1b[2J", "x" * 65]

MakeRecord = Callable[..., RunRecord]


def cell(**changes: Any) -> Cell:
    values = {"suite": "toy", "position": 0, "label": "R", "dataset": "atlas", "seed": 0}
    return Cell(**{**values, "run_id": "aaaa", **changes})


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def home(tmp_path: Path, make_record: MakeRecord) -> Path:
    """The results folder of the commands, with a suite of one run."""
    with closing(open_store(tmp_path / "results" / "harness.db")) as store:
        store.add(make_record("aaaa"))
        store.plan("toy", "", [cell()])
    return tmp_path / "results"


def edit(database: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement, values)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_and_a_measurement_refuse_names_that_are_none(name: str) -> None:
    with pytest.raises(ValidationError, match="is no name"):
        cell(suite=name)
    if name:
        with pytest.raises(ValidationError, match="is no name"):
            cell(variant=name)
    sample = {"stage": "s", "name": "n", "seconds": (1.0,)}
    with pytest.raises(ValidationError, match="is no name"):
        BenchmarkRecord(benchmark_id="b", suite=name, samples=(sample,))


def test_an_imported_record_cannot_name_another_file(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    content = make_record("aaaa", cells=(cell(),)).model_dump(mode="json")
    content["cells"][0]["suite"] = ESCAPE
    (tmp_path / "aaaa.json").write_text(json.dumps(content))
    store = MemoryStore()
    with pytest.raises(
        StoreError, match=r"aaaa\.json: cells\.0\.suite: 'x/\.\./\.\./README' is no"
    ):
        import_records(store, tmp_path, runs=tmp_path / "runs")
    assert list(store.ids()) == []


@pytest.mark.usefixtures("readable_ids")
@pytest.mark.parametrize("column", ["suite", "variant"])
def test_a_database_with_such_a_name_is_neither_reported_nor_merged(
    column: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.txt").write_text("precious")
    (tmp_path / "out" / "suite-x").mkdir(parents=True)
    edit(home / "harness.db", f"UPDATE cells SET {column} = ?", ESCAPE)
    for words in (
        ("report", "--all", "--out", "out"),
        ("db", "merge", home / "harness.db", "--home", tmp_path / "other"),
    ):
        ended = invoke(*words)
        assert isinstance(ended.exception, StoreError), words
        assert f"{column}: '{ESCAPE}' is no name" in str(ended.exception)
    assert (tmp_path / "README.txt").read_text() == "precious"
    assert {path.parent.name for path in tmp_path.rglob("*.txt")} == {tmp_path.name, "out"}


@pytest.mark.parametrize("name", ["../a", "x/../../a", "/tmp/a", "link/a"])
def test_no_output_lies_outside_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "out" / "x").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="leads out of"):
        write_below(tmp_path / "out", name, b"")
    assert not (tmp_path / "a").exists()
    assert write_below(tmp_path / "out", "x/b", b"content").read_bytes() == b"content"


@pytest.mark.parametrize("run_id", ["../../x", "/x", "", ".", "a\n"])
def test_an_id_of_an_edited_database_names_no_folder(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no id of a run"):
        run_folder(tmp_path, run_id)


def test_retry_does_not_delete_outside_the_runs(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "record.json").write_text("precious")
    (home / "runs").mkdir()
    edit(home / "harness.db", "UPDATE runs SET status = 'failed', run_id = ?", "../../x")
    assert isinstance(invoke("runs", "retry").exception, StoreError)
    assert (tmp_path / "x" / "record.json").read_text() == "precious"


def test_the_suite_of_a_score_is_a_name(make_record: MakeRecord) -> None:
    with pytest.raises(ConfigError, match=r"--suite: 'x/\.\./\.\./README' is no name"):
        _cell(MemoryStore(), make_record("aaaa"), "mine", ESCAPE)
