"""``harness predict``: the best answers of a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import complete_runs
from harness.cli.options import AsJson, Device, Home, Models
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.run.inference import Predictions

GAP, LABEL, KNOWN = "  ", 1, 3
"""Between two columns; the columns of text."""
LEAST_LABEL = 8
"""Columns that a label keeps, however many modalities stand beside it."""


def predict(
    run: Annotated[
        str,
        typer.Argument(
            help="Run id (a prefix will do): harness runs list", autocompletion=complete_runs
        ),
    ],
    relation: Annotated[str, typer.Option(help="Name or identifier of the relation.")],
    head: Annotated[str | None, typer.Option(help="Head entity: predicts tails.")] = None,
    tail: Annotated[str | None, typer.Option(help="Tail entity: predicts heads.")] = None,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Answers to show.")] = 10,
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Print the best answers of a trained model, with scores, known answers and fusion weights."""
    if (head is None) == (tail is None):
        raise ConfigError("give --head or --tail, one of them")
    from harness.cli.console import print_json
    from harness.run.inference import load_run
    from harness.screen import SafeConsole

    trained = load_run(run, results, device=device, model_folders=models or [])
    predictions = trained.predict(relation=relation, head=head, tail=tail, k=k)
    record = trained.record
    if as_json:
        source = {"run": record.run_id, "model": record.model, "dataset": record.dataset}
        print_json(source | asdict(predictions), ascii_only=False)
        return
    print(f"({', '.join(predictions.query)})")
    print(f"{record.model} trained on {record.dataset}, run {record.run_id}")
    if predictions.weights:
        print("score, split that holds the triple, fusion weights by modality")
    print()
    for line in table(predictions, SafeConsole().width):
        print(line)


def table(predictions: Predictions, width: int) -> Iterator[str]:
    """Yield the lines of the answers; only the labels of entities are shortened to fit.

    Args:
        predictions: what is printed.
        width: columns of the terminal; lines are longer only where the numbers alone need more.
    """
    from rich.cells import cell_len, set_cell_size

    weights = predictions.weights
    entity = next(name for name in predictions.query[::2] if name != "?")
    rows = [["#", "answer", "score", "known", *weights]]
    if weights:
        rows.append(["", f"{entity} (asked)", "", "", *(f"{w:.2f}" for w in weights.values())])
    for rank, answer in enumerate(predictions.answers, 1):
        numbers = [f"{w:.2f}" for w in answer.weights.values()]
        rows.append([str(rank), answer.label, f"{answer.score:.3f}", answer.known or "", *numbers])
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    others = sum(widths) - widths[LABEL] + len(GAP) * (len(widths) - 1)
    widths[LABEL] = min(widths[LABEL], max(LEAST_LABEL, width - others))
    for row in rows:
        if cell_len(row[LABEL]) > widths[LABEL]:
            row[LABEL] = f"{set_cell_size(row[LABEL], widths[LABEL] - 1)}…"
        cells = [
            set_cell_size(text, size) if column in (LABEL, KNOWN) else text.rjust(size)
            for column, (text, size) in enumerate(zip(row, widths, strict=True))
        ]
        yield GAP.join(cells).rstrip()
