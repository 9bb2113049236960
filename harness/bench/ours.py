"""This harness as a contender: the procedure, sampler and evaluator that every run uses."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from harness import catalog, kernels
from harness.bench.contenders import (
    DIM,
    EVERY_QUERY,
    LEARNING_RATE,
    NEGATIVES,
    ONCE,
    POSITIVES,
    Ranked,
    StepClock,
    Trained,
)
from harness.data.batches import epoch_batches
from harness.data.graph import KnowledgeGraph
from harness.evaluation.evaluator import rank
from harness.plan.spec import DataSpec, ModelSpec, NegativesSpec, OptimiserSpec, RunSpec
from harness.plan.spec import TrainingSpec as Training
from harness.seeding import seed_for
from harness.training.procedures import StandardProcedure

__all__ = ["Ours", "build", "spec_for"]


def build(model: str, graph: KnowledgeGraph) -> Ours:
    """Return the contender, in a process prepared as that of a run."""
    kernels.prepare("cpu")
    return Ours(spec_for(model, graph.name), graph)


def spec_for(model: str, dataset: str) -> RunSpec:
    """Return the run that is measured: defaults, but for what the comparison fixes."""
    return RunSpec(
        model=ModelSpec.model_validate({"name": model, "dim": DIM}),
        data=DataSpec(dataset=dataset),
        negatives=NegativesSpec(count=NEGATIVES),
        optimiser=OptimiserSpec(lr=LEARNING_RATE),
        training=Training(batch_size=POSITIVES),
    )


class Ours:
    """A run that is trained by the clock.

    Args:
        spec: the run.
        graph: its dataset.
    """

    def __init__(self, spec: RunSpec, graph: KnowledgeGraph) -> None:
        self.spec, self.graph = spec, graph
        self.model = catalog.create_model(spec.model.name, spec.model.options, graph.index)
        self.procedure = StandardProcedure(self.model, graph.index, spec, torch.device("cpu"))
        self._steps = self._batches()

    def train(self, seconds: float) -> Trained:
        """Take steps of epoch after epoch, where the last call stopped."""
        clock = StepClock(seconds)
        self.model.train()
        for batch, generator in self._steps:
            self.procedure.step(batch, generator)
            if clock.over(len(batch)):
                break
        return clock.trained

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """The evaluator's ways of ranking."""
        return {
            EVERY_QUERY: partial(self._rank, once=False),
            ONCE: partial(self._rank, once=True),
        }

    def _rank(self, triples: int, *, once: bool) -> Ranked:
        chosen = self.graph.splits["test"][: triples or None]
        began = time.perf_counter()
        known = self.graph.known(self.spec.protocol.filter)
        ranks = rank(self.model, chosen, known, self.spec.protocol, once=once)
        seconds = time.perf_counter() - began
        return Ranked(sum(len(side.better) for side in ranks.sides.values()), seconds)

    def _batches(self) -> Iterator[tuple[Tensor, torch.Generator]]:
        """Yield batches as the training loop does, without end."""
        train, digest, seed = self.graph.splits["train"], self.graph.digest, self.spec.seed
        for epoch in itertools.count():
            self.procedure.start_epoch(epoch)
            generator = torch.Generator().manual_seed(seed_for(seed, digest, "negatives", epoch))
            order = seed_for(seed, digest, "shuffle", epoch)
            for batch in epoch_batches(train, POSITIVES, order):
                yield batch, generator
