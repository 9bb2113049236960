"""Cosine similarities of vectors gated by the relation (MMRNS)."""

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
"""Minimum length by which a cosine divides, as in ``torch.nn.functional.normalize``."""


class Gated(NamedTuple):
    """Vectors x * sigmoid(a + bias).

    Attributes:
        vectors: x [n, w], without a gradient.
        logits: a [n, w], or [g, n, w] for g groups of answers.
    """

    vectors: Tensor
    logits: Tensor


@kernel
def gated_cosines(answers: Gated, candidates: Gated, sizes: Sequence[int], bias: Tensor) -> Tensor:
    """Return the cosine similarities of gated answers and candidates; differentiable.

    Answers lie in g successive groups (relations); candidates have other logits for each group.
    Vectors shorter than ``SHORTEST`` are divided by it.

    Args:
        answers: b vectors, logits [b, w].
        candidates: n vectors, logits [g, n, w].
        sizes: number of answers of each group, b in all.
        bias: [w], added to all logits.

    Returns:
        [b, n], at least float32, also under autocast.

    Raises:
        ValueError: shapes do not match.
    """
    _check(answers, candidates, sizes, bias)
    dtype = widest(*answers, *candidates, bias)
    answers, candidates = (Gated(*(x.to(dtype) for x in side)) for side in (answers, candidates))
    bias = bias.to(dtype)

    def unit(vectors: Tensor, logits: Tensor) -> Tensor:
        gated = vectors.detach() * (logits + bias).sigmoid()
        return torch.nn.functional.normalize(gated, dim=1, eps=SHORTEST)

    with torch.autocast(bias.device.type, enabled=False):
        groups = unit(*answers).split(list(sizes))
        cosines = [
            group @ unit(candidates.vectors, logits).T
            for group, logits in zip(groups, candidates.logits, strict=True)
        ]
        return torch.cat(cosines)


def _check(answers: Gated, candidates: Gated, sizes: Sequence[int], bias: Tensor) -> None:
    fits = (
        answers.logits.shape == answers.vectors.shape
        and sum(sizes) == len(answers.vectors)
        and candidates.logits.shape == (len(sizes), *candidates.vectors.shape)
        and answers.vectors.shape[1:] == candidates.vectors.shape[1:] == bias.shape
    )
    if not fits or not sizes:
        shapes = [tuple(x.shape) for x in (*answers, *candidates, bias)]
        raise ValueError(f"gated cosines of {shapes} in groups of {list(sizes)}")


@gated_cosines.register("chunked")
def _gated_cosines_chunked(
    answers: Gated, candidates: Gated, sizes: Sequence[int], bias: Tensor
) -> Tensor:
    """Save the arguments alone for the backward pass, which computes the cosines again."""
    definition = gated_cosines.reference
    cosines: Tensor = checkpoint(definition, answers, candidates, sizes, bias, use_reentrant=False)
    return cosines


@gated_cosines.register("numba")
def _gated_cosines_numba(
    answers: Gated, candidates: Gated, sizes: Sequence[int], bias: Tensor
) -> Tensor:
    """Gate candidates tile by tile, in the backward pass again; torch computes float64."""
    if widest(*answers, *candidates, bias) != torch.float32:
        return gated_cosines.reference(answers, candidates, sizes, bias)
    _check(answers, candidates, sizes, bias)
    indptr = torch.tensor([0, *sizes]).cumsum(0)
    ready = [x.float().contiguous() for x in (*answers, *candidates, bias)]
    cosines: Tensor = _GatedCosines.apply(indptr, *ready)  # type: ignore[no-untyped-call]
    return cosines


class _GatedCosines(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, indptr: Tensor, x: Tensor, a: Tensor, pool: Tensor, logits: Tensor, bias: Tensor
    ) -> Tensor:
        module = loops("gated")
        answers = torch.empty_like(x), torch.empty_like(x), x.new_empty(len(x))
        threads.over(
            threads.even_parts(len(x), x.numel()), module.gate,
            *arrays(x, a, bias), arrays(*answers),
        )  # fmt: skip
        cosines = x.new_empty(len(x), len(pool))
        tiles = len(logits) * -(-len(pool) // module.ROWS)
        threads.over(
            threads.even_parts(tiles, logits.numel() + x.numel() * len(pool)),
            module.gated_cosines,
            arrays(*answers), *arrays(indptr), arrays(pool, logits), *arrays(bias, cosines),
        )  # fmt: skip
        ctx.save_for_backward(indptr, *answers, pool, logits, bias, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        indptr, *answers, pool, logits, bias, cosines = ctx.saved_tensors
        module, vectors = loops("gated"), answers[0]
        blocks = -(-len(pool) // (module.ROWS * module.TILES))
        to_logits = torch.empty_like(logits)
        to_vectors = vectors.new_zeros(blocks, *vectors.shape)
        along = vectors.new_zeros(blocks, len(vectors))
        to_bias = vectors.new_zeros(len(logits) * blocks, len(bias))
        threads.over(
            threads.even_parts(len(to_bias), logits.numel() + vectors.numel() * len(pool)),
            module.gated_gradient,
            arrays(*answers), *arrays(indptr), arrays(pool, logits),
            *arrays(bias, cosines, gradient), arrays(to_vectors, along),
            *arrays(to_logits, to_bias),
        )  # fmt: skip
        to_answers, bias_gradient = torch.empty_like(vectors), to_bias.sum(0)
        module.gate_gradient(
            arrays(*answers), *arrays(along.sum(0), to_vectors.sum(0), to_answers, bias_gradient),
            0, len(vectors),
        )  # fmt: skip
        return None, None, to_answers, None, to_logits, bias_gradient
