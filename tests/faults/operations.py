"""Commands that faults disturb, what comes before each, and its right result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import films, outcomes
from tests.faults.commands import Commands, problems_of
from tests.faults.films import Place

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """A command with its preparation and its result.

    Attributes:
        words: its arguments; {folder} is the place's folder, {mirror} the address of a mirror and
            {run} the id of a run.
        result: reads what it leaves in a place.
        before: commands that prepare the place.
        home: name of the results folder that it writes to.
        repeated: exit codes of a repetition.
    """

    words: str
    result: Callable[[Place], Result]
    before: Sequence[str] = ()
    home: str = "results"
    repeated: Sequence[int] = (0,)


def _results(place: Place) -> Result:
    return outcomes.results(place.home)


def _imported(place: Place) -> Result:
    return outcomes.results(place.folder / "other")


def _study(name: str) -> Callable[[Place], Result]:
    return lambda place: outcomes.study(place.home, name)


def _files(folder: str) -> Callable[[Place], Result]:
    return lambda place: outcomes.files(place.folder / folder)


RUN, EXPORT = "run {folder}/small.yaml", "db export --out {folder}/records"
SEARCH = "study run {folder}/search.yaml"
TABLE = "report --table small --format latex --out {folder}/out/table.tex"
IMPORT = "db import {folder}/records --home {folder}/other"
MERGE = "db merge {folder}/results/harness.db --home {folder}/other"
SCORE = "score {folder}/scores.npz --dataset films --name Other"
OPERATIONS = {
    "run": Operation(RUN, _results),
    "fused": Operation("run {folder}/fused.yaml", _results),
    "study": Operation(SEARCH, _study("search")),
    "pruned": Operation("study run {folder}/pruned.yaml", _study("pruned")),
    "promote": Operation("study promote search", _study("search"), [SEARCH]),
    "page": Operation("report --html --out {folder}/out/page.html", _files("out"), [RUN]),
    "table": Operation(TABLE, _files("out"), [RUN]),
    "export": Operation(EXPORT, _files("records"), [RUN]),
    "import": Operation(IMPORT, _imported, [RUN, EXPORT], home="other"),
    "merge": Operation(MERGE, _imported, [RUN, EXPORT], home="other"),
    "score": Operation(SCORE, _results, repeated=(0, 2)),
    "data": Operation("data import {folder}/original --name again", _files("cache/datasets/again")),
    "fetch": Operation("data fetch pinned --base-url {mirror}", _files("cache/datasets/Pinned")),
    "encode": Operation("run {folder}/named.yaml", _results),
    "clean": Operation("run {folder}/clean.yaml", _results),
    "rm": Operation("runs rm {run} --yes", _results, [RUN], repeated=(0, 2)),
}


@dataclass(frozen=True)
class Prepared:
    """A place before an operation, and what the undisturbed operation did to a copy of it.

    Attributes:
        place: folders before the operation.
        result: right result.
        points: calls at which the command can be killed.
        added: bytes that it adds.
    """

    place: Place
    result: Result
    points: int
    added: int


class Bench:
    """Prepares operations, once each, and runs them."""

    def __init__(self, commands: Commands, folder: Path, mirror: str) -> None:
        self.commands, self.folder, self.mirror = commands, folder, mirror
        self._prepared: dict[str, Prepared] = {}

    def words(self, text: str, place: Place) -> list[str]:
        """Return the arguments of a command in a place."""
        run = min((path.name for path in place.home.glob("runs/*")), default="")
        return text.format(folder=place.folder, mirror=self.mirror, run=run).split()

    def prepared(self, name: str) -> Prepared:
        """Prepare an operation, unless that was done before."""
        if name not in self._prepared:
            self._prepared[name] = self._prepare(OPERATIONS[name], name)
        return self._prepared[name]

    def _prepare(self, operation: Operation, name: str) -> Prepared:
        before = films.write_place(self.folder / name)
        films.write_scores(before.folder / "scores.npz")
        films.write_graph(before.folder / "original")
        for text in operation.before:
            assert problems_of(self.commands.run(before, *self.words(text, before))) == []
        after, count = before.copy(self.folder / f"{name}-after"), self.folder / f"{name}.points"
        first = f"inside.count_points({str(count)!r})"
        words = self.words(operation.words, after)
        assert problems_of(self.commands.run(after, *words, first=first)) == []
        added = _bytes(after.folder) - _bytes(before.folder)
        return Prepared(before, operation.result(after), int(count.read_text()), added)

    def repeat(self, name: str, place: Place, words: Sequence[str], *options: str) -> list[str]:
        """Run an undisturbed operation; return what is wrong with its end or its result."""
        operation, expected = OPERATIONS[name], self.prepared(name).result
        problems = problems_of(self.commands.run(place, *words, *options), operation.repeated)
        result = {} if problems else operation.result(place)
        keys = [k for k in {**result, **expected} if result.get(k) != expected.get(k)]
        if keys and not problems:
            problems.append(f"another result than without the fault: {', '.join(keys)}")
        left = outcomes.leftovers(place.folder)
        return [*problems, f"left behind: {', '.join(left)}"] if left else problems


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
