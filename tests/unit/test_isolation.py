"""Tests never see the datasets, the cache or the results of the user who runs them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.data.folders import roots

AT_IMPORT = {name: os.environ.get(f"HARNESS_{name}") for name in ("DATA", "CACHE", "HOME")}


def test_modules_are_imported_with_folders_of_the_tests() -> None:
    assert AT_IMPORT["DATA"] is None
    for name in ("CACHE", "HOME"):
        folder = Path(AT_IMPORT[name]).parent
        assert folder.name.startswith("harness-tests-")
        assert folder.parent == Path(tempfile.gettempdir())


def test_a_test_has_folders_of_its_own(tmp_path: Path) -> None:
    assert roots() == (tmp_path / "cache" / "datasets",)
    assert Path(os.environ["HARNESS_HOME"]) == tmp_path / "results"
