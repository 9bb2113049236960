"""The contract of training.

Samplers draw negatives, strategies choose among them, a procedure turns a batch into a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from harness.config.base import Config
from harness.index import GraphIndex, Modality
from harness.model import Model, Term
from harness.registry import Registry

__all__ = [
    "STRATEGIES",
    "Learner",
    "Negatives",
    "Procedure",
    "Sampler",
    "SamplerContext",
    "StepReport",
    "Strategy",
    "StrategyConfig",
    "TrainingLoss",
    "optimiser_state",
    "register_strategy",
    "restore_optimiser",
]


@dataclass(frozen=True)
class Negatives:
    """Corruptions of a batch of B positives, n each.

    Attributes:
        candidates: [B, n] entity ids that replace one side of the positive.
        tails: [B] how many of the leading candidates replace the tail; the rest replace the head.
        others: table of the model -> [B, n] entities that stand there instead of the candidates: a
            negative may be another entity in one modality alone.
    """

    candidates: Tensor
    tails: Tensor
    others: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def replaces_tail(self) -> Tensor:
        """[B, n] boolean: which side of its positive each candidate replaces."""
        place = torch.arange(self.candidates.shape[1], device=self.candidates.device)
        return place < self.tails[:, None]


class Sampler(Protocol):
    """Draws negatives."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Negatives:
        """Return n corruptions of each positive of ``batch`` [B, 3], on its device."""
        ...


class Learner:
    """A network that learns beside the model, with an Adam of its own.

    Args:
        network: on its device.
        lr: learning rate.
        weight_decay: added to the gradient, times the parameters.
    """

    def __init__(self, network: nn.Module, lr: float, weight_decay: float = 0.0) -> None:
        self.network = network
        self.parameters = list(network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=lr, weight_decay=weight_decay)

    def step(self, loss: Tensor) -> None:
        """Lower a loss by one step; nothing but the network is given a gradient."""
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the network and its optimiser."""
        return {
            "network": dict(self.network.state_dict()),
            "optimiser": optimiser_state(self.optimiser),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.network.load_state_dict(state["network"])
        restore_optimiser(self.optimiser, state["optimiser"])


class StrategyConfig(Config):
    """Base of the options of strategies; the defaults are the published settings."""


@dataclass(frozen=True)
class SamplerContext:
    """What a strategy is made for.

    Attributes:
        model: that is trained, on ``device``.
        index: the graph.
        modalities: features by name, those of the run.
        count: negatives per positive that are wanted.
        epochs: of the training.
        device: where to compute.
        seed: of the strategy's own initial values and draws in an epoch (0: before the first).
    """

    model: Model
    index: GraphIndex
    modalities: Mapping[str, Modality]
    count: int
    epochs: int
    device: torch.device
    seed: Callable[[int], int]


class Strategy:
    """Chooses among the corruptions that a sampler draws, and may learn from what became of them.

    Args:
        config: its options (an instance of ``cls.Config``).
        context: what it is made for.
    """

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    one_side: ClassVar[bool] = False
    """The sampler replaces one side per positive, the same in all its corruptions."""
    uses_modalities: ClassVar[bool] = False
    """Whether it looks at the features of the run."""

    def __init__(self, config: Any, context: SamplerContext) -> None:
        self.config, self.context = config, context
        self.draws = torch.Generator(context.device)
        """Stream of the strategy's own draws, started anew in every epoch."""

    @property
    def compares(self) -> bool:
        """Whether ``compare`` is asked."""
        return False

    @property
    def drawn(self) -> int:
        """Corruptions per positive that the sampler draws; as many as are wanted."""
        return self.context.count

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0."""
        self.draws.manual_seed(self.context.seed(epoch + 1))

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        """Return the negatives of positives [B, 3], n each, from ``drawn`` each."""
        return negatives

    def compare(
        self, batch: Tensor, negatives: Negatives, terms: Sequence[tuple[Term, Tensor]]
    ) -> Tensor:
        """Return which negatives, [B, n], have their ``others``; the rest are the candidates.

        Args:
            batch: [B, 3] positives.
            negatives: of ``choose``.
            terms: each term of the score, and what it gives the candidates, [B, n].
        """
        return torch.ones_like(negatives.candidates, dtype=torch.bool)

    def learn(self, batch: Tensor, negatives: Negatives, scores: Tensor) -> None:
        """Learn after the model's step: positives [B, 3], their negatives, scores [B, n]."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that what comes next depends on."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""


STRATEGIES: Registry[type[Strategy]] = Registry("strategy")


def register_strategy(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Class decorator: make a strategy known under ``name`` (``negatives.strategy.name``)."""
    return STRATEGIES.register(name)


class TrainingLoss(Protocol):
    """What a step lowers."""

    rows: Tensor
    """[n, 3] what an epoch goes through, batch by batch: training triples, or queries."""

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0."""
        ...

    def after_step(self) -> None:
        """Called after the model's step on the last batch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything beside the model's parameters that the next loss depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        ...

    def __call__(
        self, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a batch of ``rows`` [B, 3], and scalar tensors to log."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What one step measured.

    Attributes:
        loss: scalar tensor, detached, still on the device (reading it would synchronise).
        logs: further scalar tensors, averaged over the epoch (class shares of negatives).
    """

    loss: Tensor
    logs: Mapping[str, Tensor]


class Procedure(Protocol):
    """How a model is trained when a loss is not enough; owns the optimisers."""

    @property
    def rows(self) -> Tensor:
        """What an epoch goes through, batch by batch: [n, 3]."""
        ...

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0 (schedules)."""
        ...

    def step(self, batch: Tensor, generator: torch.Generator) -> StepReport:
        """Take one optimisation step on a batch of ``rows`` [B, 3]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything beside the model's parameters that the next step depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        ...


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimiser's state per parameter, with text keys (the plan has learning rates)."""
    state = optimiser.state_dict()["state"]
    return {str(index): dict(values) for index, values in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore what ``optimiser_state`` returned."""
    current = optimiser.state_dict()
    current["state"] = {int(index): dict(values) for index, values in state.items()}
    optimiser.load_state_dict(current)
