"""A disk that is full or read-only, no descriptors, little memory: an error of the machine, and once
there is enough the same command gives the result of one that lacked nothing."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults import films, outcomes
from tests.faults.conftest import Commands, MakeCases, problems_of
from tests.faults.families import seeds
from tests.faults.films import Place

CODES = (0, 4)
"""Exit codes where the machine lacks something: success, or an error of the machine."""


class Work(NamedTuple):
    """A command, and what it leaves in a place."""

    words: str
    result: Callable[[Place], Any]
    before: tuple[str, ...] = ()


RUN, EXPORT = "run {folder}/small.yaml", "db export --out {folder}/records"
WORK = {
    "run": Work(RUN, lambda place: outcomes.results(place.home)),
    "encode": Work("run {folder}/named.yaml", lambda place: outcomes.results(place.home)),
    "study": Work("study run {folder}/search.yaml", lambda place: outcomes.study(place.home)),
    "import": Work(
        "db import {folder}/records --home {folder}/other",
        lambda place: outcomes.results(place.folder / "other"),
        (RUN, EXPORT),
    ),
    "export": Work(EXPORT, lambda place: outcomes.files(place.folder / "records"), (RUN,)),
    "data": Work(
        "data import {folder}/original --name again",
        lambda place: outcomes.files(place.cache / "datasets" / "again"),
    ),
}
NAMES = ("run", "run", "run", "encode", "import", "export", "data", "study")


class Bench:
    """Prepares work once each: a place before it, and its right result."""

    def __init__(self, commands: Commands, folder: Path) -> None:
        self.commands, self.folder = commands, folder
        self.ready: dict[str, tuple[Place, Any, int]] = {}

    def words(self, text: str, place: Place) -> list[str]:
        return text.format(folder=place.folder).split()

    def prepared(self, name: str) -> tuple[Place, Any, int]:
        """Return the place before, the right result, and the bytes that the work adds."""
        if name not in self.ready:
            before = films.write_place(self.folder / name)
            films.write_graph(before.folder / "original")
            for text in WORK[name].before:
                assert problems_of(self.commands.run(before, *self.words(text, before))) == []
            after = before.copy(self.folder / f"{name}-after")
            ended = self.commands.run(after, *self.words(WORK[name].words, after))
            assert problems_of(ended) == []
            added = _bytes(after.folder) - _bytes(before.folder)
            self.ready[name] = before, WORK[name].result(after), added
        return self.ready[name]

    def again(self, name: str, place: Place, *words: str) -> list[str]:
        """Return what is wrong after the command was repeated with nothing lacking."""
        _, expected, _ = self.prepared(name)
        ended = self.commands.run(place, *self.words(WORK[name].words, place), *words)
        problems = problems_of(ended)
        if not problems and WORK[name].result(place) != expected:
            problems.append("another result than with nothing lacking")
        left = outcomes.leftovers(place.folder)
        return [*problems, f"left behind: {', '.join(left)}"] if left else problems


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def bench(_warm_forker: Any, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("work")
    return Bench(Commands(_warm_forker, folder), folder)


@contextmanager
def file_system(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system in memory of so many bytes; skips where that is not allowed."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "faults", str(folder)]
    if shutil.which("mount") is None or os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


@pytest.mark.parametrize("part", seeds(40, sample=3, size=20))
def test_a_file_system_that_is_full(
    bench: Bench, cases: MakeCases, tmp_path: Path, part: range
) -> None:
    with cases("disk") as counted:
        for seed in part:
            draw, name = random.Random(f"disk {seed}"), NAMES[seed % len(NAMES)]
            before, _, added = bench.prepared(name)
            room = draw.randrange(added)
            # Of a file the last page is only partly filled, and a folder takes one.
            taken = sum(4096 + path.stat().st_size for path in before.folder.rglob("*"))
            mounted = tmp_path / str(seed)
            with file_system(mounted, taken + room):
                place = before.copy(mounted / "place")
                ended = bench.commands.run(place, *bench.words(WORK[name].words, place))
                problems = problems_of(ended, CODES)
                _remount(mounted, f"size={2**28}")
                problems += bench.again(name, place)
            counted.add(f"{name}, seed {seed} ({room} of {added} bytes)", problems)


@pytest.mark.parametrize("part", seeds(24, sample=2))
def test_files_that_cannot_grow(
    bench: Bench, cases: MakeCases, tmp_path: Path, part: range
) -> None:
    with cases("disk") as counted:
        for seed in part:
            draw, name = random.Random(f"growth {seed}"), NAMES[seed % len(NAMES)]
            place = bench.prepared(name)[0].copy(tmp_path / str(seed))
            largest = int(2 ** draw.uniform(0, 18))
            first = f"inside.limit('RLIMIT_FSIZE', {largest})"
            words = bench.words(WORK[name].words, place)
            problems = problems_of(bench.commands.run(place, *words, first=first), CODES)
            problems += bench.again(name, place)
            counted.add(f"{name}, seed {seed} (files of {largest} bytes)", problems)


@pytest.mark.parametrize("part", seeds(32, sample=3))
def test_no_descriptors(bench: Bench, cases: MakeCases, tmp_path: Path, part: range) -> None:
    with cases("descriptors") as counted:
        for seed in part:
            draw, name = random.Random(f"descriptors {seed}"), NAMES[seed % len(NAMES)]
            place = bench.prepared(name)[0].copy(tmp_path / str(seed))
            count = draw.randrange(3, 24)
            first = f"inside.limit('RLIMIT_NOFILE', {count})"
            words = bench.words(WORK[name].words, place)
            problems = problems_of(bench.commands.run(place, *words, first=first), CODES)
            problems += bench.again(name, place)
            counted.add(f"{name}, seed {seed} ({count} descriptors)", problems)


@pytest.mark.parametrize("part", seeds(24, sample=2))
def test_little_memory(bench: Bench, cases: MakeCases, tmp_path: Path, part: range) -> None:
    """A run that fails for it is a failed run, tried again when asked."""
    with cases("memory") as counted:
        for seed in part:
            draw, name = random.Random(f"memory {seed}"), NAMES[seed % len(NAMES)]
            place = bench.prepared(name)[0].copy(tmp_path / str(seed))
            more = int(draw.choice((1, 4, 16, 64)) * draw.random() * 2**20)
            first = f"inside.limit('RLIMIT_AS', {more})"
            words = bench.words(WORK[name].words, place)
            problems = problems_of(bench.commands.run(place, *words, first=first), (0, 1, 4))
            retry = ["--retry-failed"] if name in ("run", "encode", "study") else []
            problems += bench.again(name, place, *retry)
            counted.add(f"{name}, seed {seed} ({more} bytes)", problems)


READERS = (
    "report",
    "report --format json",
    "runs list",
    "runs show {run}",
    "runs show {run} --json",
    "runs diff {run} {other}",
    "compare small:TransE small:DistMult",
    "db check",
    "db export --out {tmp}/records",
    "predict {run} --head 'film 1' --relation 'relation 1'",
    "report --html --out {tmp}/page.html",
    "report --table small --format csv",
    "data audit films --allow-leakage 1",
    "data show films",
)
WRITERS = (
    "run {folder}/clean.yaml",
    "study run {folder}/search.yaml",
    "db import {tmp}/exported",
    "runs rm {run} --yes",
    "runs retest {run}",
    "data import {folder}/original --name again",
    "score {tmp}/scores.npz --dataset films --name Other",
)


@pytest.mark.faults
@pytest.mark.sample
def test_a_read_only_file_system(bench: Bench, cases: MakeCases, tmp_path: Path) -> None:
    """Everything can be read, and nothing is written."""
    before = bench.prepared("export")[0]
    mounted, elsewhere = tmp_path / "mounted", tmp_path / "elsewhere"
    elsewhere.mkdir()
    films.write_scores(elsewhere / "scores.npz")
    run, other = sorted(path.name for path in (before.home / "runs").iterdir())
    exported = f"db export --out {elsewhere}/exported"
    assert problems_of(bench.commands.run(before, *exported.split())) == []
    with file_system(mounted, 2**28), cases("read-only") as counted:
        place = before.copy(mounted / "place")
        content = outcomes.files(place.folder)
        _remount(mounted, "ro")
        for text in (*READERS, *WRITERS):
            names = {"run": run, "other": other, "tmp": elsewhere, "folder": place.folder}
            words = [word.format(**names) for word in shlex.split(text)]
            codes = (0,) if text in READERS else (4,)
            counted.add(text, problems_of(bench.commands.run(place, *words), codes))
        assert outcomes.files(place.folder) == content
