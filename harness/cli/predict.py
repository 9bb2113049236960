"""``harness predict``: the best answers of a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import complete_runs
from harness.cli.options import AsJson, Device, Home, Ids, Models
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.run.inference import Predictions, Run
    from harness.run.scorer import ScoredTriples

ONE = "one query"
OPTIONS = {
    ONE: ("--head", "--tail", "--relation", "--exclude-known"),
    "--queries": ("--exclude-known", "--ids", "--out"),
    "--novel": ("--relation", "--observed", "--out"),
}
"""Kind of prediction -> the options that it uses beside those of all."""

GAP, LABEL, KNOWN = "  ", 1, 3
"""Between two columns; the columns of text."""
LEAST_LABEL = 8
"""Columns that a label keeps, however many modalities stand beside it."""


def predict(
    run: Annotated[
        str,
        typer.Argument(
            help="Run id or its beginning: harness runs list", autocompletion=complete_runs
        ),
    ],
    relation: Annotated[
        list[str] | None,
        typer.Option(help="Name or identifier of the relation; several with --novel."),
    ] = None,
    head: Annotated[str | None, typer.Option(help="Head entity: predicts tails.")] = None,
    tail: Annotated[str | None, typer.Option(help="Tail entity: predicts heads.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="File of queries: head, relation and tail, separated by tabs, with ? for the "
            "missing entity; - is the standard input.",
            allow_dash=True,
        ),
    ] = None,
    novel: Annotated[
        bool,
        typer.Option("--novel", help="Predict the most plausible triples that the graph lacks."),
    ] = False,
    observed: Annotated[
        bool,
        typer.Option(
            "--observed", help="With --novel: only heads and tails that the relation has in train."
        ),
    ] = False,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of answers.")] = 10,
    exclude_known: Annotated[
        bool, typer.Option("--exclude-known", help="Leave out answers that are in the graph.")
    ] = False,
    ids: Ids = "name",
    out: Annotated[
        Path | None,
        typer.Option(help="With --queries and --novel: write tab-separated columns to this file."),
    ] = None,
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Print the best answers of a trained model, with scores, known answers and fusion weights.

    One query (--relation with --head or --tail), a file of queries (--queries), or all triples that
    the graph lacks (--novel). Any number of candidates is scored in bounded memory.
    """
    from harness.cli.console import write_lines
    from harness.cli.progress import show_events
    from harness.run.inference import load_run
    from harness.run.triple_files import answered_lines, triple_lines

    relations = relation or []
    is_given_by_option = {
        "--head": head is not None,
        "--tail": tail is not None,
        "--relation": bool(relations),
        "--observed": observed,
        "--exclude-known": exclude_known,
        "--ids": ids != "name",
        "--out": out is not None,
    }
    mode = "--queries" if queries is not None else "--novel" if novel else ONE
    if queries is not None and novel:
        raise ConfigError("give --queries or --novel, one of them")
    _check(mode, [name for name, is_given in is_given_by_option.items() if is_given])
    if mode == ONE and ((head is None) == (tail is None) or len(relations) != 1):
        raise ConfigError(
            "give --relation and --head or --tail, one of them; or --queries FILE, or --novel"
        )
    trained = load_run(run, results, device=device, model_folders=models or [])
    if queries is not None:
        lines = answered_lines(
            trained, queries, ids=ids, k=k, exclude_known=exclude_known, as_json=as_json
        )
        write_lines(lines, out)
    elif novel:
        with show_events() as on_event:
            best = trained.novel(k, relations=relations, observed=observed, on_event=on_event)
        in_words = out is None and not as_json
        write_lines(
            _novel_text(trained, best) if in_words else triple_lines(best, as_json=as_json), out
        )
    else:
        answers = trained.predict(
            relation=relations[0], head=head, tail=tail, k=k, exclude_known=exclude_known
        )
        _print(trained, answers, as_json=as_json)


def _check(mode: str, option_names: Sequence[str]) -> None:
    """Refuse options that the kind of prediction does not use."""
    for name in option_names:
        if name not in OPTIONS[mode]:
            allowed_modes = [mode_name for mode_name, options in OPTIONS.items() if name in options]
            raise ConfigError(f"{name} goes with {' and '.join(allowed_modes)}, not with {mode}")


def _print(trained: Run, predictions: Predictions, *, as_json: bool) -> None:
    from harness.cli.console import print_json
    from harness.screen import SafeConsole

    record = trained.record
    if as_json:
        source = {"run": record.run_id, "model": record.model, "dataset": record.dataset}
        print_json(source | asdict(predictions), ascii_only=False)
        return
    typer.echo(f"({', '.join(predictions.query)})")
    typer.echo(_source(trained))
    if predictions.weights:
        typer.echo("score, split that holds the triple, fusion weights by modality")
    typer.echo()
    for line in table(predictions, SafeConsole().width):
        typer.echo(line)


def _source(trained: Run) -> str:
    record = trained.record
    return f"{record.model} trained on {record.dataset}, run {record.run_id}"


def _novel_text(trained: Run, triples: ScoredTriples) -> Iterator[str]:
    """Yield the lines of triples: score, head, relation and tail, in columns as wide as needed."""
    from rich.cells import cell_len, set_cell_size

    yield "Most plausible triples that the graph does not have\n"
    yield f"{_source(trained)}\n\n"
    widths = [4, 8, 4]
    for triple in triples:
        widths = [max(w, cell_len(label)) for w, label in zip(widths, triple.labels, strict=True)]
    numbers = [f"{triple.score:.3f}" for triple in triples]
    size = max([5, *map(len, numbers)])
    rows = ((number, triple.labels) for number, triple in zip(numbers, triples, strict=True))
    for number, labels in chain([("score", ("head", "relation", "tail"))], rows):
        cells = [set_cell_size(text, w) for text, w in zip(labels, widths, strict=True)]
        yield GAP.join([number.rjust(size), *cells]).rstrip() + "\n"


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
        rows.append(["", f"{entity} (query)", "", "", *(f"{w:.2f}" for w in weights.values())])
    for rank, answer in enumerate(predictions.answers, 1):
        numbers = [f"{w:.2f}" for w in answer.weights.values()]
        rows.append([str(rank), answer.label, f"{answer.score:.3f}", answer.known or "", *numbers])
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    other_width = sum(widths) - widths[LABEL] + len(GAP) * (len(widths) - 1)
    widths[LABEL] = min(widths[LABEL], max(LEAST_LABEL, width - other_width))
    for row in rows:
        if cell_len(row[LABEL]) > widths[LABEL]:
            row[LABEL] = f"{set_cell_size(row[LABEL], widths[LABEL] - 1)}…"
        cells = [
            set_cell_size(text, size) if column in (LABEL, KNOWN) else text.rjust(size)
            for column, (text, size) in enumerate(zip(row, widths, strict=True))
        ]
        yield GAP.join(cells).rstrip()
