"""Execute the notebooks of the documentation and store their outputs.

    python scripts/notebooks.py                       # all of docs/notebooks/
    python scripts/notebooks.py docs/notebooks/x.ipynb

Each notebook is executed in an empty folder, with a results folder and a cache of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
TIMEOUT = 280
"""Seconds that a cell may take."""


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Execute a notebook in a folder and return it with its outputs.

    Args:
        notebook: notebook, which is changed.
        folder: working directory, with the results and the cache.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
    """
    # Cells that begin with ! call the command of this environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    folders = {"HARNESS_HOME": "results", "HARNESS_CACHE": "cache"}
    with _environment({**folders, "COLUMNS": "80", "PATH": path}):
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=TIMEOUT, resources=resources).execute()
    return plain(notebook)


def plain(notebook: NotebookNode) -> NotebookNode:
    """Remove what differs between two executions, or machines: times, versions, process ids."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python", "pygments_lexer": "ipython3"},
    )
    for number, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = NotebookNode(), f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return outputs with the parts of a stream, which arrive one by one, put together."""
    joined: list[NotebookNode] = []
    for output in outputs:
        previous = joined[-1] if joined else None
        name = output.get("name")
        if previous is not None and name is not None and previous.get("name") == name:
            previous.text += output.text
        else:
            joined.append(output)
    return joined


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def main(paths: Sequence[str]) -> None:
    """Execute notebooks and write them."""
    for path in map(Path, paths) if paths else sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
