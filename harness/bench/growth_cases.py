"""The sizes that are varied, and what is timed at each.

Graphs are random triples: what a step or a query costs does not depend on what they mean.
Modalities are those of a generated graph, all of one width and owned by every entity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness import catalog
from harness.data.synthetic import PlantedModality, SyntheticConfig, generate
from harness.evaluation.evaluator import rank
from harness.index import GraphIndex, KnownAnswers
from harness.plan.spec import DataSpec, ModelSpec, NegativesSpec, OptimiserSpec, Protocol, RunSpec
from harness.training.procedures import StandardProcedure

__all__ = ["Factor", "factors"]

Work = Callable[[], object]

RELATIONS, TRIPLES = 50, 30_000
POSITIVES, NEGATIVES, DIM, ENTITIES = 1024, 64, 256, 15_000
"""Sizes that are held: those of MKG-W, with 256 complex components."""
SMALL_DIM, TRIPLES_RANKED = 64, 64
"""Complex components and ranked triples where the number of entities grows."""
OWNERS, FEATURES, FUSED_DIM = 2000, 128, 128
"""Entities, width of features and complex components where the number of modalities grows."""


@dataclass(frozen=True)
class Factor:
    """A size that is varied.

    Attributes:
        what: "step" or "ranking".
        sizes: ascending.
        build: returns what to time at a size.
    """

    what: str
    sizes: tuple[int, ...]
    build: Callable[[int], Work]


def factors(largest: int) -> dict[str, Factor]:
    """Return the factors by name, those that take most memory last: the process keeps it.

    Args:
        largest: number of entities that those of entities end at.
    """
    entities = tuple(max(2, largest // part) for part in (16, 8, 4, 2, 1))
    return {
        "batch": Factor("step", _doubled(1024), lambda size: step(positives=size)),
        "negatives": Factor("step", _doubled(64), lambda size: step(negatives=size)),
        "dimension": Factor("step", _doubled(64), lambda size: step(dim=size)),
        "modalities": Factor("step", (2, 3, 4, 5, 6), lambda size: fused_step(size - 1)),
        "queries": Factor("ranking", _doubled(128), lambda size: ranking(triples=size // 2)),
        "candidates": Factor(
            "ranking",
            entities,
            lambda size: ranking(entities=size, triples=TRIPLES_RANKED, dim=SMALL_DIM),
        ),
        "lazy": Factor(
            "step",
            entities,
            lambda size: step(entities=size, dim=SMALL_DIM, optimiser="lazy_adam"),
        ),
        "entities": Factor("step", entities, lambda size: step(entities=size, dim=SMALL_DIM)),
    }


def _doubled(first: int) -> tuple[int, ...]:
    return tuple(first << i for i in range(5))


def step(
    positives: int = POSITIVES,
    negatives: int = NEGATIVES,
    dim: int = DIM,
    entities: int = ENTITIES,
    optimiser: str = "adam",
) -> Work:
    """Return one training step of RotatE."""
    graph = _random_graph(entities, max(TRIPLES, positives))
    spec = _spec("rotate", dim, negatives, optimiser)
    model = catalog.create_model("rotate", spec.model.options, graph)
    procedure = StandardProcedure(model, graph, spec, torch.device("cpu"))
    return _one_step(procedure, graph.train[:positives])


def fused_step(modalities: int) -> Work:
    """Return one training step of MoCME with so many modalities beside the structure."""
    names = tuple(f"modality_{i}" for i in range(modalities))
    planted = tuple(PlantedModality(name=name, dim=FEATURES, coverage=1.0) for name in names)
    config = SyntheticConfig(entities=OWNERS, train=4 * OWNERS, modalities=planted)
    graph, features = generate(config)
    spec = _spec("mocme", FUSED_DIM, NEGATIVES)
    model = catalog.create_model("mocme", spec.model.options, graph.index, features.modalities())
    procedure = StandardProcedure(model, graph.index, spec, torch.device("cpu"))
    return _one_step(procedure, graph.splits["train"][:POSITIVES])


def ranking(triples: int, dim: int = DIM, entities: int = ENTITIES) -> Work:
    """Return the filtered ranking of so many triples by RotatE, both sides."""
    graph = _random_graph(entities, TRIPLES)
    model = catalog.create_model("rotate", {"dim": dim}, graph)
    known = KnownAnswers(graph.train, entities, RELATIONS)
    return partial(rank, model, graph.train[:triples], known, Protocol())


def _random_graph(entities: int, triples: int) -> GraphIndex:
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(limit, (triples,), generator=generator)
        for limit in (entities, RELATIONS, entities)
    ]
    return GraphIndex(entities, RELATIONS, torch.stack(columns, 1), "growth")


def _spec(model: str, dim: int, negatives: int, optimiser: str = "adam") -> RunSpec:
    return RunSpec(
        model=ModelSpec.model_validate({"name": model, "dim": dim}),
        data=DataSpec(dataset="growth"),
        negatives=NegativesSpec(count=negatives),
        optimiser=OptimiserSpec.model_validate({"name": optimiser}),
    )


def _one_step(procedure: StandardProcedure, batch: Tensor) -> Work:
    procedure.start_epoch(0)
    procedure.model.train()
    return partial(procedure.step, batch, torch.Generator().manual_seed(0))
