"""A disk that is full or read-only, no descriptors, little memory: an error of the machine.

Once there is enough, the same command gives the result of one that lacked nothing.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import films, outcomes
from tests.faults.commands import problems_of
from tests.faults.conftest import MakeCases
from tests.faults.families import seeds
from tests.faults.operations import OPERATIONS, Bench

CODES = (0, 4)
"""Exit codes where the machine lacks something: success, or an error of the machine."""


NAMES = ("run", "run", "run", "encode", "import", "export", "data", "study")


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
            before, added = bench.prepared(name).place, bench.prepared(name).added
            room = draw.randrange(added)
            # Of a file the last page is only partly filled, and a folder takes one.
            taken = sum(4096 + path.stat().st_size for path in before.folder.rglob("*"))
            mounted = tmp_path / str(seed)
            with file_system(mounted, taken + room):
                place = before.copy(mounted / "place")
                words = bench.words(OPERATIONS[name].words, place)
                ended = bench.commands.run(place, *words)
                problems = problems_of(ended, CODES)
                if ended.code and str(mounted) not in ended.err:
                    problems.append(f"the error does not say where: {ended.err}")
                _remount(mounted, f"size={2**28}")
                problems += bench.repeat(name, place, words)
            counted.add(f"{name}, seed {seed} ({room} of {added} bytes)", problems)


@pytest.mark.parametrize("part", seeds(24, sample=2))
def test_files_that_cannot_grow(
    bench: Bench, cases: MakeCases, tmp_path: Path, part: range
) -> None:
    with cases("disk") as counted:
        for seed in part:
            draw, name = random.Random(f"growth {seed}"), NAMES[seed % len(NAMES)]
            place = bench.prepared(name).place.copy(tmp_path / str(seed))
            largest = int(2 ** draw.uniform(12, 18))  # messages go to a file too
            first = f"inside.limit('RLIMIT_FSIZE', {largest})"
            words = bench.words(OPERATIONS[name].words, place)
            problems = problems_of(bench.commands.run(place, *words, first=first), CODES)
            problems += bench.repeat(name, place, words)
            counted.add(f"{name}, seed {seed} (files of {largest} bytes)", problems)


@pytest.mark.parametrize("part", seeds(32, sample=3))
def test_no_descriptors(bench: Bench, cases: MakeCases, tmp_path: Path, part: range) -> None:
    with cases("descriptors") as counted:
        for seed in part:
            draw, name = random.Random(f"descriptors {seed}"), NAMES[seed % len(NAMES)]
            place = bench.prepared(name).place.copy(tmp_path / str(seed))
            count = draw.randrange(3, 24)
            first = f"inside.limit('RLIMIT_NOFILE', {count})"
            words = bench.words(OPERATIONS[name].words, place)
            problems = problems_of(bench.commands.run(place, *words, first=first), CODES)
            problems += bench.repeat(name, place, words)
            counted.add(f"{name}, seed {seed} ({count} descriptors)", problems)


@pytest.mark.parametrize("part", seeds(24, sample=2))
def test_little_memory(bench: Bench, cases: MakeCases, tmp_path: Path, part: range) -> None:
    """A run that fails for it is a failed run, tried again when asked."""
    with cases("memory") as counted:
        for seed in part:
            draw, name = random.Random(f"memory {seed}"), NAMES[seed % len(NAMES)]
            place = bench.prepared(name).place.copy(tmp_path / str(seed))
            more = int(draw.choice((1, 4, 16, 64)) * draw.random() * 2**20)
            first = f"inside.limit('RLIMIT_AS', {more})"
            words = bench.words(OPERATIONS[name].words, place)
            problems = problems_of(bench.commands.run(place, *words, first=first), (0, 1, 4))
            retry = ["--retry-failed"] if name in ("run", "encode", "study") else []
            problems += bench.repeat(name, place, words, *retry)
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
    before = bench.prepared("export").place
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
