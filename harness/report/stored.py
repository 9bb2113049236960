"""Tables and figures of a results folder, by name: what notebooks and the command line use.

::

    print(load_table("main_table", home="results"))
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.analysis.hypotheses import PairedTests
from harness.analysis.query import Results, Selection
from harness.environment import results_folder
from harness.errors import ConfigError, HarnessError, StoreError, suggest
from harness.events import Message, OnEvent, Step, ignore
from harness.report import query
from harness.report.build import plain_table
from harness.report.figure import Figure
from harness.report.files import readable_definitions
from harness.report.table import Table
from harness.store import read_home
from harness.store.base import ResultStore, suite_of

if TYPE_CHECKING:
    from harness.report.everything import Artefact
    from harness.report.page import Page
    from harness.report.serve import PageServer

__all__ = [
    "RERANKED",
    "ReportListing",
    "Reports",
    "list_reports",
    "load_figure",
    "load_table",
    "open_reports",
    "page_server",
    "prepare_tables",
    "report_damaged",
    "subsets",
]

BREAKDOWN, PROTOCOLS = "breakdown", "protocols"
RERANKED = {
    BREAKDOWN: "A metric by parts of the test split (--by), from stored ranks",
    PROTOCOLS: "The same runs under other evaluation rules, and the effect of each rule",
}
"""Tables that are computed from stored ranks each time, with their titles."""


class ReportListing(NamedTuple):
    """A table or figure that can be made.

    Attributes:
        name: name for ``load_table`` and ``load_figure``.
        kind: "table", "figure" or "both".
        title: its title.
    """

    name: str
    kind: str
    title: str


def list_reports(on_event: OnEvent = ignore) -> list[ReportListing]:
    """Return all tables and figures by name, those of the user's own in ``reports/`` too.

    Args:
        on_event: receives messages on definitions that are left out for a mistake.
    """

    def leave_out(mistake: ConfigError) -> None:
        on_event(Message(f"left out: {mistake}"))

    listings = [ReportListing(name, "table", title) for name, title in RERANKED.items()]
    for name, definition in readable_definitions(leave_out):
        kind = "figure" if definition.is_figure else "table"
        kind = "both" if definition.is_figure and definition.is_table else kind
        listings.append(ReportListing(name, kind, definition.title))
    return sorted(listings)


def load_table(
    name: str,
    home: Path | str | None = None,
    *,
    seeds: Collection[int] | None = None,
    datasets: Sequence[str] = (),
    variant: str = "",
    by: str = "",
    metric: str = "mrr",
    suite: str = "",
    on_event: OnEvent = ignore,
) -> Table:
    """Return a table of stored results.

    Args:
        name: one of ``list_reports``, a YAML file, or a suite of the results.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        seeds: seeds to average over; all when None.
        datasets: datasets to show; all when empty.
        variant: digest of the overrides that the suite was run with.
        by, metric, suite: of "breakdown" (and ``suite`` of "protocols"): kind of subset, metric,
            and the suite where several were tested.
        on_event: receives progress and problems of the paired tests.

    Raises:
        ConfigError: an unknown name, dataset, seed or subset; the nearest is offered.
        StoreError: the runs cannot stand in one table.
    """
    with open_reports(home, Selection(variant, seeds, tuple(datasets)), on_event) as reports:
        reports.check_seeds([name], suite)
        return reports.table(name, by=by, metric=metric, suite=suite)


def load_figure(
    name: str,
    home: Path | str | None = None,
    *,
    seeds: Collection[int] | None = None,
    datasets: Sequence[str] = (),
    variant: str = "",
    on_event: OnEvent = ignore,
) -> Figure:
    """Return a figure of stored results; arguments and errors as ``load_table``."""
    with open_reports(home, Selection(variant, seeds, tuple(datasets)), on_event) as reports:
        reports.check_seeds([name])
        return reports.figure(name)


def subsets() -> tuple[str, ...]:
    """Return the kinds of subsets that the table "breakdown" has."""
    from harness.evaluation.subsets import SUBSETS

    return tuple(SUBSETS)


@dataclass(frozen=True)
class Reports:
    """Tables and figures of an open results folder; see ``open_reports``.

    Attributes:
        home: results folder.
        results: stored results with their paired tests.
        on_event: receives progress and messages.
        mistakes: mistakes of the definitions that ``tables`` and ``page`` left out.
    """

    home: Path
    results: Results
    on_event: OnEvent
    mistakes: list[ConfigError] = field(default_factory=list)

    def table(self, name: str, *, by: str = "", metric: str = "mrr", suite: str = "") -> Table:
        """Return a table; arguments and errors as ``load_table``."""
        if name == BREAKDOWN:
            from harness.report.tables.breakdown import breakdown

            return breakdown(self.results, self.home / "runs", by, metric=metric, suite=suite)
        if name == PROTOCOLS:
            from harness.report.tables.protocols import protocols

            return protocols(self.results, self.home / "runs", suite=suite)
        return query.named_table(self.results, name)

    def suite_table(
        self,
        suite: str,
        source: str = "",
        *,
        run_ids: Collection[str] | None = None,
        marked: bool = True,
    ) -> Table:
        """Return the plain table of a suite.

        Args:
            suite: name of the suite.
            source: its file or name, for notes.
            run_ids: runs to show; all when None.
            marked: whether paired tests mark the best values.
        """
        results = self.results if marked else replace(self.results, tests=None)
        return plain_table(results, suite, source, run_ids=run_ids)

    def figure(self, name: str) -> Figure:
        """Return a figure; errors as ``load_figure``."""
        return query.named_figure(self.results, name)

    def tables(self) -> list[Table]:
        """Return the tables of all suites that have runs, then those of benchmarks."""
        return query.all_tables(self.results, self._report_untested, self.mistakes.append)

    def page(self, tables: Sequence[str] = (), figures: Sequence[str] = ()) -> Page | None:
        """Return the HTML page with tables, figures, runs, failures and the audit of the data.

        Args:
            tables, figures: names; all when both are empty.

        Returns:
            None where there is nothing to show.
        """
        from harness.report.page import page

        self.check_seeds([*tables, *figures])
        made = page(
            self.results,
            tables,
            figures,
            runs=self.home / "runs",
            created=datetime.now().astimezone(),
            say=lambda task: self.on_event(Step(task, 0, 0)),
        )
        self.mistakes.extend(made.mistakes if made else ())
        return made

    def write_all(self, folder: Path) -> Iterator[tuple[Artefact, list[str], list[HarnessError]]]:
        """Write every table in every format and every figure.

        Yields:
            The table or figure, the files that were written, and why others were not.
        """
        from harness.report.everything import artefacts
        from harness.store.files import write_below

        self.check_seeds(())
        report_damaged(self.results.store, self.on_event)
        for artefact in artefacts(self.results):
            errors: list[HarnessError] = [artefact.error] if artefact.error else []
            written = []
            for name, content in artefact.files.items():
                data = content.encode() if isinstance(content, str) else content
                try:
                    write_below(folder, name, data)
                except StoreError as error:
                    errors.append(error)
                else:
                    written.append(name)
            yield artefact, written, errors

    def check_page(self, page: Page | None, names: Sequence[str], suite: str = "") -> Page:
        """Return the page that ``page`` made of the tables and figures ``names``.

        Raises:
            ConfigError, StoreError: as ``check_shown``.
        """
        # A page of everything has the variants too.
        of_part = bool(names or self.results.selection.variant)
        self.check_shown(names, suite, shown=page is not None, all_variants=not of_part)
        assert page is not None
        return page

    def check_seeds(self, names: Sequence[str], suite: str = "") -> None:
        """Refuse a seed of the selection that no stored run of some tables and figures has.

        Args:
            names: names of the tables and figures; all when empty.
            suite: suite that was asked for, "" for none.

        Raises:
            ConfigError: a seed without a run, or an unknown name.
        """
        seeds, store = self.results.selection.seeds, self.results.store
        if seeds is None:
            return
        statuses, suites = store.statuses(), self._suites_of(names, suite)
        stored = {
            str(cell.seed)
            for cell in store.cells()
            if cell.run_id in statuses
            and (not suites or cell.suite in suites)
            and (not names or cell.variant == self.results.selection.variant)
        }
        for seed in sorted(seeds):
            if stored and str(seed) not in stored:
                raise ConfigError(f"--seeds {seed}: no run has it{suggest(str(seed), stored)}")

    def check_shown(
        self, names: Iterable[str], suite: str, *, shown: bool, all_variants: bool = False
    ) -> None:
        """Report variants that are not shown.

        Args:
            names: names of the tables and figures that were asked for.
            suite: suite that was asked for, "" for none.
            shown: whether there is anything to show.
            all_variants: whether the variants are shown too.

        Raises:
            ConfigError: no run has the variant.
            StoreError: there is nothing to show; the message says what helps.
        """
        store, variant = self.results.store, self.results.selection.variant
        report_damaged(store, self.on_event)
        if not all_variants:
            self._report_variants(self._suites_of(names, suite))
        variants = {variant for _, variant, _ in store.blocks()}
        if variant and variant not in variants:
            near = suggest(variant, variants - {""})
            raise ConfigError(f"--variant {variant}: no run has it{near}")
        if shown:
            return
        if "" in variants and not variant:
            raise StoreError(
                f"{self.home} holds studies alone, none of whose trials was tested; "
                "`harness study show` lists them"
            )
        if variants:
            raise StoreError(f"{self.home} holds results with --set alone; add --variant NAME")
        raise StoreError(
            f"{self.home} holds no results to report; `harness run quickstart` "
            "makes some, `harness db import results/records` takes over a checkout's, "
            "`harness report --list` lists the tables"
        )

    def _suites_of(self, names: Iterable[str], suite: str) -> set[str]:
        """Return the suites of tables and figures, and ``suite`` unless it is empty."""
        stored_names = [name for name in names if name not in RERANKED]
        suites = {s for name in stored_names for s in query.suites_of(self.results.store, name)}
        return (suites | {suite}) - {""}

    def _report_variants(self, suites: Collection[str]) -> None:
        """Report the other variants of suites, of all when empty."""
        selected = ("", self.results.selection.variant)
        blocks = self.results.store.blocks()
        other_blocks = {(suite, variant) for suite, variant, _ in blocks if variant not in selected}
        for suite, variant in sorted(other_blocks):
            if not suites or suite in suites:
                options = suite_of(self.results.store, suite, variant).set_options
                text = f"not shown: suite {suite} with{options}; --variant {variant} shows it"
                self.on_event(Message(text))

    def _report_untested(self, study: str) -> None:
        command = f"`harness study show {shlex.quote(study)}`"
        self.on_event(
            Message(f"not shown: study {study}, none of whose trials was tested; {command}")
        )


def page_server(
    home: Path | str | None = None,
    selection: Selection | None = None,
    tables: Sequence[str] = (),
    figures: Sequence[str] = (),
    *,
    port: int = 0,
    on_event: OnEvent = ignore,
) -> PageServer:
    """Return a server of the page of results, which is made again when a run has ended.

    Args:
        home, selection, on_event: see ``open_reports``.
        tables, figures: names; all when both are empty.
        port: port of this machine; 0 for a free one.

    Raises:
        MachineError: the port is taken.
    """
    from harness.report.serve import PageServer

    def make() -> str:
        with open_reports(home, selection, on_event) as reports:
            names = [*tables, *figures]
            return reports.check_page(reports.page(tables, figures), names).html

    def version() -> tuple[tuple[str, str], ...]:
        with contextlib.closing(read_home(results_folder(home))) as store:
            return tuple(sorted(store.statuses().items()))

    return PageServer(make, version, port)


def report_damaged(store: ResultStore, on_event: OnEvent) -> None:
    """Report the cells of suites and the measurements that are left out."""
    for problem in store.damaged():
        on_event(Message(f"left out: {problem}"))


@contextlib.contextmanager
def open_reports(
    home: Path | str | None = None, selection: Selection | None = None, on_event: OnEvent = ignore
) -> Iterator[Reports]:
    """Open a results folder to make several tables and figures.

    Args:
        home: results folder; it need not exist.
        selection: runs and datasets to show.
        on_event: receives progress and problems of the paired tests.
    """
    folder = results_folder(home)
    with contextlib.closing(read_home(folder)) as store, _tests(folder, on_event) as tests:
        results = Results(store, selection or Selection(), tests, folder / "runs")
        yield Reports(folder, results, on_event)


def prepare_tables(
    store: ResultStore,
    home: Path,
    suites: Iterable[tuple[str, str]] = (),
    on_event: OnEvent = ignore,
) -> None:
    """Make the comparisons that tables need and that are not cached yet, so that reports are fast.

    Args:
        store: database of the results folder.
        home: results folder.
        suites: names and variants of suites; all when empty.
        on_event: receives progress, and ranks that could not be used.
    """
    with _tests(home, on_event) as tests:
        query.prepare_tables(store, tests, suites)


@contextlib.contextmanager
def _tests(home: Path, on_event: OnEvent) -> Iterator[PairedTests]:
    """Yield the paired tests of a results folder; report problems at the end."""

    def on_progress(table: str, done: int, total: int) -> None:
        on_event(Step(f"comparing rows of {table}", done, total))

    tests = PairedTests(home / "runs", on_progress)
    yield tests
    for problem in tests.problems:
        on_event(Message(f"not compared: {problem}"))
