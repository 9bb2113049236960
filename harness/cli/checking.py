"""``harness models check``: the contract, run on a user's own file."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.console import print_json, wrapped

if TYPE_CHECKING:
    from harness.contract import Result, Subject
    from harness.contract.core import Status

__all__ = ["check_models"]

STATUSES: tuple[Status, ...] = ("ok", "failed", "waiting", "not applicable")
MARKS: Mapping[Status, str] = dict(zip(STATUSES, ("ok", "FAILED", "-", "-"), strict=True))


def check_models(path: Path, only: str | None, overrides: Sequence[str], *, as_json: bool) -> bool:
    """Load a file or folder and print, for each of its models, a line per check.

    Args:
        path: the file or folder.
        only: name of the one model that is checked.
        overrides: settings, ``["model.dim=8"]``.
        as_json: print all results as JSON when they are there.

    Returns:
        Whether no check failed.

    Raises:
        ConfigError: the path cannot be loaded or registers no (such) model; a setting is wrong.
    """
    from harness.config.override import parse_overrides
    from harness.contract import load_subjects

    subjects = load_subjects(path, only, parse_overrides(overrides))
    if as_json:
        results = {subject.name: list(_results(subject)) for subject in subjects}
        print_json({name: _plain(rows) for name, rows in results.items()})
    else:
        results = {subject.name: _told(subject) for subject in subjects}
    return not any(result.status == "failed" for rows in results.values() for result in rows)


def _results(subject: Subject) -> Iterator[Result]:
    """Run the checks; what is under way is shown where stderr is a terminal."""
    from harness.contract import CHECKS, examine
    from harness.screen import SafeConsole

    console = SafeConsole(stderr=True)
    status = console.status("") if console.is_terminal else contextlib.nullcontext()
    results = examine(subject, CHECKS)
    with status as shown:
        for number, check in enumerate(CHECKS, 1):
            if shown is not None:
                shown.update(f"{number}/{len(CHECKS)} {check.name}")
            yield next(results)


def _told(subject: Subject) -> list[Result]:
    """Run the checks, print a line for each as it ends, and their number; return them."""
    from harness.contract.subject import N, R

    typer.echo(f"{subject.name}, {_short(subject.origin)}")
    typer.echo(f"on a circle of {N} entities with {R} relations{_settings(subject)}\n")
    results = []
    for result in _results(subject):
        results.append(result)
        typer.echo(_line(result))
    counts = Counter(result.status for result in results)
    summary = ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s] or s != "waiting")
    typer.echo(f"\n{subject.name}: {summary}\n")
    return results


def _settings(subject: Subject) -> str:
    from harness.config.override import flatten

    overrides = [f"{'.'.join(leaf.path)}={leaf.value}" for leaf in flatten(subject.overrides)]
    return f"; {', '.join(overrides)}" if overrides else ""


def _line(result: Result) -> str:
    """Return the printed lines of a result: the demand, and why it is not met."""
    name = result.check.name
    text = result.check.demand
    if result.status == "not applicable":
        text = f"not applicable, {result.message}"
    if result.status == "waiting":
        text = f"waits {result.message}"
    lines = wrapped(f"{MARKS[result.status]:8s}{name:16s}{text}", 24)
    if result.status == "failed":
        for paragraph in result.message.splitlines():
            lines += wrapped(_short(paragraph), 8, first=8)
    return "\n".join(lines)


def _short(text: str) -> str:
    """Return a text with paths below the working directory as the user would write them."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def _plain(results: Sequence[Result]) -> list[dict[str, str]]:
    return [
        {
            "check": result.check.name,
            "demand": result.check.demand,
            "status": result.status,
            "message": result.message,
        }
        for result in results
    ]
