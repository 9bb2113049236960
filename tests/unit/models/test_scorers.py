"""Unit vectors: those of torch, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from models._scorers import normalise

SHORT = torch.zeros(5, 3, dtype=torch.float64)
SHORT[1, 0] = 1e-14  # below what torch divides by
SHORT[2:] = torch.tensor([[3.0, 4.0, 0.0], [1e-3, 0.0, -2e-3], [1e4, 1.0, 5.0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_and_gradients_are_those_of_torch(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.cat([SHORT, torch.randn(40, 3, dtype=torch.float64)]).to(dtype)
    weights = torch.randn_like(x)
    found = []
    for function in (normalise, normalize):
        given = x.clone().requires_grad_()
        unit = function(given)
        (gradient,) = torch.autograd.grad((unit * weights).sum(), given)
        found.append((unit, gradient))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1][2:], found[1][1][2:])
    # torch's gradient of the norm of nothing is 0, ours too: what is left is the division.
    torch.testing.assert_close(found[0][1][:2], found[1][1][:2])


def test_the_gradient_is_across_the_vector() -> None:
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalise, x)
    (gradient,) = torch.autograd.grad(normalise(x)[:, 0].sum(), x)
    torch.testing.assert_close((gradient * x).sum(1), torch.zeros(6, dtype=torch.float64))
