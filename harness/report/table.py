"""The table as a value, independent of its printed form.

Values are in the printed unit (percent for MRR, Hit@k and AMRI; ranks for MR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Unpack

from harness.analysis.statistics import SeedSummary, half_width
from harness.evaluation.metrics import METRICS
from harness.frames import dataframe

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.latex import LatexKeywords

__all__ = [
    "Column",
    "Heading",
    "Mark",
    "Quantity",
    "RivalTest",
    "Sign",
    "Table",
    "TableCell",
    "TableRow",
]


class Mark(StrEnum):
    """Mark of a value in its column."""

    BEST = "best"
    SECOND = "second"


class Sign(StrEnum):
    """Sign of a value against the row that it is tested against."""

    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True)
class RivalTest:
    """Paired test of a value against that of another row, on the ranks of both.

    Attributes:
        rival: label of the other row.
        difference: value minus the rival's, over the seeds that both have, in the printed unit.
        low, high: its 95 % interval.
        p: p-value of the paired test.
        adjusted: p after Holm's correction over the table.
        seeds: number of seeds that both have.
    """

    rival: str
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    seeds: int


class Quantity(StrEnum):
    """Quantities that a column may show side by side."""

    PUBLISHED = "published"
    MEASURED = "measured"
    DIFFERENCE = "difference"
    """Measured minus published."""
    CHANGE = "change"
    """Measured minus the baseline row, over the seeds that both have."""


@dataclass(frozen=True)
class Heading:
    """Title of an attribute column; ``latex`` replaces the escaped text where it is given."""

    text: str
    latex: str = ""


@dataclass(frozen=True)
class Column:
    """One metric on one dataset.

    Attributes:
        dataset: canonical dataset name ("mkg-w").
        dataset_title: as printed ("MKG-W").
        metric: name in the records ("hits@1").
        bucket: part of the test split ("all", "warm", "cold").
        title: as printed ("Hit@1", "MRR cold").
        higher_is_better: False for ranks, None for numbers that are neither good nor bad.
        split: "test" or "valid"; "" for numbers that are not over queries.
        decimals: digits behind the point.
        source: title of the suite or study, where several stand side by side; "" otherwise.
    """

    dataset: str
    dataset_title: str
    metric: str
    bucket: str
    title: str
    higher_is_better: bool | None = True
    split: str = "test"
    decimals: int = 2
    source: str = ""

    @classmethod
    def of_metric(cls, name: str, **fields: Any) -> Column:
        """Make the column of a metric; further fields may replace its title and bucket."""
        metric = METRICS[name]
        return cls(
            metric=name,
            higher_is_better=metric.higher_is_better,
            decimals=metric.decimals,
            **{"title": metric.title, "bucket": "all"} | fields,
        )

    @property
    def measure(self) -> tuple[str, ...]:
        """Key of the measure; columns of several sources that stand side by side share it."""
        return self.dataset, self.metric, self.bucket, self.split, self.title


@dataclass(frozen=True)
class TableCell:
    """One row in one column.

    Attributes:
        value: mean over seeds, None when there is no measurement.
        sd: standard deviation over seeds (n - 1), None for fewer than two.
        n: seeds with a value.
        planned: seeds the suite asks for.
        published: the published figure, None when there is none.
        change: value minus the baseline row's, None without baseline.
        change_half: half the width of the change's 95 % interval, None for fewer than two seeds.
        change_paired: whether the change was taken seed by seed (Student's interval), or between
            means over seeds that are not paired (Welch's).
        mark: best or second of its column.
        lead: of the best over the others, and of the second over the rest, marked or not.
        sign: better or worse than the row that it is tested against.
        against: the test of that.
        features: feature set of the runs ("" without runs).
        reason: why there is no value; "" when there is one.
        notes: footnotes of this cell alone.
        runs: ids of the runs behind the value, or of the measurement.
    """

    value: float | None = None
    sd: float | None = None
    n: int = 0
    planned: int = 0
    published: float | None = None
    change: float | None = None
    change_half: float | None = None
    change_paired: bool = True
    mark: Mark | None = None
    lead: RivalTest | None = None
    sign: Sign | None = None
    against: RivalTest | None = None
    features: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, summary: SeedSummary, **fields: Any) -> TableCell:
        """Make the cell of a measurement over seeds, with further fields."""
        return cls(value=summary.mean, sd=summary.sd, n=summary.n, **fields)

    @property
    def half(self) -> float | None:
        """Half the width of the 95 % interval of the mean over seeds, None for fewer than two."""
        return None if self.sd is None else half_width(self.sd, self.n)

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        if self.value is None or self.published is None:
            return None
        return self.value - self.published

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The reason for a missing value, then the notes."""
        return (self.reason, *self.notes) if self.reason else self.notes


@dataclass(frozen=True)
class TableRow:
    """One method or variant.

    Attributes:
        label: as printed.
        cells: one per column of the table.
        group: rows with equal groups stand together under this title ("" for none).
        attributes: one per heading; booleans are printed as check marks.
        notes: footnotes that hold for every value of the row.
    """

    label: str
    cells: tuple[TableCell, ...]
    group: str = ""
    attributes: tuple[str | bool, ...] = ()
    notes: tuple[str, ...] = ()

    def with_shared_notes(self) -> TableRow:
        """Return the row with the notes that all its values share moved to the label."""
        noted = [cell.notes for cell in self.cells if cell.value is not None]
        shared = [n for n in noted[0] if all(n in notes for notes in noted)] if noted else []
        cells = [replace(c, notes=tuple(n for n in c.notes if n not in shared)) for c in self.cells]
        return replace(self, cells=tuple(cells), notes=(*self.notes, *shared))


@dataclass(frozen=True)
class Table:
    """Rows by columns, with the footnotes that make the numbers readable.

    Attributes:
        name: file name of the definition, or the suite ("main").
        title: printed above.
        columns: datasets by metrics; columns of one dataset stand together.
        rows: as printed.
        headings: titles of the rows' attributes.
        notes: footnotes of the whole table.
        source: where published figures are from, "" when there are none.
        baseline: label of the row that changes refer to, "" when there is none.
        row_title: heading of the labels.
        tests: number of hypotheses that Holm's correction was over.
        signs_against: the row that signs refer to, in words; "" when there are no signs.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    headings: tuple[Heading, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    baseline: str = ""
    row_title: str = "Method"
    tests: int = 0
    signs_against: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row.cells) == len(self.columns), row.label
            assert len(row.attributes) == len(self.headings), row.label

    def render(
        self,
        format: str = "text",  # noqa: A002 - as in ``harness report``
        **latex: Unpack[LatexKeywords],
    ) -> str:
        """Return the table as text, markdown, latex, html, csv or json.

        Args:
            format: name of the format.
            latex: width ("column", "page"), compact, notes ("table", "text", "none"), decimals,
                caption, label, siunitx, say; see :class:`harness.report.latex.LatexOptions`.

        Raises:
            ConfigError: an unknown format or value, or options of LaTeX for another format.
        """
        from harness.report.render import render_with

        return render_with(self, format, latex)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame with a row per row and column of the table, in the printed unit.

        ``frame.pivot(index="method", columns=["dataset", "column"], values="value")`` is the
        printed table. The columns are those of ``harness.report.data_formats.plain_rows``.

        Raises:
            ImportError: pandas (extra ``[pandas]``) is not installed.
        """
        from harness.report.data_formats import NUMBERS, plain_rows

        return dataframe(plain_rows(self), numbers=NUMBERS if self.rows else ())

    def __str__(self) -> str:
        return self.render().rstrip("\n")

    def _repr_html_(self) -> str:
        from harness.report.templates import html_fragment

        return html_fragment(self)

    def only(self, columns: Sequence[int]) -> Table:
        """Return the table with some of its columns, by position, without notes on datasets that
        have none of them."""
        rows = [replace(r, cells=tuple(r.cells[i] for i in columns)) for r in self.rows]
        kept_columns = tuple(self.columns[i] for i in columns)
        dropped = {c.dataset_title for c in self.columns} - {c.dataset_title for c in kept_columns}
        notes = [
            n for n in self.notes if not n.startswith(tuple(f"{title}: " for title in dropped))
        ]
        return replace(self, columns=kept_columns, rows=tuple(rows), notes=tuple(notes))

    def with_shared_notes(self) -> Table:
        """Return the table with the notes that all values of a row share moved to its label."""
        return replace(self, rows=tuple(row.with_shared_notes() for row in self.rows))
