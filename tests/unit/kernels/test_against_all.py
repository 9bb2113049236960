"""Losses of queries against all rows: their values and gradients, whatever the size of blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.kernels import Backend, Pairs, against_all
from harness.kernels.against_all import binary_loss, softmax_gradient, softmax_loss
from harness.kernels.compiled import loops

N, D = 41, 8


@pytest.fixture(autouse=True, params=[1, 7, 1000], ids="{} queries at once".format)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against_all, "SCORES_AT_ONCE", request.param * N)


def vectors(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def answers_of(queries: int) -> tuple[Pairs, Tensor]:
    """Return answers as pairs and as [q, N]: none, one, two, three, none, ..."""
    counts = torch.arange(queries) % 4
    listed = [torch.randperm(N)[:k].sort().values for k in counts.tolist()]
    hot = torch.zeros(queries, N)
    for row, found in enumerate(listed):
        hot[row, found] = 1.0
    return Pairs.from_sizes(counts, torch.cat(listed)), hot


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(2.0 * loss, of)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_one_against_all_is_torchs_cross_entropy(smoothing: float) -> None:
    query, table, targets = vectors(19, 0), vectors(N, 1), torch.arange(19) * 2
    ours = softmax_loss(query, table, targets, smoothing=smoothing)
    theirs = F.cross_entropy(query @ table.T, targets, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs)
    pairs = zip(gradients(ours, query, table), gradients(theirs, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_without_smoothing_the_softmax_loss_is_to_the_bit_what_it_is_by_default() -> None:
    def made(**smoothing: float) -> tuple[Tensor, ...]:
        query, table = vectors(19, 0), vectors(N, 1)
        loss = softmax_loss(query, table, torch.arange(19), **smoothing)
        return loss, *gradients(loss, query, table)

    assert all(map(torch.equal, made(), made(smoothing=0.0)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_k_against_all_is_torchs_binary_cross_entropy(smoothing: float) -> None:
    query, table = vectors(19, 0), vectors(N, 1)
    answers, hot = answers_of(19)
    target = (1 - smoothing) * hot + (1 / N if smoothing else 0.0)
    ours = binary_loss(query, table, answers, smoothing=smoothing, offset=0.7)
    theirs = F.binary_cross_entropy_with_logits(query @ table.T + 0.7, target)
    assert torch.allclose(ours, theirs)
    pairs = zip(gradients(ours, query, table), gradients(theirs, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_no_loss_waits_for_a_copy_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "new_tensor", None)
    query, table = vectors(19, 0), vectors(N, 1)
    softmax_loss(query, table, torch.arange(19))
    binary_loss(query, table, answers_of(19)[0])


def test_no_gradient_is_made_that_nobody_wants() -> None:
    query, table = vectors(5, 0), vectors(N, 1).detach()
    softmax_loss(query, table, torch.arange(5)).backward()
    assert query.grad is not None
    assert not softmax_loss(query.detach(), table, torch.arange(5)).requires_grad


def test_a_score_that_is_not_finite_makes_a_loss_that_is_not() -> None:
    query, table = vectors(5, 0).detach().fill_(torch.nan), vectors(N, 1)
    assert softmax_loss(query, table, torch.arange(5)).isnan()


def scores(queries: int, columns: int, spread: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    made = spread * torch.randn(queries, columns, generator=generator)
    return made.bfloat16(), torch.randint(columns, (queries,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("spread", [0.01, 3.0, 40.0])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (37, 4001)])
def test_the_compiled_softmax_is_that_of_plain_torch(
    shape: tuple[int, int], spread: float, smoothing: float
) -> None:
    made, targets = scores(*shape, spread)
    loss, gradient = softmax_gradient.reference(made.clone(), targets, smoothing)
    loss_on_cpu, on_cpu = softmax_gradient.version("numba")(made.clone(), targets, smoothing)
    assert torch.allclose(loss_on_cpu, loss, rtol=1e-6, atol=1e-5)
    # A few differ by one unit in the last place, and those near the smallest number by more.
    unequal = (on_cpu != gradient) & (gradient.float().abs() > 1e-30)
    assert unequal.sum() <= 1e-3 * gradient.numel()
    assert torch.allclose(on_cpu.float(), gradient.float(), rtol=2**-7, atol=1e-30)
    assert on_cpu.dtype == gradient.dtype == torch.bfloat16


def test_the_compiled_softmax_does_not_depend_on_the_number_of_threads() -> None:
    made, targets = scores(37, 4001, 3.0)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(softmax_gradient.version("numba")(made.clone(), targets, 0.1))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("version", ["reference", "numba"])
@pytest.mark.parametrize("value", [torch.nan, -torch.nan, torch.inf])
@pytest.mark.parametrize("column", [0, 2])
def test_the_softmax_of_a_score_that_is_not_finite_is_not(
    version: Backend, value: float, column: int
) -> None:
    row = torch.zeros(1, 5).bfloat16()
    row[0, column] = value
    loss, _ = softmax_gradient.version(version)(row, torch.tensor([0]), 0.0)
    assert not loss.isfinite()


def test_scores_far_below_zero_have_a_softmax() -> None:
    row = torch.tensor([[-1.0, -200.0, -300.0]]).bfloat16()
    for version in softmax_gradient.versions.values():
        loss, gradient = version(row.clone(), torch.tensor([0]), 0.0)
        assert loss == 0
        assert (gradient.abs() < 1e-30).all()


@pytest.mark.parametrize("value", [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, 1 + 3 * 2**-9, 2**-126])
def test_the_nearest_bfloat16_is_torchs(value: float) -> None:
    """Also of numbers in the middle of two, where the even one is nearest."""
    narrow = loops("softmax")._narrow
    for number in (value, -value):
        expected = torch.tensor(number).bfloat16().view(torch.int16)
        assert narrow(np.float32(number)) == int(expected)


@pytest.mark.parametrize("version", ["reference", "numba"])
def test_each_row_has_one_target_which_is_a_column(version: Backend) -> None:
    softmax = softmax_gradient.version(version)
    for count in (1, 3):
        with pytest.raises(ValueError, match="targets"):
            softmax(scores(2, 5, 1.0)[0], torch.zeros(count).long(), 0.0)
    for wrong in ([0, 5], [-1, 0]):
        with pytest.raises(RuntimeError, match="out of bounds"):
            softmax(scores(2, 5, 1.0)[0], torch.tensor(wrong), 0.0)


@pytest.mark.parametrize("version", ["reference", "numba"])
def test_scores_may_have_any_layout_and_no_rows(version: Backend) -> None:
    softmax = softmax_gradient.version(version)
    made, targets = scores(9, 6, 3.0)
    expected = softmax(made.clone(), targets, 0.1)
    assert all(map(torch.equal, softmax(made.T.contiguous().T, targets, 0.1), expected))
    loss, gradient = softmax(made[:0], targets[:0], 0.0)
    assert loss == 0
    assert gradient.shape == (0, 6)


def test_in_bfloat16_losses_and_gradients_are_near_those_in_float32() -> None:
    query, table, targets = vectors(19, 0), vectors(N, 1), torch.arange(19) * 2
    exact = softmax_loss(query, table, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = softmax_loss(query, table, targets)
    assert not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, rtol=1e-2)
    pairs = zip(gradients(rounded, query, table), gradients(exact, query, table), strict=True)
    assert all(torch.allclose(a, b, atol=5e-3) for a, b in pairs)
