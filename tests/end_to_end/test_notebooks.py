"""The notebooks of the documentation: their stored outputs are whole, and they still run."""

from __future__ import annotations

import os
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import harness

REASON = "needs the extra [notebooks]"
nbformat = pytest.importorskip("nbformat", reason=REASON)
pytest.importorskip("nbclient", reason=REASON)
pytest.importorskip("ipykernel", reason=REASON)

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPOSITORY / "docs/notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """``scripts/notebooks.py``, which stored the outputs."""
    spec = spec_from_file_location("notebooks", REPOSITORY / "scripts/notebooks.py")
    assert spec is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def texts(notebook: Any) -> list[str]:
    """Text outputs of the cells, "" for a cell without, without run ids, times and addresses."""
    shown = []
    for cell in notebook.cells:
        parts = [
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.get("outputs", ())
        ]
        shown.append(re.sub(r"[0-9a-f]{12}|0x[0-9a-f]+|\d+\.\d+", "#", "".join(parts)))
    return shown


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first_run.ipynb", "own_model_and_dataset.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_in_order_and_without_errors(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "display_data",
        "execute_result",
        "stream",
    }
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    text = path.read_text(encoding="utf-8")
    for private in ("/tmp/", str(Path.home()), str(REPOSITORY), "\\u001b"):
        assert private not in text
    assert len(text) < 200_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_functions_have_their_public_names(path: Path) -> None:
    text = "".join(cell.source for cell in read(path).cells)
    for name in harness.__all__:
        module = getattr(harness, name).__module__
        assert f"{module}.{name}" not in text, f"harness.{name}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_is_stored(
    path: Path, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and run ids may differ on another machine; everything else is as stored."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY)]))
    stored, executed = read(path), script.execute(read(path), tmp_path)
    assert [len(text.splitlines()) for text in texts(executed)] == [
        len(text.splitlines()) for text in texts(stored)
    ]
    assert [cell.source for cell in executed.cells] == [cell.source for cell in stored.cells]
