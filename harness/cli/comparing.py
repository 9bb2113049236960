"""Paired tests for a command, with a progress bar and messages about unusable ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from harness.analysis.hypotheses import PairedTests
    from harness.store.base import ResultStore

__all__ = ["comparing", "prepare"]


@contextlib.contextmanager
def comparing(folder: Path) -> Iterator[PairedTests]:
    """Yield the paired tests of a results folder.

    Args:
        folder: the results folder.
    """
    from harness.analysis.hypotheses import PairedTests

    with contextlib.ExitStack() as stack:
        tests = PairedTests(folder / "runs", _Bar(stack))
        yield tests
    for problem in tests.problems:
        typer.echo(f"not compared: {problem}", err=True)


def prepare(store: ResultStore, folder: Path, suites: Iterable[tuple[str, str]] = ()) -> None:
    """Make the comparisons that tables need and that are not cached yet, so that reports are fast.

    Args:
        store: the database of the results folder.
        folder: the results folder.
        suites: names and variants of the suites whose tables are meant; all when empty.
    """
    from harness.report.query import prepare_tables

    with comparing(folder) as tests:
        prepare_tables(store, tests, suites)


class _Bar:
    """A bar on a terminal, from the first comparison on."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._progress: Progress | None = None

    def __call__(self, table: str, done: int, total: int) -> None:
        """Show how many questions of a table are answered."""
        if self._progress is None:
            self._progress = self._stack.enter_context(_progress())
            self._task = self._progress.add_task("", total=1)
        text = f"comparing rows of {table}"
        self._progress.update(self._task, description=text, completed=done, total=total)


def _progress() -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    from harness.screen import SafeConsole

    console = SafeConsole(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
