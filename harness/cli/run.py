"""``harness run``: execute a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    Detach,
    Device,
    Devices,
    Engine,
    Executor,
    Home,
    Log,
    Models,
    OnInterrupt,
    Probe,
    SetValues,
    Threads,
    Workers,
    execution,
)
from harness.cli.stopping import stop_on_signals
from harness.errors import ConfigError, RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.plan.expand import Plan
    from harness.run.jobs import Outcome


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
    devices: Devices = "",
    executor: Executor = "",
    engine_file: Engine = None,
    detach: Detach = False,
    on_interrupt: OnInterrupt = None,
    log: Log = "",
    models: Models = None,
    results: Home = None,
) -> None:
    """Execute a suite: what the store already holds is skipped, what was interrupted goes on."""
    from harness.cli.progress import show_events
    from harness.run.measuring import stages_of
    from harness.run.suite import run_suite

    if suite is not None and (stages := stages_of(suite)) is not None:
        given = {
            "--set": set_,
            "--only": only,
            "--spec": spec,
            "--retry-failed": retry_failed,
            "--models": models,
            "--probe": probe,
            "--log": log,
        }
        if names := [name for name, value in given.items() if value]:
            raise ConfigError(f"{', '.join(names)}: for suites of runs; this one measures stages")
        from harness.cli.bench import complexity

        complexity(str(stages), dry_run=dry_run, threads=threads, device=device, results=results)
        return
    how = execution(
        device,
        devices,
        threads,
        workers,
        models,
        executor,
        engine_file,
        detach,
        on_interrupt,
        log,
    )
    plan = _plan(suite, spec, set_ or [], only or [], models or [])
    if dry_run or probe:
        from harness.cli.dry import describe
        from harness.run.forecast import dry_run as forecast_of

        with show_events() as on_event, stop_on_signals(probe) as stop:
            forecast = forecast_of(
                plan,
                home=results,
                only=only or (),
                probe=probe,
                on_event=on_event,
                should_stop=stop.asked,
                **how,
            )
        if stop.asked():
            raise stop.error()
        print(describe(forecast))
        return
    with show_events() as on_event:
        with stop_on_signals() as stop:
            result = run_suite(
                plan,
                home=results,
                only=only or (),
                retry_failed=retry_failed,
                on_event=on_event,
                should_stop=stop.asked,
                **how,
            )
        table = result.make_table(on_event).render() if suite is not None else ""
    if suite is not None:
        print(table)
    else:
        from harness.cli.run_text import print_list

        print_list(result.records)
    if result.interrupted:
        raise stop.error()
    raise_failed(result.failed, results)


def _plan(
    suite: str | None,
    spec: str | None,
    overrides: Sequence[str],
    only: Sequence[str],
    models: Sequence[Path],
) -> Plan:
    """Return the plan of a suite, or of one run."""
    from harness.run.suite import load_suite, plan_run

    if (suite is None) == (spec is None):
        raise ConfigError("give a suite, or the settings of one run with --spec; one of the two")
    if suite is not None:
        return load_suite(suite, overrides, model_folders=models)
    if overrides or only:
        raise ConfigError("--set and --only are for suites; --spec holds every setting itself")
    return plan_run(spec or "", model_folders=models)


def raise_failed(
    failed: Sequence[Outcome], home: Path | None, again: str = "the same command tries again"
) -> None:
    """Raise an error that says how many runs failed, and what can be done about the first.

    Args:
        failed: any number of outcomes.
        home: value of ``--home``.
        again: how a run that left no record is tried again.

    Raises:
        RunError: some run failed.
    """
    if failed:
        from harness.run.runs import failure_hint

        first, count = failed[0], len(failed)
        hint = failure_hint(first.run_id, home, again)
        raise RunError(
            f"{count} {'run' if count == 1 else 'runs'} failed; the first: {first.run_id}: "
            f"{first.message}{f' ({hint})' * bool(hint)}"
        )
