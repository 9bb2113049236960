"""Every table and figure is compiled by LaTeX as it is written, without a hand on it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.analysis.query import Results
from harness.report.everything import artefacts
from harness.report.render import render
from harness.store.memory import MemoryStore
from tests.unit.report.test_report_render import MADE_UP

pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed"),
]

DOCUMENT = r"""
\documentclass[twocolumn]{article}
\usepackage{booktabs,graphicx,amssymb}
\begin{document}
Text that refers to \ref{%s}.
\input{%s}
\end{document}
"""


NOT_MEASURED = {"complexity", "missing_modality", "noise"}
"""Figures that the store of this test has nothing for; their tables are compiled all the same."""


def compiled(folder: Path, name: str, label: str) -> str:
    """Compile a document that inputs ``name``; return the log."""
    (folder / "doc.tex").write_text(DOCUMENT % (label, name), encoding="utf-8")
    for _ in range(2):  # references are known the second time
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "doc.tex"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
        )
        assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def assert_clean(log: str) -> None:
    for complaint in ("Overfull", "undefined", "Missing character", "Float too large"):
        assert complaint not in log, log


def test_special_characters(tmp_path: Path) -> None:
    (tmp_path / "t.tex").write_text(render(MADE_UP, "latex"), encoding="utf-8")
    assert_clean(compiled(tmp_path, "t", "tab:made-up"))


def test_every_shipped_table_and_figure(full_store: MemoryStore, tmp_path: Path) -> None:
    names = []
    for artefact in artefacts(Results(full_store)):
        assert artefact.error is None, artefact
        assert not artefact.empty or artefact.name in NOT_MEASURED, artefact
        for file, contents in artefact.files.items():
            data = contents.encode() if isinstance(contents, str) else contents
            (tmp_path / file).write_bytes(data)
            if file.endswith(".tex"):
                names.append(file.removesuffix(".tex"))
    assert {"main", "datasets", "experts", "thresholds", "suite-mine"} <= set(names)
    for name in names:
        text = (tmp_path / f"{name}.tex").read_text(encoding="utf-8")
        labels = [line for line in text.splitlines() if line.startswith(r"\label{")]
        label = labels[0].removeprefix(r"\label{").removesuffix("}")
        assert_clean(compiled(tmp_path, name, label))
        shutil.copy(tmp_path / "doc.pdf", tmp_path / f"{name}-page.pdf")
