"""A row that was damaged keeps nobody from the others: one clear error names it and what helps."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.plan.spec import DataSpec, ModelSpec, RunSpec
from harness.store import open_store
from harness.store.records import Cell, RunRecord

Run = Callable[..., Any]

SPEC = RunSpec(model=ModelSpec(name="rotate"), data=DataSpec(dataset="atlas", features="names"))
SOUND, DAMAGED = (
    SPEC.model_copy(update={"seed": seed}).run_id(
        dataset_digest="d1", feature_digest="f1", model_numerics=1
    )
    for seed in (0, 1)
)
REMEDY = f"run {DAMAGED}: the stored record is damaged: .*harness runs rm {DAMAGED}"
WAYS = {
    "settings that are no JSON": "UPDATE runs SET spec = '{\"model\"' WHERE run_id = '{run}'",
    "modalities that are text": "UPDATE runs SET modalities = '\"all\"' WHERE run_id = '{run}'",
    "a status that there is not": "UPDATE runs SET status = 'great' WHERE run_id = '{run}'",
    "a seed that is no number": "UPDATE runs SET seed = 'one' WHERE run_id = '{run}'",
    "bytes that are no text": "UPDATE runs SET model = CAST(x'ff' AS TEXT) WHERE run_id = '{run}'",
    "a metric that cannot be": "UPDATE metrics SET value = 7 "
    "WHERE run_id = '{run}' AND metric = 'mrr'",
    "a metric that is text": "UPDATE metrics SET value = 'high' WHERE run_id = '{run}'",
}
BESIDE = {
    "provenance that is a number": "UPDATE runs SET provenance = 5 WHERE run_id = '{run}'",
    "an epoch that is cut off": "UPDATE history SET numbers = '{' WHERE run_id = '{run}'",
    "an epoch that is bytes": "UPDATE history SET numbers = x'7b7d' WHERE run_id = '{run}'",
    "a metric that no table shows": "UPDATE metrics SET value = 0 "
    "WHERE run_id = '{run}' AND metric = 'mr'",
}
"""Damage to what reports do not read."""


@pytest.fixture
def damaged(tmp_path: Path, make_record: Callable[..., RunRecord]) -> Callable[[str], None]:
    """Fill the database with two runs of a suite; return what damages the second."""
    with contextlib.closing(open_store()) as store:
        cells = []
        for seed, run_id in enumerate((SOUND, DAMAGED)):
            store.add(make_record(run_id, seed=seed))
            values = {"suite": "toy", "position": 0, "label": "RotatE", "dataset": "atlas"}
            cells.append(Cell(**values, features="names", seed=seed, run_id=run_id))
        store.plan("toy", "", cells)

    def damage(statement: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "results" / "harness.db")) as connection:
            connection.execute(statement.replace("{run}", DAMAGED))
            connection.commit()

    return damage


def assert_told(ended: Any, message: str = REMEDY) -> None:
    assert ended.code == 4, ended.err
    assert len(re.findall(r"^error: ", ended.err, re.MULTILINE)) == 1, ended.err
    assert re.search(message, ended.err), ended.err
    assert "Traceback" not in ended.err


QUICK = 1
"""Ways that are tried each time: each takes a handful of commands."""


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=() if place < QUICK else pytest.mark.slow)
        for place, way in enumerate([*WAYS, *BESIDE])
    ],
)
def test_a_damaged_row(
    harness: Run, damaged: Callable[[str], None], tmp_path: Path, way: str
) -> None:
    damaged({**WAYS, **BESIDE}[way])
    listed = harness("runs", "list")
    assert_told(listed)
    assert SOUND in listed.out
    assert DAMAGED not in listed.out
    as_json = harness("runs", "list", "--json")
    assert_told(as_json)
    assert [run["run_id"] for run in json.loads(as_json.out)] == [SOUND]
    assert harness("runs", "show", SOUND).code == 0
    for words in (
        ("show", DAMAGED),
        ("show", DAMAGED, "--json"),
        ("diff", SOUND, DAMAGED),
        ("diff", DAMAGED, SOUND, "--json"),
    ):
        ended = harness("runs", *words)
        assert_told(ended)
        assert ended.out == ""
    assert_told(harness("predict", DAMAGED, "--head", "a", "--relation", "b"))
    assert_told(harness("db", "export", "--run", DAMAGED, "--out", tmp_path / "records"))
    assert not (tmp_path / "records").exists()
    assert harness("db", "export", "--run", SOUND, "--out", tmp_path / "records").code == 0

    checked = harness("db", "check")
    assert_told(checked, "1 problem; `harness runs rm RUN` forgets a run")
    assert re.search(REMEDY, checked.out)

    reported = harness("report")
    assert reported.code == 0, reported.err
    said = " ".join(reported.out.split())
    told = f"1 of 2 seeds; run {DAMAGED}: the stored record is damaged" in said
    assert told == (way in WAYS)

    assert harness("runs", "rm", DAMAGED, "--yes").code == 0
    assert harness("runs", "list").code == 0
    assert harness("db", "check").code == 0


def test_every_damaged_row_is_listed_and_the_report_says_why_it_is_empty(
    harness: Run, damaged: Callable[[str], None]
) -> None:
    damaged("UPDATE runs SET spec = '{'")
    checked = harness("db", "check")
    assert_told(checked, "2 problems")
    assert len(checked.out.splitlines()) == 2
    for command in ("list", "retry"):
        assert "Traceback" not in harness("runs", command).err
    reported = harness("report")
    assert reported.code == 0
    assert "the stored record is damaged" in " ".join(reported.out.split())


def test_settings_that_lack_a_key(harness: Run, damaged: Callable[[str], None]) -> None:
    """The record is damaged; reports go on without it, and commands on it say what is missing."""
    damaged("UPDATE runs SET spec = '{\"seed\": 1}' WHERE run_id = '{run}'")
    missing = f"run {DAMAGED}: the stored record is damaged: spec.model: Field required"
    assert_told(harness("runs", "show", DAMAGED), missing)
    assert harness("report").code == 0
    assert_told(harness("predict", DAMAGED, "--head", "a", "--relation", "b"), missing)
    checked = harness("db", "check")
    assert_told(checked, "1 problem")
    assert missing in checked.out


def test_a_damaged_place_of_a_suite_is_named_with_what_plans_it_anew(
    harness: Run, damaged: Callable[[str], None]
) -> None:
    damaged("UPDATE cells SET run_id = '../x' WHERE seed = 1")
    message = "suite toy, row RotatE on atlas: the stored place is damaged: .*harness run SUITE"
    assert_told(harness("report"), message)
    shown = harness("runs", "show", SOUND)
    assert shown.code == 0
    assert re.search(f"left out: {message}", shown.err)
    checked = harness("db", "check")
    assert_told(checked, "1 problem")
    assert re.search(message, checked.out)
    assert harness("runs", "list").code == 0


def test_a_database_of_no_bytes_is_named_and_left_alone(harness: Run, tmp_path: Path) -> None:
    database = tmp_path / "results" / "harness.db"
    database.parent.mkdir()
    database.touch()
    for words in (("runs", "list"), ("db", "check"), ("report",), ("db", "export", "--out", "o")):
        assert_told(harness(*words), rf"{database}: empty, no result database yet; .*harness run")
    assert database.stat().st_size == 0


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no such folder here")
def test_a_results_folder_in_which_no_file_can_be_made_is_named_at_once(
    harness: Run, tmp_path: Path
) -> None:
    home = {"HARNESS_HOME": "/proc/self"}
    message = r"/proc/self/harness\.db\.lock: cannot write here .*; set HARNESS_HOME"
    assert_told(harness("run", "quickstart", "--only", "label=Popularity", **home), message)
    (tmp_path / "records").mkdir()
    assert_told(harness("db", "import", tmp_path / "records", **home), message)
    elsewhere = "/proc/x: this folder cannot be made .*; set HARNESS_HOME"
    assert_told(harness("db", "import", tmp_path / "records", HARNESS_HOME="/proc/x"), elsewhere)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no such folder here")
def test_an_export_to_where_no_folder_can_be_made_names_that_folder(
    harness: Run, damaged: Callable[[str], None]
) -> None:
    ended = harness("db", "export", "--out", "/proc/x")
    assert_told(ended, r"^error: /proc/x: this folder cannot be made \([^;]*\)\n$")
