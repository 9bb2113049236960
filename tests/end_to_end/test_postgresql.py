"""The commands with the store on a PostgreSQL server print what they print with a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import Server

Run = Callable[..., Any]

SUITE = """\
name: small
title: A small suite
datasets: ["synthetic:entities=60,relations=4,train=300,valid=40,test=40"]
rows: [transe, distmult]
base:
  model.dim: 8
  negatives.count: 4
  training: {epochs: 2, batch_size: 128, evaluate_every: 1}
seeds: [0, 1]
"""
STUDY = """\
study:
  sampler: tpe
  trials: 3
  at_once: 1
  space: {optimiser.lr: {low: 1e-3, high: 1e-1, log: true}}
"""
SECRET = "correct-horse"


def without_times(text: str) -> str:
    """Return a text without durations and memory, which differ from run to run."""
    return re.sub(r"\d+(\.\d+)? ?(s|ms|min|h|MiB)\b", "TIME", text)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def address(postgresql: Server) -> str:
    """An empty database; the server takes any password."""
    return postgresql.create().replace("postgres@", f"postgres:{SECRET}@")


def test_a_suite_is_run_shown_compared_and_exported_alike(
    harness: Run, suite: Path, address: str, tmp_path: Path
) -> None:
    printed: dict[str, list[str]] = {}
    for store in ("", address):
        home = tmp_path / ("server" if store else "file")
        environment = {"HARNESS_STORE": store or None, "HARNESS_HOME": str(home)}
        commands = (
            ("run", suite),
            ("run", suite, "--dry-run"),
            ("report", "--table", "small"),
            ("compare", "small:transe", "small:distmult"),
            ("runs", "list", "--json"),
            ("db", "check"),
            ("db", "export", "--suite", "small", "--out", tmp_path / f"out-{home.name}"),
        )
        texts = []
        for command in commands:
            ended = harness(*command, **environment)
            assert ended.code == 0, ended.err
            assert SECRET not in ended.out + ended.err
            texts.append(without_times(ended.out).replace(str(home), "HOME"))
        printed[home.name] = texts[:4]
        assert (home / "harness.db").exists() is (not store)
    assert printed["file"] == printed["server"]


def test_records_travel_between_a_file_and_a_server(
    harness: Run, suite: Path, address: str, tmp_path: Path
) -> None:
    home = str(tmp_path / "file")
    assert harness("run", suite, **{"HARNESS_HOME": home}).code == 0
    moved = harness(
        "db",
        "merge",
        f"{home}/harness.db",
        **{"HARNESS_HOME": home, "HARNESS_STORE": address},
    )
    assert moved.code == 0, moved.err
    assert "4 records added" in moved.err
    back = harness("db", "merge", address, **{"HARNESS_HOME": str(tmp_path / "back")})
    assert back.code == 0, back.err
    assert "4 records added" in back.err
    assert SECRET not in moved.err + back.err
    upgraded = harness("db", "upgrade", **{"HARNESS_STORE": address})
    assert "nothing to do" in upgraded.err
    assert "postgres:***@" in upgraded.err
    assert SECRET not in upgraded.err


def test_a_study_is_on_the_server_too(
    harness: Run, suite: Path, address: str, postgresql: Server, tmp_path: Path
) -> None:
    suite.write_text(SUITE.replace("rows: [transe, distmult]", "rows: [transe]") + STUDY)
    shown: dict[str, str] = {}
    for store in ("", address):
        home = tmp_path / ("server" if store else "file")
        environment = {"HARNESS_STORE": store or None, "HARNESS_HOME": str(home)}
        missing = harness("study", "show", "small", **environment)
        assert missing.code == 4
        assert "no studies at" in missing.err
        ended = harness("study", "run", suite, **environment)
        assert ended.code == 0, ended.err
        again = harness("study", "run", suite, **environment)
        assert again.code == 0, again.err
        shown[home.name] = without_times(harness("study", "show", "small", **environment).out)
        assert (home / "studies.db").exists() is (not store)
        assert SECRET not in missing.err + ended.err + again.err
    assert shown["file"] == shown["server"]
    name = address.rpartition("/")[2]
    (count,) = postgresql.execute("SELECT count(*) FROM harness_studies.trials", name)
    assert count == (3,)
