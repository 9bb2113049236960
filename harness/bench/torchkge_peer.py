"""TorchKGE as a contender: its models, sampler, loader and evaluator.

It has no self-adversarial loss: its scores go through ours, after its own forward pass. Its
evaluator is spared the gradients that it would keep.
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

from harness.bench.contenders import (
    DIM,
    EVERY_QUERY,
    LEARNING_RATE,
    NEGATIVES,
    POSITIVES,
    Ranked,
    StepClock,
    Trained,
)
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.plan.spec import ObjectiveSpec
from harness.training.objectives import contrast

__all__ = ["TorchKGE", "build"]

CLASSES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "transe": (TransEModel, {"dissimilarity_type": "L1"}),
    "distmult": (DistMultModel, {}),
    "complex": (ComplExModel, {}),
}
QUERIES = 32
"""Triples ranked at once: the number its documentation uses."""


def build(model: str, graph: KnowledgeGraph) -> TorchKGE:
    """Return the contender."""
    return TorchKGE(model, graph)


class TorchKGE:
    """A model of TorchKGE.

    Args:
        model: our name of it.
        graph: what it learns.
    """

    def __init__(self, model: str, graph: KnowledgeGraph) -> None:
        self.graph = graph
        make, options = CLASSES[model]
        self.model = make(DIM, graph.n_entities, graph.n_relations, **options)
        # The filter is that of all splits: they share its dictionaries.
        self._all = self._facts(torch.cat([graph.splits[split] for split in SPLITS]))
        self.facts = self._part(graph.splits["train"])
        self.sampler = UniformNegativeSampler(self.facts, n_neg=NEGATIVES)
        self.adam = Adam(self.model.parameters(), lr=LEARNING_RATE)

    def _facts(self, triples: Tensor, **known: Any) -> Facts:
        heads, relations, tails = (column.clone() for column in triples.unbind(1))
        return Facts(
            kg={"heads": heads, "tails": tails, "relations": relations},
            ent2ix={entity: entity for entity in range(self.graph.n_entities)},
            rel2ix={relation: relation for relation in range(self.graph.n_relations)},
            **known,
        )

    def _part(self, triples: Tensor) -> Facts:
        names = ("dict_of_heads", "dict_of_tails", "dict_of_rels")
        return self._facts(triples, **{name: getattr(self._all, name) for name in names})

    def train(self, seconds: float) -> Trained:
        """Train until the clock says stop; epochs end as its documentation says."""
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
        # Negatives come in blocks of one for each positive, positives repeated beside them.
        scores = negative.view(NEGATIVES, len(heads)).T
        loss, _ = contrast(positive[: len(heads)], scores, ObjectiveSpec(), 0.0)
        loss.backward()
        self.adam.step()

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """The one way of its evaluator, which makes raw and filtered ranks at once."""
        return {EVERY_QUERY: self._rank}

    @torch.no_grad()
    def _rank(self, triples: int) -> Ranked:
        chosen = self.graph.splits["test"][: triples or None]
        began = time.perf_counter()
        self.model.eval()
        LinkPredictionEvaluator(self.model, self._part(chosen)).evaluate(QUERIES, verbose=False)
        return Ranked(2 * len(chosen), time.perf_counter() - began)
