"""Stages of a training step of a fused model: runnable with gradients, and their cost by formula.

Inputs are random, every entity has every modality, and nothing is trained, since the cost of a
stage does not depend on its values. All stages of one ``Workbench`` share their inputs.
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

__all__ = ["Cost", "Rates", "Workbench", "cost", "measure_rates"]

QUERIES = 64
"""Queries scored against all entities, and triples ranked."""
RELATIONS = 8
FEATURES = 8
"""Width of the features of a modality; no stage reads them."""
ROWS = 2048
"""Entities per estimate: the model's default."""


class _Staged(Protocol):
    """A fused model that can be run in stages; documented in ``models/mocme``."""

    def views(self, vectors: Sequence[Tensor]) -> list[Tensor]: ...

    def fuse_views(self, views: Sequence[Tensor], structure: Tensor) -> Tensor: ...

    def inform(self, views: Sequence[Tensor], entities: Tensor) -> Tensor: ...


class Workbench:
    """Inputs of one size, created on first use, and the stages.

    Args:
        sizes: sizes of the inputs.
        device: device of the inputs.
    """

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.sizes, self.device = sizes, device

    def task(self, case: Case) -> Task:
        """Return a function that runs a case of these sizes once.

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
        """Views and structure -> one vector per entity: Eq. 3, then Eq. 4 or another fusion."""
        model, parameters = self._mocme(fusion={"kind": kind}, experts={"hidden": 1})
        inputs = [*self.views, self.structure, *parameters]

        def task() -> None:
            joint = model.fuse_views(self.views, self.structure)
            torch.autograd.grad(joint, inputs, self.outer, allow_unused=True)

        return task

    def _backbone(self) -> Task:
        """Vectors of the modalities -> K views of each."""
        model, parameters = self._mocme()
        inputs = [*self.vectors, *parameters]

        def task() -> None:
            views = model.views(self.vectors)
            outer = [self.outer.expand_as(view) for view in views]
            torch.autograd.grad(views, inputs, outer, allow_unused=True)

        return task

    def _estimator(self) -> Task:
        """Views of some entities -> mutual information of all pairs, and the heads' gradient."""
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
        """Queries of RotatE against all entities."""
        model = self._rotate()
        index = torch.arange(QUERIES, device=self.device) % self.sizes.N
        parameters = list(model.parameters())

        def task() -> None:
            scores = model.score_all(model.encode(), index, index % RELATIONS, "tail")
            torch.autograd.grad(scores.sum(), parameters)

        return task

    def _evaluation(self) -> Task:
        """Ranks of triples among all entities, both sides."""
        model, triples = self._rotate(), _triples(self.sizes.N)
        known = FilterIndex(triples, self.sizes.N, RELATIONS)
        return partial(rank, model, triples, known, RankingProtocol(), device=self.device)

    # --- models ---------------------------------------------------------------------------

    def _mocme(self, **options: Any) -> tuple[_Staged, list[Tensor]]:
        """Return a MoCME with few rows per table, since stages receive their vectors."""
        catalog.load_models()
        few = 2
        modalities = {
            name: Modality(name, torch.ones(few, FEATURES), torch.ones(few, dtype=torch.bool))
            for name in (f"modality_{i}" for i in range(1, self.sizes.M))
        }
        options["experts"] = {"K": self.sizes.K, **options.get("experts", {})}
        # Or two entities would be too few for modalities to overlap.
        options |= {"dim": self.sizes.d, "mi": {"min_overlap": few}}
        index = GraphIndex(few, RELATIONS, _triples(few), "stages")
        model = catalog.create_model("mocme", options, index, modalities).to(self.device).train()
        return cast(_Staged, model), list(model.parameters())

    def _rotate(self) -> Model:
        catalog.load_models()
        index = GraphIndex(self.sizes.N, RELATIONS, _triples(self.sizes.N), "stages")
        return catalog.create_model("rotate", {"dim": self.sizes.d}, index).to(self.device)

    # --- inputs ---------------------------------------------------------------------------

    @cached_property
    def views(self) -> list[Tensor]:
        """[K, N, D] of each modality."""
        return [self._random(self.sizes.K, self.sizes.N) for _ in range(self.sizes.M)]

    @cached_property
    def vectors(self) -> list[Tensor]:
        """[N, D] of each modality."""
        return [self._random(self.sizes.N) for _ in range(self.sizes.M)]

    @cached_property
    def structure(self) -> Tensor:
        """[N, D]."""
        return self._random(self.sizes.N)

    @cached_property
    def outer(self) -> Tensor:
        """[N, D] gradient of a stage's output."""
        return self._random(self.sizes.N).detach()

    def _random(self, *shape: int) -> Tensor:
        """Return a tensor of unit variance; one block is drawn and repeated, which is fast."""
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
"""Operations of forward and backward pass over those of the forward pass alone."""
HIDDEN, BINS = 128, 16
"""Hidden width and outcomes of the estimator's heads: the defaults."""
PER_COMPONENT = 14
"""Operations of RotatE's comparison of one complex component."""
PRODUCTS: Mapping[str, int] = {"concat": 2, "gate": 4, "self_attention": 6}
"""Kind of fusion -> operations per entity, modality and pair of coordinates; others have none."""
SAVED: Mapping[str, float] = {"product": 3, "gate": 3, "self_attention": 6.5, "concat": 2}
"""Kind of fusion -> numbers kept per entity, modality and coordinate beside views and gradients."""


class Rates(NamedTuple):
    """Rates of a device, per second.

    Attributes:
        operations: floating-point operations of a matrix product.
        numbers: fp32 numbers copied.
    """

    operations: float
    numbers: float


class Cost(NamedTuple):
    """Cost of one run of a case.

    Attributes:
        operations: floating-point operations.
        numbers: fp32 numbers alive at once, inputs and gradients included.
    """

    operations: float
    numbers: float

    def seconds(self, rates: Rates) -> float:
        """Estimate the time; each number is read or written about three times."""
        return self.operations / rates.operations + 3 * self.numbers / rates.numbers

    @property
    def bytes(self) -> float:
        """Memory."""
        return 4 * self.numbers


def cost(case: Case) -> Cost:
    """Estimate a case by its formula; memory is within a half of the measured peak."""
    d, k, m, n = case.sizes.d, case.sizes.K, case.sizes.M, case.sizes.N
    width = 2 * d
    vectors, views = m * n * width, m * k * n * width
    experts = 2 * m * k * width**2
    if case.stage == "fusion":
        products = PRODUCTS.get(case.name, 0) * n * m * width**2
        numbers = 2 * views + SAVED.get(case.name, 1) * vectors
        return Cost(BACKWARD * (products + 2 * views), numbers)
    if case.stage == "backbone":
        return Cost(BACKWARD * (2 * n * experts), 3 * views + vectors + 2 * experts)
    if case.stage == "estimator":
        rows = min(ROWS, n)
        heads = 2 * rows * (m * k + m) * (width * HIDDEN + HIDDEN * BINS)
        return Cost(BACKWARD * heads, views + 4 * views * rows / n)
    passes = BACKWARD if case.stage == "scoring" else 2
    return Cost(passes * QUERIES * n * PER_COMPONENT * d, 2 * n * width)


def measure_rates(device: torch.device, repeats: int = 3) -> Rates:
    """Measure the rates of a device; takes a tenth of a second."""
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
