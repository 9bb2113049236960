"""Attention logits over modality embeddings (NativE, AdaMF)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.compiled import arrays, loops, widest

__all__ = ["tanh_dot"]


@kernel
def tanh_dot(x: Tensor, query: Tensor) -> Tensor:
    """Return attention logits, sum_k tanh(x_k) query_k; differentiable.

    Args:
        x: [..., d] vectors.
        query: [d].

    Returns:
        [...], at least float32, also under autocast.
    """
    dtype = widest(x, query)
    with torch.autocast(x.device.type, enabled=False):
        return x.to(dtype).tanh() @ query.to(dtype)


@tanh_dot.register("numba")
def _tanh_dot_numba(x: Tensor, query: Tensor) -> Tensor:
    """Save the arguments alone for the backward pass; torch computes float64."""
    if widest(x, query) != torch.float32:
        return tanh_dot.reference(x, query)
    rows = x.float().reshape(-1, x.shape[-1])
    logits: Tensor = _TanhDot.apply(rows.contiguous(), query.float().contiguous())  # type: ignore[no-untyped-call]
    return logits.view(x.shape[:-1])


class _TanhDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, query: Tensor) -> Tensor:
        ctx.save_for_backward(x, query)
        out = x.new_empty(len(x))
        threads.over(
            threads.even_parts(len(x), x.numel()), loops("attention").tanh_dot,
            *arrays(x, query), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, query = ctx.saved_tensors
        module = loops("attention")
        blocks = -(-len(x) // module.ROWS)
        # One row of to_query per block, summed in a fixed order whatever the number of threads.
        to_x, to_query = torch.empty_like(x), x.new_zeros(blocks, x.shape[1])
        threads.over(
            threads.even_parts(blocks, x.numel()), module.tanh_dot_gradient,
            *arrays(x, query, gradient), to_x.numpy(), to_query.numpy(),
        )  # fmt: skip
        return to_x, to_query.sum(0)
