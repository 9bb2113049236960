"""Processes of the ``harness`` command that start in milliseconds.

One interpreter imports everything once and forks for every command; a fork runs the entry point of
the command line with its own arguments, environment, limits and output files.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FORKER = """
import ctypes, functools, gc, json, os, resource, signal, sys, time, traceback
from pathlib import Path
import alembic.command, torch, typer.main
import harness.cli.main, harness.cli.progress, harness.run.worker
import harness.run.processes, harness.pipeline, harness.plan.expand, harness.report.query
import harness.studies.results, harness.run.rounds
import harness.report.render, harness.store.sql
torch.set_num_threads(1)
typer.main.get_command = functools.cache(typer.main.get_command)
typer.main.get_command(harness.cli.main.app)
exec(sys.argv[1])
gc.freeze()  # a fork that collects garbage would copy the memory of the modules

def mount(source, target, flags):
    encoded = source and source.encode()
    if ctypes.CDLL(None, use_errno=True).mount(encoded, target.encode(), None, flags, None):
        raise OSError(ctypes.get_errno(), "mount", target)

def mount_read_only(folder):
    # For this process alone; permissions would not stop root.
    private, bind, remount, read_only = (1 << 18) | (1 << 14), 1 << 12, 1 << 5, 1
    ctypes.CDLL(None).unshare(0x20000)
    mount("none", "/", private)
    mount(folder, folder, bind)
    mount(None, folder, bind | remount | read_only)

def child(order):
    os.setsid()
    if order["read_only"]:
        mount_read_only(order["read_only"])
    # As from a terminal, also where the tests run in the background, which ignores Ctrl-C. One that
    # came first ends the process here.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.dup2(descriptor, number)
    sys.argv = ["harness", *order["words"]]
    for name, value in order["environment"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    if order["largest_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
    if order["user"]:
        os.setgroups([])
        os.setgid(order["user"])
        os.setuid(order["user"])
    try:
        exec(order["first"], globals())
        harness.cli.main.main()
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    os._exit(code)

for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        number, ends = order["wait"], [signal.SIGKILL, signal.SIGINT]
        deadline = time.monotonic() + order["seconds"]
        ended, status = os.waitpid(number, os.WNOHANG if order["seconds"] else 0)
        while not ended:
            if ends and time.monotonic() > deadline:
                os.kill(number, ends.pop())
                deadline += 20
            time.sleep(0.001)
            ended, status = os.waitpid(number, os.WNOHANG)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    number = os.fork()
    if number == 0:
        child(order)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    print(number, flush=True)
"""


class Command:
    """A running command; ``code`` is negative when a signal ended it."""

    def __init__(self, forker: Forker, number: int, out: Path, err: Path) -> None:
        self._forker, self.number, self._out, self._err = forker, number, out, err

    def send(self, number: signal.Signals) -> None:
        os.kill(self.number, number)

    def wait(self, seconds: float = 0) -> Ended:
        """Wait for the end.

        Args:
            seconds: time after which the command is asked to stop (SIGINT), and killed 20 s
                later; 0: it takes as long as it takes.
        """
        code = self._forker.ask({"wait": self.number, "seconds": seconds})
        return Ended(code, self.out, self.err)

    @property
    def out(self) -> str:
        return self._out.read_text() if self._out.is_file() else ""

    @property
    def err(self) -> str:
        return self._err.read_text() if self._err.is_file() else ""  # none of a terminal


@dataclass
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str


class Forker:
    """Starts commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(
        self,
        words: Sequence[object],
        out: Path,
        err: Path,
        *,
        environment: Mapping[str, str | None],
        first: str = "",
        largest_file: int = 0,
        user: int = 0,
        read_only: str = "",
    ) -> Command:
        """Start a command.

        Args:
            words: its arguments.
            out, err: files of its output.
            environment: its variables; None removes one.
            first: program that its process runs before it.
            largest_file: limit of the size of its files, in bytes; 0: none.
            user: number of its user; 0: this one.
            read_only: folder that it cannot write to; "": none.
        """
        order = {
            "words": [str(word) for word in words],
            "environment": dict(environment),
            "largest_file": largest_file,
            "user": user,
            "read_only": read_only,
            "first": first,
            "out": str(out),
            "err": str(err),
        }
        return Command(self, self.ask(order), out, err)

    def ask(self, order: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


WITH_MODELS = "from harness import catalog; catalog.load_models()"


@contextmanager
def forking(first: str = WITH_MODELS, **environment: str) -> Iterator[Forker]:
    """Start an interpreter that forks for every command.

    Args:
        first: program that is run before the first fork.
        environment: variables beside those of this process.
    """
    settings = {"OMP_NUM_THREADS": "1", "HARNESS_KERNELS": "reference"}
    with subprocess.Popen(
        [sys.executable, "-c", FORKER, first],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings, **environment},
    ) as process:
        yield Forker(process)
        process.kill()  # it would take seconds to end


@pytest.fixture(scope="session")
def _forker() -> Iterator[Forker]:
    with forking() as forker:
        yield forker


@pytest.fixture
def start(
    _forker: Forker, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Command]:
    """Return ``start(*words, largest_file=, user=, terminal=, read_only=, **environment)``.

    The folders of the test (HARNESS_HOME, HARNESS_CACHE) are its own; there are no published data.
    """
    monkeypatch.delenv("HARNESS_DATA", raising=False)

    def start(
        *words: object,
        largest_file: int = 0,
        user: int = 0,
        terminal: str = "",
        read_only: str = "",
        **environment: str | None,
    ) -> Command:
        folder = tmp_path_factory.mktemp("streams")
        out, err = folder / "out", Path(terminal or folder / "err")
        if user:
            for path in (out, err):
                path.touch()
                path.chmod(0o666)
            for parent in (folder, *folder.parents[:2]):
                parent.chmod(parent.stat().st_mode | 0o011)
        own = ("HARNESS_HOME", "HARNESS_CACHE", "HARNESS_DATA", "NUMBA_CACHE_DIR")
        return _forker.start(
            words,
            out,
            err,
            environment={name: os.environ.get(name) for name in own} | environment,
            largest_file=largest_file,
            user=user,
            read_only=read_only,
        )

    return start


@pytest.fixture
def harness(start: Callable[..., Command]) -> Callable[..., Ended]:
    """Return a function that runs the command to its end; arguments as ``start``."""
    return lambda *words, **options: start(*words, **options).wait()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Return a function that waits for a condition, for at most two minutes."""

    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, "nothing happened for two minutes"
            time.sleep(0.005)

    return until
