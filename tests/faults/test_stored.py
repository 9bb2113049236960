"""Records, exports, run folders and databases that were changed at random.

None of it is believed in silence, and none is a dead end.
"""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults import films, mutate, outcomes
from tests.faults.commands import Commands, problems_of
from tests.faults.conftest import MakeCases
from tests.faults.families import seeds
from tests.faults.films import Place


@pytest.fixture(scope="module")
def finished(_warm_forker: Any, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with runs of two suites, a study, and what was exported from them."""
    folder = tmp_path_factory.mktemp("finished")
    commands = Commands(_warm_forker, folder)
    place = films.write_place(folder / "place")
    for words in (
        ("run", place.folder / "small.yaml"),
        ("study", "run", place.folder / "search.yaml"),
        ("db", "export", "--suite", "small", "--out", place.folder / "records"),
    ):
        assert problems_of(commands.run(place, *words)) == []
    return place


READERS = (
    ("report",),
    ("runs", "list"),
    ("db", "check"),
    ("compare", "small:TransE", "small:DistMult"),
    ("study", "show", "search"),
    ("runs", "list", "--json"),
    ("db", "export", "--out", "{folder}/out"),
)


def _in(place: Place, words: Sequence[str]) -> list[str]:
    return [word.format(folder=place.folder) for word in words]


CODES = (0, 1, 2, 3, 4)
"""Exit codes of a command on damaged results: a reader refuses with 4, a suite also with 1 or 3."""


def _json(change: Callable[[Any, random.Random], Any]) -> Callable[[Path, random.Random], None]:
    def damage(path: Path, draw: random.Random) -> None:
        if draw.random() < 0.2:
            path.write_bytes(mutate.binary(path.read_bytes(), draw))
            return
        path.write_text(json.dumps(change(json.loads(path.read_bytes()), draw)))

    return damage


def _bytes(path: Path, draw: random.Random) -> None:
    path.write_bytes(mutate.binary(path.read_bytes(), draw))


def _gone(path: Path, draw: random.Random) -> None:
    path.unlink()
    if draw.random() < 0.3:
        path.mkdir()


RUN_FILES: dict[str, Callable[[Path, random.Random], None]] = {
    "record.json": _json(mutate.value),
    "state.json": _json(mutate.value),
    "ranks.npz": _bytes,
    "best": _bytes,
    "last": _bytes,
    "log.jsonl": _bytes,
}


@pytest.mark.parametrize("part", seeds(100, sample=4))
def test_run_folders(
    commands: Commands, finished: Place, cases: MakeCases, tmp_path: Path, part: range
) -> None:
    """The suite ends or says what helps; a file of somebody else is never touched."""
    with cases("records") as counted:
        for seed in part:
            draw, place = random.Random(f"folder {seed}"), finished.copy(tmp_path / str(seed))
            (tmp_path / "secret.safetensors").write_text("of somebody else")
            folder = draw.choice(sorted((place.home / "runs").iterdir()))
            there = [name for name in RUN_FILES if any(folder.glob(f"{name}*"))]
            name = draw.choice(("record.json", "state.json", *there))
            path = next(folder.glob(f"{name}*"))
            (_gone if draw.random() < 0.1 else RUN_FILES[name])(path, draw)
            if name != "record.json" and draw.random() < 0.7:
                (folder / "record.json").unlink()  # so that training goes on
            if draw.random() < 0.7:
                for file in place.home.glob("harness.db*"):
                    file.unlink()
            problems = []
            for words in (("run", "{folder}/small.yaml"), draw.choice(READERS)):
                problems += problems_of(commands.run(place, *_in(place, words)), CODES)
            if not (tmp_path / "secret.safetensors").is_file():
                problems.append("a file outside the results was removed")
            counted.add(f"folder, seed {seed} ({path})", problems)


def _change_export(folder: Path, draw: random.Random) -> None:
    """Change one of the exported files, below their compression or above it."""
    path = draw.choice(sorted(folder.iterdir()))
    if draw.random() < 0.2:
        _bytes(path, draw)
    elif path.name.endswith(".gz"):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        number = draw.randrange(len(lines))
        if draw.random() < 0.85:
            lines[number] = json.dumps(mutate.value(json.loads(lines[number]), draw))
        else:
            lines[number] = mutate.text(lines[number], draw)
        text = "\n".join(lines) + "\n"
        path.write_bytes(gzip.compress(text.encode("utf-8", "surrogatepass")))
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = draw.choice(list(members))
        members[name] = mutate.binary(members[name], draw)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)


@pytest.mark.parametrize("part", seeds(110, sample=5, size=35))
def test_exported_records(
    commands: Commands, finished: Place, cases: MakeCases, tmp_path: Path, part: range
) -> None:
    """What is refused adds nothing; what is taken over can be reported, checked and exported."""
    with cases("records") as counted:
        for seed in part:
            draw, place = random.Random(f"export {seed}"), Place(tmp_path / str(seed))
            place.folder.mkdir()
            records = finished.copy(tmp_path / f"{seed}-from").folder / "records"
            _change_export(records, draw)
            ended = commands.run(place, "db", "import", records)
            problems = problems_of(ended, (0, 2, 4))
            if ended.code and outcomes.stored(place.home):
                problems.append("refused, and yet records were added")
            if ended.code == 0:
                out = place.folder / "out"
                for words in (("report",), ("db", "check"), ("db", "export", "--out", out)):
                    problems += problems_of(commands.run(place, *words))
            made = {path.name for path in tmp_path.iterdir()}
            if made - {str(s) for s in part} - {f"{s}-from" for s in part}:
                problems.append(f"files outside the results: {sorted(made)}")
            counted.add(f"export, seed {seed} ({records})", problems)


@pytest.mark.parametrize("part", seeds(70, sample=4, size=35))
def test_databases(
    commands: Commands, finished: Place, cases: MakeCases, tmp_path: Path, part: range
) -> None:
    """Every command reads what it can, or says what helps."""
    with cases("databases") as counted:
        for seed in part:
            draw, place = random.Random(f"database {seed}"), finished.copy(tmp_path / str(seed))
            name = "studies.db" if seed % 4 == 3 else "harness.db"
            mutate.database(place.home / name, draw)
            readers = draw.sample(READERS[:-1], 3) if name == "harness.db" else READERS[4:5]
            suite = "search" if name == "studies.db" else "small"
            writer = ("study", "run") if name == "studies.db" else ("run",)
            problems = []
            for words in (*readers, (*writer, place.folder / f"{suite}.yaml")):
                ended = commands.run(place, *words)
                problems += [
                    f"{' '.join(map(str, words[:2]))}: {p}"
                    for p in problems_of(ended, (0, 1, 2, 4))
                ]
            counted.add(f"seed {seed} ({place.home / name})", problems)
