"""``harness bench``: measurements of the harness itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import MOST_SEED, Home, Only, SetValues
from harness.cli.paths import home
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.bench.timing import Tell

app = typer.Typer(no_args_is_help=True)

Json = Annotated[
    Path | None, typer.Option("--json", help="Write everything measured to this file too.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Measured goes of each thing, in turn.")]


@app.command()
def ceilings(
    entities: Annotated[
        int, typer.Option(min=2048, help="Rows of the table that rows are gathered from.")
    ] = 15_000,
    rounds: Rounds = 7,
    json_: Json = None,
) -> None:
    """Measure what the machine can do: products, memory, gathered rows, square roots."""
    from harness.bench import ceilings as bench
    from harness.bench.shown import ceilings_text
    from harness.bench.text import machine, machine_text, write_json

    with progress() as tell:
        found = bench.measure(entities, rounds=rounds, tell=tell)
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{ceilings_text(found)}")
    if json_:
        write_json(json_, {"machine": box, "ceilings": asdict(found)})


@app.command()
def kernels(
    entities: Annotated[int, typer.Option(min=2048, help="Rows of the table.")] = 15_000,
    positives: Annotated[int, typer.Option(min=1, help="Positives of a training step.")] = 1024,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of each.")] = 64,
    rounds: Rounds = 9,
    json_: Json = None,
) -> None:
    """Measure the kernels beside what the machine's ceilings allow them."""
    from harness.bench import kernel_times
    from harness.bench.shown import kernels_text
    from harness.bench.text import machine, machine_text, write_json

    sizes = kernel_times.Sizes(positives, negatives, entities)
    with progress() as tell:
        times, found = kernel_times.measure(sizes, rounds, tell)
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{kernels_text(sizes, times, found)}")
    if json_:
        content = [asdict(one) for one in times]
        write_json(
            json_,
            {"machine": box, "sizes": asdict(sizes), "kernels": content, "ceilings": asdict(found)},
        )


@app.command()
def peers(
    dataset: Annotated[
        str, typer.Option(help="Datasets, separated by commas; ranking on the first.")
    ] = "mkg-w,kvc16k",
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = (
        "rotate,transe,distmult,complex,pairre"
    ),
    seconds: Annotated[float, typer.Option(min=0.01, help="Of training per turn.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 3,
    json_: Json = None,
) -> None:
    """Compare with PyKEEN and TorchKGE (extra "peers"), in turns; takes a quarter of an hour."""
    from harness.bench import ceilings as bench
    from harness.bench.peers import compare, missing
    from harness.bench.ratios import ratios, ratios_text
    from harness.bench.shown import ceilings_text
    from harness.bench.text import machine, machine_text, write_json

    for line in missing():
        typer.echo(line, err=True)
    with progress() as tell:
        found = compare(_names(models), _names(dataset), rounds=rounds, seconds=seconds, tell=tell)
        limits = bench.measure(tell=tell)
    box = machine(("pykeen", "torchkge"))
    typer.echo(f"{machine_text(box)}\n\n{ratios_text(found)}\n\n{ceilings_text(limits)}")
    if json_:
        content = {
            "ratios": [asdict(one) for one in ratios(found)],
            "comparisons": [asdict(one) for one in found],
            "ceilings": asdict(limits),
        }
        write_json(json_, {"machine": box, "rounds": rounds, "seconds": seconds, **content})


@app.command()
def fusion(
    entities: Annotated[int, typer.Option(min=16, help="All have every modality.")] = 15_000,
    features: Annotated[
        str, typer.Option(help="Width of each modality's features, separated by commas.")
    ] = "4096,768",
    rounds: Rounds = 4,
    json_: Json = None,
) -> None:
    """Measure a training step of MoCME beside the time its operations need."""
    from harness.bench import fused
    from harness.bench.text import machine, machine_text, write_json

    sizes = fused.Sizes(entities, _widths(features))
    with progress() as tell:
        found = fused.measure(sizes, rounds=rounds, tell=tell)
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{fused.fused_text(sizes, found)}")
    if json_:
        content = [asdict(one) for one in found]
        write_json(json_, {"machine": box, "sizes": asdict(sizes), "steps": content})


@app.command()
def models(
    suite: Annotated[str, typer.Argument(help="A suite file, or the name of a shipped one.")],
    set_: SetValues = None,
    only: Only = None,
    rounds: Rounds = 3,
    json_: Json = None,
) -> None:
    """Measure an epoch of each row of a suite beside the least that it needs."""
    from harness import catalog
    from harness.bench import epochs
    from harness.bench.text import machine, machine_text, write_json
    from harness.cli.run import planned, present

    catalog.load_all()
    plan = present(planned(suite, set_ or []).select(only or []))
    runs = epochs.trained(plan.runs)
    if not runs:
        raise ConfigError(f"{suite}: no row that is meant is trained, so there is no epoch")
    with progress() as tell:
        found = list(epochs.measure(runs, rounds=rounds, tell=tell))
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{epochs.epochs_text(found)}")
    if json_:
        content = [
            {**asdict(one), "epoch": one.epoch, "least": one.least, "ratio": one.ratio}
            for one in found
        ]
        write_json(json_, {"machine": box, "epochs": content})


@app.command()
def growth(
    only: Annotated[
        str,
        typer.Option(
            help="Of batch, negatives, dimension, modalities, entities, lazy (entities with "
            "lazy Adam), queries, candidates; "
            "separated by commas. Default: all."
        ),
    ] = "",
    minutes: Annotated[float, typer.Option(min=0, help="In all, more or less.")] = 4.0,
    largest: Annotated[
        int, typer.Option(min=64, help="Entities in the largest graph; a million take 5 GiB.")
    ] = 1_000_000,
    json_: Json = None,
) -> None:
    """Measure how step and ranking grow with each size: exponents with intervals."""
    from harness.bench.growth import growth_text, measure
    from harness.bench.text import machine, machine_text, write_json

    with progress() as tell:
        found = list(measure(_names(only), minutes=minutes, largest=largest, tell=tell))
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{growth_text(found)}")
    if json_:
        write_json(json_, {"machine": box, "growth": [asdict(one) for one in found]})


@app.command()
def quality(
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = (
        "transe,rotate,mocme"
    ),
    dataset: Annotated[str, typer.Option(help="A small one with features.")] = "atlas",
    epochs: Annotated[int, typer.Option(min=1, help="Of every training.")] = 20,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="What all start from.")] = 0,
    json_: Json = None,
) -> None:
    """Train with reference and with fused kernels: the same MRR but for rounding."""
    from harness.bench.quality import measure, quality_text
    from harness.bench.text import machine, machine_text, write_json

    with progress() as tell:
        found = measure(_names(models), dataset, epochs=epochs, seed=seed, tell=tell)
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{quality_text(found, dataset, epochs, seed)}")
    if json_:
        content = {
            "dataset": dataset,
            "epochs": epochs,
            "seed": seed,
            "quality": [asdict(one) for one in found],
        }
        write_json(json_, {"machine": box, **content})


@app.command()
def complexity(
    suite: Annotated[str, typer.Option(help="A suite file, or the name of a shipped one.")] = (
        "complexity"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how long it takes, and how much memory.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch does.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0")] = "auto",
    json_: Json = None,
    results: Home = None,
) -> None:
    """Measure how time and memory of fusion grow with each size; keeps and shows the result."""
    from harness.cli.complexity import run_complexity
    from harness.plan.suite import find_suite

    run_complexity(
        find_suite(suite),
        home(results),
        device=device,
        threads=threads,
        dry_run=dry_run,
        json_=json_,
    )


@app.command("import")
def import_(
    file: Annotated[
        list[Path], typer.Argument(help="What `complexity --json` or pytest-benchmark wrote.")
    ],
    results: Home = None,
) -> None:
    """Add measurements from files, pytest-benchmark's among them: reports show the newest."""
    from harness.cli.complexity import import_measurements

    import_measurements(file, home(results))


def _widths(text: str) -> tuple[int, ...]:
    widths = _names(text)
    if not widths or not all(width.isdecimal() and int(width) for width in widths):
        raise ConfigError(f"--features {text}: positive numbers separated by commas, like 4096,768")
    return tuple(int(width) for width in widths)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@contextlib.contextmanager
def progress() -> Iterator[Tell]:
    """Show on stderr what is done: a bar on a terminal, elsewhere a line now and then."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from harness.cli.screen import SafeConsole

    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda done, total, text: bar.update(
            task, completed=done, total=total, description=text
        )


def _lines(interval: float = 20.0) -> Tell:
    said = time.monotonic()

    def tell(done: int, total: int, text: str) -> None:
        nonlocal said
        if time.monotonic() - said > interval:
            said = time.monotonic()
            typer.echo(f"{done}/{total} {text}", err=True)

    return tell
