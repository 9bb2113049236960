"""``harness run``: execute a suite."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from harness.cli.completion import complete_datasets, complete_models, complete_suites
from harness.cli.execution import DetachableOptions, with_option_groups
from harness.cli.options import Home, Probe, SetValues, counted_seeds
from harness.cli.stopping import stop_on_signals
from harness.errors import ConfigError, RunError

if TYPE_CHECKING:
    from harness.plan.expand import Plan
    from harness.run.jobs import Outcome
    from harness.run.suite import SuiteResult


@with_option_groups
def run(
    suite: Annotated[
        str | None,
        typer.Argument(
            help="A suite file, or the name of a shipped one.", autocompletion=complete_suites
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to run without a suite file (repeatable). --set KEY=A,B tries values.",
            autocompletion=complete_models,
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Dataset of --model (repeatable).", autocompletion=complete_datasets),
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds of --model: how many (3), or which (0,2 or 1-4; 4-4 is one).")
    ] = "",
    name: Annotated[
        str,
        typer.Option(help="Suite name for the runs of --model. Default: model and dataset."),
    ] = "",
    set_: SetValues = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only a part: --only model=rotate,dataset=atlas,seed=0", metavar="K=V"
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(help="Settings of one run, instead of a suite: see `harness runs show`."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan with its time and memory; run nothing."),
    ] = False,
    probe: Probe = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat runs that failed earlier.")
    ] = False,
    results: Home = None,
    *,
    options: DetachableOptions,
) -> None:
    """Run a suite: finished runs are skipped and interrupted runs resume.

    Without a file: harness run --model rotate --dataset atlas --seeds 3 --set
    optimiser.lr=1e-3,1e-2
    """
    from harness.cli.progress import show_events

    with show_events():  # the first import takes seconds
        from harness.run.measuring import stages_of
        from harness.run.suite import run_suite

    if suite is not None and (stages := stages_of(suite)) is not None:
        line_options = {
            "--set": set_,
            "--only": only,
            "--spec": spec,
            "--retry-failed": retry_failed,
            "--models": options.models,
            "--probe": probe,
            "--log": options.log,
            "--model": model,
            "--dataset": dataset,
            "--seeds": seeds,
            "--name": name,
            "--workers": options.workers > 1,
            "--devices": options.devices,
            "--executor": options.executor,
            "--engine": options.engine_file,
            "--on-interrupt": options.on_interrupt,
            "--detach": options.detach,
        }
        if names := [name for name, value in line_options.items() if value]:
            raise ConfigError(f"{', '.join(names)}: for suites of runs; this one measures stages")
        from harness.cli.bench import complexity

        complexity(
            str(stages),
            dry_run=dry_run,
            threads=options.threads,
            device=options.device,
            results=results,
        )
        return
    execution = options.keywords()
    line = _OneLineSuite(model or [], dataset or [], seeds, name)
    make_plan = partial(_plan, suite, spec, line, set_ or [], only or [], options.models or [])
    if dry_run or probe:
        from harness.cli.dry import describe
        from harness.run.forecast import dry_run as forecast_of

        with show_events() as on_event, stop_on_signals(probe) as stop:
            plan = make_plan()
            forecast = forecast_of(
                plan,
                home=results,
                only=only or (),
                probe=probe,
                on_event=on_event,
                should_stop=stop.asked,
                **execution,
            )
        if stop.asked():
            raise stop.error()
        print(describe(forecast))
        return
    with show_events() as on_event:
        plan = make_plan()
        with stop_on_signals() as stop:
            result = run_suite(
                plan,
                home=results,
                only=only or (),
                retry_failed=retry_failed,
                on_event=on_event,
                should_stop=stop.asked,
                **execution,
            )
        is_table = spec is None and bool(result.records or not options.detach)
        table = result.make_table(on_event).render() if is_table else ""
    if is_table:
        print(table)
        if plan.variant:
            again = f"harness report --table {plan.suite} --variant {plan.variant}"
            typer.echo(f"`{again}` shows it again", err=True)
    elif result.records:
        from harness.cli.run_text import list_text

        typer.echo(list_text(result.records))
    if options.detach:
        print(_submitted(result))
    if result.interrupted:
        raise stop.error()
    raise_failed(result.failed, results, earlier=result.failed_earlier)


def _submitted(result: SuiteResult) -> str:
    """Return the runs that are left to the cluster, and the command that follows them."""
    from harness.cli.console import aligned, plural

    ended = {record.run_id for record in result.records}
    runs = [run for run in result.plan.runs if run.run_id not in ended]
    if not runs:
        return "Every run has ended."
    rows = [[run.run_id, run.label, run.dataset, f"seed {run.seed}"] for run in runs]
    words = [word for word in sys.argv[1:] if word != "--detach"]
    return "\n".join(
        [
            f"{plural(len(runs), 'run')} in Slurm:",
            *(f"  {line}" for line in aligned(rows, text=None)),
            f"Follow them with: {shlex.join(['harness', *words])}",
        ]
    )


class _OneLineSuite(NamedTuple):
    """Options of a suite that is written in one line."""

    models: Sequence[str]
    datasets: Sequence[str]
    seeds: str
    name: str


def _plan(
    suite: str | None,
    spec: str | None,
    line: _OneLineSuite,
    overrides: Sequence[str],
    only: Sequence[str],
    models: Sequence[Path],
) -> Plan:
    """Return the plan of a suite, of a line of models and datasets, or of one run."""
    from harness.run.suite import load_suite, plan_line, plan_run

    if (suite is not None) + (spec is not None) + bool(line.models) != 1:
        raise ConfigError(
            "give a suite, or --model and --dataset, or the settings of one run with --spec; "
            "one of the three"
        )
    if line.models:
        return plan_line(
            line.models,
            line.datasets,
            seeds=counted_seeds(line.seeds),
            settings=overrides,
            name=line.name,
            model_folders=models,
        )
    if line.datasets or line.seeds or line.name:
        raise ConfigError("--dataset, --seeds and --name go with --model; a suite has its own")
    if suite is not None:
        return load_suite(suite, overrides, model_folders=models)
    if overrides or only:
        raise ConfigError("--set and --only are for suites; --spec holds every setting itself")
    return plan_run(spec or "", model_folders=models)


def raise_failed(
    failed: Sequence[Outcome],
    home: Path | None,
    again: str = "the same command tries again",
    *,
    earlier: Sequence[Outcome] = (),
) -> None:
    """Raise an error that says how many runs failed, and what can be done about the first.

    Args:
        failed: runs that failed in this call.
        home: value of ``--home``.
        again: how a run that left no record is tried again.
        earlier: runs that failed in an earlier call and were not tried again.

    Raises:
        RunError: some run failed.
    """
    if failed or earlier:
        from harness.cli.console import plural
        from harness.run.runs import failure_hint

        first, count = (*failed, *earlier)[0], len(failed) + len(earlier)
        hint = failure_hint(first.run_id, home, again)
        when = f", {len(earlier)} of them earlier" if failed else " earlier"
        raise RunError(
            f"{plural(count, 'run')} failed{when * bool(earlier)}; the first: {first.run_id}: "
            f"{first.message}{f' ({hint})' * bool(hint)}"
        )
