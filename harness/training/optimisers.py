"""Optimisers and schedules from their options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from harness.plan.spec import OptimiserSpec

__all__ = ["LazyAdam", "build_optimiser", "learning_rate"]


def build_optimiser(parameters: Iterable[nn.Parameter], spec: OptimiserSpec) -> Optimizer:
    """Return the optimiser for the model's own parameters (fused where torch offers it)."""
    chosen = list(parameters)
    lr, decay = spec.lr, spec.weight_decay
    # Fused implementations exist for fp32 parameters on CPUs and CUDA devices.
    fused = all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in chosen)
    if spec.name == "adam":
        return Adam(chosen, lr=lr, weight_decay=decay, fused=fused)
    if spec.name == "lazy_adam":
        return LazyAdam(chosen, lr=lr, fused=fused)
    if spec.name == "adamw":
        return AdamW(chosen, lr=lr, weight_decay=decay, fused=fused)
    if spec.name == "adagrad":
        return Adagrad(chosen, lr=lr, weight_decay=decay)
    return SGD(chosen, lr=lr, weight_decay=decay)


class LazyAdam(Adam):
    """Adam that leaves alone the rows without a gradient, as ``torch.optim.SparseAdam`` does.

    Parameters with a sparse gradient (hybrid: some rows of a table) are updated in those rows: p,
    and the running averages m and v as Adam has them, corrected by the number of all steps
    (Kingma and Ba 2015, algorithm 1). Other parameters are left to Adam.
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
    """Return the learning rate of an epoch (from 0): a function of the epoch, so it needs no state.

    Args:
        spec: base rate, warm-up and schedule ("cosine" and "linear" end at 0; "step" divides by ten
            at half time, as the RotatE repository does; "restarts" is
            ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`` with ``T_mult=2``).
        epoch: the epoch about to start.
        epochs: planned number of epochs.
    """
    if epoch < spec.warmup:
        return spec.lr * (epoch + 1) / (spec.warmup + 1)
    done, planned = epoch - spec.warmup, max(epochs - spec.warmup, 1)
    if spec.schedule == "restarts":
        # Cycles of c, 2c, 4c, ... epochs: the one that starts at (2^k - 1) c has 2^k c.
        doubled = (done // spec.cycle + 1).bit_length() - 1
        done, planned = done - (2**doubled - 1) * spec.cycle, 2**doubled * spec.cycle
    if spec.schedule in ("cosine", "restarts"):
        return spec.lr * (1.0 + math.cos(math.pi * done / planned)) / 2.0
    if spec.schedule == "linear":
        return spec.lr * (1.0 - done / planned)
    if spec.schedule == "step" and 2 * epoch >= epochs:
        return spec.lr / 10.0
    return spec.lr
