"""Measurements of the harness itself: ``python -m tests.benchmarks COMMAND`` in a checkout."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.bench.text import machine, machine_text, progress, write_json
from harness.errors import ConfigError, HarnessError
from tests.benchmarks.contenders import AGAINST_ALL, MODELS, SAMPLED

app = typer.Typer(
    help="Measurements of the harness itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[Path | None, typer.Option("--json", help="Write all measurements to this file.")]
Rounds = Annotated[int, typer.Option(min=1, help="Measured repeats of each, interleaved.")]
Entities = Annotated[int, typer.Option(min=2048, help="Rows of the table.")]
ModelNames = Annotated[str, typer.Option(help="Models, separated by commas.")]


def show(
    json_: Path | None,
    text: str,
    content: Mapping[str, Any],
    packages: Sequence[str] = (),
) -> None:
    """Print a measurement below its machine; write it to a file too, if there is one."""
    box = machine(packages)
    typer.echo(f"{machine_text(box)}\n\n{text}")
    if json_:
        write_json(json_, {"machine": box, **content})


@app.command()
def ceilings(entities: Entities = 15_000, rounds: Rounds = 7, json_: Json = None) -> None:
    """Measure the machine's rates: products, memory, gathered rows, square roots."""
    from tests.benchmarks.ceilings import ceilings_text, measure

    with progress() as on_progress:
        limits = measure(entities, rounds=rounds, on_progress=on_progress)
    show(json_, ceilings_text(limits), {"ceilings": asdict(limits)})


@app.command()
def kernels(
    entities: Entities = 15_000,
    positives: Annotated[int, typer.Option(min=1, help="Positives of a training step.")] = 1024,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of each.")] = 64,
    rounds: Rounds = 9,
    json_: Json = None,
) -> None:
    """Measure the fused kernels beside the least that the machine's rates allow."""
    from tests.benchmarks.kernels import StepSizes, kernels_text, measure

    sizes = StepSizes(positives, negatives, entities)
    with progress() as on_progress:
        times, limits = measure(sizes, rounds, on_progress)
    content = {
        "sizes": asdict(sizes),
        "kernels": [asdict(one) for one in times],
        "ceilings": asdict(limits),
    }
    show(json_, kernels_text(sizes, times, limits), content)


@app.command()
def peers(
    loss: Annotated[str, typer.Option(help=f"Loss of training: {SAMPLED} or {AGAINST_ALL}.")] = (
        SAMPLED
    ),
    dataset: Annotated[
        str,
        typer.Option(
            help="Datasets, separated by commas; ranking on the first. Default: mkg-w,kvc16k; "
            f"mkg-w with --loss {AGAINST_ALL}."
        ),
    ] = "",
    models: Annotated[
        str,
        typer.Option(
            help=f"Models, separated by commas. Default: all; {AGAINST_ALL} has complex alone."
        ),
    ] = "",
    seconds: Annotated[float, typer.Option(min=0.01, help="Training time per round.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; each measures all once.")] = 3,
    json_: Json = None,
) -> None:
    """Compare with PyKEEN and TorchKGE (extra "peers"), interleaved."""
    from tests.benchmarks import ceilings as limits
    from tests.benchmarks.peers import compare, missing
    from tests.benchmarks.ratios import ratios, ratios_text, shares, shares_text

    defaults = {SAMPLED: (MODELS, "mkg-w,kvc16k"), AGAINST_ALL: (("complex",), "mkg-w")}
    if loss not in defaults:
        raise ConfigError(f"--loss {loss}: is not compared; choose {SAMPLED} or {AGAINST_ALL}")
    default_models, default_datasets = defaults[loss]
    for line in missing():
        typer.echo(line, err=True)
    with progress() as on_progress:
        measured = compare(
            _names(models) or default_models,
            _names(dataset or default_datasets),
            loss=loss,
            rounds=rounds,
            seconds=seconds,
            on_progress=on_progress,
        )
        rates = limits.measure(on_progress=on_progress)
    sampled = loss == SAMPLED
    text = ratios_text(measured) if sampled else shares_text(measured)
    lines = ratios(measured) if sampled else shares(measured)
    content = {
        "rounds": rounds,
        "seconds": seconds,
        "ratios": [asdict(one) for one in lines],
        "comparisons": [asdict(one) for one in measured],
        "ceilings": asdict(rates),
    }
    text = f"{text}\n\n{limits.ceilings_text(rates)}"
    show(json_, text, content, packages=("pykeen", "torchkge"))


@app.command()
def fusion(
    entities: Annotated[int, typer.Option(min=16, help="All have every modality.")] = 15_000,
    features: Annotated[
        str, typer.Option(help="Width of each modality's features, separated by commas.")
    ] = "4096,768",
    rounds: Rounds = 4,
    json_: Json = None,
) -> None:
    """Measure a training step of MoCME beside the time of its operations."""
    from tests.benchmarks import fusion as fused

    sizes = fused.Sizes(entities, _widths(features))
    with progress() as on_progress:
        steps = fused.measure(sizes, rounds=rounds, on_progress=on_progress)
    content = {"sizes": asdict(sizes), "steps": [asdict(one) for one in steps]}
    show(json_, fused.fused_text(sizes, steps), content)


@app.command()
def growth(
    only: Annotated[
        str,
        typer.Option(
            help="Of batch, negatives, dimension, modalities, entities, lazy (entities with "
            "lazy Adam), queries, candidates; separated by commas. Default: all."
        ),
    ] = "",
    minutes: Annotated[float, typer.Option(min=0, help="Approximate total time.")] = 4.0,
    largest: Annotated[
        int, typer.Option(min=64, help="Entities in the largest graph; a million take 5 GiB.")
    ] = 1_000_000,
    json_: Json = None,
) -> None:
    """Measure how step and ranking grow with each size: exponents with intervals."""
    from tests.benchmarks.growth import growth_text, measure

    with progress() as on_progress:
        measured = list(
            measure(_names(only), minutes=minutes, largest=largest, on_progress=on_progress)
        )
    show(json_, growth_text(measured), {"growth": [asdict(one) for one in measured]})


@app.command()
def quality(
    models: ModelNames = "transe,rotate,mocme",
    dataset: Annotated[str, typer.Option(help="A small one with features.")] = "atlas",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="First of two seeds.")] = 0,
    json_: Json = None,
) -> None:
    """Train with reference and with fused kernels: the same MRR up to rounding."""
    from tests.benchmarks.quality import measure, quality_text

    with progress() as on_progress:
        measured = measure(
            _names(models), dataset, epochs=epochs, seed=seed, on_progress=on_progress
        )
    content = {
        "dataset": dataset,
        "epochs": epochs,
        "seed": seed,
        "quality": [asdict(one) for one in measured],
    }
    show(json_, quality_text(measured, dataset, epochs, seed), content)


@app.command()
def stores(
    writers: Annotated[
        str, typer.Option(help="Numbers of processes, separated by commas.")
    ] = "1,2,4,8",
    records: Annotated[int, typer.Option(min=1, help="Records that each process adds.")] = 100,
    json_: Json = None,
) -> None:
    """Measure how many records processes add per second to SQLite and to PostgreSQL."""
    from tests.benchmarks.stores import measure, stores_text

    with progress() as on_progress:
        rates = measure(_widths(writers), records, on_progress)
    show(json_, stores_text(rates), {"stores": [asdict(one) for one in rates]})


def _widths(text: str) -> tuple[int, ...]:
    widths = _names(text)
    if not widths or not all(width.isdecimal() and int(width) for width in widths):
        raise ConfigError(f"--features {text}: positive numbers separated by commas, like 4096,768")
    return tuple(int(width) for width in widths)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def clusters(
    jobs: Annotated[str, typer.Option(help="Numbers of trivial jobs.")] = "1,2,100",
    waiting: Annotated[int, typer.Option(min=1, help="Jobs that wait in the queue.")] = 1000,
    json_: Json = None,
) -> None:
    """Measure what processes, Slurm and Ray, started here, cost per job and per failure."""
    from tests.benchmarks.clusters import clusters_text, measure

    counts = [int(count) for count in jobs.split(",")]
    parts: tuple[Any, Any, Any] = measure(counts, waiting, lambda text: typer.echo(text, err=True))
    names = "jobs", "waiting", "failures"
    content = {n: [asdict(row) for row in p] for n, p in zip(names, parts, strict=True)}
    show(json_, clusters_text(*parts), content)


if __name__ == "__main__":
    try:
        app(prog_name="python -m tests.benchmarks")
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
