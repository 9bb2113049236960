"""Definitions of tables and figures, the typed form of ``reports/*.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from harness.analysis.query import parse_metric
from harness.config.base import Config
from harness.config.yaml_source import Document, SourcedConfig
from harness.errors import suggest
from harness.plan.complexity import Factor, Stage

__all__ = [
    "STATISTICS",
    "AttributeSpec",
    "Axis",
    "AxisValue",
    "ComplexityDefinition",
    "Condition",
    "DatasetSpec",
    "DatasetsDefinition",
    "Definition",
    "FigureDefinition",
    "GrowthClaim",
    "Landmark",
    "MetricName",
    "Published",
    "PublishedTable",
    "ReportDefinition",
    "RobustnessDefinition",
    "RowSpec",
    "SourceSpec",
    "StageRow",
    "SuiteDefinition",
    "refuse_doubles",
]


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
    note: str = ""
    """What holds for all figures on it, a setting that they share; printed below the table."""
    against: str = ""
    """Another dataset of the table: each column stands beside that dataset's, ``title`` behind the
    metric's ("MRR clean"), with the change against it."""


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


class SourceSpec(Config):
    """A suite whose measurements stand beside those of others, row by row."""

    suite: str = ""
    """Name of a suite: its cells are shown."""
    study: str = ""
    """In its place, the name of a study: of each row the best trial by validation, once tested
    (``harness study promote``)."""
    title: str
    """Above its numbers."""
    note: str = ""
    """What its numbers have in common, a setting or a budget; printed below the table."""

    @property
    def name(self) -> str:
        """Of the suite or the study."""
        return self.suite or self.study

    @model_validator(mode="after")
    def _one_of_both(self) -> SourceSpec:
        if bool(self.suite) == bool(self.study):
            raise ValueError(f"source '{self.title}': needs a suite or a study, one of both")
        return self


class ReportDefinition(SourcedConfig):
    """A table, a figure, or a figure with its table: a file of ``reports/``."""

    key: ClassVar[str] = ""
    """Key that only this kind of definition has."""
    is_table: ClassVar[bool] = True
    is_figure: ClassVar[bool] = False

    name: str = ""
    """File name without ``.yaml``; set when the file is read."""
    title: str
    """Printed above the table; the first sentence of a figure's caption."""
    footnotes: tuple[str, ...] = ()
    """Printed below the table or with the figure."""

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites and studies whose cells are shown."""
        return ()

    def of_file(self, name: str, document: Document) -> Self:
        """Return the definition with its name, and with the lines of its keys."""
        definition = self.model_copy(update={"name": name})
        definition._document = document
        return definition


class SuiteDefinition(ReportDefinition):
    """A table or figure of a suite's cells."""

    suite: str
    """Name of the suite whose cells are shown."""

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites and studies whose cells are shown."""
        return (self.suite,)


class Definition(SuiteDefinition):
    """A table: the suite whose runs fill it and the rows and columns it shows."""

    sources: tuple[SourceSpec, ...] = ()
    """Suites and studies side by side, for each metric in this order, ``suite`` among them; marks
    compare rows within one of them."""
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
    proposed: tuple[str, ...] = ()
    """Labels of the rows that are tested against the best of the others; without, all rows are
    tested against ``baseline``."""
    floors: tuple[str, ...] = ("Lookup", "Popularity")
    """Labels of rows that learn nothing: a value below one of them has a footnote."""
    row_title: str = "Method"
    """Heading of the rows' labels."""

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """Metrics of the table and those of single datasets."""
        return _all_metrics(self.metrics, self.datasets)

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites and studies whose cells are shown."""
        return tuple(source.name for source in self.sources) or (self.suite,)

    @model_validator(mode="after")
    def _consistent(self) -> Definition:
        attributes = [attribute.name for attribute in self.attributes]
        for row in self.rows:
            for name in row.attributes:
                if name not in attributes:
                    raise ValueError(
                        f"row '{row.label}': unknown attribute '{name}'{suggest(name, attributes)}"
                    )
        refuse_doubles("row", [row.label.lower() for row in self.rows])
        refuse_doubles("dataset", [dataset.name.lower() for dataset in self.datasets])
        self._check_against()
        self._check_sources()
        return self

    def _check_sources(self) -> None:
        refuse_doubles("source", [source.title for source in self.sources])
        refuse_doubles("suite", [source.name for source in self.sources])
        if self.sources and self.suite not in self.suites:
            near = suggest(self.suite, self.suites)
            raise ValueError(f"sources: suite '{self.suite}' is not among them{near}")
        if self.sources and (self.baseline or any(d.against for d in self.datasets)):
            raise ValueError("sources stand side by side without changes; leave baseline, against")

    def _check_against(self) -> None:
        leaders = [dataset.name for dataset in self.datasets if not dataset.against]
        for dataset in self.datasets:
            if not dataset.against:
                continue
            if dataset.against not in leaders:
                raise ValueError(
                    f"dataset '{dataset.name}': cannot stand against '{dataset.against}'"
                    f"{suggest(dataset.against, leaders)}"
                )
            if dataset.metrics:
                raise ValueError(
                    f"dataset '{dataset.name}': has the metrics of '{dataset.against}', which it "
                    "stands against; leave out its own"
                )
            if self.baseline:
                raise ValueError(
                    f"dataset '{dataset.name}': changes are against '{dataset.against}' or against "
                    f"the baseline '{self.baseline}'; leave one out"
                )


AxisValue = float | str


class Axis(Config):
    """A setting that a suite varies."""

    key: str
    """Dotted key in a run's specification ("model.experts.K"); a number picks an item of a list
    ("objective.egns.delta.0")."""
    title: str = ""
    """As printed; the key when not given."""
    latex: str = ""
    """The title in LaTeX's mathematics ("$\\delta_1$"), in pictures too."""
    default: AxisValue | None = None
    """Value of runs that leave the setting at its default, which specifications do not hold."""
    values: tuple[AxisValue, ...] = ()
    """Values that stand in the figure whether or not they were run; others that were run join."""
    scale: Literal["linear", "log"] = "linear"
    """Scale of the axis in the picture, with which a heat map shows points at their values. Not
    given: linear, but logarithmic in a heat map of points whose values span a factor of 100."""

    @property
    def label(self) -> str:
        """The title in text."""
        return self.title or self.key

    @property
    def printed(self) -> str:
        """The title in a picture."""
        return self.latex or self.label


class Landmark(Config):
    """A point that the picture points out."""

    x: AxisValue
    """Its value on the horizontal axis."""
    y: AxisValue
    """Its value on the vertical axis."""
    title: str
    """What it is ("best in the paper")."""


class FigureDefinition(SuiteDefinition):
    """A figure: the suite whose runs it shows, against the settings that the suite varies."""

    key = "figure"
    is_table = False
    is_figure = True

    figure: Literal["lines", "heatmap"]
    """lines: metrics against x; heatmap: metrics over x and y; a panel per dataset and metric."""
    model: str
    """Registered model whose settings the suite varies."""
    x: Axis
    """Horizontal axis."""
    y: Axis | None = None
    """Vertical axis of a heat map."""
    ascending: bool = False
    """Pairs whose x is not below y make no sense and are marked as invalid."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = ("mrr", "hits@1", "hits@10")
    """One panel each: a metric, metric/bucket or valid:metric."""
    datasets: tuple[DatasetSpec, ...] = ()
    """Datasets in order; others that the suite has follow."""
    published: str = ""
    """Table in ``published.yaml`` whose rows are named by values of x ("3")."""
    landmarks: tuple[Landmark, ...] = ()
    """Points that the picture points out."""
    width: Literal["column", "page"] = "column"
    """Width of the picture: 3.3 or 7 inches."""

    @model_validator(mode="after")
    def _consistent(self) -> FigureDefinition:
        if (self.figure == "heatmap") != (self.y is not None):
            raise ValueError("a heatmap needs y" if self.y is None else "only a heatmap has y")
        if self.y is None and (self.ascending or self.landmarks):
            key = "ascending" if self.ascending else "landmarks"
            raise ValueError(f"{key}: only a heatmap shows it; leave it out")
        for dataset in self.datasets:
            if dataset.against:
                raise ValueError(f"dataset '{dataset.name}': against: tables alone show changes")
        refuse_doubles("dataset", [dataset.name.lower() for dataset in self.datasets])
        return self

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """Metrics of the figure and those of single datasets."""
        return _all_metrics(self.metrics, self.datasets)

    @property
    def has_scale(self) -> bool:
        """True for a heat map one of whose axes has a scale."""
        axes = (self.x, self.y) if self.y else ()
        return any("scale" in axis.model_fields_set for axis in axes)

    def invalid(self, x: AxisValue, y: AxisValue) -> bool:
        """Return whether a pair makes no sense."""
        return self.ascending and not isinstance(x, str) and not isinstance(y, str) and x >= y


STATISTICS = (
    *("entities", "relations", "train", "valid", "test"),
    *("image", "text", "numeric", "audio", "video", "name"),
)
"""What can be counted of a dataset: its sizes, and the entities that have a modality or a name."""


class DatasetsDefinition(ReportDefinition):
    """A table of datasets: published statistics beside those of the files."""

    key = "statistics"

    statistics: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns: entities, relations, train, valid, test, or entities that have image, text, numeric,
    audio, video or name."""
    datasets: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names or aliases, in order."""

    @model_validator(mode="after")
    def _consistent(self) -> DatasetsDefinition:
        for name in self.statistics:
            if name not in STATISTICS:
                raise ValueError(f"unknown statistic '{name}'{suggest(name, STATISTICS)}")
        refuse_doubles("statistic", list(self.statistics))
        refuse_doubles("dataset", list(self.datasets))
        return self


class StageRow(Config):
    """A stage of a step, or one way of doing it."""

    stage: Stage
    """What is done."""
    name: str = ""
    """Of the stage "fusion" the kind of fusion."""
    title: str
    """As printed."""
    group: str = ""
    """Rows with equal groups stand together under this title."""
    claim: str = ""
    """Key of the paper's claim about it in ``published.yaml``; "" when there is none."""

    @property
    def key(self) -> tuple[str, str]:
        """Stage and kind of its samples."""
        return self.stage, self.name or self.stage


class ComplexityDefinition(ReportDefinition):
    """A table and a figure of how stages grow with each size, beside a paper's claims."""

    key = "benchmark"
    is_figure = True

    benchmark: str
    """Name of the suite whose newest measurement is shown."""
    rows: Annotated[tuple[StageRow, ...], Field(min_length=1)]
    """Rows in order; the figure draws those of the stage "fusion"."""
    width: Literal["column", "page"] = "column"
    """Width of the picture: 3.3 or 7 inches."""

    @model_validator(mode="after")
    def _consistent(self) -> ComplexityDefinition:
        refuse_doubles("row", [" ".join(row.key) for row in self.rows])
        return self


class Condition(Config):
    """One kind of corruption, of which a suite has several amounts."""

    title: str
    """Heading of its part of the table and of its panel."""
    kind: Literal["drop", "noise", "shuffle", "duplicate"]
    """``kind`` of the runs' ``data.corrupt``."""
    at: Literal["both", "train", "test"] = "both"
    """``at`` of the runs' ``data.corrupt``."""
    amount: str
    """What is varied, below the horizontal axis ("share of entities without")."""


class RobustnessDefinition(SuiteDefinition):
    """A table and a figure of a metric, and of modality weights, by the corruption of features.

    The variations of the suite are the amounts of corruption.
    """

    key = "conditions"
    is_figure = True

    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)]
    """Parts of the table and panels of the figure, in order."""
    metric: MetricName = "mrr"
    """What is shown."""
    weights: tuple[str, ...] = ()
    """Modalities whose mean weights are shown, of models that have weights."""
    datasets: tuple[DatasetSpec, ...] = ()
    """Datasets in order; others that the suite has follow."""
    width: Literal["column", "page"] = "column"
    """Width of the picture: 3.3 or 7 inches."""

    @model_validator(mode="after")
    def _consistent(self) -> RobustnessDefinition:
        refuse_doubles("dataset", [dataset.name.lower() for dataset in self.datasets])
        for dataset in self.datasets:
            for key in sorted(dataset.model_fields_set - {"name", "title"}):
                raise ValueError(
                    f"dataset '{dataset.name}': {key}: curves do not show it; leave it out"
                )
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
        values = self.rows.get(row, {}).get(dataset)
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


class GrowthClaim(Config):
    """Growth that a paper claims."""

    formula: str
    """As printed ("O(MKN)")."""
    about: str
    """What it is said of."""
    exponents: dict[Factor, int]
    """Size -> power of it in the formula, 0 where it is not in it; sizes of which the paper says
    nothing are left out."""


class PublishedClaims(Config):
    """A section of a paper that claims how something grows."""

    caption: str
    """What the paper calls it ("Section 4.5.6")."""
    claims: dict[str, GrowthClaim]
    """Claims by key."""


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
    complexity: PublishedClaims = PublishedClaims(caption="", claims={})
    """What the paper says of time."""


def _all_metrics(metrics: Sequence[str], datasets: Sequence[DatasetSpec]) -> tuple[str, ...]:
    return (*metrics, *(metric for dataset in datasets for metric in dataset.metrics))


def refuse_doubles(kind: str, names: list[str]) -> None:
    """Refuse names that are listed twice.

    Raises:
        ValueError: the message says which.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind} '{name}' is listed twice")
