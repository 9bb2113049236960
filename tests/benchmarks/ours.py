"""This harness as a contender: the procedure, sampler and evaluator of every run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from harness import catalog, kernels
from harness.data.batches import epoch_batches
from harness.data.graph import KnowledgeGraph
from harness.evaluation.evaluator import rank
from harness.plan.spec import DataSpec, ModelSpec, NegativesSpec, OptimiserSpec, RunSpec
from harness.plan.spec import TrainingSpec as Training
from harness.seeding import seed_for
from harness.training.procedures import StandardProcedure
from tests.benchmarks.contenders import (
    ADAGRAD_RATE,
    AGAINST_ALL,
    BATCH,
    DIM,
    EVERY_QUERY,
    LEARNING_RATE,
    NEGATIVES,
    ONCE,
    PENALTY,
    POSITIVES,
    SCALE,
    Ranked,
    StepClock,
    Trained,
)


def build(model: str, graph: KnowledgeGraph) -> Ours:
    """Return the contender with sampled negatives."""
    return Ours(
        RunSpec(
            model=ModelSpec.model_validate({"name": model, "dim": DIM}),
            data=DataSpec(dataset=graph.name),
            negatives=NegativesSpec(count=NEGATIVES),
            optimiser=OptimiserSpec(lr=LEARNING_RATE),
            training=Training(batch_size=POSITIVES),
        ),
        graph,
    )


def build_against_all(model: str, graph: KnowledgeGraph, precision: str = "fp32") -> Ours:
    """Return the contender against all entities."""
    options = {"dim": DIM, "reciprocal": True, "l3": PENALTY, "scale": SCALE}
    return Ours(
        RunSpec.model_validate(
            {
                "model": {"name": model, **options},
                "data": {"dataset": graph.name},
                "objective": {"loss": AGAINST_ALL},
                "optimiser": {"name": "adagrad", "lr": ADAGRAD_RATE},
                "training": {"batch_size": BATCH, "precision": precision},
            }
        ),
        graph,
    )


build_against_all_bf16 = partial(build_against_all, precision="bf16")


class Ours:
    """A run that trains by the clock, in a process prepared as that of a run.

    Args:
        spec: settings of the run.
        graph: its dataset.
    """

    def __init__(self, spec: RunSpec, graph: KnowledgeGraph) -> None:
        kernels.prepare("cpu")
        self.spec, self.graph = spec, graph
        self.model = catalog.build_model(spec.model.name, spec.model.options, graph.index)
        self.procedure = StandardProcedure(self.model, graph.index, spec, torch.device("cpu"))
        self._steps = self._batches()

    def train(self, seconds: float) -> Trained:
        """Take steps, epoch after epoch, from where the last call stopped."""
        clock = StepClock(seconds)
        self.model.train()
        for batch, generator in self._steps:
            self.procedure.step(batch, generator)
            if clock.over(len(batch)):
                break
        return clock.trained

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """The evaluator's kinds of ranking."""
        return {
            EVERY_QUERY: partial(self._rank, once=False),
            ONCE: partial(self._rank, once=True),
        }

    def _rank(self, triples: int, *, once: bool) -> Ranked:
        ranked = self.graph.splits["test"][: triples or None]
        start = time.perf_counter()
        filters = self.graph.filter_index(self.spec.protocol.filter)
        ranks = rank(self.model, ranked, filters, self.spec.protocol, once=once)
        seconds = time.perf_counter() - start
        return Ranked(sum(len(side.better) for side in ranks.sides.values()), seconds)

    def _batches(self) -> Iterator[tuple[Tensor, torch.Generator]]:
        """Yield batches as the training loop does, without end."""
        train, digest, seed = self.graph.splits["train"], self.graph.digest, self.spec.seed
        for epoch in itertools.count():
            self.procedure.start_epoch(epoch)
            generator = torch.Generator().manual_seed(seed_for(seed, digest, "negatives", epoch))
            order = seed_for(seed, digest, "shuffle", epoch)
            for batch in epoch_batches(train, self.spec.training.batch_size, order):
                yield batch, generator
