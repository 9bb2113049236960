"""``harness bench``: time and memory of fusion by size, and of an epoch of each row."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from harness.cli.console import plural
from harness.cli.options import Home, Only, SetValues
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.events import Event
    from harness.run.measuring import StagesEstimate

MOVED = ("ceilings", "kernels", "peers", "fusion", "growth", "quality")
"""Commands that are scripts of a checkout now; named in errors until the next version."""


class _MovedCommands(TyperGroup):
    """Group whose former commands answer with the new ones."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in MOVED:
            raise ConfigError(
                f"harness bench {cmd_name}: measures the harness itself and moved out of the "
                f"package; in a checkout: `python -m tests.benchmarks {cmd_name}`"
            )
        return super().get_command(ctx, cmd_name)


app = typer.Typer(cls=_MovedCommands, no_args_is_help=True)

Json = Annotated[Path | None, typer.Option("--json", help="Write all measurements to this file.")]


@app.command()
def models(
    suite: Annotated[str, typer.Argument(help="A suite file, or the name of a shipped one.")],
    set_: SetValues = None,
    only: Only = None,
    rounds: Annotated[int, typer.Option(min=1, help="Number of measurements of each step.")] = 3,
    json_: Json = None,
) -> None:
    """Measure an epoch of each row of a suite against the minimum that its operations need."""
    from harness.bench.epochs import epochs_text
    from harness.bench.text import machine, machine_text, progress, write_json
    from harness.run.measuring import measure_epochs

    with progress() as on_progress:
        measured = measure_epochs(
            suite,
            set_ or [],
            only=only or [],
            rounds=rounds,
            on_event=_print_event,
            on_progress=on_progress,
        )
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{epochs_text(measured)}")
    if json_:
        content = [
            {
                **asdict(benchmark),
                "epoch": benchmark.epoch,
                "least": benchmark.minimum,
                "ratio": benchmark.ratio,
            }
            for benchmark in measured
        ]
        write_json(json_, {"machine": box, "epochs": content})


def _print_event(event: Event) -> None:
    if text := str(event):
        typer.echo(text, err=True)


@app.command()
def complexity(
    suite: Annotated[str, typer.Option(help="A suite file, or the name of a shipped one.")] = (
        "complexity"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the estimated time and memory.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch's default.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0")] = "auto",
    json_: Json = None,
    results: Home = None,
) -> None:
    """Measure how time and memory of fusion grow with size; store and print the result."""
    from harness.bench.text import progress, write_json
    from harness.report.render import render_all
    from harness.run.measuring import measure_stages, measurement_tables

    with progress() as on_progress:
        record = measure_stages(
            suite,
            home=results,
            device=device,
            threads=threads,
            dry_run=dry_run,
            on_estimate=_print_estimate,
            on_progress=on_progress,
        )
    if record is None:
        return
    if json_:
        write_json(json_, record.model_dump(mode="json"))
    if tables := measurement_tables(record):
        typer.echo(render_all(tables), nl=False)


def _print_estimate(estimate: StagesEstimate) -> None:
    typer.echo(
        f"{estimate.suite}: {estimate.cases} cases, {estimate.time}, "
        f"on {estimate.device} with {plural(estimate.threads, 'thread')}, "
        f"{estimate.bytes / 2**30:.1f} GiB",
        err=True,
    )


@app.command("import")
def import_(
    file: Annotated[
        list[Path], typer.Argument(help="A file of `complexity --json` or pytest-benchmark.")
    ],
    results: Home = None,
) -> None:
    """Import measurements from files; reports show the newest."""
    from harness.run.measuring import import_measurements

    for path, record in zip(file, import_measurements(file, results), strict=True):
        count = sum(len(sample.seconds) for sample in record.samples)
        typer.echo(
            f"{path}: {record.benchmark_id}, {len(record.samples)} cases of suite "
            f"'{record.suite}', {count} samples",
            err=True,
        )
