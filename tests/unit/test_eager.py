"""Optimisers that step as torch's do, and import nothing of torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest
import torch

from harness import eager

KINDS = {"SGD": {"momentum": 0.9}, "Adagrad": {}, "Adam": {"fused": True}, "AdamW": {"fused": True}}


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(4, 3))


def steps(optimiser: torch.optim.Optimizer, count: int) -> None:
    (weights,) = optimiser.param_groups[0]["params"]
    for _ in range(count):
        optimiser.zero_grad()
        weights.pow(4).sum().backward()
        optimiser.step()


@pytest.mark.parametrize(("name", "options"), KINDS.items())
def test_steps_are_those_of_torch_and_resume_from_its_state(
    name: str, options: dict[str, Any]
) -> None:
    theirs, ours = parameter(), parameter()
    optimisers = [
        getattr(module, name)([weights], lr=0.1, weight_decay=0.01, **options)
        for module, weights in ((torch.optim, theirs), (eager, ours))
    ]
    for optimiser in optimisers:
        steps(optimiser, 3)
    assert torch.equal(theirs, ours)
    resumed = getattr(eager, name)([theirs], lr=0.5)
    resumed.load_state_dict(deepcopy(optimisers[1].state_dict()))  # it would share the averages
    for optimiser in (resumed, optimisers[1]):
        steps(optimiser, 2)
    assert torch.equal(theirs, ours)
    assert not torch.equal(ours, parameter())


PROGRAM = f"""
import sys, torch
from harness import eager
weights = torch.nn.Parameter(torch.ones(2))
for name, options in {KINDS}.items():
    optimiser = getattr(eager, name)([weights], lr=0.1, **options)
    optimiser.zero_grad()
    weights.sum().backward()
    optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
from harness.training.optimisers import LazyAdam
LazyAdam([weights], lr=0.1).step()
print("torch._dynamo" in sys.modules)
"""


def test_the_compiler_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
