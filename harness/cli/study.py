"""``harness study``: search settings by validation, show what was found, test what was chosen."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.executing import execute, raise_failed
from harness.cli.options import (
    AsJson,
    Device,
    Home,
    Models,
    Only,
    Probe,
    SetValues,
    Threads,
    Workers,
)
from harness.cli.paths import home
from harness.cli.stopping import stop_on_signals
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.cli.progress import Bars, Lines
    from harness.execution.base import Job
    from harness.execution.scheduler import Summary
    from harness.plan.expand import Excluded, Plan, PlannedRun
    from harness.plan.search import Search
    from harness.plan.suite import Suite
    from harness.store.sql import SqlStore
    from harness.studies.results import SearchResult, TrialResult
    from harness.studies.rounds import Ended, Report
    from harness.studies.study import SearchStudy, Trial

app = typer.Typer(no_args_is_help=True)

Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="A suite file with a study, or the study's name.")
]
Variant = Annotated[str, typer.Option(help="Of a study with --set: the digest `run` printed.")]


@app.command()
def run(
    file: Annotated[
        str, typer.Argument(metavar="SUITE", help="A suite file with a section 'study'.")
    ],
    set_: SetValues = None,
    only: Only = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, in place of the suite's number.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, its time and memory; run nothing.")
    ] = False,
    probe: Probe = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the points of failed trials again.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget earlier trials; their runs stay.")
    ] = False,
    workers: Workers = 1,
    threads: Threads = 0,
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
) -> None:
    """Search the settings of each row of a suite; what was interrupted goes on, and no run is done
    twice. The test split is never looked at."""
    from harness import kernels
    from harness.pipeline import resolve_device

    _load_models(models)
    suite, overrides, plan = _plan(file, set_ or [], only or [], trials)
    kernels.backend_name(
        resolve_device(device).type
    )  # or a setting that no run can be executed with
    folder = home(results)
    if dry_run or probe:
        from harness.cli import dry

        options = dry.DryRunOptions(device, threads, workers, probe, tuple(models or ()))
        dry.show_study(suite, overrides, plan, folder, options, trials)
        return
    planned, left_out = _searches(suite, overrides, plan)
    with _opened(folder, plan.suite) as store, stop_on_signals() as stop:
        work = _Work(folder, store, device, threads, workers, tuple(models or ()), stop.asked)
        again = {"retry_failed": retry_failed, "restart": restart}
        report = work.search(plan, planned, left_out, trials, **again)
        _print(folder, plan.suite, plan.variant)
    if report.interrupted:
        raise stop.error()
    raise_failed(report.failed, folder, "--retry-failed tries again")


@app.command()
def show(
    study: Annotated[
        str | None, typer.Argument(help="A suite file, or a name; all names if none is given.")
    ] = None,
    variant: Variant = "",
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show the best trial of each row, which settings matter, the surface, and what a budget of
    trials is expected to find; all of it on the validation split."""
    from harness.cli import study_text
    from harness.studies.results import search_results, studies

    folder = home(results)
    if study is None:
        for name, title in studies(folder).items():
            typer.echo(f"{name:<16} {title}")
        return
    study_results = search_results(folder, _name(study), variant)
    if as_json:
        typer.echo(json.dumps(study_text.plain(study_results), indent=2))
        return
    typer.echo(study_text.describe(study_results, folder))


@app.command()
def promote(
    study: Study,
    trial: Annotated[
        list[int] | None, typer.Option(help="This trial (repeatable); the best if not given.")
    ] = None,
    only: Only = None,
    variant: Variant = "",
    workers: Workers = 1,
    threads: Threads = 0,
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
) -> None:
    """Test the chosen trials, by default the best of each row: their runs, all seeds, are ranked on
    the test split with the checkpoints they have. Then print the table."""
    from harness.pipeline import resolve_device
    from harness.studies.results import search_results

    _load_models(models)
    resolve_device(device)  # or one that no run can be tested on
    folder, name = home(results), _name(study)
    selected = _selected(search_results(folder, name, variant), only or [], trial or [])
    with _opened(folder, name) as store, stop_on_signals() as stop:
        work = _Work(folder, store, device, threads, workers, tuple(models or ()), stop.asked)
        summary = work.test(selected)
        _table(store, name, variant)
    if summary.interrupted:
        raise stop.error()
    raise_failed(summary.failed, folder)


@app.command()
def export(
    study: Study,
    trial: Annotated[
        int | None, typer.Option(help="This trial of each row; the best if not given.")
    ] = None,
    only: Only = None,
    variant: Variant = "",
    onto: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Write them for this dataset, with the number of epochs that validation chose.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    results: Home = None,
) -> None:
    """Print the best settings of each row as a fragment for the `overrides` of a suite.

    With --onto what was chosen on one dataset is for another: settings and number of epochs chosen
    on db15k@clean, to train on db15k and to keep the weights after the last epoch
    (training.select: last).
    """
    from harness.cli import study_text
    from harness.data.load import source
    from harness.store import open_home
    from harness.store.files import write_whole
    from harness.studies.results import search_results

    folder, name = home(results), _name(study)
    study_results = search_results(folder, name, variant)
    selected = _selected(study_results, only or [], [] if trial is None else [trial])
    target = source(onto).card.name if onto else ""
    with contextlib.closing(open_home(folder, create=False, write=False)) as store:
        text = study_text.fragment(selected, study_results, store, onto=target)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(out, text.encode())


# --- what is asked for --------------------------------------------------------------------


def _load_models(folders: Sequence[Path] | None) -> None:
    from harness import catalog

    catalog.load_all(folders or ())


def _plan(
    name: str, settings: Sequence[str], only: Sequence[str], trials: int | None
) -> tuple[Suite, dict[str, Any], Plan]:
    """Return a suite, the settings of the command line and the plan; all of it checked."""
    from harness.config.override import parse_overrides
    from harness.plan.expand import expand
    from harness.plan.search import searches
    from harness.plan.select import parse_only
    from harness.plan.suite import find_suite, load_suite

    if parse_only(only).seed:
        raise ConfigError("--only seed: the seeds of a trial belong together; see 'seeds'")
    suite, overrides = load_suite(find_suite(name)), parse_overrides(settings)
    if suite.study and suite.study.sampler == "grid" and trials is not None:
        raise ConfigError("--trials: a grid has a trial per point")
    plan = expand(suite, overrides, only)
    searches(suite, overrides, plan)
    return suite, overrides, plan


def _searches(
    suite: Suite, overrides: Mapping[str, Any], plan: Plan
) -> tuple[tuple[Search, ...], tuple[Excluded, ...]]:
    """Return the searches whose data are on this machine, and what is left out; say so."""
    from harness.cli.run import present
    from harness.plan.search import searches

    here = present(plan)
    planned, idle = searches(suite, overrides, here)
    for cell in idle:
        print(f"left out: {cell.label} on {cell.dataset}: {cell.reason}", file=sys.stderr)
    return planned, (*here.excluded, *idle)


def _name(study: str) -> str:
    """Return the name of a study: that of the suite where a file is given."""
    from harness.plan.suite import load_suite

    path = Path(study)
    return load_suite(path).name if path.suffix in (".yaml", ".yml") else study


def _selected(
    study_results: Sequence[SearchResult], only: Sequence[str], numbers: Sequence[int]
) -> list[tuple[SearchResult, TrialResult]]:
    """Return the trials that are meant: the numbered or the best, of each search of ``only``."""
    from harness.data.load import source
    from harness.plan.select import canonical, matches, parse_only

    selector = canonical(parse_only(only), source)
    selected = []
    for search in study_results:
        cell = {"model": search.model, "dataset": search.dataset, "label": search.label}
        if not matches(selector, **cell, features=search.features, seed=search.seeds[0]):
            continue
        if numbers:
            selected += [(search, search.trial(number)) for number in numbers]
        elif search.best is not None:
            selected.append((search, search.best))
        else:
            print(f"{search.place}: no trial is complete yet", file=sys.stderr)
    if not selected:
        raise ConfigError("no trial to choose: none is complete, or --only has none of them")
    return selected


# --- execution ----------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(folder: Path, suite: str) -> Iterator[SqlStore]:
    """Open the results when no other command works on the same study; wait for one that does."""
    from filelock import FileLock, Timeout

    from harness.store import open_home
    from harness.store.failures import disk_error

    store = open_home(folder)
    with contextlib.closing(store):
        path = folder / f"study-{suite}.lock"
        lock = FileLock(path)
        try:
            path.touch()  # with the permissions that the umask leaves
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(f"study {suite} is being run elsewhere; waiting for it", file=sys.stderr)
                lock.acquire()
            with lock:
                lock.release()  # the lock counts how often it was acquired
                yield store
        except OSError as error:
            raise disk_error(folder, error) from error


class _Work:
    """Executes runs of a study.

    Args:
        folder: results folder.
        store: its database.
        device, threads, workers, folders: how to execute.
        should_stop: whether a signal came.
    """

    def __init__(
        self,
        folder: Path,
        store: SqlStore,
        device: str,
        threads: int,
        workers: int,
        folders: tuple[Path, ...],
        should_stop: Callable[[], bool],
    ) -> None:
        from harness.execution.base import Executor
        from harness.execution.inline import InlineExecutor
        from harness.execution.processes import ProcessExecutor

        self.place, self.store, self.should_stop = folder, store, should_stop
        self.workers = workers
        self.how = {"device": device, "threads": threads, "model_folders": folders}
        self.executor: Executor = (
            ProcessExecutor(workers, threads) if workers > 1 else InlineExecutor()
        )

    def search(
        self,
        plan: Plan,
        searches: Sequence[Search],
        left_out: Sequence[Excluded],
        trials: int | None,
        *,
        retry_failed: bool,
        restart: bool,
    ) -> Report:
        """Make the trials that are still wanted."""
        from harness.cli.cells import with_external, with_left_out
        from harness.cli.progress import reporter
        from harness.plan.study import trial_label
        from harness.studies.results import search_results, study_cells
        from harness.studies.rounds import run_rounds
        from harness.studies.study import SearchStudy, explained, open_storage

        def make_jobs(trial: Trial, study: SearchStudy) -> Mapping[int, Job]:
            label = trial_label(study.search.label, trial.number)
            return {
                run.spec.seed: self._job(run_id, label, run.spec, "valid")
                for run_id, run in _identified(plan, trial.runs)
            }

        def place_cells() -> None:
            table = plan.suite, plan.variant
            held = self.store.cells(*table)
            tried = study_cells(search_results(self.place, *table))
            cells = with_left_out(tried, left_out, plan, held)
            self.store.plan(*table, with_external(cells, held))

        storage = open_storage(self.place)
        with contextlib.suppress(ConfigError):  # a new study
            search_results(self.place, plan.suite, plan.variant)
        with explained(self.place):
            studies = [
                SearchStudy(
                    search,
                    suite=plan.suite,
                    variant=plan.variant,
                    title=plan.title,
                    base_id=_identified(plan, search.base[:1])[0][0],
                    storage=storage,
                    trials=trials,
                    restart=restart,
                )
                for search in searches
            ]
            if retry_failed:
                for study in studies:
                    study.retry_failed()
            total = sum(study.left * len(study.search.seeds) for study in studies)
            with reporter(total) as screen:
                return run_rounds(
                    studies,
                    self.store,
                    make_jobs,
                    lambda jobs: self._execute(jobs, screen, retry_failed=retry_failed),
                    width=self.workers,
                    should_stop=self.should_stop,
                    on_round=place_cells,
                    on_end=lambda ended: screen.say(_ended(ended)),
                )

    def test(self, selected: Sequence[tuple[SearchResult, TrialResult]]) -> Summary:
        """Test the runs of trials; what is missing of pruned and unfinished ones is trained."""
        from harness.cli.progress import reporter

        jobs = {job.run_id: job for pair in selected for job in self._jobs(*pair)}
        with reporter(len(jobs)) as screen:
            return self._execute(list(jobs.values()), screen, retry_failed=False)

    def _jobs(self, search: SearchResult, trial: TrialResult) -> Iterator[Job]:
        from harness.pipeline import has_checkpoint
        from harness.plan.spec import RunSpec
        from harness.plan.study import trial_label
        from harness.unchanged import check_before

        records = {r.run_id: r for r in self.store.find(ids=trial.runs.values())}
        if not records:
            raise ConfigError(
                f"{search.place}: the store holds no run of trial {trial.number}; "
                f"`harness study run {shlex.quote(search.suite)}` makes them"
            )
        spec = RunSpec.model_validate(next(iter(records.values())).spec)
        for seed, run_id in trial.runs.items():
            own, record = spec.model_copy(update={"seed": seed}), records.get(run_id)
            job = self._job(run_id, trial_label(search.label, trial.number), own, "test")
            if record is None or record.status != "ok":
                validated = record is not None and record.status == "validated"
                trained = validated and has_checkpoint(own, job.folder)
                check_before(run_id, own, record, trained=trained)
            yield job

    def _job(self, run_id: str, label: str, spec: object, stage: str) -> Job:
        from harness.execution.base import Job

        values = {"run_id": run_id, "label": label, "spec": spec, "home": self.place}
        return Job.model_validate({**values, "stage": stage, **self.how})

    def _execute(self, jobs: Sequence[Job], screen: Lines | Bars, *, retry_failed: bool) -> Summary:
        from harness.execution.scheduler import pending

        state = pending(jobs, self.store, retry_failed=retry_failed)
        summary = execute(
            state.to_run,
            self.store,
            self.executor,
            screen,
            workers=self.workers,
            should_stop=self.should_stop,
        )
        summary.failed[:0] = state.unreadable
        return summary


def _identified(plan: Plan, runs: Sequence[PlannedRun]) -> tuple[tuple[str, PlannedRun], ...]:
    from harness.cli.run import digests
    from harness.plan.expand import identify

    return identify(replace(plan, runs=tuple(runs)), digests)


# --- what is said -------------------------------------------------------------------------


def _ended(ended: Ended) -> str:
    text = f"trial {ended.number} of {ended.search.search.title}: {ended.state}"
    if ended.value is not None:
        text += f", mean valid MRR {100 * ended.value:.2f}"
    if ended.best is not None and ended.best_number != ended.number:
        text += f" (best: {100 * ended.best:.2f}, trial {ended.best_number})"
    return text


def _print(folder: Path, suite: str, variant: str) -> None:
    from harness.cli import study_text
    from harness.studies.results import search_results

    print(study_text.describe(search_results(folder, suite, variant), folder))


def _table(store: SqlStore, suite: str, variant: str) -> None:
    from harness.report.query import suite_table
    from harness.report.render import render

    print(render(suite_table(store, suite, variant), "text"))
