"""Stages of a training step of a fusion model, with gradients, and their estimated cost.

Inputs are random, every entity has every modality, and nothing is trained, since the cost of a
stage does not depend on values. The stages of a ``Workbench`` share their inputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from harness import catalog
from harness.bench.timing import Task
from harness.evaluation.evaluator import rank
from harness.index import FilterIndex, GraphIndex, Modality
from harness.model import Model
from harness.plan.complexity import Case, Sizes, Stage
from harness.plan.spec import Protocol as RankingProtocol

__all__ = ["Rates", "StageCost", "Workbench", "cost", "measure_rates"]

QUERIES = 64
"""Number of queries scored against all entities, and of triples ranked."""
RELATIONS = 8
FEATURES = 8
"""Width of the features of a modality, which no stage reads."""
ROWS = 2048
"""Entities per estimate of mutual information, MoCME's default."""


class _Staged(Protocol):
    """Interface of a model whose stages can be run separately; see ``models/mocme``."""

    def views(self, vectors: Sequence[Tensor]) -> list[Tensor]: ...

    def fuse_views(self, views: Sequence[Tensor], structure: Tensor) -> Tensor: ...

    def inform(self, views: Sequence[Tensor], entities: Tensor) -> Tensor: ...


class Workbench:
    """The stages at one size, with inputs created on first use.

    Args:
        sizes: sizes of the inputs.
        device: device of the inputs.
    """

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.sizes, self.device = sizes, device

    def task(self, case: Case) -> Task:
        """Return a task that runs a case of these sizes once.

        Raises:
            ConfigError: the kind of fusion does not exist.
        """
        assert case.sizes == self.sizes
        builders: dict[Stage, Callable[[], Task]] = {
            "fusion": lambda: self._fusion(case.name),
            "backbone": self._backbone,
            "estimator": self._estimator,
            "scoring": self._scoring,
            "evaluation": self._evaluation,
        }
        return builders[case.stage]()

    def clear(self) -> None:
        """Free the inputs."""
        for name in ("views", "vectors", "structure", "outer"):
            self.__dict__.pop(name, None)

    def prepare(self, stage: Stage) -> int:
        """Create the inputs of a stage and return their bytes."""
        inputs: Sequence[Tensor] = ()
        match stage:
            case "fusion":
                inputs = [*self.views, self.structure, self.outer]
            case "estimator":
                inputs = self.views
            case "backbone":
                inputs = [*self.vectors, self.outer]
        return sum(tensor.nbytes for tensor in inputs)

    # --- stages ---------------------------------------------------------------------------

    def _fusion(self, kind: str) -> Task:
        """Return the fusion of views and structure into a vector per entity (Eq. 3 and 4)."""
        model, parameters = self._mocme(fusion={"kind": kind}, experts={"hidden": 1})
        inputs = [*self.views, self.structure, *parameters]

        def task() -> None:
            joint = model.fuse_views(self.views, self.structure)
            torch.autograd.grad(joint, inputs, self.outer, allow_unused=True)

        return task

    def _backbone(self) -> Task:
        """Return the mapping of the modalities' vectors to K views each."""
        model, parameters = self._mocme()
        inputs = [*self.vectors, *parameters]

        def task() -> None:
            views = model.views(self.vectors)
            outer = [self.outer.expand_as(view) for view in views]
            torch.autograd.grad(views, inputs, outer, allow_unused=True)

        return task

    def _estimator(self) -> Task:
        """Return the estimate of the views' pairwise mutual information on ``ROWS`` entities."""
        model, parameters = self._mocme(experts={"hidden": 1})
        generator = torch.Generator(self.device).manual_seed(0)

        def task() -> None:
            n = self.sizes.N
            rows = torch.randperm(n, generator=generator, device=self.device)[:ROWS]
            views = [view.detach()[:, rows] for view in self.views]
            loss = model.inform(views, rows)
            torch.autograd.grad(loss, parameters, allow_unused=True)

        return task

    def _scoring(self) -> Task:
        """Return the scoring of RotatE's queries against all entities."""
        model = self._rotate()
        index = torch.arange(QUERIES, device=self.device) % self.sizes.N
        parameters = list(model.parameters())

        def task() -> None:
            scores = model.score_all(model.encode(), index, index % RELATIONS, "tail")
            torch.autograd.grad(scores.sum(), parameters)

        return task

    def _evaluation(self) -> Task:
        """Return the ranking of triples on both sides."""
        model, triples = self._rotate(), _triples(self.sizes.N)
        filter_index = FilterIndex(triples, self.sizes.N, RELATIONS)
        return partial(rank, model, triples, filter_index, RankingProtocol(), device=self.device)

    # --- models ---------------------------------------------------------------------------

    def _mocme(self, **options: Any) -> tuple[_Staged, list[Tensor]]:
        """Return a MoCME of two entities and its parameters, as stages receive their vectors."""
        catalog.load_models()
        n_entities = 2
        modalities = {
            name: Modality(
                name, torch.ones(n_entities, FEATURES), torch.ones(n_entities, dtype=torch.bool)
            )
            for name in (f"modality_{i}" for i in range(1, self.sizes.M))
        }
        options["experts"] = {"K": self.sizes.K, **options.get("experts", {})}
        # The default minimum overlap exceeds the two entities.
        options |= {"dim": self.sizes.d, "mi": {"min_overlap": n_entities}}
        index = GraphIndex(n_entities, RELATIONS, _triples(n_entities), "stages")
        model = catalog.build_model("mocme", options, index, modalities).to(self.device).train()
        return cast(_Staged, model), list(model.parameters())

    def _rotate(self) -> Model:
        catalog.load_models()
        index = GraphIndex(self.sizes.N, RELATIONS, _triples(self.sizes.N), "stages")
        return catalog.build_model("rotate", {"dim": self.sizes.d}, index).to(self.device)

    # --- inputs ---------------------------------------------------------------------------

    @cached_property
    def views(self) -> list[Tensor]:
        """[K, N, D] views of each modality."""
        return [self._random(self.sizes.K, self.sizes.N) for _ in range(self.sizes.M)]

    @cached_property
    def vectors(self) -> list[Tensor]:
        """[N, D] vectors of each modality."""
        return [self._random(self.sizes.N) for _ in range(self.sizes.M)]

    @cached_property
    def structure(self) -> Tensor:
        """[N, D] structural embeddings."""
        return self._random(self.sizes.N)

    @cached_property
    def outer(self) -> Tensor:
        """[N, D] gradient of a stage's output."""
        return self._random(self.sizes.N).detach()

    def _random(self, *shape: int) -> Tensor:
        """Return a tensor [*shape, D] of unit variance that repeats one random block, for speed."""
        tensor = torch.empty(*shape, 2 * self.sizes.d, device=self.device)
        flat = tensor.view(-1, 2 * self.sizes.d)
        block = torch.randn(min(len(flat), 1024), 2 * self.sizes.d, device=self.device)
        for start in range(0, len(flat), len(block)):
            rows = flat[start : start + len(block)]
            rows.copy_(block[: len(rows)])
        return tensor.requires_grad_()


def _triples(entities: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(limit, (QUERIES,), generator=generator)
        for limit in (entities, RELATIONS, entities)
    ]
    return torch.stack(columns, 1)


# --- costs by formula -----------------------------------------------------------------------

BACKWARD = 3
"""Ratio of the operations of forward and backward pass to those of the forward pass."""
HIDDEN, BINS = 128, 16
"""Hidden width and number of outcomes of the estimator's heads, MoCME's defaults."""
PER_COMPONENT = 14
"""Operations that RotatE's comparison takes per complex component."""
PRODUCTS: Mapping[str, int] = {"concat": 2, "gate": 4, "self_attention": 6}
"""Kind of fusion -> operations per entity, modality and pair of coordinates; 0 for others."""
SAVED: Mapping[str, float] = {"product": 3, "gate": 3, "self_attention": 6.5, "concat": 2}
"""Kind of fusion -> numbers saved per entity, modality and coordinate beside views and gradients; 1
for others."""


class Rates(NamedTuple):
    """Rates of a device, per second.

    Attributes:
        operations: floating-point operations of a matrix product.
        numbers: float32 numbers copied.
    """

    operations: float
    numbers: float


class StageCost(NamedTuple):
    """Cost of one run of a case.

    Attributes:
        operations: floating-point operations.
        numbers: peak count of float32 numbers, including inputs and gradients.
    """

    operations: float
    numbers: float

    def seconds(self, rates: Rates) -> float:
        """Estimate the time, with about three reads or writes per number."""
        return self.operations / rates.operations + 3 * self.numbers / rates.numbers

    @property
    def bytes(self) -> float:
        """Peak memory."""
        return 4 * self.numbers


def cost(case: Case) -> StageCost:
    """Estimate a case by its formula; memory deviates from the measured peak by at most half."""
    d, k, m, n = case.sizes.d, case.sizes.K, case.sizes.M, case.sizes.N
    width = 2 * d
    vectors, views = m * n * width, m * k * n * width
    experts = 2 * m * k * width**2
    if case.stage == "fusion":
        products = PRODUCTS.get(case.name, 0) * n * m * width**2
        numbers = 2 * views + SAVED.get(case.name, 1) * vectors
        return StageCost(BACKWARD * (products + 2 * views), numbers)
    if case.stage == "backbone":
        return StageCost(BACKWARD * (2 * n * experts), 3 * views + vectors + 2 * experts)
    if case.stage == "estimator":
        rows = min(ROWS, n)
        heads = 2 * rows * (m * k + m) * (width * HIDDEN + HIDDEN * BINS)
        return StageCost(BACKWARD * heads, views + 4 * views * rows / n)
    passes = BACKWARD if case.stage == "scoring" else 2
    return StageCost(passes * QUERIES * n * PER_COMPONENT * d, 2 * n * width)


def measure_rates(device: torch.device, repeats: int = 3) -> Rates:
    """Measure the rates of a device, in about 0.1 s."""
    side, length = 1024, 2**24
    square = torch.rand(side, side, device=device)
    source, target = (torch.rand(length, device=device) for _ in range(2))

    def fastest(task: Task) -> float:
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            task()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    return Rates(
        2 * side**3 / fastest(lambda: square @ square),
        length / fastest(lambda: target.copy_(source)),
    )
