"""``harness run``: execute a suite."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.comparing import comparing, prepare
from harness.cli.executing import execute, raise_failed
from harness.cli.options import Device, Home, Models, Probe, SetValues, Threads, Workers
from harness.cli.paths import home
from harness.cli.stopping import stop_on_signals
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.execution.base import Job
    from harness.execution.scheduler import Summary
    from harness.plan.expand import Plan, PlannedRun
    from harness.plan.spec import DataSpec
    from harness.store.base import ResultStore
    from harness.store.records import Cell


def run(
    suite: Annotated[
        str | None, typer.Argument(help="A suite file, or the name of a shipped one.")
    ] = None,
    set_: SetValues = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run a part: --only model=rotate,dataset=atlas,seed=0", metavar="K=V"),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(help="Instead of a suite the settings of one run: see `harness runs show`."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, its time and memory; run nothing.")
    ] = False,
    probe: Probe = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed earlier.")
    ] = False,
    workers: Workers = 1,
    threads: Threads = 0,
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
) -> None:
    """Execute a suite: what the store already holds is skipped, what was interrupted goes on."""
    from harness import catalog, kernels
    from harness.pipeline import resolve_device

    if (stages := _stages(suite)) is not None:
        _refuse(
            {
                "--set": set_,
                "--only": only,
                "--spec": spec,
                "--retry-failed": retry_failed,
                "--models": models,
                "--probe": probe,
            }
        )
        from harness.cli.complexity import run_complexity

        run_complexity(stages, home(results), device=device, threads=threads, dry_run=dry_run)
        return
    catalog.load_all(models or ())
    whole = _whole(suite, spec, set_ or [], only or [])
    chosen = whole.select(only) if only else whole
    kernels.backend_name(
        resolve_device(device).type
    )  # or a setting that no run can be executed with
    place = home(results)
    if dry_run or probe:
        from harness.cli import dry

        options = dry.DryRunOptions(device, threads, workers, probe, tuple(models or ()))
        dry.show(chosen, place, options)
        return
    plan = present(chosen)
    jobs = _jobs(plan, place, device, threads, tuple(models or ()))
    distinct = list({job.run_id: job for job in jobs.values()}.values())
    from harness.cli.run_text import print_list
    from harness.store import open_home

    with contextlib.closing(open_home(place)) as store:
        if suite is not None:
            cells = _cells(store, whole, plan, jobs, partial=bool(only))
            store.plan(plan.suite, plan.variant, cells)
        with stop_on_signals() as stop:
            summary = _execute(
                distinct,
                store,
                stop.asked,
                workers=workers,
                threads=threads,
                retry_failed=retry_failed,
            )
        if suite is not None:
            prepare(store, place, [(plan.suite, plan.variant)])
            _print_table(store, place, plan, suite)
        else:
            print_list(store.find(ids=[job.run_id for job in distinct]))
    if summary.interrupted:
        raise stop.error()
    raise_failed(summary.failed, place)


def _whole(
    suite: str | None, spec: str | None, overrides: Sequence[str], only: Sequence[str]
) -> Plan:
    """Return the plan of a suite, or of one run."""
    from harness.plan.single import plan_single

    if (suite is None) == (spec is None):
        raise ConfigError("give a suite, or the settings of one run with --spec; one of the two")
    if suite is not None:
        return planned(suite, overrides)
    if overrides or only:
        raise ConfigError("--set and --only are for suites; --spec holds every setting itself")
    return plan_single(spec or "")


def planned(suite: str, overrides: Sequence[str]) -> Plan:
    """Return the plan of a suite, a file or the name of a shipped one, with ``--set``."""
    from harness.config.override import parse_overrides
    from harness.plan.expand import expand
    from harness.plan.suite import find_suite, load_suite

    content = load_suite(find_suite(suite))
    if content.study is not None:
        raise ConfigError(
            f"suite '{content.name}' searches settings: harness study run {shlex.quote(suite)}"
        )
    return expand(content, parse_overrides(overrides))


def _print_table(store: ResultStore, place: Path, plan: Plan, source: str) -> None:
    from harness.report.query import suite_table
    from harness.report.render import render

    with comparing(place) as tests:
        table = suite_table(store, plan.suite, plan.variant, source=source, tests=tests)
    print(render(table, "text"))


def _stages(suite: str | None) -> Path | None:
    """Return the file of a suite that measures stages, None for one of runs."""
    from harness.plan.complexity import measures
    from harness.plan.suite import find_suite

    file = find_suite(suite) if suite is not None else None
    return file if file is not None and measures(file) else None


def _refuse(options: Mapping[str, object]) -> None:
    """Refuse what a suite that measures stages has no use for."""
    if given := [name for name, value in options.items() if value]:
        raise ConfigError(f"{', '.join(given)}: for suites of runs; this one measures stages")


Place = tuple[str, str, str, int]
"""Row label, dataset, feature set, seed: what tells a suite's cells apart."""


def _place(run: PlannedRun) -> Place:
    return run.label, run.spec.data.dataset, run.spec.data.features, run.spec.seed


def digests(data: DataSpec) -> tuple[str, str]:
    """Return the digest of the graph, and of the features, of a run's data."""
    from harness.data.load import load

    dataset = load(data.dataset, data.features, data.modalities)
    return dataset.graph.digest, dataset.features.digest


def present(plan: Plan) -> Plan:
    """Leave out, and say so, what needs data that are not on this machine."""
    from harness.plan.expand import without_missing

    here = without_missing(plan, digests)
    for reason in {e.reason for e in here.excluded} - {e.reason for e in plan.excluded}:
        print(f"left out: {reason}", file=sys.stderr)
    return here


def _jobs(
    plan: Plan, place: Path, device: str, threads: int, folders: tuple[Path, ...]
) -> dict[Place, Job]:
    """Return the job of each cell; cells that describe the same run share one."""
    from harness.execution.base import Job
    from harness.plan.expand import identify

    return {
        _place(run): Job(
            run_id=run_id,
            label=run.label,
            spec=run.spec,
            home=place,
            device=device,
            threads=threads,
            model_folders=folders,
        )
        for run_id, run in identify(plan, digests)
    }


def _cells(
    store: ResultStore, whole: Plan, present: Plan, jobs: Mapping[Place, Job], *, partial: bool
) -> list[Cell]:
    """Return the suite's cells; with ``--only``, those planned earlier stay beside the new ones."""
    from harness.cli.cells import table_cells, with_external

    run_ids = {place: job.run_id for place, job in jobs.items()}
    held = store.cells(whole.suite, whole.variant)
    return with_external(table_cells(whole, present, run_ids, held if partial else ()), held)


def _execute(
    jobs: Sequence[Job],
    store: ResultStore,
    should_stop: Callable[[], bool],
    *,
    workers: int,
    threads: int,
    retry_failed: bool,
) -> Summary:
    from harness.cli.progress import reporter
    from harness.execution.base import Executor
    from harness.execution.inline import InlineExecutor
    from harness.execution.processes import ProcessExecutor
    from harness.execution.scheduler import Summary, pending

    to_run, finished, failed, unreadable = pending(jobs, store, retry_failed=retry_failed)
    if finished:
        print(f"{len(finished)} of {len(jobs)} runs are finished already", file=sys.stderr)
    if failed:
        print(f"{len(failed)} failed earlier and are skipped (--retry-failed)", file=sys.stderr)
    if unreadable:
        damaged = f"{len(unreadable)} with a record that cannot be read"
        print(f"{damaged}: skipped (--retry-failed runs again)", file=sys.stderr)
    summary = Summary(failed=list(unreadable))
    if not to_run:
        return summary
    executor: Executor = ProcessExecutor(workers, threads) if workers > 1 else InlineExecutor()
    with reporter(len(to_run)) as screen:
        summary = execute(to_run, store, executor, screen, workers=workers, should_stop=should_stop)
    summary.failed[:0] = unreadable
    return summary
