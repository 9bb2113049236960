"""The digest of the source that a user's own model is made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import MODELS
from harness.source import source_digest

FILES = {
    "mine.py": "from . import _layers\nfrom ._parts import gate\nclass Mine:\n    rate = 0.1\n",
    "_layers.py": "import math\n",
    "_parts/__init__.py": "",
    "_parts/gate.py": "from .._deep import three\n",
    "_deep.py": "three = 3\n",
    "other.py": "class Other: pass\n",
}


@pytest.fixture
def digest_of(tmp_path: Path) -> Any:
    """Return a function that loads a folder of files and returns the digest of its class Mine."""
    count = iter(range(99))

    def digest(files: Mapping[str, str]) -> str:
        folder = tmp_path / str(next(count)) / "models"
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        catalog.load_folder(folder)
        path = str(folder / "mine.py")
        modules = list(sys.modules.values())
        (module,) = (m for m in modules if getattr(m, "__file__", None) == path)
        return source_digest(module.Mine)

    return digest


def test_the_same_files_in_another_folder_have_the_same_digest(digest_of: Any) -> None:
    assert digest_of(FILES) == digest_of(FILES) != ""


@pytest.mark.parametrize("edited", ["mine.py", "_layers.py", "_parts/gate.py", "_deep.py"])
def test_the_file_and_what_it_imports_from_its_folder_count(digest_of: Any, edited: str) -> None:
    assert digest_of(FILES) != digest_of({**FILES, edited: FILES[edited] + "# edited\n"})


def test_an_init_that_runs_on_import_counts(digest_of: Any) -> None:
    assert digest_of(FILES) != digest_of({**FILES, "__init__.py": "import math\n"})
    assert digest_of(FILES) != digest_of({**FILES, "_parts/__init__.py": "import math\n"})


def test_a_neighbour_that_is_not_imported_does_not_count(digest_of: Any) -> None:
    assert digest_of(FILES) == digest_of({**FILES, "other.py": "class Other: name = 'new'\n"})


def test_models_of_the_package_have_none() -> None:
    catalog.load_models()
    shipped: list[type] = [MODELS.get(name) for name in ("mocme", "rotate", "lookup")]
    assert source_digest(*shipped) == ""
