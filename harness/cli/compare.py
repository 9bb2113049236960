"""``harness compare``: which of two rows, or of two groups of runs, is better, and how sure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from harness.cli.console import print_json
from harness.cli.options import Home, chosen_seeds

__all__ = ["Format", "compare"]

METRICS = ("mrr", "hits@1", "hits@3", "hits@10")


class Format(StrEnum):
    """Formats of the answer."""

    text = "text"
    json = "json"


class Bucket(StrEnum):
    """Part of the test split."""

    all = "all"
    warm = "warm"
    cold = "cold"


SIDE = "SUITE:ROW or RUN[,RUN...]: a row of a suite by label or model, or runs by id."


def compare(
    a: Annotated[str, typer.Argument(help=SIDE)],
    b: Annotated[str, typer.Argument(help="The other side, in the same form.")],
    dataset: Annotated[str, typer.Option(help="Dataset, if both sides have more than one.")] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric (repeatable); the first line of the output is about the first. "
            f"Default: {', '.join(METRICS)}.",
            autocompletion=lambda: list(_ranked()),
        ),
    ] = None,
    bucket: Annotated[
        Bucket,
        typer.Option(help="Part of the test triples; cold: with an entity that is not in train."),
    ] = Bucket.all,
    seeds: Annotated[
        str, typer.Option(help="Use only these seeds: 0,1,2 or 0-2", metavar="SEEDS")
    ] = "",
    format_: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.text,
    results: Home = None,
) -> None:
    """Compare two rows: which is better, by how much, how certain, and what more seeds would add.

    A side: main:mocme, quickstart:RotatE, quickstart@VARIANT:RotatE, 3f2a or 3f2a,91bc.

    Seeds that both sides have are paired.
    """
    from harness.cli.compare_text import as_values, as_words
    from harness.report.comparing import compare as compare_rows

    comparison = compare_rows(
        a,
        b,
        results,
        dataset=dataset,
        metrics=list(dict.fromkeys(metric or METRICS)),
        bucket=bucket,
        seeds=chosen_seeds(seeds),
    )
    if format_ is Format.json:
        print_json(as_values(comparison))
    else:
        typer.echo(as_words(comparison))


def _ranked() -> tuple[str, ...]:
    from harness.analysis.sides import RANKED

    return RANKED
