"""Exported records name no folder, no user and no host."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.archive.redaction import redacted, redacted_benchmark
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample
from harness.store.records import RunRecord

MakeRecord = Callable[..., RunRecord]

FOLDERS = {
    "/models": "models",
    "/home/ada/models": "models",
    "/home/ada/models/": "models",
    "/home/Ada Lovelace/my models": "my models",
    "~ada/models": "models",
    "C:\\Users\\Ada L\\models": "models",
    "\\\\server\\ada\\models": "models",
    "models": "models",
}
ERRORS = {
    'File "/home/Ada L/own.py", line 3': 'File "own.py", line 3',
    'File "/own.py", line 3': 'File "own.py", line 3',
    "no such file: '/data/ada l/x.tsv'": "no such file: 'x.tsv'",
    "path=/home/ada/x.so:/home/ada/y.so": "path=x.so:y.so",
    "cannot open file:///home/ada/x.tsv": "cannot open x.tsv",
    "cannot open \\\\server\\ada\\x.tsv": "cannot open x.tsv",
    "in ~ada/x.tsv": "in x.tsv",
    "3 s/epoch, ../a/b": "3 s/epoch, ../a/b",
    "https://example.org/a/b": "https://example.org/a/b",
    "either / or, 1/2, a/b": "either / or, 1/2, a/b",
    "copied from ada@host-3.example.org": "copied from USER@HOST",
    "worker on host-3 died": "worker on HOST died",
    "host-35 and ghost-3 and adapter": "host-35 and ghost-3 and adapter",
}


@pytest.fixture(autouse=True)
def _ada(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    monkeypatch.setattr(platform, "node", lambda: "host-3")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_of_the_folder_of_models_the_name_is_left(make_record: MakeRecord, folder: str) -> None:
    record = redacted(make_record("r1", provenance={"models": folder, "code": "abcd"}))
    assert record.provenance == {"models": FOLDERS[folder], "code": "abcd"}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_keeps_what_is_no_folder(make_record: MakeRecord, error: str) -> None:
    assert redacted(make_record("r1", status="failed", error=error)).error == ERRORS[error]


@pytest.mark.parametrize(
    ("home", "note", "left"),
    [
        ("/home/ada", "copied from /home/ada/x", "copied from ~/x"),
        ("/home/ada", "copied from /home/adam/x", "copied from /home/adam/x"),
        ("/", "/r/Genre and /r/IsA", "/r/Genre and /r/IsA"),
    ],
)
def test_notes_lose_the_home_alone(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, home: str, note: str, left: str
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    assert redacted(make_record("r1", notes=(note,))).notes == (left,)


def test_without_a_home_notes_stay(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home folder")

    monkeypatch.setattr(Path, "home", no_home)
    assert redacted(make_record("r1", notes=("a note",))).notes == ("a note",)


def test_measurements_are_redacted_under_their_id() -> None:
    sample = BenchmarkSample(stage="fusion", name="mean", seconds=(0.1,))
    provenance = {"python": "/home/ada/venv/bin/python", "device": "cpu"}
    record = BenchmarkRecord(benchmark_id="x", suite="a", samples=(sample,), provenance=provenance)
    assert redacted_benchmark(record).provenance == {"python": "python", "device": "cpu"}
    assert redacted_benchmark(record).benchmark_id == "x"
