r"""Tables and figures as LaTeX floats, as wide as a column or a page.

Letters are never smaller than ``\footnotesize``: a table that is wider than a page is split into
floats of whole datasets or metrics. Only what cannot be split is shrunk, and that is said. Widths
are estimated for Computer Modern, which is wider than the fonts of most classes; a column and a
page are those of ACL, the narrowest of ACM, IEEE and ACL in letters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypedDict, get_args

import jinja2

from harness.errors import ConfigError, suggest
from harness.report.figure import Figure
from harness.report.files import shipped_folder
from harness.report.latex_text import latex_escape, preamble_note
from harness.report.layout import BESIDE, Layout, PrintedCell, lay_out, reference
from harness.report.table import Quantity, Table, TableCell, TableRow

__all__ = ["CHECKS", "LatexKeywords", "LatexOptions", "Notes", "Width", "latex", "latex_figure"]

Width = Literal["column", "page"]
Notes = Literal["none", "table", "text"]
CHECKS = {True: "✓", False: "✗"}
COLUMN, PAGE = 219.0, 455.0
"""Widths of an ACL paper in points."""
HEIGHT = 560.0
"""Height of a float in points, below a caption of some lines."""
SIZES = {"small": 10.0, "footnotesize": 9.0}
"""Sizes of letters that are tried, largest first, in points at 11 points of text."""
GAP = 6.0
"""Space between columns in points: twice ``\\tabcolsep``."""
NARROW, WIDE = set(".,:;!'|()[]ijlIft "), set("mwMW%@&+±→")


class LatexKeywords(TypedDict, total=False):
    """Keyword arguments with the options of LaTeX; see :class:`LatexOptions`."""

    width: Width | Literal[""]
    compact: bool
    notes: Notes
    decimals: int | None
    caption: str
    label: str
    siunitx: bool
    say: Callable[[str], None]


@dataclass(frozen=True)
class LatexOptions:
    """Options of tables and figures in LaTeX.

    Attributes:
        width: of the float; "" for the narrowest that fits.
        compact: leave out differences, changes and the columns that describe the rows.
        notes: footnotes in the float, as text behind it, or not at all.
        decimals: digits behind the point; None for those of each metric.
        caption: replaces the title.
        label: key of the reference; "" for "tab:" or "fig:" and the name.
        siunitx: align numbers at the point by S columns of siunitx.
        say: receives a sentence when a table does not fit as asked for.
    """

    width: Width | Literal[""] = ""
    compact: bool = False
    notes: Notes = "table"
    decimals: int | None = None
    caption: str = ""
    label: str = ""
    siunitx: bool = False
    say: Callable[[str], None] = field(default=lambda text: None, compare=False)

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("width", self.width, (*get_args(Width), "")),
            ("notes", self.notes, get_args(Notes)),
        ):
            if value not in choices:
                named_choices = [choice for choice in choices if choice]
                raise ConfigError(f"--{name} {value}: unknown{suggest(value, named_choices)}")
        if re.search(r"[{}\\%#~,\s]", self.label):
            raise ConfigError(f"--label {self.label}: a key has no spaces, commas, braces or \\%#~")


@dataclass(frozen=True)
class _Float:
    r"""One printed float.

    Attributes:
        layout: printed columns and rows.
        caption, label: as printed.
        is_wide: as wide as a page.
        size: command of the size of letters, without its backslash.
        shrunk: the table is wider than the float at ``\footnotesize`` and cannot be split.
        notes: layout whose notes stand with the float; None for all but the last of several.
        notes_as_text: the notes stand behind the float.
        last_label: label of the float that has the notes.
    """

    layout: Layout
    caption: str
    label: str
    is_wide: bool
    size: str
    shrunk: bool
    notes: Layout | None
    notes_as_text: bool
    last_label: str


def latex(table: Table, options: LatexOptions = LatexOptions()) -> str:
    r"""Return floats for ``\input``; need booktabs and amssymb, with an option siunitx.

    Datasets stand side by side as far as the float is wide; the others follow in further floats.
    What the harness has still to do is left out, and so are rows and datasets without any value.
    """
    layout = _printed(lay_out(_published_form(table, options)), options)
    floats = list(_floats(layout, options))
    rendered = (
        _environment()
        .get_template("tables.tex.j2")
        .render(
            floats=floats,
            label=_label(table, options),
            first_label=floats[0].label,
            options=options,
            packages=_packages(floats, options),
            columns=_columns,
            number=_siunitx_number if options.siunitx else _number,
        )
    )
    return _noted(rendered + "\n")


def latex_figure(figure: Figure, options: LatexOptions = LatexOptions()) -> str:
    r"""Return a ``figure`` float for ``\input``; needs graphicx, amssymb and the file ``NAME.pdf``.

    The caption is the title and what explains the picture; the notes of the data stand below it.
    """
    table = _published_form(figure.table, options)
    source = [f"Published: {table.source}."] if table.source else []
    rendered = (
        _environment()
        .get_template("figure.tex.j2")
        .render(
            picture=f"{table.name}.pdf",
            wide=figure.wide if not options.width else options.width == "page",
            caption=options.caption or f"{table.title}. {figure.legend}",
            notes=[*source, *table.notes],
            options=options,
            label=options.label or f"fig:{reference(table.name)}",
        )
    )
    return _noted(f"{rendered}\n")


def _noted(source: str) -> str:
    """Return a LaTeX source, below its first comment the note on characters that it may need."""
    first, body = source.split("\n", 1)
    return f"{first}\n{preamble_note(body)}{body}"


def _label(table: Table, options: LatexOptions) -> str:
    return options.label or f"tab:{reference(table.name)}"


def _packages(floats: Sequence[_Float], options: LatexOptions) -> str:
    names = ["booktabs", "amssymb"]
    names += ["graphicx"] if any(printed.shrunk for printed in floats) else []
    names += ["siunitx"] if options.siunitx else []
    return ",".join(names)


# --- what is published ----------------------------------------------------------------------


def _published_form(table: Table, options: LatexOptions) -> Table:
    """Return a table without commands, without what has no value, and with the decimals wanted."""
    columns = [
        column if options.decimals is None or not column.decimals
        else replace(column, decimals=options.decimals)
        for column in table.columns
    ]  # fmt: skip
    rows = [_published_row(row, options) for row in table.rows]
    notes = [text for note in table.notes if (text := _published_note(note))]
    return _with_values(
        replace(
            table,
            columns=tuple(columns),
            rows=tuple(rows),
            headings=() if options.compact else table.headings,
            notes=tuple(notes),
        )
    )


def _with_values(table: Table) -> Table:
    """Return a table without the datasets on which nothing was measured, and rows without a value.

    Where nothing was measured at all, published values stand alone.
    """
    datasets = {
        column.dataset_title
        for i, column in enumerate(table.columns)
        if any(row.cells[i].value is not None for row in table.rows)
    }
    if not datasets:
        return table
    positions = [i for i, c in enumerate(table.columns) if c.dataset_title in datasets]
    smaller = table.only(positions)
    rows = [row for row in smaller.rows if any(map(_has_value, row.cells))]
    return replace(smaller, rows=tuple(rows))


def _has_value(cell: TableCell) -> bool:
    return cell.value is not None or cell.published is not None


def _published_row(row: TableRow, options: LatexOptions) -> TableRow:
    cells = [replace(cell, reason=_reason(cell.reason)) for cell in row.cells]
    if options.compact:
        cells = [replace(cell, change=None, change_half=None) for cell in cells]
    attributes = () if options.compact else row.attributes
    notes = tuple(map(_without_commands, row.notes))
    return replace(row, cells=tuple(cells), attributes=attributes, notes=notes)


COMMAND = re.compile(r"[:;,]?\s*(see )?\(?`harness[^`]*`[^;.)]*\)?")
"""A command of the harness in a sentence, with the words that lead to it and what it does."""


TO_DO = (
    "Nothing run",
    "Nothing shown",
    "Nothing is shown",
    "No two amounts were run",
    "Nothing is compared with",
)
"""Phrases of notes on what has not been run."""


def _without_commands(text: str) -> str:
    return COMMAND.sub("", text)


def _published_note(note: str) -> str:
    """Return a note on a table, "" when it is about what has not been run."""
    if any(phrase in note for phrase in TO_DO):
        return ""
    return _without_commands(note)


def _reason(reason: str) -> str:
    """Return why a cell is empty, as a reader of a paper has to know it."""
    if reason.startswith(("not in suite ", "not shown: ", "interrupted, ")):
        return "not run"
    return "failed" if reason.startswith("failed: ") else _without_commands(reason)


# --- columns --------------------------------------------------------------------------------


def _printed(layout: Layout, options: LatexOptions) -> Layout:
    """Return a layout without the columns and letters that the options leave out."""
    if options.compact:
        layout = _select(layout, [c.quantity is not Quantity.DIFFERENCE for c in layout.columns])
    if options.notes == "none":
        rows = [
            replace(row, letters="", cells=tuple(replace(c, letters="") for c in row.cells))
            for row in layout.rows
        ]
        layout = replace(layout, rows=tuple(rows), letters={})
    return layout


def _select(layout: Layout, is_printed: Sequence[bool]) -> Layout:
    indices = [i for i, printed in enumerate(is_printed) if printed]
    rows = [replace(row, cells=tuple(row.cells[i] for i in indices)) for row in layout.rows]
    columns = tuple(layout.columns[i] for i in indices)
    return replace(layout, columns=columns, rows=tuple(rows))


# --- floats ---------------------------------------------------------------------------------


def _floats(layout: Layout, options: LatexOptions) -> Iterator[_Float]:
    """Yield the floats of a table: one in a column or on a page, else several."""
    widths = [options.width] if options.width else get_args(Width)
    for width in widths:
        if _size(layout, width):
            yield _float(layout, width, options)
            return
    width = widths[-1]
    pieces = _pieces(layout, width)
    _say_too_wide(layout, width, options, pieces)
    if len(pieces) == 1:
        yield _float(layout, width, options)
        return
    float_widths = [next((w for w in widths if _size(piece, w)), width) for piece in pieces]
    sizes = {_size(piece, of) for piece, of in zip(pieces, float_widths, strict=True)}
    size = "" if len(sizes) > 1 else sizes.pop()  # the same letters in all
    for number, (piece, of) in enumerate(zip(pieces, float_widths, strict=True), 1):
        yield _float(layout, of, options, _Part(piece, number, len(pieces), size))


class _Part(NamedTuple):
    """One of several floats that a table is printed as: its columns, number and size of letters."""

    layout: Layout
    number: int
    total: int
    size: str


def _float(whole: Layout, width: str, options: LatexOptions, part: _Part | None = None) -> _Float:
    """Return the float of a table, or of a part of it; the last part has the notes of all."""
    layout = part.layout if part else whole
    fitting, name = _size(layout, width), whole.table.name
    label = _label(whole.table, options)
    caption, last_label = options.caption or whole.table.title, label
    notes = _with_own_letters(whole) if part is None or part.number == part.total else None
    if part:
        titles = ", ".join(span.title for span in layout.datasets)
        caption = f"{caption} ({titles})" if options.caption else f"{caption}: {titles}"
        label, last_label = f"{label}-{part.number}", f"{label}-{part.total}"
    moved = notes and options.notes == "table" and _height(layout, notes, width) > HEIGHT
    if moved:
        options.say(f"{name}: its notes stand behind the table, which would be higher than a page")
    return _Float(
        layout=_with_own_letters(layout),
        caption=caption,
        label=label,
        is_wide=width == "page",
        size=(part.size if part else fitting) or "footnotesize",
        shrunk=not fitting,
        notes=notes,
        notes_as_text=bool(moved) or options.notes == "text",
        last_label=last_label,
    )


def _say_too_wide(
    layout: Layout, width: str, options: LatexOptions, pieces: Sequence[Layout]
) -> None:
    """Say that a table is split or shrunk, and which options help."""
    measures = []
    if len(pieces) > 1:
        with_last = ", the notes with the last" if options.notes == "table" else ""
        measures.append(f"printed as {len(pieces)} floats{with_last}")
    if shrunk := sum(not _size(piece, width) for piece in pieces):
        measures.append("shrunk to fit" if len(pieces) == 1 else f"{shrunk} of them shrunk to fit")
    changes = {
        "--compact": LatexOptions(compact=True),
        "--decimals 1": LatexOptions(decimals=1),
        "--compact --decimals 1": LatexOptions(compact=True, decimals=1),
    }
    helpful = [o for o, c in changes.items() if _pages(layout, width, c) < (shrunk, len(pieces))]
    if not helpful and len({column.dataset for column in layout.table.columns}) > 1:
        helpful = ["--dataset NAME"]
    hint = f"; narrower with {helpful[0]}" if helpful else ""
    text = (
        f"{layout.table.name}: wider than a {width} at \\footnotesize: {', '.join(measures)}{hint}"
    )
    options.say(text)


def _pages(layout: Layout, width: str, options: LatexOptions) -> tuple[int, int]:
    """Return how many floats are shrunk, and how many there are, with other options."""
    pieces = _pieces(_printed(lay_out(_published_form(layout.table, options)), options), width)
    return sum(not _size(piece, width) for piece in pieces), len(pieces)


def _with_own_letters(layout: Layout) -> Layout:
    """Return a layout with the notes alone that its rows and cells have."""
    used_letters = {
        letter
        for row in layout.rows
        for text in (row.letters, *(cell.letters for cell in row.cells))
        for letter in text.split(",")
    }
    letters = {text: letter for text, letter in layout.letters.items() if letter in used_letters}
    positions = layout.positions
    table = layout.table.only(positions) if positions else layout.table
    moved = {old: new for new, old in enumerate(positions)}
    columns = [replace(c, position=moved[c.position]) for c in layout.columns]
    return replace(layout, table=table, columns=tuple(columns), letters=letters)


def _pieces(layout: Layout, width: str) -> list[Layout]:
    """Return whole datasets side by side, or of a wide one the metrics, as far as they fit."""
    if _size(layout, width):
        return [layout]
    pieces: list[Layout] = []
    blocks: list[Layout] = []
    for block in layout.blocks():
        blocks += [block] if _size(block, width) else _by_measure(block)
    panel: list[int] = []
    for block in blocks:
        if panel and not _size(layout.at({*panel, *block.positions}), width):
            pieces.append(layout.at(panel))
            panel = []
        panel += block.positions
    return [*pieces, layout.at(panel)]


def _by_measure(block: Layout) -> list[Layout]:
    """Return the columns metric by metric; those of several sources stay side by side."""
    groups = groupby(block.columns, key=lambda printed: printed.column.measure)
    return [block.at({printed.position for printed in members}) for _, members in groups]


def _size(layout: Layout, width: str) -> str:
    """Return the largest size of letters in which a table fits, "" when none does."""
    room = COLUMN if width == "column" else PAGE
    em = _em(layout)
    gaps = GAP * (layout.n_columns - 1)
    return next((name for name, points in SIZES.items() if em * points + gaps <= room), "")


def _em(layout: Layout) -> float:
    """Return the width of a table in em, without the space between its columns."""
    label = max(map(_text_em, (layout.table.row_title, *(row.label for row in layout.rows))))
    attributes = [
        max(_text_em(text) for text in (heading.text, *(_value_text(v) for v in values)))
        for heading, values in zip(layout.table.headings, _attribute_columns(layout), strict=True)
    ]
    numbers = [
        max((_cell_em(row.cells[i]) for row in layout.rows), default=0.0)
        for i in range(len(layout.columns))
    ]
    first = 2 + len(layout.table.headings)
    for spans in (layout.measures, layout.datasets):
        for span in spans:
            below = numbers[span.start - first : span.end - first + 1]
            missing = _text_em(span.title) - sum(below)
            for i in range(span.start - first, span.end - first + 1):
                numbers[i] += max(0.0, missing) / span.width
    if layout.has_parts:
        headings = [_text_em(column.heading) for column in layout.columns]
        numbers = [max(pair) for pair in zip(numbers, headings, strict=True)]
    return label + sum(attributes) + sum(numbers)


def _attribute_columns(layout: Layout) -> Iterator[list[str | bool]]:
    """Yield the values of each attribute of the rows."""
    for i in range(len(layout.table.headings)):
        yield [row.attributes[i] for row in layout.rows]


def _value_text(value: str | bool) -> str:
    return CHECKS[value] if isinstance(value, bool) else value


def _cell_em(cell: PrintedCell) -> float:
    marks = 0.4 * (len(cell.letters) + bool(cell.sign)) + bool(cell.mark) * 0.08 * len(cell.number)
    spread = f" ± {cell.spread}" if cell.spread else ""
    return _text_em(cell.number + spread) + marks


def _text_em(text: str) -> float:
    """Return the approximate width of a text."""
    return sum(
        0.3 if c in NARROW else 0.8 if c in WIDE else 0.7 if c.isupper() else 0.5 for c in text
    )


def _height(layout: Layout, notes: Layout, width: str) -> float:
    """Return the approximate height of a table and of the notes of a layout in points."""
    line = 1.2 * SIZES["footnotesize"]
    room = (COLUMN if width == "column" else PAGE) / SIZES["footnotesize"]
    texts = [*notes.table.notes, *notes.letters, notes.table.source, notes.legend("", "")]
    lines = sum(1 + int(_text_em(text) / room) for text in texts if text)
    groups = sum(1 for title, _ in layout.groups() if title)
    return line * (len(layout.rows) + groups + 4 + lines)


# --- numbers --------------------------------------------------------------------------------


def _columns(layout: Layout, options: LatexOptions) -> str:
    """Return the columns of a tabular."""
    texts = "l" * (1 + len(layout.table.headings))
    if not options.siunitx:
        return f"@{{}}{texts}{'r' * len(layout.columns)}@{{}}"
    return f"@{{}}{texts}{''.join(_s_column(layout, i) for i in range(len(layout.columns)))}@{{}}"


def _s_column(layout: Layout, position: int) -> str:
    """Return an S column as wide as its numbers."""
    cells = [row.cells[position] for row in layout.rows]
    numbers = [cell.number.replace(",", "").lstrip("<") for cell in cells if cell.number]
    if not numbers:
        return "c"
    digits_before = max(len(number.partition(".")[0]) for number in numbers)
    decimals = max(len(number.partition(".")[2]) for number in numbers)
    spreads = [cell.spread for cell in cells if cell.spread]
    digits = max((len(spread.replace(".", "").lstrip("0")) for spread in spreads), default=0)
    spread = f"({max(digits, 1)})" if spreads else ""
    sign = "+" if any(number[0] in "+-" for number in numbers) else ""
    digits_before -= bool(sign)
    after = max((_after(cell) for cell in cells), key=len)
    post = f",table-space-text-post={{{after}}}" if after else ""
    return f"S[table-format={sign}{max(digits_before, 1)}.{decimals}{spread}{post}]"


def _after(cell: PrintedCell) -> str:
    """Return sign and letters of a cell behind its number."""
    marks = ",".join(filter(None, (cell.sign, cell.letters)))
    return rf"\textsuperscript{{{latex_escape(marks)}}}" if marks else ""


def _number(cell: PrintedCell) -> str:
    """Return a cell of a plain column."""
    if cell.missing:
        return f"--{_after(cell)}"
    spread = rf" $\pm$ {cell.spread}" if cell.spread else ""
    number = cell.number.replace("-", "$-$").replace("<", "$<$")
    return f"{_marked(cell, number + spread)}{_after(cell)}"


def _siunitx_number(cell: PrintedCell) -> str:
    """Return a cell of an S column; what is no plain number stands in braces."""
    if cell.missing:
        return f"{{--{_after(cell)}}}"
    if not cell.number:
        return f"{{{_after(cell)}}}" if _after(cell) else ""
    if cell.mark == "second" or cell.number.startswith("<"):
        return f"{{{_number(cell)}}}"
    spread = f" +- {cell.spread}" if cell.spread else ""
    bold = r"\bfseries " if cell.mark == "best" else ""
    after = f"{{{_after(cell)}}}" if _after(cell) else ""
    return f"{bold}{cell.number.replace(',', '')}{spread}{after}"


def _marked(cell: PrintedCell, text: str) -> str:
    commands = {"best": "textbf", "second": "underline"}
    return rf"\{commands[cell.mark]}{{{text}}}" if cell.mark else text


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder() / "templates"),
        autoescape=False,  # noqa: S701 - LaTeX; texts pass through the filter below
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    names: dict[str, Any] = {"BESIDE": BESIDE, "CHECKS": CHECKS}
    environment.globals.update(names)
    environment.filters["tex"] = latex_escape
    return environment
