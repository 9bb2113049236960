"""Results that cannot be written, of another user or on a read-only disk, can be read."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.store import open_store

Run = Callable[..., Any]

SUITE = """\
name: toy
datasets: ["synthetic:entities=60,relations=4,train=400,valid=40,test=40"]
rows: [random, lookup]
seeds: [0, 1, 2]
"""
CLAIMS = """\
claims:
  - {claim: Lookup is better than chance, better: "toy:Lookup", than: "toy:Random"}
"""
READING = {
    "report": ["report"],
    "report of everything": ["report", "--all", "--out", "{out}"],
    "page": ["report", "--html", "--out", "{out}/page.html"],
    "list": ["runs", "list"],
    "show": ["runs", "show", "{first}"],
    "difference": ["runs", "diff", "{first}", "{second}"],
    "comparison": ["compare", "toy:lookup", "toy:random"],
    "claims": ["claims", "check", "{claims}"],
    "check": ["db", "check"],
    "export": ["db", "export", "--out", "{out}"],
    "merge": ["db", "merge", "{home}/harness.db", "--home", "{out}"],
}
WRITING = {
    "rm": ["runs", "rm", "{first}", "--yes"],
    "retry": ["runs", "retry"],
    "merge": ["db", "merge", "{home}/harness.db"],
    "upgrade": ["db", "upgrade"],
}
UNSHARED = "import ctypes, sys; sys.exit(bool(ctypes.CDLL(None).unshare(0x20000)))"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the results that every test begins with."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def home(finished: Path, harness: Run, tmp_path: Path) -> Path:
    """A results folder with a suite of two rows."""
    if not (finished / "results").is_dir():
        (finished / "toy.yaml").write_text(SUITE)
        ended = harness("run", finished / "toy.yaml", "--home", finished / "results")
        assert ended.code == 0, ended.err
    shutil.copytree(finished / "results", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def words(home: Path, tmp_path: Path) -> Callable[[list[str]], list[str]]:
    """Return a function that puts the names of this test into the words of a command."""
    claims, out = tmp_path / "claims.yaml", tmp_path / "out"
    claims.write_text(CLAIMS)
    out.mkdir()
    with closing(open_store(home / "harness.db")) as store:
        first, second, *_ = store.ids()
    names = {"home": home, "out": out, "claims": claims, "first": first, "second": second}
    return lambda command: [word.format(**names) for word in command]


@pytest.fixture
def sealed(home: Path) -> Iterator[Mapping[str, str]]:
    """Options of a command that cannot write the results folder."""
    if os.getuid():
        for path in (home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield {}
        for path in (home, *home.rglob("*")):
            path.chmod(0o755)
        return
    if (
        not hasattr(ctypes.CDLL(None), "unshare")
        or subprocess.run([sys.executable, "-c", UNSHARED], check=False).returncode
    ):
        pytest.skip("root can write everywhere, and mounts nothing read-only here")
    yield {"read_only": str(home)}


def content(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", READING.values(), ids=READING)
def test_what_reads_works(
    command: list[str], harness: Run, words: Any, home: Path, sealed: Mapping[str, str]
) -> None:
    before = content(home)
    ended = harness(*words(command), **sealed)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert content(home) == before


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_what_writes_is_refused(
    command: list[str], harness: Run, words: Any, home: Path, sealed: Mapping[str, str]
) -> None:
    before = content(home)
    ended = harness(*words(command), **sealed)
    assert ended.code == 4
    assert f"error: {home}/harness.db" in ended.err
    assert "set HARNESS_HOME to another folder" in ended.err
    assert content(home) == before


@pytest.mark.parametrize("index", [True, False])
def test_changes_that_a_killed_process_left_are_read_or_named(
    index: bool, harness: Run, home: Path, sealed: Mapping[str, str]
) -> None:
    """SQLite has them in a log beside the database, with an index of it."""
    change = "UPDATE runs SET model = 'of the log'"
    killed = (
        f"import os, sqlite3; sqlite3.connect({str(home / 'harness.db')!r}, isolation_level=None)"
    )
    subprocess.run([sys.executable, "-c", f"{killed}.execute({change!r}); os._exit(0)"], check=True)
    assert (home / "harness.db-wal").stat().st_size
    if not index:
        (home / "harness.db-shm").unlink()
    ended = harness("runs", "list", "--json", **sealed)
    if index:
        assert (ended.code, "of the log" in ended.out) == (0, True), ended.err
    else:
        assert ended.code == 4
        assert "harness.db-wal: holds changes of a process that did not end" in ended.err
    with closing(sqlite3.connect(home / "harness.db")) as connection:
        assert connection.execute("SELECT DISTINCT model FROM runs").fetchall() == [("of the log",)]
