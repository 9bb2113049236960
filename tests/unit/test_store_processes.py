"""The result database when processes start at once, and when they are killed.

The processes are forked from one that has imported everything, so that they start within
milliseconds and the moments that matter overlap.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.store import open_store
from harness.store.files import write_record
from harness.store.records import RunRecord

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORKER = """
import os, signal, sys, time
import harness.store.sql
from pathlib import Path
from harness.store import open_store
from harness.store.files import read_record

def opens(database, log, moment):
    while time.monotonic() < float(moment):
        pass
    open_store(database).close()

def adds(database, log, name, file):
    record = read_record(Path(file))
    store = open_store(database)
    acknowledge = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for i in range(5000):
        store.add(record.model_copy(update={"run_id": f"{name}-{i}"}))
        os.write(acknowledge, f"{name}-{i}\\n".encode())

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
for line in sys.stdin:
    action, database, log, *rest = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        try:
            globals()[action](database, log, *rest)
        except BaseException as error:
            Path(log).write_text(f"{type(error).__name__}: {error}\\n")
        os._exit(0)
    print(child, flush=True)
"""


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", FORKER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def fork(forker: subprocess.Popen[str], *words: object) -> int:
    """Start a process; return its id."""
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write("\t".join(map(str, words)) + "\n")
    forker.stdin.flush()
    return int(forker.stdout.readline())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for a minute"
        time.sleep(0.002)


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("attempt", range(5))
def test_processes_that_start_at_once_make_one_database(
    forker: subprocess.Popen[str], tmp_path: Path, attempt: int
) -> None:
    database, log = tmp_path / "new" / "harness.db", tmp_path / "log"
    moment = time.monotonic() + 0.1
    processes = [fork(forker, "opens", database, log, moment) for _ in range(4)]
    until(lambda: all(map(gone, processes)))
    assert not log.exists(), log.read_text()
    with contextlib.closing(open_store(database, create=False)) as store:
        assert list(store.check()) == []


def test_a_creation_that_was_killed_is_made_good(
    forker: subprocess.Popen[str], tmp_path: Path
) -> None:
    draw = random.Random(0)
    for attempt in range(10):
        database, log = tmp_path / f"{attempt}.db", tmp_path / "log"
        process = fork(forker, "opens", database, log, 0)
        time.sleep(draw.uniform(0, 0.05))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        until(lambda process=process: gone(process))  # type: ignore[misc]
        with contextlib.closing(open_store(database)) as store:
            assert list(store.ids()) == []
            assert list(store.check()) == []


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(
    forker: subprocess.Popen[str], tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    """Five rounds of three writers on one database, each killed at a random point."""
    database, file = tmp_path / "harness.db", tmp_path / "record.json"
    record = make_record("model", history=tuple({"loss": float(e)} for e in range(100)))
    write_record(file, record)
    draw = random.Random(0)
    acknowledged: list[str] = []
    for round_ in range(5):
        logs = [tmp_path / f"w{round_}{writer}" for writer in "abc"]
        writers = [fork(forker, "adds", database, log, log.name, file) for log in logs]
        until(lambda logs=logs: all(log.exists() and log.stat().st_size for log in logs))  # type: ignore[misc]
        for writer in writers:
            time.sleep(draw.uniform(0, 0.06))
            os.kill(writer, signal.SIGKILL)
        until(lambda writers=writers: all(map(gone, writers)))  # type: ignore[misc]
        acknowledged += [run for log in logs for run in log.read_text().split()]
        with contextlib.closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with contextlib.closing(open_store(database)) as store:
        stored = {found.run_id: found for found in store.find()}
    assert set(acknowledged) <= set(stored)
    assert len(acknowledged) >= 15
    # At most one more than was acknowledged by each writer, and every one of them whole.
    assert len(stored) <= len(acknowledged) + 15
    for run_id, found in stored.items():
        assert found == record.model_copy(update={"run_id": run_id})
