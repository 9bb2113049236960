"""A command that is killed at any point and repeated ends as one that was not."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from harness.store import open_store
from harness.store.files import write_record
from harness.store.records import RunRecord
from tests.faults import outcomes
from tests.faults.commands import Commands, problems_of
from tests.faults.conftest import MakeCases
from tests.faults.families import seeds
from tests.faults.films import Place
from tests.faults.operations import OPERATIONS, Bench

KILLED = (-signal.SIGKILL, -signal.SIGALRM)


KILLS = {
    "training": {"run": 45, "fused": 15},
    "study": {"study": 18, "pruned": 12, "promote": 10},
    "report": {"page": 8, "table": 6, "export": 16},
    "exchange": {"import": 20, "merge": 14, "score": 14},
    "data": {"data": 20, "fetch": 20},
    "cache": {"encode": 14, "clean": 10},
    "removal": {"rm": 10},
}
CASES = [
    pytest.param(family, name, *part.values, id=f"{name}-{part.id}", marks=part.marks)
    for family, names in KILLS.items()
    for name, count in names.items()
    for part in seeds(count, sample=1)
]


@pytest.mark.parametrize(("family", "name", "part"), CASES)
def test_what_was_killed_goes_on(
    bench: Bench, cases: MakeCases, tmp_path: Path, family: str, name: str, part: range
) -> None:
    """What was stored before a kill is there after it, unchanged; the same command goes on."""
    operation, prepared = OPERATIONS[name], bench.prepared(name)
    with cases(family) as counted:
        for seed in part:
            draw, place = random.Random(f"{name} {seed}"), prepared.place.copy(tmp_path / str(seed))
            words = bench.words(operation.words, place)
            points, problems = [], []
            for _ in range(draw.choice((1, 1, 2))):
                point, pause = 1 + draw.randrange(prepared.points), draw.uniform(0, 0.01)
                pause = draw.choice((0.0, pause))
                before = outcomes.stored(place.folder / operation.home)
                first = f"inside.kill_at({point}, {pause})"
                ended = bench.commands.run(place, *words, first=first)
                problems += problems_of(ended, (*KILLED, *operation.repeated))
                after = outcomes.stored(place.folder / operation.home)
                if name != "rm" and not outcomes.kept(before, after):
                    problems.append("a stored result was lost or changed")
                if ended.code in KILLED:
                    points.append(f"{point} + {1000 * pause:.1f} ms")
            problems += bench.repeat(name, place, words)
            case = f"{name}, seed {seed} (killed at {', '.join(points)} of {prepared.points} calls)"
            counted.add(case, problems, len(points))


# --- the database alone ---------------------------------------------------------------------

OPENS = "from harness.store import open_store; open_store(Path({!r})).close(); os._exit(0)"
ADDS = """
from harness.store import open_store
from harness.store.files import read_record
record, store = read_record(Path({file!r})), open_store(Path({database!r}))
acknowledge = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(5000):
    store.add(record.model_copy(update=dict(run_id=f"{name}-{{i}}")))
    os.write(acknowledge, f"{name}-{{i}}\\n".encode())
"""


@pytest.mark.parametrize("part", seeds(25, sample=2))
def test_a_creation_that_was_killed_is_made_good(
    commands: Commands, place: Place, cases: MakeCases, part: range
) -> None:
    with cases("writers") as counted:
        for seed in part:
            database = place.folder / f"{seed}.db"
            process = commands.start(place, first=OPENS.format(str(database)))
            time.sleep(random.Random(f"creation {seed}").uniform(0, 0.05))
            process.send(signal.SIGKILL)
            problems = problems_of(process.wait(), (0, -signal.SIGKILL))
            with closing(open_store(database)) as store:
                problems += [*store.ids(), *store.check()]
            counted.add(f"creation, seed {seed}", problems)


@pytest.mark.parametrize("part", seeds(5, sample=1))
def test_acknowledged_records_survive(
    commands: Commands,
    place: Place,
    cases: MakeCases,
    make_record: Callable[..., RunRecord],
    part: range,
) -> None:
    """Three writers on one database, each killed at a random point."""
    database, file = place.folder / "harness.db", place.folder / "record.json"
    record = make_record("model", history=tuple({"loss": float(e)} for e in range(100)))
    write_record(file, record)
    with cases("writers") as counted:
        for seed in part:
            draw, logs = random.Random(f"writers {seed}"), []
            writers = []
            for name in (f"w{seed}{letter}" for letter in "abc"):
                logs.append(place.folder / name)
                paths = {"file": str(file), "database": str(database), "log": str(logs[-1])}
                writers.append(commands.start(place, first=ADDS.format(name=name, **paths)))
            _wait_for(logs)
            for writer in writers:
                time.sleep(draw.uniform(0, 0.06))
                writer.send(signal.SIGKILL)
            problems = [p for w in writers for p in problems_of(w.wait(), (-signal.SIGKILL,))]
            acknowledged = {run for log in logs for run in log.read_text().split()}
            problems += _unsound(database)
            with closing(open_store(database)) as store:
                added = {r.run_id: r for r in store.find() if r.run_id.startswith(f"w{seed}")}
            if not acknowledged <= set(added):
                problems.append("an acknowledged record was lost")
            if len(added) > len(acknowledged) + 3:
                problems.append("more than one record of a writer was not acknowledged")
            if any(r != record.model_copy(update={"run_id": i}) for i, r in added.items()):
                problems.append("a record was changed")
            counted.add(f"writers, seed {seed}", problems, 3)


def _unsound(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sound = sound and connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return [] if sound else ["the database is damaged"]


def _wait_for(logs: Sequence[Path]) -> None:
    """Wait until every writer has acknowledged something."""
    deadline = time.monotonic() + 60
    while not all(log.exists() and log.stat().st_size for log in logs):
        assert time.monotonic() < deadline, "nothing happened for a minute"
        time.sleep(0.002)
