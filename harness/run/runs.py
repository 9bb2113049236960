"""Stored runs: find, remove, test again, forget failures."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from harness.analysis.results import SuiteResults
from harness.config.listing import one_or_more
from harness.environment import Folders, results_folder
from harness.errors import ConfigError, StoreError, suggest
from harness.events import OnEvent, ignore
from harness.frames import html_table
from harness.report.stored import report_damaged
from harness.run.frames import records_dataframe
from harness.store import open_home
from harness.store.base import (
    DamagedRecords,
    ResultStore,
    readable_records,
    resolve_id,
    suite_of,
)
from harness.store.failures import disk_error
from harness.store.files import (
    RANKS,
    RECORD,
    check_run_folder,
    read_own_record,
    run_folder,
    run_ids,
    unreadable_records,
    write_record,
)
from harness.store.records import Cell, Numbers, RunRecord, Status
from harness.store.sql import SqlStore
from harness.training.state_file import has_state

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Forgotten",
    "FoundRuns",
    "UnfinishedRun",
    "failure_hint",
    "find_runs",
    "forget_failures",
    "get_record",
    "open_store",
    "opened",
    "remove_run",
    "resolve_run",
    "retest_run",
]


MAX_GROUPS = 8
"""Maximum number of pairs of model and dataset that found runs show."""
MAX_ROWS = 50
"""Maximum number of runs that a notebook shows."""


class UnfinishedRun(NamedTuple):
    """A run with a checkpoint and no record: interrupted, or still running.

    Attributes:
        run_id, label, dataset, seed: the run and its row.
        command: the command that resumes it.
    """

    run_id: str
    label: str
    dataset: str
    seed: int
    command: str


class FoundRuns(NamedTuple):
    """Records that match a filter.

    Attributes:
        records: readable records, oldest first.
        damage: error with the unreadable ones, None without any.
        hint: why there are none, "" where there are some.
        labels: run id -> labels of the rows that show the run, each once.
        unfinished: runs that can be resumed; none where a model or status is asked for, which only
            records have.
    """

    records: Sequence[RunRecord]
    damage: DamagedRecords | None
    hint: str
    labels: Mapping[str, Sequence[str]]
    unfinished: Sequence[UnfinishedRun] = ()

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame with a row per run: see ``harness.run.frames.records_dataframe``."""
        return records_dataframe(self.records)

    def __repr__(self) -> str:
        """Return how many there are of each model and dataset, in a few lines."""
        counts = Counter((record.model, record.dataset) for record in self.records)
        lines = [f"{count} of {model} on {dataset}" for (model, dataset), count in counts.items()]
        if len(lines) > MAX_GROUPS:
            lines = [*lines[:MAX_GROUPS], "..."]
        lines += self._notes()
        runs = f"{len(self.records)} run{'s' * (len(self.records) != 1)}"
        return "\n  ".join([f"<FoundRuns: {runs}", *lines]) + ">"

    def _repr_html_(self) -> str:
        rows = [
            (r.run_id, r.model, r.dataset, r.features, str(r.seed), r.status, _mrr(r, "test"),
             _mrr(r, "valid"))
            for r in self.records[:MAX_ROWS]
        ]  # fmt: skip
        headings = ("run", "model", "dataset", "features", "seed", "status", "test", "valid")
        more = len(self.records) - MAX_ROWS
        notes = [f"and {more} more"] * (more > 0) + self._notes()
        return html_table(rows, headings) + "".join(html_table([], [note]) for note in notes)

    def _notes(self) -> list[str]:
        """Return why there are no records, and how many runs have none that can be read."""
        notes = [self.hint] * bool(self.hint)
        if self.unfinished:
            notes.append(f"interrupted, or still running: {len(self.unfinished)}")
        if self.damage is not None:
            notes.append(f"damaged: {len(self.damage.problems)}")
        return notes


def _mrr(record: RunRecord, split: str) -> str:
    """Return the MRR of a run in percent; "" without one."""
    value = record.metric("mrr", split)
    return "" if value is None else f"{100 * value:.2f}"


class Forgotten(NamedTuple):
    """Failures that were forgotten.

    Attributes:
        run_ids: ids of the runs.
        suites: names of the suites that they belong to.
        commands: commands that run these suites.
    """

    run_ids: Sequence[str]
    suites: Sequence[str]
    commands: Sequence[str]


def open_store(
    home: Path | str | None = None, *, write: bool = False, create: bool = False
) -> SqlStore:
    """Open the result database of a results folder; ``close()`` releases it.

    Args:
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        write: open it to be written too.
        create: make the database when there is none.

    Raises:
        StoreError: there is none, or it is of another version of the harness.
    """
    return open_home(results_folder(home), create=create, write=write)


@contextlib.contextmanager
def opened(
    home: Path | str | None = None, *, write: bool = False, create: bool = False
) -> Iterator[SqlStore]:
    """Open the result database in a ``with`` block; arguments as ``open_store``."""
    with contextlib.closing(open_store(home, write=write, create=create)) as store:
        yield store


def find_runs(
    home: Path | str | None = None,
    *,
    model: str | None = None,
    dataset: str | None = None,
    status: str | None = None,
    suite: str | None = None,
) -> FoundRuns:
    """Return the records of a results folder.

    Args:
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        model, dataset, status: keep only these.
        suite: name of a suite; keep only its runs, with their labels there.

    Raises:
        ConfigError: there is no such status, or no run of such a suite; the nearest is offered.
    """
    if status is not None and status not in get_args(Status):
        raise ConfigError(f"no status '{status}'{suggest(status, get_args(Status))}")
    damage: DamagedRecords | None = None
    with opened(home) as store:
        cells, run_ids_of_suite = store.cells(), None
        if suite is not None:
            suites = {cell.suite for cell in cells}
            if suite not in suites:
                raise ConfigError(f"no runs of a suite '{suite}'{suggest(suite, suites)}")
            cells = [cell for cell in cells if cell.suite == suite]
            run_ids_of_suite = {cell.run_id for cell in cells}
        try:
            records = store.find(model=model, dataset=dataset, status=status, ids=run_ids_of_suite)
        except DamagedRecords as error:
            records, damage = error.readable, error
        unfinished: list[UnfinishedRun] = []
        if model is None and status is None:
            on_dataset = [c for c in cells if dataset in (None, c.dataset)]
            unfinished = _unfinished(store, on_dataset, results_folder(home) / "runs")
        hint = "" if records or damage or unfinished else _why_none(store, model, dataset)
    labels: dict[str, dict[str, None]] = {}
    for cell in cells:
        labels.setdefault(cell.run_id, {})[cell.label] = None
    shown_labels = {run_id: tuple(names) for run_id, names in labels.items()}
    return FoundRuns(records, damage, hint, shown_labels, unfinished)


def _unfinished(store: ResultStore, cells: Sequence[Cell], runs: Path) -> list[UnfinishedRun]:
    """Return the runs of cells that have a checkpoint and no record, each once."""
    stored = {*store.statuses(), ""}
    first_cells: dict[str, Cell] = {}
    for cell in cells:
        if cell.run_id not in stored and has_state(runs / cell.run_id):
            first_cells.setdefault(cell.run_id, cell)
    commands = _suite_commands(store, first_cells.values())
    return [
        UnfinishedRun(run_id, c.label, c.dataset, c.seed, commands[c.suite, c.variant])
        for run_id, c in first_cells.items()
    ]


def _suite_commands(store: ResultStore, cells: Iterable[Cell]) -> dict[tuple[str, str], str]:
    """Return the commands that run the suites of cells, by suite and variant."""
    commands: dict[tuple[str, str], str] = {}
    for suite, variant in {(cell.suite, cell.variant) for cell in cells}:
        stored = suite_of(store, suite, variant)
        commands[suite, variant] = SuiteResults(suite, variant, (), stored=stored).command
    return commands


def get_record(
    run_id: str, home: Path | str | None = None, on_event: OnEvent = ignore
) -> RunRecord:
    """Return a record, with the cells of suites that the run stands in.

    Args:
        run_id: id of the run, or its beginning.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        on_event: receives messages on damaged cells.

    Raises:
        ConfigError: not exactly one run id begins with it.
    """
    with opened(home) as store:
        record = _record(store, resolve_id(store, run_id))
        report_damaged(store, on_event)
        cells = tuple(cell for cell in store.cells() if cell.run_id == record.run_id)
    return record.model_copy(update={"cells": cells})


def resolve_run(run_id: str, home: Path | str | None = None) -> tuple[str, Path]:
    """Return the id and the folder of a run that is stored or has a folder; errors as
    ``get_record``."""
    runs = results_folder(home) / "runs"
    with opened(home) as store:
        resolved = resolve_id(store, run_id, run_ids(runs))
    return resolved, runs / resolved


def remove_run(run_id: str, home: Path | str | None = None) -> str:
    """Remove the record and the folder of a run; return its id.

    Raises:
        ConfigError: not exactly one run id begins with ``run_id``, or the run is being executed.
    """
    from harness.run.worker import is_executed

    resolved, folder = resolve_run(run_id, home)
    with opened(home, write=True) as store:
        if is_executed(folder):
            raise ConfigError(f"run {resolved} is being executed; stop it first")
        # The folder first: were the record gone and the folder not, the next `harness run` would
        # take the record over again from there. An id that was edited may lead elsewhere.
        if resolved in run_ids(folder.parent):
            _remove(folder)
        store.remove(resolved)
    return resolved


def _remove(folder: Path) -> None:
    """Remove a run folder; of one that is a link, the link."""
    try:
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(folder, error) from error


def retest_run(
    run_id: str,
    home: Path | str | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
    model_folders: Folders = (),
) -> tuple[RunRecord, Path]:
    """Rank the test split of a run again with its checkpoint, because its ranks are lost.

    Returns:
        The record and the file of the ranks.

    Raises:
        ConfigError: no such run, or its ranks are there.
        RunError: other numbers came out.
    """
    from harness import catalog, pipeline

    runs = results_folder(home) / "runs"
    with opened(home, write=True) as store:
        record = _record(store, resolve_id(store, run_id))
        folder = runs / record.run_id
        check_run_folder(folder)
        catalog.load_all(model_folders)
        tested = pipeline.retest(record, pipeline.Workplace(folder, device, threads))
        write_record(folder / RECORD, tested)
        store.add(tested)
    return tested, folder / RANKS


def forget_failures(names: Sequence[str] | str = (), home: Path | str | None = None) -> Forgotten:
    """Forget that runs failed, so that their suite executes them again; checkpoints stay.

    Unreadable records in run folders are removed likewise.

    Args:
        names: run ids or beginnings of ids, one or several; all failures when empty.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.

    Raises:
        ConfigError: a named run did not fail.
    """
    runs = results_folder(home) / "runs"
    with opened(home, write=True) as store:
        statuses, folders = store.statuses(), run_ids(runs)
        failed = [run_id for run_id, status in statuses.items() if status == "failed"]
        named = list(dict.fromkeys(resolve_id(store, t, folders) for t in one_or_more(names)))
        candidates = named or [i for i in folders if statuses.get(i) in (None, "failed")]
        unreadable = unreadable_records(runs, [i for i in candidates if i in folders])
        selected = named or [*failed, *(i for i in unreadable if i not in failed)]
        for run_id in selected:
            if run_id not in failed and run_id not in unreadable:
                raise ConfigError(
                    f"run {run_id} did not fail; to repeat it, remove it first: "
                    f"harness runs rm {shlex.quote(run_id)}"
                )
        for run_id in selected:
            check_run_folder(runs / run_id)
            # Checkpoints stay; the record file would be taken over again by the next run.
            (run_folder(runs, run_id) / RECORD).unlink(missing_ok=True)
            if run_id in failed:
                store.remove(run_id)
        cells = [cell for cell in store.cells() if cell.run_id in selected]
        suites = sorted({cell.suite for cell in cells})
        commands = sorted({*_suite_commands(store, cells).values()})
    return Forgotten(selected, suites, commands)


def _record(store: ResultStore, run_id: str) -> RunRecord:
    record = store.get(run_id)
    if record is None:  # removed by another process since the id was resolved
        raise ConfigError(f"no run '{run_id}'; list them with: harness runs list")
    return record


def _why_none(store: ResultStore, model: str | None, dataset: str | None) -> str:
    """Return which filter matches nothing, and what would match."""
    records = readable_records(store, store.ids(), Numbers())[0].values()
    for name, value in (("model", model), ("dataset", dataset)):
        stored = {getattr(record, name) for record in records}
        if value is not None and stored and value not in stored:
            return f"no run has {name} '{value}'{suggest(value, stored)}"
    return "no such runs" if records else "the database holds no runs: harness run SUITE"


def failure_hint(run_id: str, home: Path | str | None, again: str) -> str:
    """Return the next step after a failed run; "" where its message already has it.

    Args:
        run_id: id of the run.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        again: how a run that left no record is tried again.
    """
    folder = results_folder(home)
    try:
        record = read_own_record(folder / "runs" / run_id)
    except StoreError:
        return ""
    option = "" if folder == results_folder() else f" --home {shlex.quote(str(folder))}"
    return f"harness runs show {run_id}{option}" if record else again
