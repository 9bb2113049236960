"""Suites: read, planned, executed."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from harness.environment import Folders, folder_paths, results_folder
from harness.errors import ConfigError, Interrupted, RunError
from harness.events import Message, OnEvent, ShouldStop, Step, doing, ignore, never, reporting
from harness.plan.cell import Cell
from harness.plan.expand import Plan, expand, identify
from harness.plan.single import plan_single, plan_values
from harness.plan.suite import find_suite, read_suite, shipped_suites
from harness.run.cells import stored_suite, table_cells, with_external
from harness.run.digests import digests, present
from harness.run.events import RunsEnded, RunsStarted
from harness.run.executors import Execution, ExecutionOptions, executor_name, read_execution
from harness.run.frames import records_dataframe
from harness.run.jobs import Job, Outcome
from harness.run.logging import RunLogging, run_logging
from harness.run.scheduler import Summary, execute, failures, pending
from harness.store import open_home
from harness.store.base import ResultStore
from harness.store.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.table import Table
    from harness.run.inference import Run

__all__ = [
    "SuiteResult",
    "check_execution",
    "load_suite",
    "plan_line",
    "plan_run",
    "run_suite",
    "train_model",
    "warn_of_cluster",
]

Overrides = Mapping[str, Any] | Sequence[str] | str
"""Settings: ``{"training.epochs": 20}``, also nested, or ``training.epochs=20``, one or several."""


@dataclass(frozen=True, repr=False)
class SuiteResult:
    """Result of ``run_suite``; records and table are read from the store.

    Attributes:
        plan: the runs, with their ids.
        home: results folder.
        run_ids: ids of the runs, in the order of the plan, each once.
        summary: runs that this call executed, and how they ended.
        marked: whether paired tests mark the best values of the table.
        part: whether the runs are a part of the suite (``only``); the table shows these alone.
    """

    plan: Plan
    home: Path
    run_ids: tuple[str, ...]
    summary: Summary = field(repr=False)
    marked: bool = True
    part: bool = False

    @property
    def failed(self) -> Sequence[Outcome]:
        """Runs that failed in this call."""
        return self.summary.failed

    @property
    def failed_earlier(self) -> Sequence[Outcome]:
        """Runs that failed in an earlier call and were not tried again (``retry_failed``)."""
        return self.summary.failed_earlier

    @property
    def interrupted(self) -> bool:
        """True if ``should_stop`` ended the call early; the same call resumes."""
        return self.summary.interrupted

    @cached_property
    def records(self) -> Sequence[RunRecord]:
        """Records of the runs, oldest first."""
        with contextlib.closing(open_home(self.home, create=False, write=False)) as store:
            return store.find(ids=self.run_ids)

    @cached_property
    def table(self) -> Table:
        """Table of the suite with all its stored runs, of the part that ``only`` names."""
        return self.make_table()

    def make_table(self, on_event: OnEvent = ignore) -> Table:
        """Return the table; ``on_event`` receives progress and problems of the paired tests."""
        from harness.analysis.query import Selection
        from harness.report.stored import open_reports

        with (
            reporting(on_event),
            doing("making the table"),
            open_reports(self.home, Selection(self.plan.variant), on_event) as reports,
        ):
            return reports.suite_table(
                self.plan.suite,
                self.plan.source,
                run_ids=self.run_ids if self.part else None,
                marked=self.marked,
            )

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame with a row per run: see ``harness.run.frames.records_dataframe``."""
        return records_dataframe(self.records)

    def __repr__(self) -> str:
        return f"<SuiteResult: {len(self.run_ids)} runs of {self.plan.suite}>"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def load_suite(
    suite: str | Path, overrides: Overrides = (), *, model_folders: Folders = ()
) -> Plan:
    """Read a suite and return its runs, every setting checked.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        overrides: settings that win over the suite's, ``{"training.epochs": 20}``.
        model_folders: folder or folders with models of the user's own.

    Raises:
        ConfigError: the suite is wrong (all problems at once, with file and line), or it is a
            study, or measures stages.
        DataError: a feature set that must be looked at is wrong.
    """
    from harness.catalog import load_all

    load_all(model_folders)
    content = read_suite(find_suite(suite))
    if content.study is not None:
        raise ConfigError(f"suite '{content.name}' searches settings: {_study_command(suite)}")
    return replace(expand(content, nested(overrides)), source=str(suite))


def plan_line(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    settings: Sequence[str] = (),
    name: str = "",
    model_folders: Folders = (),
) -> Plan:
    """Return the runs of a suite that is written in one line.

    Args:
        models, datasets: names.
        seeds: random seeds.
        settings: ``["optimiser.lr=1e-3,1e-2"]``; a list of values gives a row for each.
        name: name of the suite that keeps the runs; models and datasets when empty.
        model_folders: folder or folders with models of the user's own.

    Raises:
        ConfigError: an unknown name or key, or a bad value.
        DataError: a feature set that must be looked at is wrong.
    """
    from harness.catalog import load_all
    from harness.plan.line import line_suite, seeds_text

    load_all(model_folders)
    suite = line_suite(models, datasets, seeds=seeds, settings=settings, name=name)
    if suite.name in shipped_suites():
        raise ConfigError(f"--name {suite.name}: a shipped suite has that name; choose another one")
    options = [
        ("--model", models),
        ("--dataset", datasets),
        ("--set", settings),
        ("--name", [name]),
    ]
    words = [word for option, values in options for value in values if value
             for word in (option, value)]  # fmt: skip
    words += [word for word in ("--seeds", seeds_text(seeds)) if tuple(seeds) != (0,)]
    return replace(expand(suite), source=shlex.join(words))


def _study_command(suite: str | Path) -> str:
    return f"harness study run {shlex.quote(str(suite))}"


def nested(overrides: Overrides) -> dict[str, Any]:
    """Return settings as a nested mapping.

    Raises:
        ConfigError: a text is not KEY=VALUE, or a key is both a value and a group.
    """
    from harness.config.override import flatten, nest, parse_overrides

    if isinstance(overrides, Mapping):
        return nest({setting.path: setting.value for setting in flatten(overrides)})
    return parse_overrides(overrides)


def plan_run(settings: Mapping[str, Any] | str, *, model_folders: Folders = ()) -> Plan:
    """Return the plan of one run outside of any suite.

    Args:
        settings: ``{"model.name": "rotate", "data.dataset": "atlas", "seed": 1}``, also nested, or
            the same as YAML text; defaults hold otherwise.
        model_folders: folder or folders with models of the user's own.

    Raises:
        ConfigError: no model or dataset, an unknown name or key, or a bad value.
        DataError: a feature set that must be looked at is wrong, or its files are missing.
    """
    from harness.catalog import load_all

    load_all(model_folders)
    return plan_single(settings) if isinstance(settings, str) else plan_values(settings, "settings")


def run_suite(
    suite: Plan | str | Path,
    *,
    home: Path | str | None = None,
    only: Sequence[str] = (),
    retry_failed: bool = False,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> SuiteResult:
    """Execute the runs of a suite that the store lacks; interrupted runs resume.

    Args:
        suite: result of ``load_suite`` or ``plan_run``, or what ``load_suite`` takes.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        only: run a part, ``["model=rotate,dataset=atlas", "seed=0"]``.
        retry_failed: execute runs again that failed earlier.
        on_event: receives the events of ``harness.run.events``; ``print`` will do.
        should_stop: asked after every epoch; True ends the call with checkpoints written.
        execution: workers, threads, device, loggers, ...; see :class:`Execution`.

    Raises:
        ConfigError, MissingDataError, MachineError, StoreError: nothing can be run. The failure of
            a run raises nothing: see ``SuiteResult.failed`` and ``failed_earlier``.
    """
    from harness.report.stored import prepare_tables

    settings = read_execution(execution)
    plan = suite if isinstance(suite, Plan) else load_suite(
        suite, model_folders=settings.model_folders
    )  # fmt: skip
    folder = results_folder(home)
    selected = plan.select(only) if only else plan
    check_execution(settings)
    with reporting(on_event), doing("reading the datasets"):
        available = present(selected, on_event)
        identified = identify(available.runs, digests)
    several = several_features((cell.label, cell.dataset, cell.features) for cell in plan.runs)
    jobs = {
        cell.run_id: make_job(
            cell, folder, settings, names_features=(cell.label, cell.dataset) in several
        )
        for cell in identified
    }
    on_event(Step("opening the results", 0, 1))  # until the runs start
    with contextlib.closing(open_home(folder)) as store:
        if plan.source:
            stored = store.cells(plan.suite, plan.variant)
            run_ids = {cell.key: cell.run_id for cell in identified}
            cells = list(table_cells(plan, available, run_ids, stored if only else ()))
            with store.transaction():
                store.add_suite(stored_suite(plan))
                store.plan(plan.suite, plan.variant, with_external(cells, stored))
        warn_of_cluster(folder, settings, on_event)
        with run_logging(settings.log, folder, plan.suite, on_event) as logging:
            summary = _execute(
                plan.suite, list(jobs.values()), store, settings, retry_failed, logging, should_stop
            )
        if plan.source:
            with reporting(on_event), doing("comparing rows"):
                prepare_tables(store, folder, [(plan.suite, plan.variant)], on_event)
    planned = replace(available, cells=(*identified, *available.excluded))
    return SuiteResult(planned, folder, tuple(jobs), summary, part=bool(only))


def train_model(
    model: str,
    dataset: str,
    settings: Overrides = (),
    *,
    features: str | None = None,
    seed: int = 0,
    home: Path | str | None = None,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> Run:
    """Train a model on a dataset, evaluate it on the test split, and return the run.

    A stored run with the same settings is returned at once, an interrupted one resumes, and a
    failed one is executed again.

    Args:
        model: name of a model, see ``list_models``, or one of ``model_folders``.
        dataset: name of a dataset, see ``list_datasets``.
        settings: settings that differ from the defaults, ``{"training.epochs": 20}``.
        features: feature set of the dataset; the default of ``data.features`` when None.
        seed: random seed.
        home, on_event, should_stop, execution: as for ``run_suite``.

    Raises:
        ConfigError, DataError, MachineError, StoreError: as ``plan_run`` and ``run_suite``.
        RunError: the training failed; the message is its first line.
        Interrupted: ``should_stop`` ended it; the same call resumes.
    """
    from harness.config.override import dotted
    from harness.run.inference import load_run

    values = dotted(nested(settings))
    arguments = {"model.name": model, "data.dataset": dataset, "seed": seed}
    if features is not None:
        arguments["data.features"] = features
    for key in (*arguments, "data.features"):
        if key in values:
            raise ConfigError(f"settings {key}: is an argument, {key.rpartition('.')[2]}=")
    folders = execution["model_folders"] = folder_paths(execution.get("model_folders", ()))
    plan = plan_run(values | arguments, model_folders=folders)
    result = run_suite(
        plan,
        home=home,
        retry_failed=True,
        on_event=on_event,
        should_stop=should_stop,
        **execution,
    )
    (run_id,) = result.run_ids
    if result.interrupted:
        raise Interrupted(f"run {run_id} was interrupted; the same call resumes")
    if result.failed:
        outcome = result.failed[0]
        raise RunError(f"run {run_id} {outcome.status}: {outcome.message}")
    device = execution.get("device", "auto")
    return load_run(run_id, home, device=device, model_folders=folders)


def check_execution(settings: Execution) -> None:
    """Refuse executors, devices and kernels that no run can be executed with.

    Raises:
        ConfigError: there is no such executor, device or kernel, or options exclude each other.
        MachineError: this machine lacks it; devices of a cluster are only known there.
    """
    from harness import kernels
    from harness.pipeline import resolve_device

    executor_name(settings.executor, settings)
    if settings.on_cluster:
        if settings.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(
                f"--device {settings.device}: on a cluster auto, cpu or cuda; it numbers its GPUs"
            )
        return
    for device in settings.devices or (settings.device,):
        kernels.backend_name(resolve_device(device).type)


def make_job(cell: Cell, home: Path, settings: Execution, **fields: Any) -> Job:
    """Return the job of a cell that has an id; ``fields`` are further fields of it."""
    return Job(
        run_id=cell.run_id,
        label=cell.label,
        spec=cell.spec,
        home=home,
        device=settings.first_device,
        threads=settings.threads,
        model_folders=settings.model_folders,
        **fields,
    )


def several_features(cells: Iterable[tuple[str, str, str]]) -> set[tuple[str, str]]:
    """Return the rows on datasets that have several feature sets, as (label, dataset).

    Args:
        cells: label, dataset and feature set of cells.
    """
    rows = Counter((label, dataset) for label, dataset, _ in set(cells))
    return {row for row, count in rows.items() if count > 1}


def warn_of_cluster(home: Path, settings: Execution, on_event: OnEvent) -> None:
    """Report warnings about the results folder of runs on a cluster."""
    if settings.on_cluster:
        from harness.run.cluster.folder import warnings

        for text in warnings(home):
            on_event(Message(text))


def _execute(
    title: str,
    jobs: Sequence[Job],
    store: ResultStore,
    settings: Execution,
    retry_failed: bool,
    logging: RunLogging,
    should_stop: ShouldStop,
) -> Summary:
    """Execute the jobs whose results are not stored, after a message on those that are."""
    on_event = logging.on_event
    state = pending(jobs, store, retry_failed=retry_failed)
    logging.log_stored([*state.finished, *state.failed], store)
    if state.finished:
        on_event(Message(f"{len(state.finished)} of {len(jobs)} runs are finished already"))
    if state.failed:
        are = "is" if len(state.failed) == 1 else "are"
        on_event(Message(f"{len(state.failed)} failed earlier and {are} skipped (--retry-failed)"))
    if state.unreadable:
        damaged = f"{len(state.unreadable)} with a record that cannot be read"
        on_event(Message(f"{damaged}: skipped (--retry-failed runs again)"))
    summary = Summary()
    if state.to_run:
        with started(len(state.to_run), on_event, title, state.to_run, settings.at_once):
            summary = execute(
                state.to_run, store, settings, on_event=on_event, should_stop=should_stop
            )
    summary.failed[:0] = state.unreadable
    summary.failed_earlier = failures([job.run_id for job in state.failed], store)
    return summary


@contextlib.contextmanager
def started(
    total: int, on_event: OnEvent, title: str = "", jobs: Sequence[Job] = (), at_once: int = 1
) -> Iterator[None]:
    """Report the start and the end of the execution of runs; arguments as ``RunsStarted``."""
    on_event(RunsStarted(total, title, jobs, at_once))
    try:
        yield
    finally:
        on_event(RunsEnded())
