"""Dropout: what is dropped, how often, and what the gradient is."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from harness.kernels import dropout

dropout_on_cpu = dropout.version("numba")

N = 40_000


@pytest.mark.parametrize("version", [dropout.reference, dropout_on_cpu])
@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_numbers_are_zero_or_scaled_and_so_is_their_gradient(version, rate):
    torch.manual_seed(0)
    x = torch.rand(N // 8, 8, requires_grad=True)
    with torch.no_grad():
        x += 0.5
    made = version(x, rate)
    kept = made != 0
    torch.testing.assert_close(made, kept * x / (1 - rate))
    # Four standard deviations of a share of N draws.
    assert kept.float().mean().item() == pytest.approx(
        1 - rate, abs=4 * (rate * (1 - rate) / N) ** 0.5
    )
    made.backward(torch.full_like(made, 2.0))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, kept * 2 / (1 - rate))


def test_places_and_calls_are_independent():
    torch.manual_seed(0)
    calls = torch.stack([dropout_on_cpu(torch.ones(N), 0.5) for _ in range(6)]) > 0
    for i in range(6):
        for j in range(i):
            # Agreement of two coins: half, with a standard deviation of 1 / (2 sqrt N).
            assert (calls[i] == calls[j]).float().mean() == pytest.approx(0.5, abs=2 / N**0.5)
        for lag in (1, 2, 16, 1024):
            agreed = (calls[i, lag:] == calls[i, :-lag]).float().mean()
            assert agreed == pytest.approx(0.5, abs=2 / (N - lag) ** 0.5)


def test_the_seed_decides_and_neither_threads_nor_strides_do():
    x = torch.rand(300, 700)

    def made(threads, x):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            torch.manual_seed(3)
            return dropout_on_cpu(x, 0.3)
        finally:
            torch.set_num_threads(before)

    expected = made(1, x)
    assert torch.equal(made(2, x), expected)
    assert torch.equal(made(2, x.T.contiguous().T), expected)
    torch.manual_seed(4)
    assert not torch.equal(dropout_on_cpu(x, 0.3), expected)


def test_what_is_computed_again_for_the_backward_pass_is_dropped_alike():
    found = []
    for again in (False, True):
        torch.manual_seed(0)
        x = torch.linspace(1, 2, 500, requires_grad=True)
        made = (
            checkpoint(dropout_on_cpu, x, 0.4, use_reentrant=False)
            if again
            else dropout_on_cpu(x, 0.4)
        )
        made.square().sum().backward()
        found.append((made.detach(), x.grad))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_nothing_is_drawn_where_nothing_is_dropped():
    x = torch.rand(5)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.5, training=False) is x
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type_and_drops_what_single_drops(dtype):
    found = []
    for kind in (dtype, torch.float32):
        torch.manual_seed(0)
        found.append(dropout_on_cpu(torch.ones(1000, dtype=kind), 0.5))
    assert found[0].dtype == dtype
    assert torch.equal(found[0].float(), found[1])


def test_of_one_number_and_of_none():
    assert dropout_on_cpu(torch.ones(1), 0.5).item() in (0.0, 2.0)
    assert dropout_on_cpu(torch.ones(0, 4), 0.5).shape == (0, 4)
