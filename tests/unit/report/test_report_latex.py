"""Every table and figure is compiled by LaTeX as it is written, without a hand on it."""

# ruff: noqa: RUF001 - characters that look like others

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from harness.analysis.query import Results
from harness.report.everything import artefacts
from harness.report.latex import LatexOptions
from harness.report.latex_text import (
    CHARACTERS,
    LATIN,
    PLAIN,
    SYMBOLS,
    beyond_pdflatex,
    latex_escape,
)
from harness.report.query import named_table
from harness.report.render import render
from harness.store.memory import MemoryStore
from tests.unit.report.test_report_render import MADE_UP

pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed"),
]

CLASSES = {
    "article": r"\documentclass[twocolumn]{article}",
    "acmart": r"\documentclass[sigconf,nonacm]{acmart}",
    "IEEEtran": r"\documentclass[conference]{IEEEtran}",
    "acl": r"\documentclass[11pt,a4paper,twocolumn]{article}"
    r"\usepackage[a4paper,margin=2.5cm,columnsep=0.6cm]{geometry}\usepackage{times}",
}
"""Classes in which tables are compiled; ACL's file is not part of TeX Live, its sizes are these."""
DOCUMENT = r"""
%s
\usepackage{booktabs,graphicx,amssymb}
\tracinglostchars=2 %% a character that a font lacks is said
%s
\begin{document}
Text that refers to \ref{%s}.
\input{%s}
\end{document}
"""


NOT_MEASURED = {
    *("complexity", "missing_modality", "noise"),
    *("pareto", "learning", "critical_difference"),
}
"""Figures that the store of this test has nothing for; their tables are compiled all the same."""


def tried(
    folder: Path,
    name: str,
    engine: str = "pdflatex",
    preamble: str = "",
    kind: str = "article",
) -> subprocess.CompletedProcess[str]:
    """Compile a document that inputs ``name`` once."""
    label = (folder / f"{name}.tex").read_text(encoding="utf-8").partition(r"\label{")[2]
    document = DOCUMENT % (CLASSES[kind], preamble, label.partition("}")[0], name)
    (folder / "doc.tex").write_text(document, encoding="utf-8")
    return subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "doc.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
    )


def compiled(
    folder: Path,
    name: str,
    engine: str = "pdflatex",
    preamble: str = "",
    kind: str = "article",
) -> str:
    """Compile a document that inputs ``name``; return the log."""
    for _ in range(2):  # references are known the second time
        done = tried(folder, name, engine, preamble, kind)
        assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout + (folder / "doc.log").read_text(encoding="utf-8", errors="replace")


def assert_clean(log: str) -> None:
    for complaint in ("Overfull", "undefined references", "Missing character", "Float too large"):
        assert complaint not in log, log


def test_special_characters(tmp_path: Path) -> None:
    (tmp_path / "t.tex").write_text(render(MADE_UP, "latex"), encoding="utf-8")
    assert_clean(compiled(tmp_path, "t"))


OPTIONS = {
    "default": LatexOptions(),
    "column": LatexOptions(width="column", compact=True, decimals=1),
    "page": LatexOptions(width="page", notes="text", caption="A caption", label="tab:made-up"),
    "siunitx": LatexOptions(siunitx=True, notes="none"),
}


def needs(kind: str, options: LatexOptions) -> str:
    """Skip what the installed TeX has no files for; return the preamble."""
    files = {"acmart": "acmart.cls", "IEEEtran": "IEEEtran.cls", "acl": "geometry.sty"}
    wanted = [files[kind]] if kind in files else []
    wanted += ["siunitx.sty"] if options.siunitx else []
    for file in wanted:
        if subprocess.run(["kpsewhich", file], capture_output=True, check=False).returncode:
            pytest.skip(f"{file} is not installed")
    return r"\usepackage{siunitx}" if options.siunitx else ""


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_fits_the_classes_of_papers(
    full_store: MemoryStore, tmp_path: Path, kind: str, name: str
) -> None:
    options = OPTIONS[name]
    preamble = needs(kind, options)
    tables = {"made_up": MADE_UP, "fusion": named_table(Results(full_store), "fusion")}
    for file, table in tables.items():
        rendered = render(table, "latex", options)
        (tmp_path / f"{file}.tex").write_text(rendered, encoding="utf-8")
        log = compiled(tmp_path, file, preamble=preamble, kind=kind)
        for complaint in ("Overfull \\hbox", "Missing character", "Float too large"):
            assert complaint not in log, log[-3000:]


COMMANDS = (
    "λ=0.1, τ≥0.5, 10⁻³ ½ x₂ ×2 ± µ ∞ ‖x‖ Α Ω ς",
    "Müller ß ł ő č ǐ ş ḍ Œ “a” … § © € ™ ª ✓ ★",
    "→ ← ↔ ⇒ ↦ ∈ ∉ ⊂ ⊆ ∪ ∩ ∅ ∀ ∃ ∂ ∇ ∑ ∏ ∫ √ ∥ ⟨x⟩ ⌊x⌋ ℓ ℝ °",
)
ENGINES = ("pdflatex", "xelatex", "lualatex")
ACCENT = r"\documentclass{article}\tracinglostchars=2 \begin{document}ü\end{document}"


@cache
def why_unusable(engine: str) -> str:
    """Return why accents of an engine cannot be judged here, "" when they can.

    XeLaTeX and LuaLaTeX print them with fonts of the package lmodern, which LuaLaTeX finds by
    luaotfload; without either they go on with a font that has no accents.
    """
    if shutil.which(engine) is None:
        return f"{engine} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "accent.tex").write_text(ACCENT, encoding="utf-8")
        words = [engine, "-interaction=nonstopmode", "accent.tex"]
        done = subprocess.run(words, cwd=folder, capture_output=True, check=False)
    if done.returncode or b"Missing character" in done.stdout:
        return f"the default font of {engine} lacks ü: install lmodern (and luaotfload)"
    return ""


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """An engine whose default font has accents."""
    name = str(request.param)
    if reason := why_unusable(name):
        pytest.skip(reason)
    return name


def labelled(folder: Path, *labels: str) -> None:
    """Write a table with these labels to t.tex."""
    rows = [replace(row, label=label) for row, label in zip(MADE_UP.rows, labels, strict=False)]
    table = replace(MADE_UP, rows=tuple(rows), baseline=labels[0])
    (folder / "t.tex").write_text(render(table, "latex"), encoding="utf-8")


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_characters_with_a_command_are_printed_by_every_engine(tmp_path: Path, engine: str) -> None:
    for character in {*LATIN, *SYMBOLS, *CHARACTERS} - set("\xa0`"):
        assert not beyond_pdflatex(latex_escape(character)), character
    labelled(tmp_path, *COMMANDS)
    assert_clean(compiled(tmp_path, "t", engine))
    labelled(tmp_path, "".join(SYMBOLS), "".join(LATIN), "".join(sorted(PLAIN)))
    log = compiled(tmp_path, "t", engine)
    assert "Missing character" not in log


def test_pdflatex_stops_at_other_scripts(tmp_path: Path) -> None:
    labelled(tmp_path, "模型", "Ж")
    done = tried(tmp_path, "t")
    assert done.returncode != 0
    assert "Unicode character" in done.stdout


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_other_scripts_are_printed_with_a_font_that_has_them(tmp_path: Path, engine: str) -> None:
    listed = subprocess.run(
        ["fc-list", ":charset=6A21 578B", "file"], capture_output=True, text=True, check=True
    )
    fonts = sorted(Path(line.rstrip(": ")) for line in listed.stdout.splitlines())
    if not fonts:
        pytest.skip("no Chinese font is installed")
    labelled(tmp_path, "模型 λ½")
    font = rf"\usepackage{{fontspec}}\setmainfont{{{fonts[0].name}}}[Path={fonts[0].parent}/]"
    log = compiled(tmp_path, "t", engine, font)
    assert not [
        line for line in log.splitlines() if "Missing" in line and ("模" in line or "型" in line)
    ]
    assert "Missing character" in compiled(tmp_path, "t", engine)  # the default font


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
        assert_clean(compiled(tmp_path, name))
        shutil.copy(tmp_path / "doc.pdf", tmp_path / f"{name}-page.pdf")
