"""``harness models check``: the contract, run on a user's own file."""

from __future__ import annotations

import contextlib
import json
import os
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.errors import ConfigError, suggest

if TYPE_CHECKING:
    from harness.contract import Result, Subject
    from harness.contract.core import Status

__all__ = ["check_models"]

WIDTH = 80
STATUSES: tuple[Status, ...] = ("ok", "failed", "waiting", "not applicable")
MARKS: Mapping[Status, str] = dict(zip(STATUSES, ("ok", "FAILED", "-", "-"), strict=True))
INDENT = " " * 8


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
    from harness import catalog
    from harness.config.override import parse_overrides

    names = catalog.load_path(path)
    if only is not None and only not in names:
        raise ConfigError(f"{path}: registers no model '{only}'{suggest(only, names)}")
    names = [only] if only is not None else names
    subjects = _subjects(names, parse_overrides(overrides))
    if as_json:
        found = {subject.name: list(_results(subject)) for subject in subjects}
        typer.echo(json.dumps({name: _plain(rows) for name, rows in found.items()}, indent=2))
    else:
        found = {subject.name: _told(subject) for subject in subjects}
    return not any(result.status == "failed" for rows in found.values() for result in rows)


def _subjects(names: Sequence[str], given: Mapping[str, Any]) -> list[Subject]:
    """Return the models to examine; an option goes to those that have it."""
    from harness.config.override import group_of
    from harness.contract import Subject, declared, examine
    from harness.model import MODELS

    options = group_of(given, "model")
    known = {name: getattr(MODELS.get(name), "Config", None) for name in names}
    fields = {name: getattr(config, "model_fields", {}) for name, config in known.items()}
    for key in options:
        if not any(key in those for those in fields.values()):
            near = suggest(key, {k for those in fields.values() for k in those})
            raise ConfigError(f"--set model.{key}: {', '.join(names)} has no such option{near}")
    subjects = []
    for name in names:
        own = {key: value for key, value in options.items() if key in fields[name]}
        subjects.append(Subject(name, {**given, "model": own} if own else _without_model(given)))
    for subject in subjects:
        [result] = examine(subject, [declared])
        if given and result.status == "ok":
            subject.spec()  # a wrong setting is no fault of the model
    return subjects


def _without_model(given: Mapping[str, Any]) -> dict[str, Any]:
    return {group: values for group, values in given.items() if group != "model"}


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
    from harness.model import MODELS

    typer.echo(f"{subject.name}, {_short(MODELS.origin(subject.name))}")
    typer.echo(f"on a circle of {N} entities with {R} relations{_settings(subject)}\n")
    results = []
    for result in _results(subject):
        results.append(result)
        typer.echo(_line(result))
    counts = Counter(result.status for result in results)
    told = ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s] or s != "waiting")
    typer.echo(f"\n{subject.name}: {told}\n")
    return results


def _settings(subject: Subject) -> str:
    from harness.config.override import flatten

    given = [f"{'.'.join(leaf.path)}={leaf.value}" for leaf in flatten(subject.overrides)]
    return f"; {', '.join(given)}" if given else ""


def _line(result: Result) -> str:
    """Return what is printed of a result: the demand, and why it is not met."""
    name = result.check.name
    said = result.check.demand
    if result.status == "not applicable":
        said = f"not applicable, {result.message}"
    if result.status == "waiting":
        said = f"waits {result.message}"
    lines = _wrapped(f"{MARKS[result.status]:8s}{name:16s}{said}", "", " " * 24)
    if result.status == "failed":
        for part in result.message.splitlines():
            lines += _wrapped(_short(part), INDENT, INDENT)
    return "\n".join(lines)


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Return a text in lines of at most 80 columns; paths and names stay whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
    )


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
