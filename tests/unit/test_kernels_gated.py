"""Cosines of gated vectors, and their gradients."""

from __future__ import annotations

import pytest
import torch

from harness import kernels
from harness.kernels import cpu, cuda, reference


def arguments(k=5, n=403, width=37, dtype=torch.float32):
    torch.manual_seed(0)
    own, others = torch.randn(k, width), torch.randn(n, width)
    logits = 2 * torch.randn(k, width), 2 * torch.randn(n, width)
    return [x.to(dtype) for x in (own, logits[0], others, logits[1], torch.randn(width))]


def made(implementation, given, threads=2):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given = [x.clone().requires_grad_() for x in given]
        cosines = implementation.gated_cosines(*given)
        torch.manual_seed(1)
        cosines.backward(torch.randn(cosines.shape).to(cosines))
        return [cosines.detach(), given[1].grad, given[3].grad, given[4].grad]
    finally:
        torch.set_num_threads(before)


def test_they_are_those_of_torch_s_cosine() -> None:
    own, own_logits, others, logits, bias = arguments(n=9)
    mine, theirs = own * (own_logits + bias).sigmoid(), others * (logits + bias).sigmoid()
    expected = torch.cosine_similarity(mine[:, None], theirs[None], dim=2)
    for implementation in (reference, cpu, cuda, kernels):
        found = implementation.gated_cosines(own, own_logits, others, logits, bias)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 403, 37), (1, 1, 1), (3, 4, 8), (2, 98, 64), (130, 6, 5)])
def test_values_and_gradients_are_those_of_the_definition_in_double_precision(shape) -> None:
    expected = made(reference, [x.double() for x in arguments(*shape)])
    for implementation in (cpu, cuda):
        for found, right in zip(made(implementation, arguments(*shape)), expected, strict=True):
            torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-5)


def test_the_definition_has_the_gradients_of_finite_differences() -> None:
    own, own_logits, others, logits, bias = arguments(2, 3, 4, dtype=torch.float64)
    variables = [x.requires_grad_() for x in (own_logits, logits, bias)]
    torch.autograd.gradcheck(
        lambda a, b, c: reference.gated_cosines(own, a, others, b, c), variables
    )


def test_vectors_themselves_are_constants() -> None:
    for implementation in (reference, cpu):
        given = [x.requires_grad_() for x in arguments()]
        implementation.gated_cosines(*given).sum().backward()
        assert given[0].grad is None
        assert given[2].grad is None


@pytest.mark.parametrize("shape", [(0, 6, 4), (3, 0, 4)])
def test_there_may_be_none(shape) -> None:
    cosines, *gradients = made(cpu, arguments(*shape))
    assert cosines.shape == shape[:2]
    assert all((gradient == 0).all() for gradient in gradients)


def test_a_vector_of_zeros_is_like_none_and_its_gates_learn_nothing() -> None:
    given = arguments()
    given[0][1] = given[2][7] = 0.0
    cosines, to_own, to_others, _ = made(cpu, given)
    assert (cosines[1] == 0).all()
    assert (cosines[:, 7] == 0).all()
    assert (to_own[1] == 0).all()
    assert (to_others[7] == 0).all()


def test_neither_threads_nor_strides_matter() -> None:
    given = arguments(13, 1500, 64)
    expected = made(cpu, given, threads=1)
    turned = [x.T.contiguous().T for x in given[:4]]
    for other in (made(cpu, given, threads=2), made(cpu, [*turned, given[4]])):
        assert all(torch.equal(a, b) for a, b in zip(other, expected, strict=True))


def test_nan_stays_where_it_is() -> None:
    given = arguments()
    given[3][7, 2] = float("nan")
    found = cpu.gated_cosines(*given)
    assert found[:, 7].isnan().all()
    assert found.isnan().sum() == len(found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_half_precision_is_computed_in_single_and_double_in_double(dtype) -> None:
    given = arguments(dtype=dtype)
    found = kernels.gated_cosines(*given)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found, reference.gated_cosines(*given))
