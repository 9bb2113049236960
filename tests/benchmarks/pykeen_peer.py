"""PyKEEN as a contender: its own models, losses, samplers, training loops and evaluator.

With sampled negatives its models are as they ship, except the penalty on vectors that DistMult and
ComplEx have by default and our loss has not; with it they are contenders of their own
(``build_penalised``). Its RotatE takes the Euclidean norm of a difference where ours adds up
moduli, which is less work. Its negatives are not filtered (ours are): its filter is slower.

Against all entities it trains in its LCWA loop (``LCWA``), whose batches are distinct queries with
all their answers. Its symmetric loop, whose batches are triples as in ours, scores heads through an
intermediate value per triple, entity and component: 16 GB at these sizes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from pykeen import models
from pykeen.evaluation import RankBasedEvaluator
from pykeen.losses import CrossEntropyLoss, NSSALoss
from pykeen.regularizers import PowerSumRegularizer
from pykeen.training import LCWATrainingLoop, SLCWATrainingLoop
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory
from torch.optim import Adagrad, Adam

from harness.data.graph import KnowledgeGraph
from tests.benchmarks.against_all import Trainer
from tests.benchmarks.contenders import (
    ADAGRAD_RATE,
    BATCH,
    DIM,
    EVERY_QUERY,
    LEARNING_RATE,
    NEGATIVES,
    PENALTY,
    POSITIVES,
    SCALE,
    Ranked,
    StepClock,
    Trained,
)

CLASSES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "rotate": (models.RotatE, {}),
    "transe": (models.TransE, {"scoring_fct_norm": 1}),
    "distmult": (models.DistMult, {}),
    "complex": (models.ComplEx, {}),
    "pairre": (models.PairRE, {"p": 1}),
}
PENALISED = ("distmult", "complex")
Count = Callable[[Any], tuple[int, int]]
"""Function of a batch: its positives and its queries."""
EPOCHS = 10**6
"""More than will be trained; the clock ends training before."""


def build(model: str, graph: KnowledgeGraph, *, penalised: bool = False) -> PyKEEN:
    """Return the contender with sampled negatives."""
    return PyKEEN(model, graph, penalised=penalised)


build_penalised = partial(build, penalised=True)


def build_lcwa(_: str, graph: KnowledgeGraph) -> LCWA:
    """Return ComplEx against all entities."""
    return LCWA(graph)


class PyKEEN:
    """A model of PyKEEN with sampled negatives.

    Args:
        model: our name of the model.
        graph: training graph.
        penalised: keep the model's default penalty on vectors.
    """

    def __init__(self, model: str, graph: KnowledgeGraph, *, penalised: bool) -> None:
        self.splits = graph.splits
        self.factory = _factory(graph)
        make, options = CLASSES[model]
        if model in PENALISED and not penalised:
            options = {"regularizer": None}
        self.model = make(
            triples_factory=self.factory,
            embedding_dim=DIM,
            loss=NSSALoss(),
            random_seed=0,
            **options,
        )

    def train(self, seconds: float) -> Trained:
        """Train from new initial values until the clock stops it."""
        loop = SLCWATrainingLoop(
            model=self.model,
            triples_factory=self.factory,
            optimizer=Adam(self.model.get_grad_params(), lr=LEARNING_RATE),
            negative_sampler="basic",
            negative_sampler_kwargs={"num_negs_per_pos": NEGATIVES},
        )

        def count(batch: Any) -> tuple[int, int]:
            positives = len(batch["positives"])
            return positives, 2 * positives

        return _train(loop, self.factory, POSITIVES, count, seconds)

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """The ranking of its evaluator, with the batch size it chooses itself."""
        return {EVERY_QUERY: self._rank}

    def _rank(self, triples: int) -> Ranked:
        ranked = self.splits["test"][: triples or None]
        start = time.perf_counter()
        RankBasedEvaluator(filtered=True).evaluate(
            self.model,
            ranked,
            additional_filter_triples=[self.splits[split] for split in ("train", "valid", "test")],
            use_tqdm=False,
        )
        return Ranked(2 * len(ranked), time.perf_counter() - start)


class LCWA(Trainer):
    """ComplEx of PyKEEN against all entities, with as many queries per step as ours.

    Inverse triples stand for reciprocal relations. The penalty is the mean of the cubed moduli of
    every vector that a step looks up, and so of all entities.

    Args:
        graph: training graph.
    """

    def __init__(self, graph: KnowledgeGraph) -> None:
        self.factory = _factory(graph, create_inverse_triples=True)
        heads, relations, tails = graph.splits["train"].unbind(1)
        pairs = [torch.stack(pair, 1) for pair in ((heads, relations), (tails, relations))]
        self._queries = sum(len(torch.unique(pair, dim=0)) for pair in pairs)
        initial = partial(torch.nn.init.normal_, std=SCALE)
        self.model = models.ComplEx(
            triples_factory=self.factory,
            embedding_dim=DIM,
            loss=CrossEntropyLoss(),
            regularizer=PowerSumRegularizer,
            regularizer_kwargs={"p": 3.0, "weight": PENALTY},
            entity_initializer=initial,
            relation_initializer=initial,
            random_seed=0,
        )

    def train(self, seconds: float) -> Trained:
        """Train from new initial values until the clock stops it."""
        loop = LCWATrainingLoop(
            model=self.model,
            triples_factory=self.factory,
            optimizer=Adagrad(self.model.get_grad_params(), lr=ADAGRAD_RATE),
        )
        return _train(loop, self.factory, 2 * BATCH, self._count, seconds)

    def _count(self, batch: Any) -> tuple[int, int]:
        queries = len(batch["pairs"])
        # On average over train: a triple answers two queries, a query has several answers.
        return queries * self.factory.num_triples // self._queries, queries


def _factory(graph: KnowledgeGraph, **options: Any) -> Any:
    return CoreTriplesFactory(
        graph.splits["train"],
        num_entities=graph.n_entities,
        num_relations=graph.n_relations,
        **options,
    )


def _train(loop: Any, factory: Any, size: int, count: Count, seconds: float) -> Trained:
    """Train until the clock stops the loop."""
    stop = _Stop(StepClock(seconds), count)
    with contextlib.suppress(_EnoughError):
        loop.train(factory, num_epochs=EPOCHS, batch_size=size, use_tqdm=False, callbacks=stop)
    return stop.clock.trained


class _EnoughError(Exception):
    """Ends PyKEEN's loop, which catches no errors of this kind."""


class _Stop(TrainingCallback):  # type: ignore[misc]
    """Looks at the clock between two steps: after one's update, before the next one's batch."""

    def __init__(self, clock: StepClock, count: Count) -> None:
        super().__init__()
        self.clock, self._count, self._last = clock, count, (0, 0)

    def pre_batch(self, **_: Any) -> None:
        if self._last[0] and self.clock.over(*self._last):
            raise _EnoughError

    def post_batch(self, epoch: int, batch: Any, **_: Any) -> None:
        self._last = self._count(batch)
