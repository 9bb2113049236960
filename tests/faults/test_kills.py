"""A command that is killed at any point and repeated ends as one that was not."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.store import open_store
from harness.store.files import write_record
from harness.store.records import RunRecord
from tests.faults import films, outcomes
from tests.faults.conftest import Commands, MakeCases, problems_of
from tests.faults.families import seeds
from tests.faults.films import Place

KILLED = (-signal.SIGKILL, -signal.SIGALRM)


@dataclass(frozen=True)
class Operation:
    """A command, what comes before it, and its result.

    Attributes:
        words: its arguments; {folder} is the place's folder, {run} a run in it.
        result: what it leaves in a place, compared with that of the command without a kill.
        before: commands that prepare the place.
        home: name of the results folder that it writes to.
        codes: exit codes of the repetition.
    """

    words: str
    result: Callable[[Place], Any]
    before: Sequence[str] = ()
    home: str = "results"
    codes: Sequence[int] = (0,)


def _results(place: Place) -> Any:
    return outcomes.results(place.home)


def _imported(place: Place) -> Any:
    return outcomes.results(place.folder / "other")


def _study(place: Place) -> Any:
    return outcomes.study(place.home)


def _files(name: str) -> Callable[[Place], Any]:
    return lambda place: outcomes.files(place.folder / name)


RUN, EXPORT = "run {folder}/small.yaml", "db export --out {folder}/records"
OPERATIONS = {
    "run": Operation(RUN, _results),
    "fused": Operation("run {folder}/fused.yaml", _results),
    "study": Operation("study run {folder}/search.yaml", _study),
    "promote": Operation("study promote search", _study, ["study run {folder}/search.yaml"]),
    "page": Operation("report --html --out {folder}/out/page.html", _files("out"), [RUN]),
    "table": Operation(
        "report --table small --format latex --out {folder}/out/t.tex", _files("out"), [RUN]
    ),
    "export": Operation(EXPORT, _files("records"), [RUN]),
    "import": Operation(
        "db import {folder}/records --home {folder}/other", _imported, [RUN, EXPORT], "other"
    ),
    "merge": Operation(
        "db merge {folder}/results/harness.db --home {folder}/other", _imported, [RUN], "other"
    ),
    "score": Operation(
        "score {folder}/scores.npz --dataset films --name Other", _results, codes=(0, 2)
    ),
    "data": Operation("data import {folder}/original --name again", _files("cache/datasets/again")),
    "fetch": Operation("data fetch pinned --base-url {mirror}", _files("cache/datasets/Pinned")),
    "encode": Operation("run {folder}/named.yaml", _results),
    "clean": Operation("run {folder}/clean.yaml", _results),
    "rm": Operation("runs rm {run} --yes", _results, [RUN], codes=(0, 2)),
}
KILLS = {
    "training": {"run": 45, "fused": 15},
    "study": {"study": 25, "promote": 12},
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


class Trials:
    """Starts operations, in places that are prepared once each."""

    def __init__(self, commands: Commands, folder: Path, mirror: str) -> None:
        self.commands, self.folder, self.mirror = commands, folder, mirror
        self.ready: dict[str, tuple[Place, int, Any]] = {}

    def words(self, text: str, place: Place) -> list[str]:
        run = min((path.name for path in place.home.glob("runs/*")), default="")
        return text.format(folder=place.folder, mirror=self.mirror, run=run).split()

    def prepared(self, name: str) -> tuple[Place, int, Any]:
        """Return the place before an operation, its number of points, and its right result."""
        if name not in self.ready:
            operation = OPERATIONS[name]
            before = films.write_place(self.folder / name)
            films.write_scores(before.folder / "scores.npz")
            films.write_graph(before.folder / "original")
            for text in operation.before:
                ended = self.commands.run(before, *self.words(text, before))
                assert problems_of(ended) == []
            after = before.copy(self.folder / f"{name}-after")
            count = self.folder / f"{name}.points"
            ended = self.commands.run(
                after,
                *self.words(operation.words, after),
                first=f"inside.count_points({str(count)!r})",
            )
            assert problems_of(ended) == []
            self.ready[name] = before, int(count.read_text()), operation.result(after)
        return self.ready[name]


@pytest.fixture(scope="module")
def trials(
    _warm_forker: Any, tmp_path_factory: pytest.TempPathFactory, mirror: str
) -> Trials:
    folder = tmp_path_factory.mktemp("operations")
    return Trials(Commands(_warm_forker, folder), folder, mirror)


@pytest.mark.parametrize(("family", "name", "part"), CASES)
def test_what_was_killed_goes_on(
    trials: Trials, cases: MakeCases, tmp_path: Path, family: str, name: str, part: range
) -> None:
    operation = OPERATIONS[name]
    before, points, expected = trials.prepared(name)
    with cases(family) as counted:
        for seed in part:
            draw = random.Random(f"{name} {seed}")
            place = before.copy(tmp_path / str(seed))
            words = trials.words(operation.words, place)
            home = place.folder / operation.home
            log, problems, kills = [], [], 0
            for _ in range(draw.choice((1, 1, 2))):
                point, delay = 1 + draw.randrange(points), draw.choice((0.0, draw.uniform(0, 0.01)))
                log.append(f"{point} of {points}" + f" and {delay:.4f} s" * (delay > 0))
                kept = outcomes.stored(home)
                first = f"inside.kill_at({point}, {delay})"
                ended = trials.commands.run(place, *words, first=first)
                kills += ended.code in KILLED
                problems += problems_of(ended, (*KILLED, *operation.codes))
                if name != "rm" and not kept.items() <= outcomes.stored(home).items():
                    problems.append("a stored result was lost or changed")
            problems += problems_of(trials.commands.run(place, *words), operation.codes)
            problems += _differences(operation.result(place), expected)
            problems += [f"left behind: {', '.join(left)}" for left in [_left(place)] if left]
            counted.add(f"{name}, seed {seed} (killed at {', '.join(log)})", problems, max(1, kills))


def _differences(result: Any, expected: Any) -> list[str]:
    if result == expected:
        return []
    if not isinstance(result, dict):
        return ["another result than without the kill"]
    keys = [key for key in {**result, **expected} if result.get(key) != expected.get(key)]
    return [f"another result than without the kill: {', '.join(map(str, keys))}"]


def _left(place: Place) -> list[str]:
    return outcomes.leftovers(place.folder)


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
            _wait(lambda logs=logs: all(log.exists() and log.stat().st_size for log in logs))
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


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for a minute"
        time.sleep(0.002)
