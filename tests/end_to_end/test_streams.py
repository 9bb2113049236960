"""Who writes where: the table on stdout, progress on stderr, bars on a terminal alone."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SUITE = """\
name: tiny
datasets: ["synthetic:entities=40,relations=4,train=200,valid=20,test=20"]
rows: [transe]
base:
  training: {epochs: 3, evaluate_every: 1}
  model: {dim: 8}
seeds: [0]
"""
BAR = re.compile("[━─]{10}")
"""A bar, whatever its progress."""
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38;[0-9;]+)m")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def long_suite(tmp_path: Path) -> Path:
    """The suite with a second of training or more: bars are drawn ten times a second, so a fast
    run may end before its first."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        SUITE.replace("epochs: 3, evaluate_every: 1", "epochs: 1500, evaluate_every: 300")
    )
    return path


@dataclass
class Terminal:
    """A pseudo-terminal and what was written to it."""

    name: str
    shown: bytearray

    @property
    def text(self) -> str:
        return self.shown.decode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    found = Terminal(os.ttyname(theirs), bytearray())

    def read() -> None:
        while True:
            try:
                found.shown.extend(os.read(ours, 65536))
            except OSError:
                return  # both ends are closed

    reader = threading.Thread(target=read)
    reader.start()
    yield found
    os.close(theirs)
    reader.join()
    os.close(ours)


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(
    harness: Callable[..., Any], suite: Path
) -> None:
    ended = harness("run", suite)
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err
    assert "\r" not in ended.out + ended.err
    assert ended.out.startswith("Suite tiny\n")
    assert "TransE" in ended.out
    assert "[1/1] done: TransE on synthetic:" in ended.err
    assert "done" not in ended.out


def test_a_terminal_shows_bars_and_stdout_still_holds_the_table_alone(
    harness: Callable[..., Any], long_suite: Path, terminal: Terminal
) -> None:
    ended = harness("run", long_suite, terminal=terminal.name, TERM="xterm-256color", NO_COLOR=None)
    assert ended.code == 0
    assert BAR.search(terminal.text)
    assert "tiny" in terminal.text
    assert "epoch" in terminal.text
    assert COLOUR.search(terminal.text)
    assert "\x1b" not in ended.out
    assert ended.out.startswith("Suite tiny\n")


def test_no_color_is_respected(
    harness: Callable[..., Any], long_suite: Path, terminal: Terminal
) -> None:
    harness("run", long_suite, terminal=terminal.name, TERM="xterm-256color", NO_COLOR="1")
    assert BAR.search(terminal.text)
    assert not COLOUR.search(terminal.text)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_output_that_finds_no_room_is_an_error_of_the_machine() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "data", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 4
    assert done.stderr == "error: output: No space left on device\n"


def test_a_reader_that_goes_changes_no_exit_code(suite: Path, tmp_path: Path) -> None:
    """``harness run x | head -1``: the run ends stored; ``harness runs show x | true``."""
    home = ["--home", str(tmp_path / "home")]
    environment = {**os.environ, "HARNESS_KERNELS": "reference"}  # nothing needs compiling
    for words in (["run", str(suite), *home], ["runs", "list", *home]):
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 0, words
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1


def test_signs_that_a_terminal_lacks_are_escaped() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "data", "show", "atlas"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u0160" in done.stdout  # of a city in Lithuania
