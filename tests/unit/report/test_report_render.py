"""Rendered tables against files in tests/golden/report (HARNESS_UPDATE_GOLDEN=1 rewrites them)."""

# ruff: noqa: RUF001 - characters that look like others

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.report.latex import LatexOptions
from harness.report.latex_text import beyond_pdflatex, latex_escape, preamble_note
from harness.report.layout import lay_out
from harness.report.render import FORMATS, render, render_all
from harness.report.table import (
    Column,
    Heading,
    Mark,
    RivalTest,
    Sign,
    Table,
    TableCell,
    TableRow,
)
from harness.report.text import WIDTH

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "report"
SUFFIX = {"text": "txt", "markdown": "md", "latex": "tex"}


def column(dataset: str, metric: str, title: str) -> Column:
    return Column(dataset.lower(), dataset, metric, "all", title)


LEAD = RivalTest("Alpha", 1.0, 0.25, 1.75, 0.0125, 0.05, 3)
MADE_UP = Table(
    name="made_up",
    title="Made-up results & more",
    headings=(Heading("Mod."), Heading("ω^a", r"$\omega_m^a$")),
    columns=(
        column("Ab-1", "mrr", "MRR"),
        column("Ab-1", "hits@1", "Hit@1"),
        column("Cd_2", "mrr", "MRR"),
    ),
    rows=(
        TableRow(
            "Alpha",
            (
                TableCell(
                    30.0,
                    0.125,
                    3,
                    3,
                    published=29.5,
                    change=-1.0,
                    change_half=0.25,
                    runs=("r0", "r1", "r2"),
                ),
                TableCell(20.0, 0.25, 3, 3, published=21.5, mark=Mark.SECOND),
                TableCell(published=11.11, reason="not run: `harness run suites/toy.yaml`"),
            ),
            group="First group",
            attributes=("S", True),
        ),
        TableRow(
            "Beta_1 <x|y>",
            (
                TableCell(31.0, 0.5, 3, 3, mark=Mark.BEST, sign=Sign.BETTER, against=LEAD),
                TableCell(25.0, None, 1, 3, sign=Sign.WORSE, notes=("1 of 3 seeds",)),
                TableCell(reason="failed: run r9: loss is 100 % NaN"),
            ),
            group="First group",
            attributes=("S+T", False),
            notes=("measured with features 'names' (text)",),
        ),
        TableRow(
            "Gamma",
            (
                TableCell(published=7.0, reason="not implemented"),
                TableCell(reason="not implemented"),
                TableCell(reason="not implemented"),
            ),
            group="Second group",
            attributes=("All", True),
        ),
    ),
    notes=("Test split; mean ± standard deviation over 3 seeds (0, 1, 2).",),
    source="Table 9 of 'A paper'",
    baseline="Beta_1 <x|y>",
    tests=4,
    signs_against="the best baseline",
)


@pytest.mark.parametrize("format_", FORMATS)
def test_golden(format_: str) -> None:
    path = GOLDEN / f"made_up.{SUFFIX.get(format_, format_)}"
    rendered = render(MADE_UP, format_)
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered, encoding="utf-8")
    assert rendered == path.read_text(encoding="utf-8")


def test_unknown_format_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown format 'latx'; did you mean 'latex'"):
        render(MADE_UP, "latx")


# --- text -------------------------------------------------------------------------------

words = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=40)
numbers = st.floats(-9999, 9999, allow_nan=False)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    n_attributes = draw(st.integers(0, 8))
    columns = tuple(
        Column(f"d{d}", f"dataset {d} {draw(words)}", f"m{m}", "all", draw(words)[:12])
        for d in range(draw(st.integers(1, 2)))
        for m in range(draw(st.integers(1, 6)))
    )
    cell = st.builds(
        TableCell,
        value=st.none() | numbers,
        sd=st.none() | st.floats(0, 9999),
        published=st.none() | numbers,
        change=st.none() | numbers,
        change_half=st.none() | st.floats(0, 9999),
        mark=st.none() | st.sampled_from(Mark),
        sign=st.none() | st.sampled_from(Sign),
        reason=st.just("") | words,
        notes=st.lists(words, max_size=1).map(tuple),
    )
    row = st.builds(
        TableRow,
        label=st.lists(words, min_size=1, max_size=3).map(" ".join),
        cells=st.tuples(*[cell] * len(columns)),
        group=st.just("") | words,
        attributes=st.tuples(*[st.booleans() | words] * n_attributes),
        notes=st.lists(words, max_size=1).map(tuple),
    )
    return Table(
        name="t",
        title=draw(words),
        columns=columns,
        rows=tuple(draw(st.lists(row, max_size=4))),
        headings=tuple(Heading(draw(words)) for _ in range(n_attributes)),
        notes=tuple(draw(st.lists(words, max_size=2))),
        baseline="base",
    )


@settings(max_examples=60, deadline=None)
@given(tables())
def test_text_is_at_most_80_columns_wide(table: Table) -> None:
    assert all(len(line) <= WIDTH for line in render(table).splitlines())


@settings(max_examples=30, deadline=None)
@given(tables())
def test_text_shows_every_measurement(table: Table) -> None:
    rendered = render(table)
    for row in table.rows:
        for cell in row.cells:
            assert cell.value is None or f"{cell.value:.2f}" in rendered


def test_digits_of_a_column_stand_below_each_other() -> None:
    lines = render(MADE_UP).splitlines()
    alpha, beta = (next(line for line in lines if line.startswith(x)) for x in ("Alpha", "Beta"))
    assert alpha.index("30.00") == beta.index("31.00")


def test_every_missing_value_has_a_letter_that_is_explained() -> None:
    rendered = render(MADE_UP)
    for reason, letter in lay_out(MADE_UP).letters.items():
        assert f"\n{letter}  {reason}" in rendered


# --- Markdown ---------------------------------------------------------------------------


def test_marks_and_signs_are_explained_only_where_there_are_some() -> None:
    for format_ in ("text", "markdown", "latex", "html"):
        assert "Holm over 4 tests" in render(MADE_UP, format_)
        bare = TableRow("x", tuple(TableCell(1.0) for _ in MADE_UP.columns))
        assert "Holm" not in render(Table("t", "T", MADE_UP.columns, (bare,)), format_)


def test_markdown_marks_and_escapes() -> None:
    rendered = render(MADE_UP, "markdown")
    assert "**31.00 ± 0.50**<sup>†</sup>" in rendered
    assert "<u>20.00 ± 0.25</u>" in rendered
    assert r"Beta\_1 \<x\|y\>" in rendered
    assert "`harness run suites/toy.yaml`" in rendered
    widths = {len(re.findall(r"(?<!\\)\|", x)) for x in rendered.splitlines() if x.startswith("|")}
    assert len(widths) == 2  # one per block, equal within


# --- LaTeX ------------------------------------------------------------------------------


def test_latex_escapes_every_special_character() -> None:
    assert latex_escape(r"50% of a_b & {c} #1 $x$ ~ ^ \n") == (
        r"50\% of a\_b \& \{c\} \#1 \$x\$ \textasciitilde{} \textasciicircum{} \textbackslash{}n"
    )


def test_latex_keeps_commands_as_code_and_options_as_two_hyphens() -> None:
    assert latex_escape("run `harness run --only a_b`") == (
        r"run \texttt{harness run {-}{-}only a\_b}"
    )


def test_latex_never_lets_a_label_be_an_argument() -> None:
    assert latex_escape("[x] *y") == "{[}x] {*}y"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("½ 2¾", r"$\frac{1}{2}$ 2$\frac{3}{4}$"),
        ("10³ 10⁻³ x₂ xⁿ", r"10$^{3}$ 10$^{-3}$ x$_{2}$ x$^{\mathrm{n}}$"),
        ("λ≤τ Ω Α ς", r"$\lambda$$\leq$$\tau$ $\Omega$ $\mathrm{A}$ $\varsigma$"),
        ("→ ∞ ± − µ ‖x‖", r"$\rightarrow$ $\infty$ $\pm$ $-$ $\mu$ $\|$x$\|$"),
        ("é ő č Ł ǐ ß", r"é \H{o} \v{c} \L{} \v{\i} ß"),
        ("e\u0301 a\u00a0b “c”", "é a~b ``c''"),
        ("模型 Ж «», 1\u200b2", "模型 Ж «», 1\u200b2"),
        ("\x1b", r"\textbackslash{}x1b"),
    ],
)
def test_latex_never_prints_another_character(text: str, latex: str) -> None:
    assert latex_escape(text) == latex


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8))
def test_latex_keeps_what_it_has_no_command_for_and_says_so(text: str) -> None:
    source = latex_escape(text)
    note = preamble_note(source)
    assert "?" not in source.replace("?", "", text.count("?"))
    assert all(f"U+{ord(c):04X}" in note for c in beyond_pdflatex(source))
    assert bool(note) == bool(beyond_pdflatex(source))


def test_latex_names_the_engines_for_other_scripts() -> None:
    table = replace(MADE_UP, title="模型")
    first, second, third, *_ = render(table, "latex").splitlines()
    assert first == r"% Needs \usepackage{booktabs,amssymb} in the preamble."
    assert second == "% Needs XeLaTeX or LuaLaTeX for 模型 (U+6A21 U+578B),"
    assert third.startswith(r"% and in the preamble \usepackage{fontspec}\setmainfont{FONT}")
    assert "XeLaTeX" not in render(MADE_UP, "latex")


@pytest.mark.parametrize("siunitx", [False, True])
def test_latex_rows_have_as_many_cells_as_columns(siunitx: bool) -> None:
    rendered = render(MADE_UP, "latex", LatexOptions(siunitx=siunitx))
    for body in rendered.split(r"\begin{tabular}")[1:]:
        spec, *lines = body.splitlines()
        columns = len(re.findall(r"[lrS]", re.sub(r"\[.*?\]|@\{\}", "", spec)))
        for line in lines:
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) + 1 == columns


def test_latex_splits_what_a_page_cannot_hold() -> None:
    columns = tuple(column(f"D{d}", f"m{m}", "MRR") for d in range(3) for m in range(8))
    row = TableRow("x", tuple(TableCell(float(i)) for i in range(24)))
    said: list[str] = []
    rendered = render(
        Table("wide", "Wide", columns, (row,)), "latex", LatexOptions(say=said.append)
    )
    assert rendered.count(r"\begin{table*}") == 2
    assert r"\caption{Wide: D0, D1}" in rendered
    assert r"\label{tab:wide-2}" in rendered
    assert all(f"{i}.00" in rendered for i in range(24))
    assert said == [
        r"wide: wider than a page at \footnotesize: printed as 2 floats, the notes with the last; "
        "narrower with --dataset NAME"
    ]


def test_latex_splits_a_dataset_that_a_page_cannot_hold() -> None:
    columns = tuple(column("D", f"m{m}", "MRR") for m in range(10))
    row = TableRow("x", tuple(TableCell(10.0 + i, sd=1.0) for i in range(10)))
    rendered = render(Table("wide", "Wide", columns, (row,)), "latex")
    assert [line.count("&") for line in rendered.splitlines() if line.startswith("x &")] == [7, 3]


# --- HTML -------------------------------------------------------------------------------


class _Tags(HTMLParser):
    """Collects the text of the page and checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(dict(attrs).get("colspan") or 1)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_nests_and_its_rows_are_equally_wide() -> None:
    page = _Tags()
    page.feed(render(MADE_UP, "html"))
    assert page.open == []
    assert len(set(page.rows)) == 1


def test_html_escapes_and_loads_nothing() -> None:
    rendered = render(MADE_UP, "html")
    assert "Beta_1 &lt;x|y&gt;" in rendered
    assert "<x|y>" not in rendered
    assert "http" not in rendered
    assert "src=" not in rendered


# --- CSV and JSON -----------------------------------------------------------------------


def test_csv_round_trip() -> None:
    rows = list(csv.DictReader(io.StringIO(render(MADE_UP, "csv"))))
    assert [row["method"] for row in rows] == ["Alpha", "Beta_1 <x|y>", "Gamma"]
    for line, row in zip(rows, MADE_UP.rows, strict=True):
        for position, column in enumerate(MADE_UP.columns):
            name = f"{column.dataset_title} {column.title}"
            cell = row.cells[position]
            assert line[f"{name} measured"] == ("" if cell.value is None else repr(cell.value))
            assert line[f"{name} sd"] == ("" if cell.sd is None else repr(cell.sd))
            assert cell.reason in line[f"{name} note"]
    assert rows[0]["Ab-1 MRR published"] == "29.5"
    assert float(rows[0]["Ab-1 MRR difference"]) == 0.5
    assert rows[0]["Ab-1 Hit@1 seeds"] == "3"


def test_csv_texts_are_no_formulas() -> None:
    table = Table("t", "T", (column("D", "mrr", "MRR"),), (TableRow("=1+1", (TableCell(-1.0),)),))
    line = next(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert line["method"] == "'=1+1"
    assert line["D MRR measured"] == "-1.0"
    headed = Table("t", "T", (), (TableRow("a", (), attributes=("x",)),), (Heading("=1+1"),))
    assert "'=1+1" in render(headed, "csv").splitlines()[0]


def test_csv_holds_one_table() -> None:
    with pytest.raises(ConfigError, match="name it with --table"):
        render_all([MADE_UP, MADE_UP], "csv")


def test_json_holds_everything() -> None:
    page = json.loads(render(MADE_UP, "json"))
    first = page["rows"][0]["cells"][0]
    assert (first["value"], first["difference"], first["runs"]) == (30.0, 0.5, ["r0", "r1", "r2"])
    assert page["rows"][2]["cells"][1]["reason"] == "not implemented"
    assert len(json.loads(render_all([MADE_UP, MADE_UP], "json"))) == 2
