"""What a step of a fused model consists of, stage by stage, each with forward and backward pass.

Values are random, every entity has every modality, and nothing is trained: what a stage costs does
not depend on what its numbers mean. All stages of one ``Workbench`` work on the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from harness import catalog
from harness.evaluation.evaluator import rank
from harness.index import GraphIndex, KnownAnswers, Modality
from harness.model import Model
from harness.plan.complexity import Case, Sizes, Stage
from harness.plan.spec import Protocol as RankingProtocol

__all__ = ["QUERIES", "ROWS", "Workbench"]

Work = Callable[[], object]

QUERIES = 64
"""Queries that are scored against all entities, and triples that are ranked."""
RELATIONS = 8
FEATURES = 8
"""Width of the features of a modality, which no stage reads."""
ROWS = 2048
"""Entities per estimate: the default."""


class _Staged(Protocol):
    """A fused model that can be taken apart; ``models/mocme`` says what its methods mean."""

    def views(self, vectors: Sequence[Tensor]) -> list[Tensor]: ...

    def fuse_views(self, views: Sequence[Tensor], structure: Tensor) -> Tensor: ...

    def inform(self, views: Sequence[Tensor], entities: Tensor) -> Tensor: ...


class Workbench:
    """Inputs of one size, made when a stage first asks for them, and the stages.

    Args:
        sizes: of the inputs.
        device: where they lie.
    """

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.sizes, self.device = sizes, device

    def work(self, case: Case) -> Work:
        """Return a case of these sizes as a function that does it once.

        Raises:
            ConfigError: there is no such kind of fusion.
        """
        assert case.sizes == self.sizes
        made: dict[Stage, Callable[[], Work]] = {
            "fusion": lambda: self._fusion(case.name),
            "backbone": self._backbone,
            "estimator": self._estimator,
            "scoring": self._scoring,
            "evaluation": self._evaluation,
        }
        return made[case.stage]()

    def clear(self) -> None:
        """Forget the inputs."""
        for name in ("views", "vectors", "structure", "outer"):
            self.__dict__.pop(name, None)

    def prepare(self, stage: Stage) -> int:
        """Make the inputs of a stage, and return how many bytes they are."""
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

    def _fusion(self, kind: str) -> Work:
        """Views and structure -> one vector per entity: Eq. 3, then Eq. 4 or another fusion."""
        model, parameters = self._mocme(fusion={"kind": kind}, experts={"hidden": 1})
        inputs = [*self.views, self.structure, *parameters]

        def work() -> None:
            joint = model.fuse_views(self.views, self.structure)
            torch.autograd.grad(joint, inputs, self.outer, allow_unused=True)

        return work

    def _backbone(self) -> Work:
        """Vectors of the modalities -> K views of each."""
        model, parameters = self._mocme()
        inputs = [*self.vectors, *parameters]

        def work() -> None:
            views = model.views(self.vectors)
            outer = [self.outer.expand_as(view) for view in views]
            torch.autograd.grad(views, inputs, outer, allow_unused=True)

        return work

    def _estimator(self) -> Work:
        """Views of some entities -> mutual information of all pairs, and a step of the heads."""
        model, parameters = self._mocme(experts={"hidden": 1})
        generator = torch.Generator(self.device).manual_seed(0)

        def work() -> None:
            n = self.sizes.N
            rows = torch.randperm(n, generator=generator, device=self.device)[:ROWS]
            drawn = [view.detach()[:, rows] for view in self.views]
            loss = model.inform(drawn, rows)
            torch.autograd.grad(loss, parameters, allow_unused=True)

        return work

    def _scoring(self) -> Work:
        """Some queries of RotatE against all entities."""
        model = self._rotate()
        index = torch.arange(QUERIES, device=self.device) % self.sizes.N
        parameters = list(model.parameters())

        def work() -> None:
            scores = model.score_all(model.encode(), index, index % RELATIONS, "tail")
            torch.autograd.grad(scores.sum(), parameters)

        return work

    def _evaluation(self) -> Work:
        """Ranks of some triples among all entities, both sides."""
        model, triples = self._rotate(), _triples(self.sizes.N)
        known = KnownAnswers(triples, self.sizes.N, RELATIONS)
        return partial(rank, model, triples, known, RankingProtocol(), device=self.device)

    # --- models ---------------------------------------------------------------------------

    def _mocme(self, **options: Any) -> tuple[_Staged, list[Tensor]]:
        """Return a MoCME whose tables have few rows, for stages are given their vectors."""
        catalog.load_models()
        few = 2
        modalities = {
            name: Modality(name, torch.ones(few, FEATURES), torch.ones(few, dtype=torch.bool))
            for name in (f"modality_{i}" for i in range(1, self.sizes.M))
        }
        options["experts"] = {"K": self.sizes.K, **options.get("experts", {})}
        # Else so few entities would count as sharing nothing.
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
        """[N, D] gradient of what a stage makes."""
        return self._random(self.sizes.N).detach()

    def _random(self, *shape: int) -> Tensor:
        """Return numbers of unit variance; a block is drawn and repeated, which takes no time."""
        made = torch.empty(*shape, 2 * self.sizes.d, device=self.device)
        flat = made.view(-1, 2 * self.sizes.d)
        block = torch.randn(min(len(flat), 1024), 2 * self.sizes.d, device=self.device)
        for start in range(0, len(flat), len(block)):
            part = flat[start : start + len(block)]
            part.copy_(block[: len(part)])
        return made.requires_grad_()


def _triples(entities: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(limit, (QUERIES,), generator=generator)
        for limit in (entities, RELATIONS, entities)
    ]
    return torch.stack(columns, 1)
