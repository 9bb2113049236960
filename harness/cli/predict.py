"""``harness predict``: read what a trained model answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.db import opened
from harness.cli.options import AsJson, Device, Home, Models
from harness.cli.paths import home
from harness.errors import ConfigError, suggest

if TYPE_CHECKING:
    from harness.data.graph import KnowledgeGraph
    from harness.index import Side

GAP, LABEL, KNOWN = "  ", 1, 3
"""Between two columns; the columns of text."""
LEAST_LABEL = 8
"""Columns that a label keeps, however many modalities stand beside it."""


def predict(
    run: Annotated[str, typer.Argument(help="Run id (a prefix will do): harness runs list")],
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
    import torch

    from harness import catalog, pipeline
    from harness.store.base import resolve_id

    with opened(results) as store:
        record = store.get(resolve_id(store, run))
    if record is None or record.status not in ("ok", "validated"):
        raise ConfigError(f"run '{run}' has not finished; others: harness runs list --status ok")
    catalog.load_all(models or ())
    place = home(results) / "runs" / record.run_id
    chosen = pipeline.resolve_device(device)
    model, dataset = pipeline.load_trained(record, place, chosen)
    graph = dataset.graph

    side: Side = "tail" if head is not None else "head"
    anchor = find(head or tail or "", graph.entities, graph.entity_names, "entity")
    asked = find(relation, graph.relations, graph.relation_names, "relation")
    with torch.no_grad():
        query = (torch.tensor([anchor], device=chosen), torch.tensor([asked], device=chosen))
        scores = model.score_all(model.encode(), *query, side)[0]
        best = torch.topk(scores, min(k, len(scores)))
        shown = torch.cat([query[0], best.indices])
        weights = {name: w.cpu() for name, w in model.fusion_weights(shown).items()}
    answers = _answers(
        graph,
        (anchor, asked, side),
        list(zip(best.indices.tolist(), best.values.tolist(), strict=True)),
        {name: w.tolist() for name, w in weights.items()},
    )
    answers = {"run": record.run_id, "model": record.model, "dataset": record.dataset} | answers
    if as_json:
        typer.echo(json.dumps(answers, indent=2, ensure_ascii=False))
    else:
        _print(answers)


def find(name: str, identifiers: Sequence[str], names: Sequence[str], what: str) -> int:
    """Return the id of an entity or relation by identifier or name, in any case.

    Raises:
        ConfigError: none or several are called so; the message offers the nearest, or their
            identifiers.
    """
    if name in identifiers:
        return identifiers.index(name)
    wanted = name.casefold().replace("_", " ")
    shown = names or identifiers
    found = [i for i, label in enumerate(shown) if label.casefold().replace("_", " ") == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(identifiers[i] for i in found[:5])
        raise ConfigError(f"{len(found)} {what} entries are called '{name}': use one of {several}")
    hint = suggest(name, [text for text in dict.fromkeys((*shown, *identifiers)) if text][:50_000])
    raise ConfigError(f"no {what} is called '{name}'" + (hint if len(hint) < 200 else ""))


def _answers(
    graph: KnowledgeGraph,
    query: tuple[int, int, Side],
    best: Sequence[tuple[int, float]],
    weights: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """Return a query with its best answers as plain values.

    Args:
        graph: names the entities, and knows the triples.
        query: known entity, relation, side that is asked for.
        best: entities with their scores.
        weights: fusion weights of the known entity, then of the answers.
    """
    anchor, relation, side = query
    known = _known(graph, query)
    label = graph.relation_label(relation)
    entity = graph.entity_label(anchor)
    return {
        "query": [entity, label, "?"] if side == "tail" else ["?", label, entity],
        "weights": {name: w[0] for name, w in weights.items()},
        "answers": [
            {
                "identifier": graph.entities[found],
                "label": graph.entity_label(found),
                "score": score,
                "known": known.get(found),
                "weights": {name: w[place] for name, w in weights.items()},
            }
            for place, (found, score) in enumerate(best, 1)
        ],
    }


def _print(found: Mapping[str, Any]) -> None:
    """Print the answers; only the labels of entities are shortened to fit the terminal."""
    from harness.screen import SafeConsole

    print(f"({', '.join(found['query'])})")
    print(f"{found['model']} trained on {found['dataset']}, run {found['run']}")
    if found["weights"]:
        print("score, split that holds the triple, fusion weights by modality")
    print()
    for line in _table(found, SafeConsole().width):
        print(line)


def _table(found: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the lines of the answers.

    Args:
        found: what ``_answers`` returned.
        width: columns of the terminal; lines are longer only where the numbers alone need more.
    """
    from rich.cells import cell_len, set_cell_size

    weights = found["weights"]
    asked = next(name for name in found["query"][::2] if name != "?")
    rows = [["#", "answer", "score", "known", *weights]]
    if weights:
        rows.append(["", f"{asked} (asked)", "", "", *(f"{w:.2f}" for w in weights.values())])
    for place, answer in enumerate(found["answers"], 1):
        numbers = [f"{w:.2f}" for w in answer["weights"].values()]
        score, known = f"{answer['score']:.3f}", answer["known"] or ""
        rows.append([str(place), answer["label"], score, known, *numbers])
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


def _known(graph: KnowledgeGraph, query: tuple[int, int, Side]) -> dict[int, str]:
    """Return entity -> the split its triple stands in."""
    anchor, relation, side = query
    anchor_column, answer_column = (0, 2) if side == "tail" else (2, 0)
    known: dict[int, str] = {}
    for split, triples in graph.splits.items():
        where = (triples[:, anchor_column] == anchor) & (triples[:, 1] == relation)
        for entity in triples[where][:, answer_column].tolist():
            known.setdefault(entity, split)
    return known
