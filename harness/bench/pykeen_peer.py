"""PyKEEN as a contender: its own models, loss, sampler, training loop and evaluator.

Its models are as they ship, but for the penalty on vectors that DistMult and ComplEx have by
default and our loss has not; with it they are contenders of their own (``build_penalised``). Its
RotatE takes the Euclidean norm of a difference where ours adds up moduli, which is less work. Its
negatives are not filtered (ours are): its filter is slower.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from pykeen import models
from pykeen.evaluation import RankBasedEvaluator
from pykeen.losses import NSSALoss
from pykeen.training import SLCWATrainingLoop
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory
from torch.optim import Adam

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
from harness.data.graph import KnowledgeGraph

__all__ = ["PyKEEN", "build", "build_penalised"]

CLASSES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "rotate": (models.RotatE, {}),
    "transe": (models.TransE, {"scoring_fct_norm": 1}),
    "distmult": (models.DistMult, {}),
    "complex": (models.ComplEx, {}),
    "pairre": (models.PairRE, {"p": 1}),
}
PENALISED = ("distmult", "complex")
MANY = 10**6
"""Epochs asked for; the clock ends training before."""


def build(model: str, graph: KnowledgeGraph) -> PyKEEN:
    """Return the contender with the loss that all have."""
    return PyKEEN(model, graph, penalised=False)


def build_penalised(model: str, graph: KnowledgeGraph) -> PyKEEN:
    """Return the contender with PyKEEN's own penalty."""
    return PyKEEN(model, graph, penalised=True)


class PyKEEN:
    """A model of PyKEEN.

    Args:
        model: our name of it.
        graph: what it learns.
        penalised: leave the model its penalty on vectors, if it has one.
    """

    def __init__(self, model: str, graph: KnowledgeGraph, *, penalised: bool) -> None:
        self.splits = graph.splits
        self.factory = CoreTriplesFactory(
            graph.splits["train"], num_entities=graph.n_entities, num_relations=graph.n_relations
        )
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
        stop = _Stop(StepClock(seconds))
        with contextlib.suppress(_EnoughError):
            loop.train(
                self.factory,
                num_epochs=MANY,
                batch_size=POSITIVES,
                use_tqdm=False,
                callbacks=stop,
            )
        return stop.clock.trained

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """The one way of its evaluator, with the batch it chooses itself."""
        return {EVERY_QUERY: self._rank}

    def _rank(self, triples: int) -> Ranked:
        chosen = self.splits["test"][: triples or None]
        began = time.perf_counter()
        RankBasedEvaluator(filtered=True).evaluate(
            self.model,
            chosen,
            additional_filter_triples=[self.splits[split] for split in ("train", "valid", "test")],
            use_tqdm=False,
        )
        return Ranked(2 * len(chosen), time.perf_counter() - began)


class _EnoughError(Exception):
    """Ends PyKEEN's loop, which catches no errors of this kind."""


class _Stop(TrainingCallback):  # type: ignore[misc]
    """Looks at the clock between two steps: after one's update, before the next one's batch."""

    def __init__(self, clock: StepClock) -> None:
        super().__init__()
        self.clock, self._positives = clock, 0

    def pre_batch(self, **_: Any) -> None:
        if self._positives and self.clock.over(self._positives):
            raise _EnoughError

    def post_batch(self, epoch: int, batch: Any, **_: Any) -> None:
        self._positives = len(batch["positives"])
