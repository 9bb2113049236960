"""Cosines of vectors that are gated by the relation (MMRNS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.compiled import arrays, loops, widest

__all__ = ["SHORTEST", "Gated", "gated_cosines"]

SHORTEST = 1e-12
"""Least length of a vector in a cosine, as in ``torch.nn.functional.normalize``."""


class Gated(NamedTuple):
    """Vectors x * sigmoid(a + bias).

    Attributes:
        vectors: x, [n, w]; they get no gradient.
        logits: a, [n, w], or [g, n, w] for g groups.
    """

    vectors: Tensor
    logits: Tensor


@kernel
def gated_cosines(left: Gated, right: Gated, sizes: Sequence[int], bias: Tensor) -> Tensor:
    """Return the cosines of gated vectors, differentiably.

    The left vectors come in g groups, which lie side by side; right vectors have logits for each.
    A vector shorter than ``SHORTEST`` is divided by that.

    Args:
        left: b vectors, logits [b, w].
        right: n vectors, logits [g, n, w].
        sizes: g numbers of left vectors, b in all.
        bias: [w], of either's logits.

    Returns:
        [b, n], float32 at least, also under autocast.

    Raises:
        ValueError: shapes that do not go together.
    """
    _check(left, right, sizes, bias)
    dtype = widest(*left, *right, bias)
    left, right = (Gated(*(x.to(dtype) for x in side)) for side in (left, right))
    bias = bias.to(dtype)

    def unit(vectors: Tensor, logits: Tensor) -> Tensor:
        gated = vectors.detach() * (logits + bias).sigmoid()
        return torch.nn.functional.normalize(gated, dim=1, eps=SHORTEST)

    with torch.autocast(bias.device.type, enabled=False):
        groups = unit(*left).split(list(sizes))
        cosines = [
            group @ unit(right.vectors, logits).T
            for group, logits in zip(groups, right.logits, strict=True)
        ]
        return torch.cat(cosines)


def _check(left: Gated, right: Gated, sizes: Sequence[int], bias: Tensor) -> None:
    fit = (
        left.logits.shape == left.vectors.shape
        and sum(sizes) == len(left.vectors)
        and right.logits.shape == (len(sizes), *right.vectors.shape)
        and left.vectors.shape[1:] == right.vectors.shape[1:] == bias.shape
    )
    if not fit or not sizes:
        shapes = [tuple(x.shape) for x in (*left, *right, bias)]
        raise ValueError(f"gated cosines of {shapes} in groups of {list(sizes)}")


@gated_cosines.register("chunked")
def _gated_cosines_chunked(left: Gated, right: Gated, sizes: Sequence[int], bias: Tensor) -> Tensor:
    """Logits alone are kept for the backward pass."""
    definition = gated_cosines.reference
    cosines: Tensor = checkpoint(definition, left, right, sizes, bias, use_reentrant=False)
    return cosines


@gated_cosines.register("numba")
def _gated_cosines_numba(left: Gated, right: Gated, sizes: Sequence[int], bias: Tensor) -> Tensor:
    """Logits alone are kept for the backward pass; float64 is left to torch."""
    if widest(*left, *right, bias) != torch.float32:
        return gated_cosines.reference(left, right, sizes, bias)
    _check(left, right, sizes, bias)
    indptr = torch.tensor([0, *sizes]).cumsum(0)
    ready = [x.float().contiguous() for x in (*left, *right, bias)]
    cosines: Tensor = _GatedCosines.apply(indptr, *ready)  # type: ignore[no-untyped-call]
    return cosines


class _GatedCosines(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, indptr: Tensor, x: Tensor, a: Tensor, others: Tensor, logits: Tensor, bias: Tensor
    ) -> Tensor:
        module = loops("gated")
        left = torch.empty_like(x), torch.empty_like(x), x.new_empty(len(x))
        threads.over(
            threads.even_parts(len(x), x.numel()), module.gate,
            *arrays(x, a, bias), arrays(*left),
        )  # fmt: skip
        cosines = x.new_empty(len(x), len(others))
        tiles = len(logits) * -(-len(others) // module.ROWS)
        threads.over(
            threads.even_parts(tiles, logits.numel() + x.numel() * len(others)),
            module.gated_cosines,
            arrays(*left), *arrays(indptr), arrays(others, logits), *arrays(bias, cosines),
        )  # fmt: skip
        ctx.save_for_backward(indptr, *left, others, logits, bias, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        indptr, *left, others, logits, bias, cosines = ctx.saved_tensors
        module, vectors = loops("gated"), left[0]
        blocks = -(-len(others) // (module.ROWS * module.TILES))
        to_right = torch.empty_like(logits)
        to_vectors = vectors.new_zeros(blocks, *vectors.shape)
        along = vectors.new_zeros(blocks, len(vectors))
        to_bias = vectors.new_zeros(len(logits) * blocks, len(bias))
        threads.over(
            threads.even_parts(len(to_bias), logits.numel() + vectors.numel() * len(others)),
            module.gated_gradient,
            arrays(*left), *arrays(indptr), arrays(others, logits),
            *arrays(bias, cosines, gradient), arrays(to_vectors, along),
            *arrays(to_right, to_bias),
        )  # fmt: skip
        to_left, bias_gradient = torch.empty_like(vectors), to_bias.sum(0)
        module.gate_gradient(
            arrays(*left), *arrays(along.sum(0), to_vectors.sum(0), to_left, bias_gradient),
            0, len(vectors),
        )  # fmt: skip
        return None, None, to_left, None, to_right, bias_gradient
