"""The wheel has every package of the checkout."""

from __future__ import annotations

import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_folder_of_code_is_a_package_of_the_wheel() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    names = {name for top in ("harness", "models") for name in _packages(top)}
    assert listed - {"harness.suites", "harness.reports"} == names


def _packages(top: str) -> set[str]:
    """Return the packages of a top-level folder, by their names in the wheel."""
    folders = {file.parent for file in (REPOSITORY / top).rglob("*.py")}
    prefix = "" if top == "harness" else "harness."
    return {prefix + ".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}
