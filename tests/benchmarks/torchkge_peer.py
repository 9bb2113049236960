"""TorchKGE as a contender: its models, sampler, loader and evaluator.

It has no self-adversarial loss, so its scores go through ours, after its own forward pass. Its
evaluator runs without the gradients that it would keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam
from torchkge.data_structures import KnowledgeGraph as Facts
from torchkge.evaluation import LinkPredictionEvaluator
from torchkge.models import ComplExModel, DistMultModel, TransEModel
from torchkge.sampling import UniformNegativeSampler
from torchkge.utils import DataLoader

from harness.data.graph import SPLITS, KnowledgeGraph
from harness.plan.spec import ObjectiveSpec
from harness.training.objectives import contrast
from tests.benchmarks.contenders import (
    DIM,
    EVERY_QUERY,
    LEARNING_RATE,
    NEGATIVES,
    POSITIVES,
    Ranked,
    StepClock,
    Trained,
)

CLASSES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "transe": (TransEModel, {"dissimilarity_type": "L1"}),
    "distmult": (DistMultModel, {}),
    "complex": (ComplExModel, {}),
}
QUERIES = 32
"""Triples ranked at once, as in its documentation."""


def build(model: str, graph: KnowledgeGraph) -> TorchKGE:
    """Return the contender."""
    return TorchKGE(model, graph)


class TorchKGE:
    """A model of TorchKGE.

    Args:
        model: our name of the model.
        graph: training graph.
    """

    def __init__(self, model: str, graph: KnowledgeGraph) -> None:
        self.graph = graph
        make, options = CLASSES[model]
        self.model = make(DIM, graph.n_entities, graph.n_relations, **options)
        # All splits share the filter dictionaries of the whole graph.
        self._all = self._facts(torch.cat([graph.splits[split] for split in SPLITS]))
        self.facts = self._part(graph.splits["train"])
        self.sampler = UniformNegativeSampler(self.facts, n_neg=NEGATIVES)
        self.adam = Adam(self.model.parameters(), lr=LEARNING_RATE)

    def _facts(self, triples: Tensor, **dictionaries: Any) -> Facts:
        heads, relations, tails = (column.clone() for column in triples.unbind(1))
        return Facts(
            kg={"heads": heads, "tails": tails, "relations": relations},
            ent2ix={entity: entity for entity in range(self.graph.n_entities)},
            rel2ix={relation: relation for relation in range(self.graph.n_relations)},
            **dictionaries,
        )

    def _part(self, triples: Tensor) -> Facts:
        names = ("dict_of_heads", "dict_of_tails", "dict_of_rels")
        return self._facts(triples, **{name: getattr(self._all, name) for name in names})

    def train(self, seconds: float) -> Trained:
        """Train until the clock stops; epochs end as in its documentation."""
        clock = StepClock(seconds)
        self.model.train()
        while True:
            for heads, tails, relations in DataLoader(self.facts, batch_size=POSITIVES):
                self._step(heads, tails, relations)
                if clock.over(len(heads)):
                    return clock.trained
            self.model.normalize_parameters()

    def _step(self, heads: Tensor, tails: Tensor, relations: Tensor) -> None:
        corrupted = self.sampler.corrupt_batch(heads, tails, relations)
        self.adam.zero_grad()
        positive, negative = self.model(heads, tails, relations, *corrupted)
        # Blocks of one negative per positive, with the positives repeated beside them.
        scores = negative.view(NEGATIVES, len(heads)).T
        loss, _ = contrast(positive[: len(heads)], scores, ObjectiveSpec(), 0.0)
        loss.backward()
        self.adam.step()

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """The ranking of its evaluator, which computes raw and filtered ranks at once."""
        return {EVERY_QUERY: self._rank}

    @torch.no_grad()
    def _rank(self, triples: int) -> Ranked:
        ranked = self.graph.splits["test"][: triples or None]
        start = time.perf_counter()
        self.model.eval()
        LinkPredictionEvaluator(self.model, self._part(ranked)).evaluate(QUERIES, verbose=False)
        return Ranked(2 * len(ranked), time.perf_counter() - start)
