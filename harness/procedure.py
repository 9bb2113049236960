"""Interfaces of training: samplers draw negatives, strategies select them, procedures take
steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from harness.config.base import Config
from harness.eager import Adam
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
        tails: [B] number of leading candidates that replace the tail; the rest replace the head.
        substitutes: table of the model -> [B, n] entities that replace the candidates in this
            table: a negative may be corrupted in one modality alone.
    """

    candidates: Tensor
    tails: Tensor
    substitutes: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def replaces_tail(self) -> Tensor:
        """[B, n] bool, True where the candidate replaces the tail of its positive."""
        position = torch.arange(self.candidates.shape[1], device=self.candidates.device)
        return position < self.tails[:, None]


class Sampler(Protocol):
    """Interface of negative samplers."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Negatives:
        """Return n corruptions of each positive of ``batch`` [B, 3], on its device."""
        ...


class Learner:
    """A network that is trained beside the model by its own Adam optimiser.

    Args:
        network: the network, on its device.
        lr: learning rate.
        weight_decay: factor of the parameters that are added to the gradient.
    """

    def __init__(self, network: nn.Module, lr: float, weight_decay: float = 0.0) -> None:
        self.network = network
        self.parameters = list(network.parameters())
        self.optimiser = Adam(self.parameters, lr=lr, weight_decay=weight_decay)

    def step(self, loss: Tensor) -> None:
        """Take one step on a loss; only the network's parameters get gradients."""
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the network and its optimiser."""
        return {
            "network": dict(self.network.state_dict()),
            "optimiser": optimiser_state(self.optimiser),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.network.load_state_dict(state["network"])
        restore_optimiser(self.optimiser, state["optimiser"])


class StrategyConfig(Config):
    """Base class of a strategy's options; defaults are the published settings."""


@dataclass(frozen=True)
class SamplerContext:
    """The run that a strategy samples negatives for.

    Attributes:
        model: the trained model, on ``device``.
        index: the training graph.
        modalities: name -> features of the run.
        count: negatives per positive to return.
        epochs: number of training epochs.
        device: device of all tensors.
        seed: seed of the strategy's draws by epoch, counted from 1; 0 seeds initial values.
        bf16: whether the strategy's networks multiply matrices in bfloat16.
    """

    model: Model
    index: GraphIndex
    modalities: Mapping[str, Modality]
    count: int
    epochs: int
    device: torch.device
    seed: Callable[[int], int]
    bf16: bool = False

    def autocast(self) -> torch.autocast:
        """Return the context of the networks' matrix products (``bf16``)."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


class Strategy:
    """Base class of strategies, which select negatives from a sampler's corruptions.

    A strategy may learn from the scores of its negatives.

    Args:
        config: the strategy's options (an instance of ``cls.Config``).
        context: the run.
    """

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    one_side: ClassVar[bool] = False
    """True if all corruptions of a positive must replace the same side."""
    uses_modalities: ClassVar[bool] = False
    """True if the strategy reads features."""

    def __init__(self, config: Any, context: SamplerContext) -> None:
        self.config, self.context = config, context
        self.draws = torch.Generator(context.device)
        """Generator of the strategy's draws, seeded anew in every epoch."""

    @property
    def compares(self) -> bool:
        """True if training calls ``compare``."""
        return False

    @property
    def drawn(self) -> int:
        """Number of corruptions per positive that the sampler draws; by default ``count``."""
        return self.context.count

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0."""
        self.draws.manual_seed(self.context.seed(epoch + 1))

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        """Return ``context.count`` negatives of each positive.

        Args:
            batch: [B, 3] positives.
            negatives: ``drawn`` corruptions of each.

        Returns:
            candidates and substitutes int64 [B, count], tails int64 [B]; training checks them.
        """
        return negatives

    def compare(
        self, batch: Tensor, negatives: Negatives, terms: Sequence[tuple[Term, Tensor]]
    ) -> Tensor:
        """Return a mask [B, n] (bool) of the negatives whose ``substitutes`` are used.

        Args:
            batch: [B, 3] positives.
            negatives: result of ``choose``.
            terms: the terms of the score, each with its scores [B, n] of the candidates.
        """
        return torch.ones_like(negatives.candidates, dtype=torch.bool)

    def learn(self, batch: Tensor, negatives: Negatives, scores: Tensor) -> None:
        """Learn from positives [B, 3], their negatives and scores [B, n], after the model's
        step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later draws depend on."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""


STRATEGIES: Registry[type[Strategy]] = Registry("strategy")


def register_strategy(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Return a class decorator that registers a strategy as ``negatives.strategy.name``."""
    return STRATEGIES.register(name)


class TrainingLoss(Protocol):
    """Interface of training losses."""

    rows: Tensor
    """[n, 3] rows of an epoch, which batches are taken from: training triples, or queries."""

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
        """Return the loss of a batch [B, 3] of ``rows``, and name -> scalar tensors to log."""
        ...


@dataclass(frozen=True)
class StepReport:
    """Loss and logged values of one step.

    Attributes:
        loss: detached scalar on the device; reading it would synchronise.
        logs: name -> further scalar, averaged over the epoch.
    """

    loss: Tensor
    logs: Mapping[str, Tensor]


class Procedure(Protocol):
    """Interface of training procedures, which own the optimisers and take the steps."""

    @property
    def rows(self) -> Tensor:
        """[n, 3] rows of an epoch, which batches are taken from."""
        ...

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0 (schedules)."""
        ...

    def step(self, batch: Tensor, generator: torch.Generator) -> StepReport:
        """Take one optimisation step on a batch [B, 3] of ``rows``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything beside the model's parameters that the next step depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        ...


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimiser's state by parameter, without options such as learning rates.

    Keys are strings, as checkpoints require; the options come from the run's settings.
    """
    state = optimiser.state_dict()["state"]
    return {str(index): dict(values) for index, values in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore the result of ``optimiser_state``."""
    current = optimiser.state_dict()
    current["state"] = {int(index): dict(values) for index, values in state.items()}
    optimiser.load_state_dict(current)
