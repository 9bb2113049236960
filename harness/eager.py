"""Optimisers of torch that do not import its compiler.

``torch.optim`` imports ``torch._dynamo`` where an optimiser is made and where it steps, in case
``torch.compile`` traces it. That takes more than a second, longer than the import of torch, and the
harness compiles encoders only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW"]


def _step_of(optimiser: type[Optimizer]) -> Callable[..., Any]:
    """Return the step of an optimiser, without gradients as ``torch.optim`` takes it."""
    step: Callable[..., Any] = torch.no_grad()(inspect.unwrap(optimiser.step))
    return step


class _Eager(Optimizer):
    """The methods of torch's optimisers without the decorators that import the compiler."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


class SGD(_Eager, torch.optim.SGD):
    """``torch.optim.SGD``."""

    step = _step_of(torch.optim.SGD)


class Adagrad(_Eager, torch.optim.Adagrad):
    """``torch.optim.Adagrad``."""

    step = _step_of(torch.optim.Adagrad)


class Adam(_Eager, torch.optim.Adam):
    """``torch.optim.Adam``."""

    step = _step_of(torch.optim.Adam)


class AdamW(_Eager, torch.optim.AdamW):
    """``torch.optim.AdamW``."""

    step = _step_of(torch.optim.AdamW)
