"""Fixtures of the contract tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.data import acquire, folders
from harness.data.load import sources


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the originals that shared/data/features holds."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(cache))
        for folder in folders.roots():
            if (folder / "features").is_dir():
                cards = [entry.card for entry in sources()]
                wanted = dict.fromkeys(s for card in cards for s in card.feature_sources)
                acquire.import_sources(folder, wanted)
    return cache


@pytest.fixture
def joined(
    published: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """Folder of the tables joined elsewhere; the cache holds the originals."""
    folder = published / "features"
    if not folder.is_dir():
        pytest.skip(f"{folder}: no features there")
    monkeypatch.setenv("HARNESS_CACHE", str(request.getfixturevalue("imported")))
    return folder


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages that hold originals cannot be imported, installed or not."""
    for entry in sources():
        for original in entry.card.feature_sources:
            if original.package:
                monkeypatch.setitem(sys.modules, original.package.partition("/")[0], None)
