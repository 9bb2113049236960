"""Rotation of complex vectors: the fused kernel is the reference, values and gradients."""

from __future__ import annotations

import cmath

import pytest
import torch

from harness.kernels import rotate

rotate_on_cpu = rotate.version("numba")


def test_one_number_by_hand():
    rotated = rotate.reference(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.5]]))
    expected = complex(3, 4) * cmath.exp(0.5j)
    torch.testing.assert_close(rotated, torch.tensor([[expected.real, expected.imag]]))


@pytest.mark.parametrize(("queries", "dim"), [(1, 1), (3, 5), (300, 256)])
def test_values_and_gradients_are_those_of_the_reference(queries, dim):
    generator = torch.Generator().manual_seed(dim)

    def run(version):
        generator.manual_seed(dim)
        anchor, phase, weight = (
            torch.randn(queries, width, generator=generator, dtype=torch.float64)
            for width in (2 * dim, dim, 2 * dim)
        )
        anchor.requires_grad_()
        phase.requires_grad_()
        rotated = version(anchor, phase)
        (rotated * weight).sum().backward()
        return rotated.detach(), anchor.grad, phase.grad

    for mine, theirs in zip(run(rotate_on_cpu), run(rotate.reference), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_lengths_stay_and_a_turn_back_undoes_it():
    anchor, phase = torch.randn(4, 6), torch.randn(4, 3)
    rotated = rotate(anchor, phase)
    torch.testing.assert_close(rotate(rotated, -phase), anchor)
    lengths = [torch.complex(*x.chunk(2, -1)).abs() for x in (anchor, rotated)]
    torch.testing.assert_close(*lengths)


def test_half_precision_is_rotated_in_single():
    rotated = rotate_on_cpu(torch.ones(1, 2, dtype=torch.bfloat16), torch.zeros(1, 1))
    assert rotated.dtype == torch.float32


@pytest.mark.parametrize("version", [rotate_on_cpu, rotate.reference])
@pytest.mark.parametrize("shape", [(1, 4), (3, 3), (3, 5), (4, 4), (12,)])
def test_shapes_that_do_not_fit_are_refused(shape, version):
    with pytest.raises(ValueError, match="do not fit"):
        version(torch.zeros(3, 8), torch.zeros(shape))
