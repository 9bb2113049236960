"""Options of LaTeX: widths, notes, decimals, captions, labels and siunitx."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.report.latex import LatexOptions
from harness.report.render import render
from harness.report.table import Column, Mark, Sign, Table, TableCell, TableRow
from tests.unit.report.test_report_render import MADE_UP


def column(dataset: str, metric: str = "mrr") -> Column:
    return Column.of_metric(metric, dataset=dataset.lower(), dataset_title=dataset)


def table(datasets: int = 1, rows: int = 2, **fields: Any) -> Table:
    columns = tuple(column(f"D{i}") for i in range(datasets))
    cells = tuple(TableCell(31.416, sd=0.25, n=3, planned=3) for _ in range(datasets))
    made = tuple(TableRow(f"method {i}", cells) for i in range(rows))
    return Table("toy", "Toy results", columns, made, **fields)


def latex(of: Table, **options: Any) -> str:
    return render(of, "latex", LatexOptions(**options))


# --- width ----------------------------------------------------------------------------------


def test_the_narrowest_width_that_fits_is_taken() -> None:
    assert r"\begin{table}[t]" in latex(table(1))
    assert r"\begin{table*}[t]" in latex(table(5))


@pytest.mark.parametrize(("width", "environment"), [("column", "table"), ("page", "table*")])
def test_a_width_can_be_asked_for(width: str, environment: str) -> None:
    assert rf"\begin{{{environment}}}[t]" in latex(table(1), width=width)


def test_a_column_that_is_too_narrow_holds_one_float_after_another() -> None:
    said: list[str] = []
    rendered = latex(table(5), width="column", say=said.append)
    assert rendered.count(r"\begin{table}[t]") == 2
    assert "table*" not in rendered
    assert said[0].startswith(r"toy: wider than a column at \footnotesize: printed as 2 floats")


def test_letters_are_never_smaller_than_footnotesize_without_a_word() -> None:
    said: list[str] = []
    rendered = latex(table(5), width="column", say=said.append)
    assert "resizebox" not in rendered
    long = table(1)
    long = replace(long, rows=tuple(replace(row, label="m" * 80) for row in long.rows))
    rendered = latex(long, width="column", say=said.append)
    assert r"\resizebox{\linewidth}{!}{%" in rendered
    assert rendered.startswith(r"% Needs \usepackage{booktabs,amssymb,graphicx} in the preamble.")
    assert "shrunk to fit" in said[-1]


def test_all_floats_of_a_table_have_the_same_letters() -> None:
    metrics = ("mrr", "hits@1", "hits@3", "hits@10", "amri")
    columns = (*(column("A", metric) for metric in metrics), column("B"))
    cells = tuple(TableCell(31.4, sd=0.25, n=3, planned=3) for _ in columns)
    rendered = latex(Table("toy", "Toy", columns, (TableRow("a method", cells),)), width="column")
    sizes = {line for line in rendered.splitlines() if line in (r"\small", r"\footnotesize")}
    assert len(sizes) == 1


# --- what is printed --------------------------------------------------------------------------


def test_compact_leaves_out_differences_changes_and_attributes() -> None:
    whole, compact = latex(MADE_UP), latex(MADE_UP, compact=True)
    for text in ("difference", "change", r"S+T", "Change: against"):
        assert text in whole
        assert text not in compact
    assert "published" in compact
    assert r"30.00 $\pm$ 0.12" in compact


def test_decimals_are_those_asked_for() -> None:
    assert r"31.4 $\pm$ 0.2" in latex(table(), decimals=1)
    assert r"31.416 $\pm$ 0.250" in latex(table(), decimals=3)
    counts = Table(
        "t", "T", (replace(column("D"), decimals=0),), (TableRow("x", (TableCell(7.0),)),)
    )
    assert "x & 7 " in latex(counts, decimals=2)


def test_caption_and_label_are_those_given() -> None:
    rendered = latex(table(), caption="All methods & more", label="tab:all")
    assert r"\caption{All methods \& more}" in rendered
    assert r"\label{tab:all}" in rendered
    several = latex(table(5), width="column", caption="All", label="tab:all")
    assert r"\caption{All (D0, D1, D2)}" in several
    assert r"\label{tab:all-2}" in several


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "colunm"}, "--width colunm: unknown; did you mean 'column'?"),
        ({"notes": "tex"}, "--notes tex: unknown; did you mean 'text'?"),
        ({"label": "tab:my table"}, "--label tab:my table: a key has no spaces"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        LatexOptions(**options)
    assert str(error.value).startswith(message)


# --- notes ------------------------------------------------------------------------------------


def test_notes_stand_in_the_table_behind_it_or_nowhere() -> None:
    noted = table(notes=("Test split.",))
    inside, behind, without = (latex(noted, notes=n) for n in ("table", "text", "none"))
    assert inside.index("Test split.") < inside.index(r"\end{table}")
    assert behind.index("Test split.") > behind.index(r"\end{table}")
    assert r"Table~\ref{tab:toy}." in behind
    assert "Test split." not in without


def test_the_notes_of_several_floats_stand_with_the_last_alone() -> None:
    noted = table(5, notes=("Test split.",))
    row = replace(noted.rows[0], notes=("a note on the row",))
    noted = replace(noted, rows=(row, *noted.rows[1:]))
    inside, behind = (latex(noted, width="column", notes=n) for n in ("table", "text"))
    for rendered in (inside, behind):
        assert rendered.count(r"\begin{table}") == 2
        assert rendered.count("Test split.") == rendered.count("a note on the row") == 1
        assert rendered.count(r"method 0\textsuperscript{a}") == 2
    first, last = inside.split(r"\end{table}")[:2]
    assert r"Notes: Table~\ref{tab:toy-2}." in first
    assert "Test split." in last
    assert r"Tables~\ref{tab:toy-1} and \ref{tab:toy-2}." in behind
    assert "Notes:" not in behind
    assert r"\label{tab:toy-1}\label{tab:toy}" in first  # \ref{tab:toy} leads to the first


def test_options_that_make_a_table_narrower_are_named_if_they_do() -> None:
    def said(of: Table, **options: Any) -> str:
        texts: list[str] = []
        latex(of, say=texts.append, **{"width": "column", **options})
        (text,) = texts
        return text.partition("footnotesize: ")[2]

    split = "printed as 2 floats, the notes with the last"
    changed = TableCell(31.416, sd=0.25, n=3, planned=3, change=1.25, change_half=0.1)
    wide = table(3)
    compared = replace(wide, rows=tuple(replace(r, cells=(changed,) * 3) for r in wide.rows))
    assert said(compared) == f"{split.replace('2', '3')}; narrower with --compact"
    assert said(table(8), width="page") == f"{split}; narrower with --decimals 1"
    assert said(table(5)) == f"{split}; narrower with --dataset NAME"
    assert said(table(5), notes="none") == "printed as 2 floats; narrower with --dataset NAME"
    long = table(1)
    long = replace(long, rows=tuple(replace(row, label="m" * 80) for row in long.rows))
    assert said(long) == "shrunk to fit"


def test_without_notes_no_letter_refers_to_one() -> None:
    assert r"\textsuperscript{b}" in latex(MADE_UP)
    rendered = latex(MADE_UP, notes="none")
    assert r"\textsuperscript{b}" not in rendered
    assert r"\textsuperscript{$\dagger$}" in rendered


def test_notes_that_would_make_a_float_higher_than_a_page_stand_behind_it() -> None:
    said: list[str] = []
    rendered = latex(table(notes=("A long note. " * 500,)), say=said.append)
    assert rendered.index("A long note.") > rendered.index(r"\end{table}")
    assert said == ["toy: its notes stand behind the table, which would be higher than a page"]


@pytest.mark.parametrize(
    ("reason", "printed"),
    [
        ("not run: `harness run toy`", "not run"),
        ("not in suite 'toy'", "not run"),
        ("failed: run r9: loss is NaN", "failed"),
        (
            "validated and not tested: `harness study promote` tests it",
            "validated and not tested",
        ),
        ("pruned: it fell behind, see `harness study show`", "pruned: it fell behind"),
        ("not implemented", "not implemented"),
    ],
)
def test_reasons_are_those_of_a_paper(reason: str, printed: str) -> None:
    made = table()
    first = replace(made.rows[0], cells=(TableCell(reason=reason, published=30.0),))
    rendered = latex(replace(made, rows=(first, made.rows[1])))
    assert rf"\textsuperscript{{a}} {printed}\par" in rendered


def test_what_the_harness_has_still_to_do_is_not_printed() -> None:
    made = table(2, notes=("Nothing run: `harness run toy`.", "budget: ten trials. Nothing run."))
    empty = TableCell(reason="not run: `harness run toy`")
    rows = [replace(row, cells=(row.cells[0], empty)) for row in made.rows]
    rows.append(TableRow("to be run", (empty, empty)))
    rendered = latex(replace(made, rows=tuple(rows)))
    for text in ("harness", "Nothing run", "D1", "to be run", "ten trials"):
        assert text not in rendered


# --- siunitx ----------------------------------------------------------------------------------


def test_siunitx_aligns_numbers_with_their_spread() -> None:
    marked = TableCell(5.5, sd=0.25, n=3, planned=3, mark=Mark.BEST, sign=Sign.BETTER)
    second = TableCell(31.4, n=1, planned=1, mark=Mark.SECOND)
    missing = TableCell(reason="not implemented", published=3.0)
    rows = [TableRow(name, (c,)) for name, c in (("a", marked), ("b", second), ("c", missing))]
    rendered = latex(replace(table(), rows=tuple(rows)), siunitx=True)
    assert rendered.startswith(r"% Needs \usepackage{booktabs,amssymb,siunitx} in the preamble.")
    assert r"S[table-format=2.2(2),table-space-text-post=" in rendered
    assert r"a &  & \bfseries 5.50 +- 0.25{\textsuperscript{$\dagger$}} \\" in rendered
    assert r"b &  & {\underline{31.40}} \\" in rendered
    assert r"c & 3.00 & {--\textsuperscript{a}} \\" in rendered
    assert " & {published} & {measured}" in rendered
