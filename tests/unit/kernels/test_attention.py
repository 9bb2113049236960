"""Logits of an attention: tanh of vectors times a query, and its gradients."""

from __future__ import annotations

import pytest
import torch

from harness.kernels import tanh_dot

tanh_dot_on_cpu = tanh_dot.version("numba")

WIDE = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([0.0, 1e-30, -1e-6, 1e4, -1e30])])


def made(version, x, query, threads=2):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, query = (t.clone().requires_grad_() for t in (x, query))
        logits = version(x, query)
        torch.manual_seed(1)
        logits.backward(torch.randn(logits.shape).to(logits))
        return logits.detach(), x.grad, query.grad
    finally:
        torch.set_num_threads(before)


def test_tanh_is_right_to_single_precision_everywhere():
    found = tanh_dot_on_cpu(WIDE[:, None], torch.ones(1))
    exact = WIDE.double().tanh()
    assert ((found.double() - exact).abs() <= 5e-7 * exact.abs()).all()
    assert (found.abs() <= 1).all()


@pytest.mark.parametrize("shape", [(1100, 37), (5, 3, 8), (0, 4)])
def test_values_and_gradients_are_those_of_the_definition(shape):
    torch.manual_seed(0)
    x, query = 2 * torch.randn(shape), torch.randn(shape[-1])
    for found, expected in zip(
        made(tanh_dot_on_cpu, x, query), made(tanh_dot.reference, x, query), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    x, query = torch.randn(3, 4), torch.randn(4)
    _, to_x, to_query = made(tanh_dot_on_cpu, x, query)
    torch.manual_seed(1)
    g = torch.randn(3)

    def loss(x, query):
        return float((g.double() * (x.double().tanh() @ query.double())).sum())

    for place in [(0, 0), (2, 3)]:
        step = torch.zeros(3, 4)
        step[place] = 1e-3
        slope = (loss(x + step, query) - loss(x - step, query)) / 2e-3
        assert float(to_x[place]) == pytest.approx(slope, rel=1e-3)
    step = torch.tensor([0.0, 1e-3, 0.0, 0.0])
    slope = (loss(x, query + step) - loss(x, query - step)) / 2e-3
    assert float(to_query[1]) == pytest.approx(slope, rel=1e-3)


def test_neither_threads_nor_strides_matter():
    torch.manual_seed(0)
    x, query = torch.randn(1500, 64), torch.randn(64)
    expected = made(tanh_dot_on_cpu, x, query, threads=1)
    for other in (
        made(tanh_dot_on_cpu, x, query, threads=2),
        made(tanh_dot_on_cpu, x.T.contiguous().T, query),
    ):
        assert all(torch.equal(a, b) for a, b in zip(other, expected, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_stays_and_infinity_is_one(value):
    found = tanh_dot_on_cpu(torch.tensor([[value]]), torch.ones(1))
    expected = tanh_dot.reference(torch.tensor([[value]]), torch.ones(1))
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_half_precision_is_computed_in_single_and_double_in_double(dtype):
    x, query = torch.rand(7, 5).to(dtype), torch.rand(5).to(dtype)
    found = tanh_dot(x, query)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found, tanh_dot.reference(x, query))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(tanh_dot(x.float(), query.float()).to(found), found)
