"""Code that runs in the processes of commands: before the first one, and before each one's own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tests.faults import films

POINTS = {
    *(
        "open",
        "write",
        "writelines",
        "flush",
        "close",
        "fsync",
        "truncate",
        "ftruncate",
        "sendfile",
    ),
    *(
        "replace",
        "rename",
        "unlink",
        "remove",
        "rmdir",
        "mkdir",
        "link",
        "symlink",
        "chmod",
        "flock",
    ),
    *("execute", "executemany", "commit", "rollback"),  # of sqlite3
    *("run_backward", "serialize_file"),  # of torch and safetensors
    "recv_into",  # of a socket
}
"""Functions of C before whose calls a command can be killed: all that changes files or databases,
and each step of training."""


def register_pinned() -> None:
    """Register ``pinned``, a dataset with published files, which a mirror serves."""
    from harness.data.card import DATASETS, DatasetCard, FileCard
    from harness.data.published import PublishedSource

    address = f"https://published.invalid{films.MIRRORED}"
    files = tuple(
        FileCard(path=name, sha256=hashlib.sha256(content).hexdigest(), url=address + name)
        for name, content in films.graph_files().items()
    )

    class Source(PublishedSource):
        card = DatasetCard(
            name="pinned",
            title="Pinned",
            folder="Pinned",
            description="films",
            files=files,
            licence="none",
            citation="none",
            source="made up",
        )

    DATASETS.register("pinned")(Source())


def warm() -> None:
    """Run a command of each kind, so that its modules are loaded and its code is compiled."""
    register_pinned()
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nowhere:
        folder = Path(name)
        place = films.write_place(folder)
        os.environ.update(place.environment)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            for words in films.every_command(place):
                _run(words)
    os.environ.clear()
    os.environ.update(before)


def _run(words: Sequence[object]) -> None:
    import harness.cli.main

    sys.argv = ["harness", *map(str, words)]
    with contextlib.suppress(SystemExit):
        harness.cli.main.main()


def kill_at(point: int, delay: float = 0.0) -> None:
    """Kill this process before its call number ``point``, or ``delay`` seconds later.

    Calls are those of the functions in ``POINTS``. The delay ends within a call of C: a commit, the
    writing of a tensor file. Nothing of Python runs then; its signal is SIGALRM.
    """

    def reached() -> None:
        if delay:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, delay)
            sys.setprofile(None)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(point, reached)


def count_points(path: str) -> None:
    """Write the number of calls of this process to a file, when it ends."""
    exit_now, counted = os._exit, _watch(0, lambda: None)

    def leave(code: int) -> None:
        sys.setprofile(None)
        Path(path).write_text(str(counted[0]))
        exit_now(code)

    os._exit = leave  # type: ignore[assignment]


def _watch(point: int, reached: Callable[[], None]) -> list[int]:
    calls = [0]

    def watch(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in POINTS:
            calls[0] += 1
            if calls[0] == point:
                reached()

    sys.setprofile(watch)
    return calls


def limit(name: str, value: int) -> None:
    """Set a limit of this process; that of memory counts from what it takes now.

    Args:
        name: of ``resource``: RLIMIT_FSIZE, RLIMIT_NOFILE or RLIMIT_AS.
        value: its value.
    """
    if name == "RLIMIT_AS":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        value += pages * resource.getpagesize()
    resource.setrlimit(getattr(resource, name), (value, value))


def print_graph(name: str) -> None:
    """Make the command print the named triples of a dataset as JSON, by split."""
    from harness.data.load import load_graph

    def named() -> dict[str, list[tuple[str, str, str]]]:
        graph = load_graph(name)
        entities, relations = graph.entities, graph.relations
        return {
            split: [(entities[h], relations[r], entities[t]) for h, r, t in ids.tolist()]
            for split, ids in graph.splits.items()
        }

    _print(named)


def print_features(name: str, features: str) -> None:
    """Make the command print the digests of a feature set as JSON, by modality."""
    from harness.data.load import load_dataset

    _print(lambda: {k: v.digest for k, v in load_dataset(name, features).features.tables.items()})


def _print(content: Callable[[], object]) -> None:
    import harness.cli.main
    from harness.errors import HarnessError

    def show() -> None:
        try:
            json.dump(content(), sys.stdout)
        except HarnessError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)

    harness.cli.main.main = show
