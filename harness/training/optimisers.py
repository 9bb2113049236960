"""Optimisers and schedules from their options."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from harness.plan.spec import OptimiserSpec

__all__ = ["build_optimiser", "learning_rate"]


def build_optimiser(parameters: Iterable[nn.Parameter], spec: OptimiserSpec) -> Optimizer:
    """Return the optimiser for the model's own parameters (fused where torch offers it)."""
    chosen = list(parameters)
    lr, decay = spec.lr, spec.weight_decay
    # Fused implementations exist for fp32 parameters on CPUs and CUDA devices.
    fused = all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in chosen)
    if spec.name == "adam":
        return Adam(chosen, lr=lr, weight_decay=decay, fused=fused)
    if spec.name == "adamw":
        return AdamW(chosen, lr=lr, weight_decay=decay, fused=fused)
    if spec.name == "adagrad":
        return Adagrad(chosen, lr=lr, weight_decay=decay)
    return SGD(chosen, lr=lr, weight_decay=decay)


def learning_rate(spec: OptimiserSpec, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch (from 0): a function of the epoch, so it needs no state.

    Args:
        spec: base rate and schedule ("cosine" ends at 0; "step" divides by ten at half time, as the
            RotatE repository does).
        epoch: the epoch about to start.
        epochs: planned number of epochs.
    """
    if spec.schedule == "cosine":
        return spec.lr * (1.0 + math.cos(math.pi * epoch / max(epochs, 1))) / 2.0
    if spec.schedule == "step" and 2 * epoch >= epochs:
        return spec.lr / 10.0
    return spec.lr
