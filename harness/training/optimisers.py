"""Optimisers and schedules from their options."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.eager import SGD, Adagrad, Adam, AdamW
from harness.plan.spec import OptimiserSpec

__all__ = ["LazyAdam", "build_optimiser", "learning_rate"]


def build_optimiser(parameters: Sequence[nn.Parameter], spec: OptimiserSpec) -> Optimizer:
    """Build the optimiser of the model's main parameters, fused where torch supports it."""
    lr, decay = spec.lr, spec.weight_decay
    # Fused implementations exist for fp32 parameters on CPUs and CUDA devices.
    fused = all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in parameters)
    if spec.name == "adam":
        return Adam(parameters, lr=lr, weight_decay=decay, fused=fused)
    if spec.name == "lazy_adam":
        return LazyAdam(parameters, lr=lr, fused=fused)
    if spec.name == "adamw":
        return AdamW(parameters, lr=lr, weight_decay=decay, fused=fused)
    if spec.name == "adagrad":
        return Adagrad(parameters, lr=lr, weight_decay=decay)
    return SGD(parameters, lr=lr, weight_decay=decay)


class LazyAdam(Adam):
    """Adam that skips rows without a gradient, like ``torch.optim.SparseAdam``.

    Parameters with a sparse gradient (hybrid: some rows of a table) are updated only in those rows:
    p, and the running averages m and v of Adam, with bias correction by the number of all steps
    (Kingma and Ba 2015, algorithm 1). Adam updates the other parameters.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._step_of_rows(parameter, group)
                    parameter.grad = None
        loss: float | None = super().step(closure)
        return loss

    def _step_of_rows(self, parameter: Tensor, group: Mapping[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        count = float(state["step"])
        assert parameter.grad is not None
        gradient = parameter.grad.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        mean = state["exp_avg"][rows].lerp_(values, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(values, values, value=1 - second)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        root = square.div_(1 - second**count).sqrt_().add_(group["eps"])
        parameter.index_add_(0, rows, mean / root, alpha=-group["lr"] / (1 - first**count))


def learning_rate(spec: OptimiserSpec, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch (from 0), a function of the epoch without state.

    Args:
        spec: base rate, warm-up and schedule ("cosine" and "linear" end at 0; "step" divides by ten
            at half of the epochs, as in the RotatE repository; "restarts" is
            ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`` with ``T_mult=2``).
        epoch: epoch that starts.
        epochs: planned number of epochs.
    """
    if epoch < spec.warmup:
        return spec.lr * (epoch + 1) / (spec.warmup + 1)
    elapsed, planned = epoch - spec.warmup, max(epochs - spec.warmup, 1)
    if spec.schedule == "restarts":
        # Cycles of c, 2c, 4c, ... epochs: the cycle from (2^k - 1) c on has 2^k c epochs.
        doubled = (elapsed // spec.cycle + 1).bit_length() - 1
        elapsed, planned = elapsed - (2**doubled - 1) * spec.cycle, 2**doubled * spec.cycle
    if spec.schedule in ("cosine", "restarts"):
        return spec.lr * (1.0 + math.cos(math.pi * elapsed / planned)) / 2.0
    if spec.schedule == "linear":
        return spec.lr * (1.0 - elapsed / planned)
    if spec.schedule == "step" and 2 * epoch >= epochs:
        return spec.lr / 10.0
    return spec.lr
