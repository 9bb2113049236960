"""Leaves out of records what they must not say where they are passed on: folders, user, host."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import RunRecord

__all__ = ["redacted", "redacted_benchmark"]

_ROOT = r"""(?:file://[^\s/"'`<>]*/|~[\w.-]*/|[A-Za-z]:[\\/]|\\\\)"""
"""Beginning of a path as a URL, in a home, on a drive of Windows or on a share."""
_FOLDER = r"""[^\s/\\:"'`<>]+[/\\]"""
_QUOTED = re.compile(rf"""(?<=["'`])(?:{_ROOT}|/)(?:[^"'`\n]*[/\\])?(?=[^"'`/\\\n])""")
"""Folders of an absolute path in quotes, which may hold blanks."""
_PLAIN = re.compile(rf"""(?<![\w/\\.])(?:{_ROOT}(?:{_FOLDER})*|/(?:{_FOLDER})+)(?=[^\s/\\"'`<>])""")
"""Folders of any other one: after a slash alone there is at least one."""


def redacted(record: RunRecord) -> RunRecord:
    """Return a record without its cells, and without folders, user and host of its machine.

    Provenance and error keep the last part of each absolute path. Notes, which may name relations
    that look like paths, lose the user's home alone. Settings stay: they make the run's id.
    """
    return record.model_copy(
        update={
            "provenance": _provenance(record.provenance),
            "notes": tuple(map(_without_home, record.notes)),
            "error": _without_names(_short(record.error)) if record.error else record.error,
            "cells": (),
        }
    )


def redacted_benchmark(record: BenchmarkRecord) -> BenchmarkRecord:
    """Return a measurement without folders in its provenance, under the id it has."""
    return record.model_copy(update={"provenance": _provenance(record.provenance)})


def _provenance(values: dict[str, Any]) -> dict[str, Any]:
    public = {key: value for key, value in values.items() if key != "execution"}  # names a node
    short: dict[str, Any] = _each_text(public, _short)
    if isinstance(folder := values.get("models"), str):  # a path as a whole, whatever it looks like
        short["models"] = PureWindowsPath(folder).name  # knows both kinds of slashes
    return short


def _short(text: str) -> str:
    return _PLAIN.sub("", _QUOTED.sub("", _without_home(text)))


def _without_home(text: str) -> str:
    home = _home()
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if home else text


def _home() -> str:
    """Return the user's home folder, "" where there is none (as in many containers)."""
    try:
        home = str(Path.home())
    except (KeyError, RuntimeError):
        return ""
    return home if len(Path(home).parts) > 1 else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _without_names(text: str) -> str:
    """Return an error without user@host, and without this machine's name."""
    host = re.escape(platform.node() or "localhost")
    if user := re.escape(_user()):
        text = re.sub(rf"\b{user}@[\w.-]+", "USER@HOST", text)
    return re.sub(rf"(?<![\w.-]){host}(?![\w-])", "HOST", text)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Apply a function to every text in a JSON value."""
    if isinstance(value, dict):
        return {key: _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
