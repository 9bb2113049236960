"""Rotations of complex vectors (RotatE)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.compiled import arrays, loops, widest

__all__ = ["rotate"]


@kernel
def rotate(anchor: Tensor, phase: Tensor) -> Tensor:
    """Return ``anchor * e^(i phase)``; differentiable.

    Args:
        anchor: [q, 2d], real parts first.
        phase: [q, d] in radians.

    Returns:
        [q, 2d]; CPUs rotate half precision in float32.

    Raises:
        ValueError: shapes do not match.
    """
    _check(anchor, phase)
    real, imaginary = anchor.chunk(2, -1)
    cosine, sine = phase.cos(), phase.sin()
    return torch.cat([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1)


def _check(anchor: Tensor, phase: Tensor) -> None:
    if anchor.ndim != 2 or phase.shape != (len(anchor), anchor.shape[1] / 2):
        raise ValueError(f"anchor {tuple(anchor.shape)} and phase {tuple(phase.shape)} do not fit")


@rotate.register("numba")
def _rotate_numba(anchor: Tensor, phase: Tensor) -> Tensor:
    _check(anchor, phase)
    dtype = widest(anchor, phase)
    rotated: Tensor = _Rotate.apply(  # type: ignore[no-untyped-call]
        anchor.to(dtype).contiguous(), phase.to(dtype)
    )
    return rotated


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, phase: Tensor) -> Tensor:
        cosine, sine = phase.cos().contiguous(), phase.sin().contiguous()
        ctx.save_for_backward(anchor, cosine, sine)
        out = torch.empty_like(anchor)
        threads.over(
            threads.even_parts(len(anchor), anchor.numel()), loops("rotation").rotate,
            *arrays(anchor, cosine, sine), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        anchor, cosine, sine = ctx.saved_tensors
        to_anchor, to_phase = torch.empty_like(anchor), torch.empty_like(cosine)
        threads.over(
            threads.even_parts(len(anchor), anchor.numel()), loops("rotation").rotate_gradient,
            *arrays(anchor, cosine, sine, gradient), to_anchor.numpy(), to_phase.numpy(),
        )  # fmt: skip
        return to_anchor, to_phase
