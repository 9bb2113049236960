"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's results or cache."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "results"))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the five published datasets; skips where there is none."""
    for folder in (os.environ.get("HARNESS_DATA"), REPOSITORY.parent / "shared" / "data"):
        if folder and (Path(folder) / "MKG-W").is_dir():
            monkeypatch.setenv("HARNESS_DATA", str(folder))
            return Path(folder)
    pytest.skip("the published datasets are not here (set HARNESS_DATA)")
