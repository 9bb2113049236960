"""Eight processes do the same at once: all of them end well, and the result is that of one."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults import outcomes
from tests.faults.commands import SECONDS, Commands, problems_of
from tests.faults.conftest import MakeCases
from tests.faults.families import seeds
from tests.faults.films import Place
from tests.faults.operations import OPERATIONS, Bench

PROCESSES = 8


RACES = {
    "run": [],
    "encode": [],
    "study": [],
    "import": [OPERATIONS["merge"].words],
    "data": [],
    "fetch": [],
    "export": [],
    "promote": ["study show search", "db check", "runs list"],
}
"""Operations that eight processes do, in turn with other commands."""


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("part", seeds(2, sample=1))
def test_processes_at_once(
    bench: Bench, cases: MakeCases, tmp_path: Path, name: str, part: range
) -> None:
    prepared, texts = bench.prepared(name), [OPERATIONS[name].words, *RACES[name]]
    with cases("races") as counted:
        for seed in part:
            draw, place = random.Random(f"{name} {seed}"), prepared.place.copy(tmp_path / str(seed))
            pause, started = draw.choice((0.0, 0.02, 0.1)), []
            for number in range(PROCESSES):
                words = bench.words(texts[number % len(texts)], place)
                started.append(bench.commands.start(place, *words))
                time.sleep(draw.uniform(0, pause))
            problems = [p for c in started for p in problems_of(c.wait(SECONDS))]
            problems += bench.repeat(name, place, bench.words(texts[0], place))
            counted.add(f"{name}, seed {seed}", problems, PROCESSES)


OPENS = """
import time
while time.monotonic() < {moment}:
    pass
from harness.store import open_store
open_store(Path({database!r})).close()
os._exit(0)
"""


@pytest.mark.parametrize("part", seeds(5, sample=1))
def test_processes_that_start_at_once_make_one_database(
    commands: Commands, place: Place, cases: MakeCases, part: range
) -> None:
    with cases("races") as counted:
        for seed in part:
            database = place.folder / f"new{seed}" / "harness.db"
            first = OPENS.format(moment=time.monotonic() + 0.3, database=str(database))
            started = [commands.start(place, first=first) for _ in range(PROCESSES)]
            problems = [p for c in started for p in problems_of(c.wait(SECONDS))]
            outcomes.stored(database.parent)
            counted.add(f"database, seed {seed}", problems, PROCESSES)
