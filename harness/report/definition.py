"""The typed form of ``reports/*.yaml``: which rows and columns a table has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.config.base import Config
from harness.errors import suggest

__all__ = [
    "METRICS",
    "AttributeSpec",
    "DatasetSpec",
    "Definition",
    "Metric",
    "Published",
    "PublishedTable",
    "RowSpec",
    "parse_metric",
]


@dataclass(frozen=True)
class Metric:
    """How a stored metric is printed.

    Attributes:
        title: column title.
        factor: printed value = stored value times factor (fractions become percent).
        higher_is_better: False for ranks.
    """

    title: str
    factor: float = 100.0
    higher_is_better: bool = True


METRICS = {
    "mrr": Metric("MRR"),
    "hits@1": Metric("Hit@1"),
    "hits@3": Metric("Hit@3"),
    "hits@10": Metric("Hit@10"),
    "amri": Metric("AMRI"),
    "mr": Metric("MR", factor=1.0, higher_is_better=False),
}
"""Metrics that a table can show, by their name in the records."""

BUCKETS = ("all", "warm", "cold")


def parse_metric(text: str) -> tuple[str, str]:
    """Split ``"mrr"`` or ``"mrr/cold"`` into metric and bucket.

    Raises:
        ValueError: one of them is unknown; the message offers the nearest.
    """
    metric, _, bucket = text.partition("/")
    if metric not in METRICS:
        raise ValueError(f"unknown metric '{metric}'{suggest(metric, METRICS)}")
    bucket = bucket or "all"
    if bucket not in BUCKETS:
        raise ValueError(f"unknown bucket '{bucket}'{suggest(bucket, BUCKETS)}")
    return metric, bucket


def _checked_metric(text: str) -> str:
    parse_metric(text)
    return text


MetricName = Annotated[str, AfterValidator(_checked_metric)]


class DatasetSpec(Config):
    """One block of columns."""

    name: str
    """Canonical dataset name: ``harness data list``."""
    title: str = ""
    """As printed; the name when not given."""
    metrics: tuple[MetricName, ...] = ()
    """Metrics on this dataset, when they differ from the table's."""
    missing: str = ""
    """Why the suite leaves this dataset out; printed for its empty cells."""


class AttributeSpec(Config):
    """A column that describes the rows (modalities, components)."""

    name: str
    """Key in the rows' ``attributes``."""
    title: str = ""
    """As printed; the name when not given."""
    latex: str = ""
    """LaTeX for the title, when the escaped text will not do."""


class RowSpec(Config):
    """A row that stands in the table whether or not it was run."""

    label: str
    """Label of the row in the suite, in any case."""
    title: str = ""
    """As printed; the label when not given."""
    published: str = ""
    """Key of the row among the published figures; "" when the paper has no such row."""
    group: str = ""
    """Rows with equal groups stand together under this title."""
    attributes: dict[str, str | bool] = Field(default_factory=dict)
    """Values of the attribute columns; true and false are printed as check marks."""
    model: str = ""
    """Registered model behind the row; "" when the harness has none."""
    notes: tuple[str, ...] = ()
    """Footnotes of the row."""


class Definition(Config):
    """A table: the suite whose runs fill it and the rows and columns it shows."""

    name: str = ""
    """File name without ``.yaml``; set when the file is read."""
    title: str
    """Printed above the table."""
    suite: str
    """Name of the suite whose cells are shown."""
    published: str = ""
    """Table in ``published.yaml`` that is shown beside the measurements."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = ("mrr", "hits@1", "hits@10")
    """Columns of each dataset: a metric, or metric/bucket ("mrr/cold")."""
    datasets: tuple[DatasetSpec, ...] = ()
    """Datasets in order; others that the suite has follow."""
    attributes: tuple[AttributeSpec, ...] = ()
    """Columns that describe the rows."""
    rows: tuple[RowSpec, ...] = ()
    """Rows in order; others that the suite has follow."""
    others: str = ""
    """Title of the group of rows that the suite has beside the listed ones."""
    baseline: str = ""
    """Label of the row that the others are compared with (a column of changes)."""
    footnotes: tuple[str, ...] = ()
    """Printed below the table."""

    @model_validator(mode="after")
    def _consistent(self) -> Definition:
        known = [attribute.name for attribute in self.attributes]
        for row in self.rows:
            for name in row.attributes:
                if name not in known:
                    raise ValueError(
                        f"row '{row.label}': unknown attribute '{name}'{suggest(name, known)}"
                    )
        _refuse_doubles("row", [row.label.lower() for row in self.rows])
        _refuse_doubles("dataset", [dataset.name.lower() for dataset in self.datasets])
        return self


class PublishedTable(Config):
    """One table of a paper."""

    caption: str
    """What the paper calls it ("Table 2")."""
    metrics: tuple[MetricName, ...]
    """Metrics of the values."""
    rows: dict[str, dict[str, tuple[float | None, ...]]]
    """Row -> dataset -> one value per metric, in percent; null where the paper has none."""

    @model_validator(mode="after")
    def _complete(self) -> PublishedTable:
        for name, row in self.rows.items():
            for dataset, values in row.items():
                if len(values) != len(self.metrics):
                    raise ValueError(
                        f"row '{name}', {dataset}: need {len(self.metrics)} values, "
                        f"got {len(values)}"
                    )
        return self

    def value(self, row: str, dataset: str, metric: str) -> float | None:
        """Return one figure, None where the paper has none."""
        values = self.rows[row].get(dataset)
        if values is None or metric not in self.metrics:
            return None
        return values[self.metrics.index(metric)]


class DatasetStatistics(Config):
    """A dataset's row in the paper's table of statistics; null where the paper has "-"."""

    title: str
    entities: int
    relations: int
    train: int
    valid: int
    test: int
    image: int | None = None
    text: int | None = None
    numeric: int | None = None
    audio: int | None = None
    video: int | None = None


class PublishedStatistics(Config):
    """The paper's table of dataset statistics, by canonical dataset name."""

    caption: str
    rows: dict[str, DatasetStatistics]


class Published(Config):
    """Figures of a paper, as printed there (``reports/published.yaml``)."""

    source: str
    """The paper."""
    units: Literal["percent"]
    """Of all metrics."""
    statistics: PublishedStatistics
    """The paper's table of datasets."""
    tables: dict[str, PublishedTable]
    """Tables of results by name."""


def _refuse_doubles(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} '{name}' is listed twice")
