"""``harness doctor`` names what is missing, and stops nothing that works."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.run import doctor
from harness.run.doctor import Diagnosis, diagnose
from harness.store import DATABASE, open_store


def findings(home: Path) -> dict[str, Diagnosis]:
    return {finding.topic: finding for finding in diagnose(home)}


def test_a_new_results_folder_is_no_problem(tmp_path: Path) -> None:
    by_topic = findings(tmp_path / "not" / "yet")
    assert by_topic["results"].status == "ok"
    assert by_topic["store"].status == "missing"
    assert by_topic["store"].remedy.startswith("harness run quickstart")
    assert not (tmp_path / "not").exists()


def test_a_store_is_counted(tmp_path: Path) -> None:
    open_store(tmp_path / DATABASE).close()
    assert findings(tmp_path)["store"] == Diagnosis("store", "ok", f"{tmp_path / DATABASE}: empty")


def test_a_store_of_an_older_schema_names_the_command_that_upgrades_it(tmp_path: Path) -> None:
    open_store(tmp_path / DATABASE).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("UPDATE harness_schema SET version_num = '0001'")
    store = findings(tmp_path)["store"]
    assert store.status == "problem"
    assert store.remedy == f"harness db upgrade {tmp_path / DATABASE}"


def test_a_missing_extra_has_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "parquet", "no_such_module")
    finding = findings(tmp_path)["[parquet]"]
    assert (finding.status, finding.remedy) == ("missing", "pip install -e '.[parquet]'")


def test_datasets_that_are_not_here_have_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert findings(tmp_path)["mkg-w"].remedy == "harness data fetch mkg-w"


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_SPACE", 2**80)
    result = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert result.exit_code == 4
    assert "!  results" in result.stdout
    assert max(map(len, result.stdout.replace(str(tmp_path), "").splitlines())) <= 80


def test_json_has_every_finding(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path), "--json"])
    assert {one["topic"] for one in json.loads(result.stdout)} >= {"harness", "store", "kernels"}
