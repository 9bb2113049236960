"""Random draws: dropout and corruptions of triples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.index import Free
from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.compiled import array, arrays, loops

__all__ = ["draw_free", "dropout"]


@kernel
def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Set each number to zero with probability ``rate`` and divide the others by 1 - rate.

    Srivastava et al., Dropout (2014). Seeded by the device's torch generator. The CPU version drops
    other numbers than torch's, which compiled programs use.

    Args:
        x: of any shape.
        rate: in [0, 1).
        training: False returns x unchanged.
    """
    return torch.nn.functional.dropout(x, rate) if training and rate else x


@dropout.register("numba")
def _dropout_numba(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Drop numbers by a hash of their position and of two seeds from torch's generator.

    The backward pass computes the hash again, so no mask is stored, and the number of threads does
    not matter. Half precision drops the same numbers as float32; torch computes float64.
    """
    if not training or not rate:
        return x
    if x.dtype in (torch.bfloat16, torch.float16):
        return _dropout_numba(x.float(), rate).to(x.dtype)
    if x.dtype != torch.float32:
        return dropout.reference(x, rate)
    seeds = torch.randint(2**32, (2,), dtype=torch.int64)
    dropped: Tensor = _Dropout.apply(x, rate, seeds)  # type: ignore[no-untyped-call]
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float, seeds: Tensor) -> Tensor:
        ctx.rate, ctx.seeds = rate, seeds
        return _dropped(x, rate, seeds)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _dropped(gradient, ctx.rate, ctx.seeds), None, None


def _dropped(x: Tensor, rate: float, seeds: Tensor) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    first, second = seeds.tolist()
    threshold = min(round(rate * 2**32), 2**32 - 1)
    threads.over(
        threads.even_parts(x.numel(), x.numel()), loops("draws").dropout,
        array(x).reshape(-1), np.uint32(first), np.uint32(second),
        np.uint32(threshold), np.float32(1 / (1 - rate)), out.numpy().reshape(-1),
    )  # fmt: skip
    return out


@kernel
def draw_free(free: Free, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
    """Map uniform numbers to entities that do not make a known triple (filtered negatives).

    Of the N - k entities outside a query's k known answers, in ascending order, the one of rank
    floor(u (N - k)) is taken: exact, uniform, without rejection, one binary search per number.

    Args:
        free: the free entities of the b positives (``FilterIndex.free``).
        replaces_tail: [b, n] bool, True where the corruption replaces the tail.
        uniform: [b, n] in [0, 1), in the device's widest float: float32 has 2^24 values, too few to
            draw from more entities uniformly.

    Returns:
        [b, n] entity ids. A query that every entity answers yields the last entity.
    """

    # [2, b] per side to [b, n] per corruption
    def of_side(sides: Tensor) -> Tensor:
        return torch.where(replaces_tail, sides[0, :, None], sides[1, :, None])

    rank = (uniform * of_side((free.n_entities - free.counts).clamp_(min=1))).long()
    before = torch.searchsorted(free.gaps, of_side(free.base) + rank, right=True)
    drawn: Tensor = rank.add_(before.sub_(of_side(free.start)))
    return drawn.clamp_(max=free.n_entities - 1)


@draw_free.register("numba")
def _draw_free_numba(free: Free, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
    out = torch.empty_like(uniform, dtype=torch.long)
    threads.over(
        threads.even_parts(len(uniform), uniform.numel()), loops("draws").draw_free,
        (free.n_entities, *arrays(*free[1:])), *arrays(replaces_tail, uniform), out.numpy(),
    )  # fmt: skip
    return out
