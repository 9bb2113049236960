"""Names that a shell completes: suites, models, datasets, run ids.

Every TAB starts the program, so nothing here imports torch: names are read from folders, files and
the database.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["complete_datasets", "complete_models", "complete_runs", "complete_suites"]

_PACKAGE = Path(__file__).resolve().parents[1]
_MOST = 50
"""Run ids that are offered."""


def complete_suites(incomplete: str) -> list[str]:
    """Return shipped suites, and YAML files of the working directory and its folder suites."""
    names = {path.stem for path in _shipped("suites").glob("*.yaml")}
    files = {str(path) for pattern in ("*.yaml", "suites/*.yaml") for path in Path().glob(pattern)}
    return _starting(incomplete, names | files)


def complete_models(incomplete: str) -> list[str]:
    """Return the models of the package and of installed plug-ins."""
    from importlib.metadata import entry_points

    names = {point.name for point in entry_points(group="harness.models")}
    for path in _shipped("models").rglob("*.py"):
        with contextlib.suppress(OSError):
            names |= set(re.findall(r'@register_model\("(\w+)"\)', path.read_text("utf-8")))
    return _starting(incomplete, names)


def complete_datasets(incomplete: str) -> list[str]:
    """Return the datasets of the package and the folders of the user's own."""
    names = {path.stem.replace("_", "-") for path in (_PACKAGE / "data" / "sets").glob("[!_]*.py")}
    cache = os.environ.get("HARNESS_CACHE")
    if cache:
        imported = Path(cache).expanduser() / "datasets"
    else:
        import platformdirs

        imported = platformdirs.user_cache_path("harness") / "datasets"
    data = os.environ.get("HARNESS_DATA")
    for root in (imported, *([Path(data).expanduser()] if data else [])):
        if root.is_dir():
            names |= {path.name for path in root.iterdir() if path.is_dir()}
    return _starting(incomplete, names)


def complete_runs(incomplete: str) -> list[str]:
    """Return ids of stored runs and of run folders in $HARNESS_HOME, else ``results``."""
    home = Path(os.environ.get("HARNESS_HOME") or "results").expanduser()
    return _starting(incomplete, {*_stored(home, incomplete), *_folders(home)})[:_MOST]


def _stored(home: Path, start: str) -> Iterator[str]:
    path = home / "harness.db"
    if os.environ.get("HARNESS_STORE") or not path.is_file():
        return
    import sqlite3

    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db,
    ):
        query = "SELECT run_id FROM runs WHERE substr(run_id, 1, ?) = ? LIMIT ?"
        for (run_id,) in db.execute(query, (len(start), start, _MOST)):
            yield str(run_id)


def _folders(home: Path) -> Iterator[str]:
    folder = home / "runs"
    if folder.is_dir():
        yield from (path.name for path in folder.iterdir() if path.is_dir())


def _shipped(name: str) -> Path:
    """Return a folder that is inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def _starting(start: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(start))
