"""``harness predict``: read what a trained model answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.paths import home
from harness.errors import ConfigError, suggest

if TYPE_CHECKING:
    from harness.data.graph import KnowledgeGraph
    from harness.index import Side


def predict(
    run: Annotated[str, typer.Argument(help="Run id (a prefix will do): harness runs list")],
    relation: Annotated[str, typer.Option(help="Name or identifier of the relation.")],
    head: Annotated[str | None, typer.Option(help="Head entity: predicts tails.")] = None,
    tail: Annotated[str | None, typer.Option(help="Tail entity: predicts heads.")] = None,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Answers to show.")] = 10,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps")] = "auto",
    models: Annotated[
        list[Path] | None, typer.Option(help="Folder with models of your own.")
    ] = None,
    results: Annotated[Path | None, typer.Option("--home", help="Results folder.")] = None,
) -> None:
    """Print the best answers of a trained model, with scores, known answers and fusion weights."""
    if (head is None) == (tail is None):
        raise ConfigError("give --head or --tail, one of them")
    import torch

    from harness import catalog, pipeline
    from harness.plan.spec import RunSpec
    from harness.store import open_store

    store = open_store(home(results) / "harness.db")
    record = store.get(run)
    store.close()
    if record is None or record.status != "ok":
        raise ConfigError(f"no finished run '{run}': harness runs list")
    catalog.load_models()
    for folder in models or []:
        catalog.load_folder(folder)
    spec = RunSpec.model_validate(record.spec)
    place = home(results) / "runs" / record.run_id
    chosen = pipeline.resolve_device(device)
    model, dataset = pipeline.load_trained(spec, place, chosen)
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
    ids = best.indices.tolist()
    _print(
        f"{record.model} trained on {record.dataset}, run {record.run_id}",
        graph,
        (anchor, asked, side),
        list(zip(ids, best.values.tolist(), strict=True)),
        {name: w.tolist() for name, w in weights.items()},
    )


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
    hint = suggest(name, [label for label in shown if label][:50_000])
    raise ConfigError(f"no {what} is called '{name}'" + (hint if len(hint) < 200 else ""))


def _print(
    title: str,
    graph: KnowledgeGraph,
    query: tuple[int, int, Side],
    answers: list[tuple[int, float]],
    weights: dict[str, Any],
) -> None:
    from rich.console import Console
    from rich.table import Table

    anchor, relation, side = query
    known = _known(graph, query)
    label = graph.relation_label(relation)
    parts = (graph.entity_label(anchor), label, "?")
    question = parts if side == "tail" else ("?", label, graph.entity_label(anchor))
    table = Table(title=f"({', '.join(question)})", caption=title)
    table.add_column("#", justify="right")
    table.add_column("answer")
    table.add_column("score", justify="right")
    table.add_column("known")
    for name in weights:
        table.add_column(name, justify="right")
    if weights:
        row = [f"{w[0]:.2f}" for w in weights.values()]
        table.add_row("", f"[dim]{graph.entity_label(anchor)} (asked)[/dim]", "", "", *row)
    for place, (entity, score) in enumerate(answers, 1):
        row = [f"{w[place]:.2f}" for w in weights.values()]
        where = known.get(entity, "")
        table.add_row(str(place), graph.entity_label(entity), f"{score:.3f}", where, *row)
    Console().print(table)


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
