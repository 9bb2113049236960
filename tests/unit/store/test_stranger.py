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
from harness.errors import ConfigError, StoreError
from harness.run.external import cell_of
from harness.store import open_store
from harness.store.archive import import_records
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import run_folder, write_below
from harness.store.memory import MemoryStore
from harness.store.records import Cell, RunRecord, StoredSuite

ESCAPE = "x/../../README"
NAMES = [ESCAPE, "/etc/passwd", "..", "", "a b", "Suite", "a\n", "a\x1b[2J", "x" * 65]

SAMPLE = {"stage": "s", "name": "n", "seconds": (1.0,)}
MakeRecord = Callable[..., RunRecord]


def cell(**changes: Any) -> Cell:
    atlas = {"dataset": "atlas", "features": "names", "seed": 0}
    values = {"suite": "toy", "position": 0, "label": "R", **atlas}
    return Cell(**{**values, "run_id": "aaaa", **changes})


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def home(tmp_path: Path, make_record: MakeRecord) -> Path:
    """The results folder of the commands, with a suite of one run."""
    with closing(open_store(tmp_path / "results" / "harness.db")) as store:
        for run_id in ("aaaa", "bbbb", "cccc"):
            store.add(make_record(run_id))
        store.plan("toy", "", [cell()])
        store.plan("sound", "", [cell(suite="sound", run_id="bbbb")])
        store.add_benchmark(BenchmarkRecord(benchmark_id="b", suite="toy", samples=(SAMPLE,)))
        store.add_suite(StoredSuite(suite="toy", title="Toys"))
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
    with pytest.raises(ValidationError, match="is no name"):
        BenchmarkRecord(benchmark_id="b", suite=name, samples=(SAMPLE,))


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


@pytest.mark.usefixtures("readable_ids", "few_definitions")
@pytest.mark.parametrize(
    ("table", "column"),
    [("cells", "suite"), ("cells", "variant"), ("benchmarks", "suite"), ("suites", "suite")],
)
def test_a_database_with_such_a_name_is_not_merged_and_the_rest_of_it_reported(
    table: str, column: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.txt").write_text("precious")
    (tmp_path / "out" / "suite-x").mkdir(parents=True)
    edit(home / "harness.db", f"UPDATE {table} SET {column} = ? WHERE suite = 'toy'", ESCAPE)
    message = f"{column}: '{ESCAPE}' is no name"
    merged = invoke("db", "merge", home / "harness.db", "--home", tmp_path / "other")
    assert isinstance(merged.exception, StoreError)
    assert message in str(merged.exception)
    reported = invoke("report", "--all", "--out", "out")
    assert reported.exit_code == 0
    assert reported.stderr.count("left out: ") == 1
    assert message in reported.stderr
    assert reported.stderr.count("remove it with: harness db check --repair") == 1
    assert (tmp_path / "out" / "suite-sound.txt").exists()
    assert (tmp_path / "README.txt").read_text() == "precious"
    assert {path.parent.name for path in tmp_path.rglob("*.txt")} == {tmp_path.name, "out"}


@pytest.mark.usefixtures("readable_ids")
@pytest.mark.parametrize(
    "damage",
    [
        f"UPDATE cells SET suite = '{ESCAPE}' WHERE suite = 'toy'",
        f"UPDATE cells SET variant = '{ESCAPE}' WHERE suite = 'toy'",
        "UPDATE cells SET suite = x'ff' WHERE suite = 'toy'",
        "UPDATE cells SET dataset = x'ff' WHERE suite = 'toy'",
        "UPDATE cells SET label = CAST(x'ff' AS TEXT) WHERE suite = 'toy'",
        "UPDATE cells SET seed = 'one', run_id = '../x' WHERE suite = 'toy'",
        f"UPDATE suites SET suite = '{ESCAPE}'",
        "UPDATE suites SET title = x'ff'",
        "UPDATE suites SET settings = '{'",
        f"UPDATE benchmarks SET suite = '{ESCAPE}'",
        "UPDATE benchmark_samples SET seconds = '{'",
        "UPDATE benchmark_samples SET benchmark_id = 'nobody'",
        "UPDATE metrics SET run_id = 'nobody' WHERE run_id = 'aaaa'",
    ],
)
def test_every_row_that_blocks_others_can_be_removed_with_the_command_that_is_named(
    damage: str, home: Path, tmp_path: Path
) -> None:
    place = ("--home", home)
    assert invoke("db", "check", *place).exit_code == 0
    edit(home / "harness.db", damage)
    checked = invoke("db", "check", *place)
    assert isinstance(checked.exception, StoreError)
    assert "harness db check --repair" in checked.stdout
    assert "Traceback" not in checked.output
    for words in (("runs", "list"), ("runs", "show", "bbbb"), ("runs", "rm", "cccc", "--yes")):
        assert invoke(*words, *place).exit_code == 0
    exported = ("db", "export", "--suite", "sound", "--out", tmp_path / "records", *place)
    assert invoke(*exported).exit_code == 0
    assert invoke("db", "import", tmp_path / "records", *place).exit_code == 0
    assert invoke("report", "--table", "sound", *place).exit_code == 0
    repaired = invoke("db", "check", "--repair", *place)
    assert "removed: " in repaired.stderr
    again = invoke("db", "check", *place)
    assert again.exit_code == 0
    assert "no problems" in again.stderr
    with closing(open_store(home / "harness.db")) as store:
        assert [cell.run_id for cell in store.cells("sound")] == ["bbbb"]


@pytest.mark.usefixtures("readable_ids")
def test_damaged_settings_are_named_with_their_variant(home: Path) -> None:
    with closing(open_store(home / "harness.db")) as store:
        store.add_suite(StoredSuite(suite="toy", variant="beef"))
    edit(home / "harness.db", "UPDATE suites SET settings = '[1]' WHERE variant = 'beef'")
    checked = invoke("db", "check", "--home", home)
    message = "suite toy, variant beef: stored title or settings are damaged: settings: "
    assert message in checked.stdout


def test_a_run_whose_id_is_none_is_removed_by_a_repair(home: Path) -> None:
    edit(home / "harness.db", "UPDATE runs SET run_id = x'ff' WHERE run_id = 'aaaa'")
    repaired = invoke("db", "check", "--repair", "--home", home)
    assert "removed: run b'\\xff': no id of a run" in repaired.stderr
    with closing(open_store(home / "harness.db")) as store:
        assert list(store.ids()) == ["bbbb", "cccc"]


@pytest.mark.usefixtures("readable_ids")
def test_a_report_names_the_file_that_it_did_not_write_and_writes_the_others(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "suite-sound.tex").symlink_to(tmp_path / "precious")
    ended = invoke("report", "--all", "--out", tmp_path / "out", "--home", home)
    assert ended.exit_code == 4
    assert ended.stderr.count("'suite-sound.tex': leads out of") == 1
    assert "nothing was written" not in ended.stderr
    assert (tmp_path / "precious").read_text() == "precious"
    listed = set(ended.stdout.split())
    assert listed == {path.name for path in (tmp_path / "out").iterdir()} - {"suite-sound.tex"}
    assert {"suite-sound.txt", "suite-toy.txt"} < listed


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
    edit(
        home / "harness.db",
        "UPDATE runs SET status = 'failed', run_id = ? WHERE run_id = 'aaaa'",
        "../../x",
    )
    assert isinstance(invoke("runs", "retry").exception, StoreError)
    assert (tmp_path / "x" / "record.json").read_text() == "precious"


def test_the_suite_of_a_score_is_a_name(make_record: MakeRecord) -> None:
    with pytest.raises(ConfigError, match=r"--suite: 'x/\.\./\.\./README' is no name"):
        cell_of(MemoryStore(), make_record("aaaa"), "mine", ESCAPE)


@pytest.mark.usefixtures("readable_ids")
def test_what_is_wrong_in_a_merged_database_is_said_of_that_database(
    home: Path, tmp_path: Path
) -> None:
    edit(home / "harness.db", "UPDATE cells SET run_id = '../x' WHERE suite = 'toy'")
    merged = invoke("db", "merge", home / "harness.db", "--home", tmp_path / "other")
    assert str(merged.exception).startswith(
        f"{home / 'harness.db'}: nothing was merged:\nsuite toy, row R on atlas: the stored place"
    )
