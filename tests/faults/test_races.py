"""Eight processes do the same at once: all of them end well, and the result is that of one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults import films, outcomes
from tests.faults.conftest import SECONDS, Commands, MakeCases, problems_of
from tests.faults.families import seeds
from tests.faults.films import Place

PROCESSES = 8


class Race(NamedTuple):
    """Commands that start at once.

    Attributes:
        words: commands; the processes take them in turn.
        result: what they leave in a place.
        before: commands that prepare the place.
        codes: exit codes that each may have.
    """

    words: Sequence[str]
    result: Callable[[Place], Any]
    before: Sequence[str] = ()
    codes: Sequence[int] = (0,)


def _results(place: Place) -> Any:
    return outcomes.results(place.home)


def _imported(place: Place) -> Any:
    return outcomes.results(place.folder / "other")


def _files(name: str) -> Callable[[Place], Any]:
    return lambda place: outcomes.files(place.folder / name)


RUN, EXPORT = "run {folder}/small.yaml", "db export --out {folder}/records"
IMPORT = "db import {folder}/records --home {folder}/other"
RACES = {
    "run": Race([RUN], _results),
    "encode": Race(["run {folder}/named.yaml"], _results),
    "study": Race(
        ["study run {folder}/search.yaml"], lambda place: outcomes.study(place.home), codes=(0, 1)
    ),
    "import": Race([IMPORT], _imported, [RUN, EXPORT]),
    "merge": Race(
        ["db merge {folder}/results/harness.db --home {folder}/other", IMPORT],
        _imported,
        [RUN, EXPORT],
    ),
    "data": Race(
        ["data import {folder}/original --name again"], _files("cache/datasets/again")
    ),
    "fetch": Race(["data fetch pinned --base-url {mirror}"], _files("cache/datasets/Pinned")),
    "export": Race([EXPORT], _files("records"), [RUN]),
    "readers": Race([RUN, "report", "db check", "runs list"], _results, ["run {folder}/clean.yaml"]),
}


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("part", seeds(2, sample=1))
def test_processes_at_once(
    commands: Commands, place: Place, mirror: str, cases: MakeCases, tmp_path: Path,
    name: str, part: range,
) -> None:  # fmt: skip
    race = RACES[name]
    films.write_graph(place.folder / "original")

    def words(text: str, place: Place) -> list[str]:
        return text.format(folder=place.folder, mirror=mirror).split()

    for text in race.before:
        assert problems_of(commands.run(place, *words(text, place))) == []
    alone = place.copy(tmp_path / "alone")
    for text in race.words:
        assert problems_of(commands.run(alone, *words(text, alone))) == []
    expected = race.result(alone)
    with cases("races") as counted:
        for seed in part:
            draw, racing = random.Random(f"{name} {seed}"), place.copy(tmp_path / str(seed))
            pause = draw.choice((0.0, 0.02, 0.1))
            started = []
            for number in range(PROCESSES):
                text = race.words[number % len(race.words)]
                started.append(commands.start(racing, *words(text, racing)))
                time.sleep(draw.uniform(0, pause))
            problems = [p for c in started for p in problems_of(c.wait(SECONDS), race.codes)]
            if race.result(racing) != expected:
                problems.append("another result than that of one process")
            left = outcomes.leftovers(racing.folder)
            problems += [f"left behind: {', '.join(left)}"] if left else []
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
