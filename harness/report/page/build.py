"""From the store to one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

import harness
from harness.analysis.claims import Checked, check, load_claims
from harness.analysis.query import Results, only_validated
from harness.analysis.sides import StoredSuites
from harness.errors import ConfigError, DataError, HarnessError
from harness.report.build import study_table
from harness.report.comparing import CLAIMS
from harness.report.definition import DatasetsDefinition
from harness.report.figure import Figure
from harness.report.files import readable_definitions, shipped_folder, suites_by_table
from harness.report.page.data import DataAudit, audit
from harness.report.page.measurements import MeasurementDetails, describe_measurement
from harness.report.page.runs import Failure, Location, RunGroup, describe, describe_failure
from harness.report.page.sections import Section, figure_section, table_section
from harness.report.query import (
    all_figures,
    all_tables,
    named_figure,
    named_table,
    suites_of,
    variant_tables,
)
from harness.report.templates import html_environment
from harness.store.base import ResultStore, readable_records, suite_of
from harness.store.records import Cell, Numbers, RunRecord

__all__ = ["FAILURES", "FULL", "Page", "page"]

FULL = 300
"""Numbers whose runs are described in full, at about 30 kB each; further ones are listed."""
FAILURES = 200
"""Failed runs whose messages are printed; a traceback takes some kB."""

ORDER = (
    *("main", "main_own", "main_native", "all_models", "quickstart", "ablation", "backbone"),
    *("fusion", "experts", "thresholds", "complexity", "missing_modality", "noise", "costs"),
    *("learning", "pareto", "critical_difference", "clean"),
)
"""Names of tables and figures in the order of a paper; others follow."""

RunIds = tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A page, how much is on it, and the mistakes of definitions that are left out."""

    html: str
    tables: int
    figures: int
    runs: int
    mistakes: tuple[ConfigError, ...] = ()


def page(
    results: Results,
    tables: Sequence[str] = (),
    figures: Sequence[str] = (),
    *,
    runs: Path,
    created: datetime,
    say: Callable[[str], None] = lambda doing: None,
) -> Page | None:
    """Return tables and figures, the runs behind every number, failures and the audit of the data.

    None when the store holds nothing to show.

    Args:
        results: stored results.
        tables, figures: names of what to show; with neither, those of all suites in the store.
        runs: folder of the run folders, which hold the ranks.
        created: when the page is created, as printed on it.
        say: receives a description of each step.

    Raises:
        ConfigError: there is no such table, its definition holds a mistake, or no table has the
            datasets.
        StoreError: the runs of a suite cannot stand in one table.
    """
    return _Builder(results, tuple(tables), tuple(figures), runs, say).page(created)


@dataclass(frozen=True)
class Leader:
    """The best row of the first table on a dataset.

    Attributes:
        dataset, label, metric, value: what is the best, and its value as printed.
        rows: number of rows with a value.
        table, anchor: the table.
    """

    dataset: str
    label: str
    metric: str
    value: str
    rows: int
    table: str
    anchor: str


@dataclass(frozen=True)
class _Group:
    """The runs behind a number, before they are described."""

    anchor: str
    runs: RunIds
    dataset: str
    locations: tuple[Location, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Builder:
    results: Results
    table_names: tuple[str, ...]
    figure_names: tuple[str, ...]
    runs: Path
    say: Callable[[str], None]
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong with the records that were read for a description, by run."""
    mistakes: dict[str, ConfigError] = field(default_factory=dict)
    """Mistakes of definitions that are left out, by message."""

    @property
    def store(self) -> ResultStore:
        return self.results.store

    def page(self, created: datetime) -> Page | None:
        if not self.sections:
            return None
        script = _asset("page.js")
        described = {group.anchor for group in self.described}
        html = (
            html_environment()
            .get_template("page.html.j2")
            .render(
                title=self.title,
                created=created,
                version=harness.__version__,
                style=_asset("page.css"),
                script=script,
                script_hash=_sha256(script),
                findings=self.findings,
                supported=sum(finding.status == "supported" for finding in self.findings),
                leaders=self.leaders,
                tables=self.tables,
                figures=self.figures,
                statistics=self.statistics,
                links=self.links,
                groups=self.described,
                repeated=self.repeated,
                listed=[group for group in self.groups if group.anchor not in described],
                measurements=self.measurements,
                failures=self.failures,
                failed={failure.record.run_id: failure.anchor for failure in self.failures},
                damaged=list({**self.stored[1], **self.problems}.values()),
                data=self.data,
                n_runs=len(self.run_ids),
                n_failed=len(self.failed),
                left_out=list(self.left_out()),
            )
        )
        mistakes = tuple(self.mistakes.values())
        return Page(html + "\n", len(self.tables), len(self.figures), len(self.run_ids), mistakes)

    def _leave_out(self, mistake: ConfigError) -> None:
        self.mistakes[str(mistake)] = mistake

    # --- tables and figures ----------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Tables and figures requested by name."""
        return (*self.table_names, *self.figure_names)

    @cached_property
    def suites(self) -> set[str]:
        """Suites of the requested tables and figures; all with runs when none is requested."""
        if self.names:
            return {suite for name in self.names for suite in suites_of(self.store, name)}
        return {cell.suite for cell in self.cells}

    @cached_property
    def tables(self) -> list[Section]:
        """The tables; one that is a figure too stands below its picture."""
        self.say("reading the tables")
        if self.names:
            tables = [named_table(self.results, name) for name in self.table_names]
        else:
            tables = sorted(
                all_tables(self.results, on_error=self._leave_out),
                key=lambda table: _place(table.name),
            )
            tables += [study_table(self.results, suite) for suite in self.untested]
            tables += variant_tables(self.results)
        drawn = [figure.table for figure in self.drawn]
        alone = [table for table in tables if table not in drawn]
        return [table_section(f"table-{i}", table) for i, table in enumerate(alone, 1)]

    @cached_property
    def untested(self) -> list[str]:
        """Studies none of whose trials was tested."""
        suites = sorted(self.suites)
        return [name for name in suites if only_validated(self.results.suite(name, ()).results)]

    @cached_property
    def findings(self) -> Sequence[Checked]:
        """Checks of the claims of the results folder; none where tables are asked for by name."""
        path = self.runs.parent / CLAIMS
        if self.names or not path.is_file():
            return ()
        self.say("checking the claims")
        with suppress(HarnessError):  # `harness claims check` says what is wrong
            claims, origins = load_claims(path)
            suites = StoredSuites(self.store, suites_by_table)
            return check(suites, self.runs, claims, [origin.line for origin in origins])
        return ()

    @cached_property
    def leaders(self) -> list[Leader]:
        """The best row of each dataset of the first table, in its first metric."""
        if self.names or not self.tables:
            return []
        section = self.tables[0]
        table = section.layout.table
        columns = {column.dataset: i for i, column in reversed([*enumerate(table.columns)])}
        leaders = []
        for i in sorted(columns.values()):
            column = table.columns[i]
            rows = [row for row in table.rows if row.cells[i].value is not None]
            if len(rows) < 3 or column.higher_is_better is None:
                continue
            sign = 1 if column.higher_is_better else -1
            best = max(rows, key=lambda row: sign * (row.cells[i].value or 0.0))
            value = f"{best.cells[i].value:.2f}"
            names = column.dataset_title, best.label, column.title, value
            leaders.append(Leader(*names, len(rows), section.title, section.anchor))
        return leaders

    @cached_property
    def drawn(self) -> list[Figure]:
        self.say("reading the figures")
        if self.names:
            return [named_figure(self.results, name) for name in self.figure_names]
        figures = all_figures(self.results, self._leave_out)
        return sorted(figures, key=lambda figure: _place(figure.table.name))

    @cached_property
    def figures(self) -> list[Section]:
        self.say("drawing the figures")
        return [
            figure_section(f"figure-{number}", figure)
            for number, figure in enumerate(self.drawn, 1)
        ]

    @cached_property
    def statistics(self) -> list[Section]:
        """Tables of the datasets, unless tables were requested by name; without those that fail."""
        if self.names:
            return []
        self.say("reading the datasets")
        definitions = readable_definitions()
        names = [name for name, d in definitions if isinstance(d, DatasetsDefinition)]
        sections = []
        for i, name in enumerate(names, 1):
            # A dataset that is damaged has its error in the audit.
            with suppress(DataError):
                sections.append(
                    table_section(f"datasets-{i}", named_table(Results(self.store), name))
                )
        return sections

    @property
    def sections(self) -> list[Section]:
        return [*self.tables, *self.figures]

    @property
    def title(self) -> str:
        return self.sections[0].title if len(self.sections) == 1 else "Results"

    # --- runs behind the numbers ------------------------------------------------------------------

    @cached_property
    def groups(self) -> list[_Group]:
        """The runs behind every number, each set of runs once, in the order of the tables."""
        locations: dict[RunIds, dict[Location, None]] = defaultdict(dict)
        notes: dict[RunIds, dict[str, None]] = defaultdict(dict)
        datasets: dict[RunIds, str] = {}
        for section in self.sections:
            table = section.layout.table
            for row in table.rows:
                for column, cell in zip(table.columns, row.cells, strict=True):
                    if cell.runs and cell.runs not in self.measured:
                        location = Location(
                            table.title, section.anchor, row.label, column.dataset_title
                        )
                        locations[cell.runs][location] = None
                        notes[cell.runs] |= dict.fromkeys((*row.notes, *cell.notes))
                        datasets[cell.runs] = column.dataset
        anchors = _anchors(locations)
        return [
            _Group(anchors[ids], ids, datasets[ids], tuple(locations[ids]), tuple(notes[ids]))
            for ids in locations
        ]

    @cached_property
    def measured(self) -> dict[RunIds, MeasurementDetails]:
        """The measurements of benchmarks, by what stands in the cells of their tables."""
        return {(r.benchmark_id,): describe_measurement(r) for r in self.store.benchmarks()}

    @cached_property
    def measurements(self) -> list[MeasurementDetails]:
        """Those whose numbers are on the page."""
        tables = [section.layout.table for section in self.sections]
        behind = {cell.runs for table in tables for row in table.rows for cell in row.cells}
        return [measurement for ids, measurement in self.measured.items() if ids in behind]

    @property
    def links(self) -> dict[RunIds, str]:
        """Ids of the elements that say where a number is from."""
        measured = {ids: measurement.anchor for ids, measurement in self.measured.items()}
        return measured | {group.runs: group.anchor for group in self.groups}

    @cached_property
    def described(self) -> list[RunGroup]:
        described = []
        first_groups = self.groups[:FULL]
        for number, group in enumerate(first_groups, 1):
            self.say(f"describing runs, {number} of {len(first_groups)} numbers")
            records = sorted(self.records(group.runs), key=lambda r: group.runs.index(r.run_id))
            if records:
                described.append(
                    describe(group.anchor, group.locations, records, group.notes, self.runs)
                )
        return described

    @property
    def repeated(self) -> set[tuple[str, str]]:
        """Labels and datasets of several numbers, which the titles of their tables tell apart."""
        firsts = (group.locations[0] for group in self.groups)
        counts = Counter((first.label, first.dataset) for first in firsts)
        return {number for number, count in counts.items() if count > 1}

    @cached_property
    def run_ids(self) -> set[str]:
        """Ids of the runs behind the numbers."""
        return {run_id for group in self.groups for run_id in group.runs}

    @cached_property
    def failed(self) -> list[str]:
        """Ids of the failed runs of the suites shown; of all, and of no suite, without names."""
        ids = [run_id for run_id, status in self.store.statuses().items() if status == "failed"]
        return [i for i in ids if i in self.planned] if self.names else ids

    @cached_property
    def failures(self) -> list[Failure]:
        """Descriptions of the failed runs."""
        return [describe_failure(record) for record in self.records(self.failed[:FAILURES])]

    @cached_property
    def data(self) -> list[DataAudit]:
        """The audit of every dataset with a number."""
        columns = [c for section in self.sections for c in section.layout.table.columns]
        titles = {column.dataset: column.dataset_title for column in columns}
        digests: dict[str, set[str]] = defaultdict(set)
        records, _ = self.stored
        for group in self.groups:
            digests[group.dataset] |= {records[run_id].dataset_digest for run_id in group.runs}
        audits = []
        for name, run_digests in digests.items():
            self.say(f"checking the files of {titles[name]}")
            audits.append(audit(name, titles[name], run_digests))
        return audits

    # --- records of the store ---------------------------------------------------------

    @cached_property
    def cells(self) -> Sequence[Cell]:
        return self.store.cells()

    @cached_property
    def planned(self) -> set[str]:
        """Ids of the runs of the suites shown."""
        return {cell.run_id for cell in self.cells if cell.suite in self.suites} - {""}

    @cached_property
    def stored(self) -> tuple[Mapping[str, RunRecord], Mapping[str, str]]:
        """Records without numbers of all runs of the suites shown, and problems of others."""
        return readable_records(self.store, self.planned, Numbers())

    def records(self, ids: Iterable[str]) -> list[RunRecord]:
        """Return all that is known of some runs, ``cells`` filled; ``problems`` learns the rest."""
        records, problems = readable_records(self.store, ids)
        self.problems.update(problems)
        return [
            r.model_copy(update={"cells": tuple(self.cells_by_run.get(r.run_id, ()))})
            for r in records.values()
        ]

    @cached_property
    def cells_by_run(self) -> Mapping[str, list[Cell]]:
        """The cells of each run."""
        cells: dict[str, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            cells[cell.run_id].append(cell)
        return cells

    def left_out(self) -> Iterator[str]:
        """Yield notes on results that are not on the page."""
        for message in self.mistakes:
            yield f"A table or figure whose definition holds a mistake: {message}"
        variants = {(c.suite, c.variant) for c in self.cells if c.suite in self.suites}
        shown = {"", self.results.selection.variant}
        if self.names or self.results.selection.variant:
            for suite, variant in sorted(pair for pair in variants if pair[1] not in shown):
                options = suite_of(self.store, suite, variant).set_options
                yield (
                    f"Runs of suite {suite} with{options}: `harness report --html --variant "
                    f"{variant}` shows them."
                )
        if len(self.groups) > FULL:
            yield (
                f"Curves, settings and ranks of the runs behind {len(self.groups) - FULL} of "
                f"{len(self.groups)} numbers: `harness report --html --table NAME` makes a page of "
                "one table, `harness runs show RUN` prints all of a run."
            )
        if len(self.failed) > FAILURES:
            yield (
                f"Messages of {len(self.failed) - FAILURES} of {len(self.failed)} failed runs: "
                "`harness runs list --status failed` lists all."
            )


def _place(name: str) -> int:
    """Return the place of a table or figure on the page."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _anchors(groups: Iterable[RunIds]) -> dict[RunIds, str]:
    """Return an id for each set of runs, by its first run; a number behind a point, which no
    run id has, tells equal ones apart."""
    anchors: dict[RunIds, str] = {}
    counts: dict[str, int] = defaultdict(int)
    for ids in groups:
        counts[ids[0]] += 1
        count = counts[ids[0]]
        anchors[ids] = f"runs-{ids[0]}" + (f".{count}" if count > 1 else "")
    return anchors


def _asset(name: str) -> Markup:
    """Return a file of the package that goes into the page as it is."""
    return Markup((shipped_folder() / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704


def _sha256(script: str) -> str:
    """Return a script's hash as a content security policy has it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
