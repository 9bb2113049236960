"""Standard training procedure: one loss, one optimiser of the model.

A second optimiser trains the model's auxiliary parameters, if any, and a third the generator of
adversarial training.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.eager import Adam
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality
from harness.kernels import without_denormals
from harness.kernels.products import bf16_products
from harness.kernels.rows import sparse_rows
from harness.model import Model
from harness.plan.possible import impossible
from harness.plan.spec import RunSpec
from harness.procedure import (
    Sampler,
    StepReport,
    TrainingLoss,
    optimiser_state,
    restore_optimiser,
)
from harness.seeding import seed_for
from harness.training.adversary import Adversary
from harness.training.optimisers import build_optimiser, learning_rate
from harness.training.sampled import SampledLoss
from harness.training.whole import WholeLoss

__all__ = ["StandardProcedure"]


class StandardProcedure:
    """Minimise the loss named by ``spec.objective``.

    Args:
        model: model on ``device``.
        index: sizes and train triples of the graph.
        spec: specification of the run.
        device: device of the computation.
        sampler: sampler of negatives, for losses with negatives; by default the one named by
            ``spec.negatives``.
        static_shapes: True if no size in a step may depend on the drawn entities, so that the host
            never waits for the device; by default on all devices except the CPU, where it saves
            nothing.
        modalities: features by name, for strategies of negatives that use them.

    Raises:
        ConfigError: the model cannot be trained with these settings (``harness.plan.possible``).
    """

    def __init__(
        self,
        model: Model,
        index: GraphIndex,
        spec: RunSpec,
        device: torch.device,
        sampler: Sampler | None = None,
        static_shapes: bool | None = None,
        modalities: Mapping[str, Modality] | None = None,
    ) -> None:
        if problem := impossible(spec, type(model), reciprocal=model.reciprocal):
            raise ConfigError(str(problem))
        self.model, self.spec, self.device = model, spec, device
        self.loss = _loss_of(model, index, spec, device, sampler, static_shapes, modalities)
        auxiliary = list(model.auxiliary_parameters())
        held_back = {id(p) for p in auxiliary}
        main_parameters = [
            p for p in model.parameters() if p.requires_grad and id(p) not in held_back
        ]
        self.optimiser = build_optimiser(main_parameters, spec.optimiser)
        self.lazy = spec.optimiser.name == "lazy_adam"
        if self.lazy:
            for parameter in main_parameters:
                sparse_rows(parameter)
        self.main_parameters = main_parameters
        fights = spec.adversary.kind != "none"
        self.adversary = Adversary(model, spec, device, index.dataset) if fights else None
        # Separate stream, so that variants with and without estimators get the same negatives.
        self.dataset = index.dataset
        self.auxiliary_generator = torch.Generator(device)
        self.draws = model.draws = torch.Generator(device)
        self.auxiliary = Adam(auxiliary, lr=spec.optimiser.auxiliary_lr) if auxiliary else None
        # A compiled program has its products built in; torch runs it uncompiled in such a context.
        eager = spec.training.precision == "bf16" and not spec.training.compile
        self.products = bf16_products(device) if eager else nullcontext()

    @property
    def rows(self) -> Tensor:
        """Rows int64 [n, 3] of an epoch, training triples for most losses."""
        return self.loss.rows

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch (from 0) and seed its random streams."""
        rate = learning_rate(self.spec.optimiser, epoch, self.spec.training.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        seed = partial(seed_for, self.spec.seed, self.dataset, step=epoch)
        self.auxiliary_generator.manual_seed(seed("auxiliary"))
        self.draws.manual_seed(seed("estimates"))
        self.loss.start_epoch(epoch)
        if self.adversary is not None:
            self.adversary.start_epoch(epoch)

    def step(self, batch: Tensor, generator: torch.Generator) -> StepReport:
        """Take one optimisation step on a batch [B, 3] of ``rows``."""
        with without_denormals(), self.products:
            return self._step(batch, generator)

    def _step(self, batch: Tensor, generator: torch.Generator) -> StepReport:
        loss, logs = self.loss(batch, generator)
        if self.adversary is not None:
            added = self.adversary.loss(batch)
            loss, logs = loss + added, {**logs, "adversary": added.detach()}
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.lazy:
            self._check_lazy()
        if self.spec.optimiser.clip:
            torch.nn.utils.clip_grad_norm_(self.main_parameters, self.spec.optimiser.clip)
        self.optimiser.step()
        self.loss.after_step()
        if self.adversary is not None:
            self.adversary.step(batch)
        # Also called without auxiliary parameters, since it updates running averages.
        auxiliary_loss = self.model.auxiliary_loss(self.auxiliary_generator)
        if auxiliary_loss is not None:
            if self.auxiliary is None:
                raise ConfigError(
                    f"{type(self.model).__name__}: auxiliary_loss returns a loss, but "
                    "auxiliary_parameters names no parameter that it trains; name them there, or "
                    "return the loss from penalty"
                )
            self.auxiliary.zero_grad(set_to_none=True)
            auxiliary_loss.backward()
            self.auxiliary.step()
        return StepReport(loss.detach(), logs)

    def _check_lazy(self) -> None:
        for parameter in self.main_parameters:
            gradient = parameter.grad
            dense = gradient is not None and not gradient.is_sparse
            if dense and parameter.shape[:1] == (self.model.n_entities,):
                raise ConfigError(
                    f"optimiser.name: {type(self.model).__name__} gives every entity a gradient, "
                    "so lazy_adam cannot leave one alone; take rows with "
                    "harness.kernels.rows.rows_of, or use adam"
                )

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states."""
        state: dict[str, Any] = {"optimiser": optimiser_state(self.optimiser)}
        if self.auxiliary is not None:
            state["auxiliary"] = optimiser_state(self.auxiliary)
        if loss_state := self.loss.state_dict():
            state["loss"] = loss_state
        if self.adversary is not None:
            state["adversary"] = self.adversary.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        restore_optimiser(self.optimiser, state.get("optimiser", {}))
        if self.auxiliary is not None:
            restore_optimiser(self.auxiliary, state.get("auxiliary", {}))
        self.loss.load_state_dict(state.get("loss", {}))
        if self.adversary is not None and "adversary" in state:
            self.adversary.load_state_dict(state["adversary"])


def _loss_of(
    model: Model,
    index: GraphIndex,
    spec: RunSpec,
    device: torch.device,
    sampler: Sampler | None,
    static_shapes: bool | None,
    modalities: Mapping[str, Modality] | None,
) -> TrainingLoss:
    if spec.objective.against_all:
        return WholeLoss(model, index, spec, device)
    static = device.type != "cpu" if static_shapes is None else static_shapes
    return SampledLoss(
        model, index, spec, device, sampler, static_shapes=static, modalities=modalities
    )
