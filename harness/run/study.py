"""Studies: search settings by validation, test the chosen trials, export their settings."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from filelock import FileLock, Timeout

from harness.catalog import load_all
from harness.data.load import source
from harness.environment import Folders, results_folder
from harness.errors import ConfigError
from harness.events import Message, OnEvent, ShouldStop, ignore, never
from harness.pipeline import has_checkpoint
from harness.plan.cell import Cell
from harness.plan.expand import Plan, expand, identify
from harness.plan.search import Search, searches
from harness.plan.select import canonical, matches, parse_only
from harness.plan.study import trial_label
from harness.plan.suite import Suite, find_suite, read_suite
from harness.run.cells import stored_suite, with_external, with_left_out
from harness.run.digests import digests, present
from harness.run.events import RunsSkipped
from harness.run.executors import Execution, ExecutionOptions, read_execution
from harness.run.jobs import Job, Outcome
from harness.run.logging import RunLogging, run_logging
from harness.run.rounds import Report, run_rounds
from harness.run.scheduler import Summary, execute, failures, pending
from harness.run.suite import (
    Overrides,
    SuiteResult,
    check_execution,
    make_job,
    nested,
    started,
    warn_of_cluster,
)
from harness.store import open_home
from harness.store.failures import disk_error
from harness.store.sql import SqlStore
from harness.studies.fragment import fragment
from harness.studies.results import (
    SearchResult,
    TrialResult,
    search_results,
    studies,
    study_cells,
)
from harness.studies.study import SearchStudy, Trial, explained, open_storage
from harness.unchanged import check_before

__all__ = [
    "StudyPlan",
    "StudyResult",
    "export_trials",
    "list_studies",
    "load_study",
    "load_study_results",
    "promote_trials",
    "run_study",
    "study_name",
]

Selected = Sequence[tuple[SearchResult, TrialResult]]
"""Trials, each with its search."""


@dataclass(frozen=True)
class StudyPlan:
    """A study, every setting checked.

    Attributes:
        suite: the suite with the section ``study``.
        overrides: nested settings that win over the suite's.
        plan: the rows' own runs.
        trials: number of trials of each row, in place of the suite's.
    """

    suite: Suite
    overrides: Mapping[str, Any]
    plan: Plan
    trials: int | None = None


@dataclass(frozen=True)
class StudyResult:
    """Result of ``run_study``.

    Attributes:
        searches: rows on datasets, with their trials.
        failed: runs that failed in this call.
        failed_earlier: a run of each trial that failed in an earlier call and was not tried again.
        interrupted: whether ``should_stop`` ended the call early; the same call resumes.
        home: results folder.
    """

    searches: Sequence[SearchResult]
    failed: Sequence[Outcome]
    interrupted: bool
    home: Path
    failed_earlier: Sequence[Outcome] = ()


def load_study(
    suite: str | Path,
    overrides: Overrides = (),
    *,
    only: Sequence[str] = (),
    trials: int | None = None,
    model_folders: Folders = (),
) -> StudyPlan:
    """Read a suite with a section ``study`` and return its searches, every setting checked.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        overrides: settings that win over the suite's.
        only: search a part, ``["model=rotate,dataset=atlas"]``.
        trials: number of trials of each row, in place of the suite's.
        model_folders: folder or folders with models of the user's own.

    Raises:
        ConfigError: the suite is wrong or no study; all problems at once, with file and line.
        DataError: a feature set that must be looked at is wrong.
    """
    load_all(model_folders)
    if parse_only(only).seed:
        raise ConfigError("--only seed: the seeds of a trial belong together; see 'seeds'")
    content, settings = read_suite(find_suite(suite)), nested(overrides)
    if content.study and content.study.sampler == "grid" and trials is not None:
        raise ConfigError("--trials: a grid has a trial per point")
    plan = expand(content, settings, only)
    searches(content, settings, plan)
    return StudyPlan(content, settings, plan, trials)


def run_study(
    study: StudyPlan | str | Path,
    *,
    home: Path | str | None = None,
    retry_failed: bool = False,
    restart: bool = False,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> StudyResult:
    """Make the trials that a study lacks; the test split is never looked at.

    Args:
        study: result of ``load_study``, or what it takes.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        retry_failed: try the points of failed trials again.
        restart: forget earlier trials; their runs stay.
        on_event: receives the events of ``harness.run.events``.
        should_stop: asked after every epoch; True ends the call with checkpoints written.
        execution: workers, threads, device, ...; see ``harness.run.executors.Execution``.

    Raises:
        ConfigError: as ``load_study``; also with ``detach``.
    """
    settings = read_execution(execution)
    if settings.detach:
        raise ConfigError("detach is for suites: a study chooses its next trials by the results")
    if not isinstance(study, StudyPlan):
        study = load_study(study, model_folders=settings.model_folders)
    check_execution(settings)
    folder, plan = results_folder(home), study.plan
    available = present(plan, on_event)
    searched, unsearched = searches(study.suite, study.overrides, available)
    rows = (f"left out: {cell.label} on {cell.dataset}: {cell.reason}" for cell in unsearched)
    for text in dict.fromkeys(rows):
        on_event(Message(text))
    with _opened(folder, plan.suite, on_event) as store:
        warn_of_cluster(folder, settings, on_event)
        with run_logging(settings.log, folder, plan.suite, on_event) as logging:
            report = _Work(folder, store, settings, logging, should_stop).search(
                plan,
                searched,
                (*available.excluded, *unsearched),
                study.trials,
                retry_failed=retry_failed,
                restart=restart,
            )
        results = search_results(folder, plan.suite, plan.variant)
        earlier = _failed_earlier(results, searched, report, store)
    return StudyResult(results, report.failed, report.interrupted, folder, earlier)


def _failed_earlier(
    results: Sequence[SearchResult],
    searched: Sequence[Search],
    report: Report,
    store: SqlStore,
) -> list[Outcome]:
    """Return the failures of earlier calls: of each failed trial a run that still has no result."""
    rows = {(s.label, s.spec.data.dataset, s.spec.data.features) for s in searched}
    failed, statuses = {outcome.run_id for outcome in report.failed}, store.statuses()
    outcomes = {}
    for result in results:
        if (result.label, result.dataset, result.features) not in rows:
            continue
        for trial in result.having("failed"):
            missing = [i for i in trial.runs.values() if statuses.get(i) not in ("ok", "validated")]
            if missing and not failed & set(missing):
                outcomes[missing[0]] = Outcome(
                    run_id=missing[0], status="failed", message=trial.reason
                )
    return list(outcomes.values())


def list_studies(home: Path | str | None = None) -> dict[str, str]:
    """Return the studies of a results folder: name -> title.

    Raises:
        StoreError: there is no database of studies, or it cannot be used.
    """
    return studies(results_folder(home))


def load_study_results(
    study: str, home: Path | str | None = None, *, variant: str = ""
) -> tuple[Sequence[SearchResult], Path]:
    """Return the searches of a study with their trials, and the results folder.

    Args:
        study: name of the study, or its file.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        variant: digest of the overrides that the study was run with.

    Raises:
        ConfigError: there is no such study or variant.
        StoreError: there is no database of studies, or it cannot be used.
    """
    folder = results_folder(home)
    return search_results(folder, study_name(study), variant), folder


def promote_trials(
    study: str,
    *,
    home: Path | str | None = None,
    trials: Sequence[int] = (),
    only: Sequence[str] = (),
    variant: str = "",
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> SuiteResult:
    """Rank the test split with the checkpoints of trials, all seeds.

    Args:
        study: name of a study, or its file.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        trials: numbers of trials; the best of each row when empty.
        only: rows, ``["model=rotate"]``.
        variant: digest of the overrides that the study was run with.
        on_event, should_stop, execution: as for ``run_study``.

    Raises:
        ConfigError: there is no such study or trial, or none is complete.
    """
    settings = read_execution(execution)
    load_all(settings.model_folders)
    check_execution(settings)
    folder, name = results_folder(home), study_name(study)
    selected = _selected(search_results(folder, name, variant), only, trials, on_event)
    with (
        _opened(folder, name, on_event) as store,
        run_logging(settings.log, folder, name, on_event) as logging,
    ):
        run_ids, summary = _Work(folder, store, settings, logging, should_stop).test(selected)
    return SuiteResult(Plan(name, "", variant, ()), folder, run_ids, summary, marked=False)


def export_trials(
    study: str,
    *,
    home: Path | str | None = None,
    trials: Sequence[int] = (),
    only: Sequence[str] = (),
    variant: str = "",
    onto: str | None = None,
    on_event: OnEvent = ignore,
) -> str:
    """Return the settings of trials as YAML for the ``overrides`` of a suite.

    Args:
        study, home, trials, only, variant, on_event: as for ``promote_trials``.
        onto: dataset that the settings are for, with the number of epochs that validation chose;
            the dataset of the search when None.
    """
    folder, name = results_folder(home), study_name(study)
    results = search_results(folder, name, variant)
    selected = _selected(results, only, trials, on_event)
    target = source(onto).card.name if onto else ""
    with contextlib.closing(open_home(folder, create=False, write=False)) as store:
        return fragment(selected, results, store, onto=target)


def study_name(study: str) -> str:
    """Return the name of a study: that of the suite where a file is given."""
    path = Path(study)
    return read_suite(path).name if path.suffix in (".yaml", ".yml") else study


def _selected(
    results: Sequence[SearchResult], only: Sequence[str], numbers: Sequence[int], on_event: OnEvent
) -> Selected:
    """Return the numbered trials, else the best, of each search of ``only``."""
    selector = canonical(parse_only(only), source)
    selected = []
    for search in results:
        cell = {"model": search.model, "dataset": search.dataset, "label": search.label}
        if not matches(selector, **cell, features=search.features, seed=search.seeds[0]):
            continue
        if numbers:
            selected += [(search, search.trial(number)) for number in numbers]
        elif search.best is not None:
            selected.append((search, search.best))
        else:
            on_event(Message(f"{search.place}: no trial is complete yet"))
    if not selected:
        raise ConfigError("no trial to choose: none is complete, or --only has none of them")
    return selected


@contextlib.contextmanager
def _opened(folder: Path, suite: str, on_event: OnEvent) -> Iterator[SqlStore]:
    """Open the results when no other command works on the same study; wait for one that does."""
    with contextlib.closing(open_home(folder)) as store:
        path = folder / f"study-{suite}.lock"
        lock = FileLock(path)
        try:
            path.touch()  # with the permissions that the umask leaves
            try:
                lock.acquire(timeout=0)
            except Timeout:
                on_event(Message(f"study {suite} is being run elsewhere; waiting for it"))
                lock.acquire()
            with lock:
                lock.release()  # the lock counts how often it was acquired
                yield store
        except OSError as error:
            raise disk_error(folder, error) from error


@dataclass(frozen=True)
class _Work:
    """Executes runs of a study."""

    home: Path
    store: SqlStore
    settings: Execution
    logging: RunLogging
    should_stop: ShouldStop

    def search(
        self,
        plan: Plan,
        searched: Sequence[Search],
        left_out: Sequence[Cell],
        trials: int | None,
        *,
        retry_failed: bool,
        restart: bool,
    ) -> Report:
        """Make the trials that are still wanted."""

        def make_jobs(trial: Trial, study: SearchStudy) -> Mapping[int, Job]:
            label = trial_label(study.search.label, trial.number)
            return {
                run.seed: self._job(run.model_copy(update={"label": label}), "valid")
                for run in identify(trial.runs, digests)
            }

        def place_cells() -> None:
            table = plan.suite, plan.variant
            stored, results = self.store.cells(*table), search_results(self.home, *table)
            searched = {(result.label, result.dataset, result.features) for result in results}
            cells = with_left_out(study_cells(results), searched, left_out, plan, stored)
            with self.store.transaction():
                self.store.add_suite(stored_suite(plan))
                self.store.plan(*table, with_external(cells, stored))

        storage = open_storage(self.home)
        with explained(self.home):
            searching = [
                SearchStudy(
                    search,
                    suite=plan.suite,
                    variant=plan.variant,
                    title=plan.title,
                    base_id=identify(search.base[:1], digests)[0].run_id,
                    storage=storage,
                    trials=trials,
                    restart=restart,
                )
                for search in searched
            ]
            if searching:  # refuse one that was edited
                search_results(self.home, plan.suite, plan.variant)
            if retry_failed:
                for study in searching:
                    study.retry_failed()
            total = sum(study.left * len(study.search.seeds) for study in searching)
            at_once = self.settings.at_once
            with started(total, self.logging.on_event, plan.suite, at_once=at_once):
                return run_rounds(
                    searching,
                    self.store,
                    make_jobs,
                    lambda jobs: self._execute(jobs, retry_failed=retry_failed),
                    width=self.settings.at_once,
                    should_stop=self.should_stop,
                    on_round=place_cells,
                    on_event=self.logging.on_event,
                )

    def test(self, selected: Selected) -> tuple[tuple[str, ...], Summary]:
        """Test the runs of trials; what is missing of pruned and unfinished ones is trained.

        Returns:
            Their ids, and what became of them.
        """
        jobs = {job.run_id: job for pair in selected for job in self._jobs(*pair)}
        title, at_once = selected[0][0].suite, self.settings.at_once
        with started(len(jobs), self.logging.on_event, title, list(jobs.values()), at_once):
            return tuple(jobs), self._execute(list(jobs.values()), retry_failed=False)

    def _jobs(self, search: SearchResult, trial: TrialResult) -> Iterator[Job]:
        records = {r.run_id: r for r in self.store.find(ids=trial.runs.values())}
        if not records:
            raise ConfigError(
                f"{search.place}: the store holds no run of trial {trial.number}; "
                f"`harness study run {shlex.quote(search.suite)}` makes them"
            )
        spec = next(iter(records.values())).spec
        label = trial_label(search.label, trial.number)
        for seed, run_id in trial.runs.items():
            run, record = spec.model_copy(update={"seed": seed}), records.get(run_id)
            cell = Cell.of(run, label).model_copy(update={"run_id": run_id})
            job = self._job(cell, "test")
            if record is None or record.status != "ok":
                validated = record is not None and record.status == "validated"
                trained = validated and has_checkpoint(run, job.folder)
                check_before(run_id, run, record, trained=trained)
            yield job

    def _job(self, cell: Cell, stage: str) -> Job:
        named = cell.features != "none"  # as the search is named
        return make_job(cell, self.home, self.settings, stage=stage, names_features=named)

    def _execute(self, jobs: Sequence[Job], *, retry_failed: bool) -> Summary:
        state = pending(jobs, self.store, retry_failed=retry_failed)
        self.logging.log_stored([*state.finished, *state.failed], self.store)
        if stored := len(state.finished) + len(state.failed) + len(state.unreadable):
            self.logging.on_event(RunsSkipped(stored, "stored already"))
        summary = execute(
            state.to_run,
            self.store,
            self.settings,
            on_event=self.logging.on_event,
            should_stop=self.should_stop,
        )
        summary.failed[:0] = state.unreadable
        summary.failed_earlier = failures([job.run_id for job in state.failed], self.store)
        return summary
