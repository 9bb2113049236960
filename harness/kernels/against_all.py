"""1-vs-all losses over all rows of a table, without a [queries, rows] tensor.

Queries are scored in blocks. The forward pass computes a block's loss and gradients and then drops
its scores: three matrix products per block, as many as with all scores in memory. Scores are inner
products; they and their gradients have the type of autocast, or else of the arguments. Losses are
float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from harness.index import Pairs
from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.compiled import arrays, loops

__all__ = ["SCORES_AT_ONCE", "binary_loss", "softmax_gradient", "softmax_loss"]

SCORES_AT_ONCE = 2**23
"""Number of scores of a block (32 MiB in float32)."""

Block = Callable[[Tensor, int, int], tuple[Tensor, Tensor]]
"""Given the scores [high - low, n] of queries low:high, which it may overwrite, returns their
summed loss and their gradients in the same type."""


def softmax_loss(
    query: Tensor, table: Tensor, targets: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """Return the softmax cross entropy over all rows (1-vs-all), averaged over queries.

    Lacroix et al., Canonical Tensor Decomposition for Knowledge Base Completion (2018), Eq. 6. With
    label smoothing e the target distribution is ``(1 - e) one_hot(target) + e / n`` (Szegedy et
    al., Rethinking the Inception Architecture, 2016), as in ``torch.nn.functional.cross_entropy``.

    Args:
        query: [q, w].
        table: [n, w].
        targets: [q] rows of the true answers.
        smoothing: e, in [0, 1).
    """

    def block(scores: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
        return softmax_gradient(scores, targets[low:high], smoothing)

    return _loss(query, table, block) / max(1, len(query))


@kernel
def softmax_gradient(scores: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Compute the cross entropy of ``softmax_loss``, summed over queries, and its gradients.

    Args:
        scores: [q, n], may be overwritten.
        targets: [q] columns of the true answers.
        smoothing: e, in [0, 1).

    Returns:
        the loss, float32, and the gradients [q, n] in the type of the scores.

    Raises:
        ValueError: not as many targets as rows.
    """
    _check_targets(scores, targets)
    share, rows = 1.0 - smoothing, targets[:, None]
    gradient = scores.float()
    largest, target = gradient.amax(1, keepdim=True), gradient.gather(1, rows)
    if smoothing:
        target = share * target + smoothing * gradient.mean(1, keepdim=True)
    torch.softmax(gradient, 1, out=gradient)
    # log sum exp(scores) from the largest probability, at least 1 / n: log never underflows.
    total = largest - gradient.amax(1, keepdim=True).log()
    # ``gradient`` holds the softmax: subtract the target distribution.
    if smoothing:
        gradient.sub_(smoothing / gradient.shape[1])
    gradient.scatter_add_(1, rows, gradient.new_full((len(rows), 1), -share))
    return (total - target).sum(), gradient.to(scores.dtype)


def _check_targets(scores: Tensor, targets: Tensor) -> None:
    if targets.shape != scores.shape[:1]:
        raise ValueError(f"scores of {tuple(scores.shape)} and targets of {tuple(targets.shape)}")


@softmax_gradient.register("numba")
def _softmax_gradient_numba(
    scores: Tensor, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Overwrite bfloat16 scores row by row, computing in float32; torch computes other types."""
    _check_targets(scores, targets)
    in_range = (targets >= 0) & (targets < scores.shape[1])
    if scores.dtype != torch.bfloat16 or not in_range.all():  # torch has an error for these
        return softmax_gradient.reference(scores, targets, smoothing)
    scores = scores.contiguous()
    losses = scores.new_empty(len(scores), dtype=torch.float32)
    threads.over(
        threads.even_parts(len(scores), scores.numel()), loops("softmax").replace,
        *arrays(scores.view(torch.int16), targets, losses), smoothing,
    )  # fmt: skip
    return losses.sum(), scores


def binary_loss(
    query: Tensor, table: Tensor, answers: Pairs, *, smoothing: float = 0.0, offset: float = 0.0
) -> Tensor:
    """Return the binary cross entropy over all rows (k-vs-all), averaged over queries and rows.

    Dettmers et al., Convolutional 2D Knowledge Graph Embeddings (2018), section 5: the label of an
    answer is ``1 - smoothing + 1 / n`` and that of any other row ``1 / n``; 1 and 0 without
    smoothing.

    Args:
        query: [q, w].
        table: [n, w].
        answers: the rows that answer each query.
        smoothing: label smoothing, in [0, 1).
        offset: added to every score.
    """
    n = len(table)
    floor = 1.0 / n if smoothing else 0.0
    indptr = answers.indptr.tolist()

    def block(scores: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
        rows = answers.indices[indptr[low] : indptr[high]]
        query_ids = torch.repeat_interleave(answers.sizes[low:high], output_size=len(rows))
        gradient = scores.float()
        if offset:
            gradient.add_(offset)
        loss = softplus(gradient).sum() - (1.0 - smoothing) * gradient[query_ids, rows].sum()
        if floor:
            loss = loss - floor * gradient.sum()
        gradient.sigmoid_()
        if floor:
            gradient.sub_(floor)
        answer = gradient.new_full((), smoothing - 1.0)  # new_tensor would wait for a copy
        gradient.index_put_((query_ids, rows), answer, accumulate=True)
        return loss, gradient.to(scores.dtype)

    return _loss(query, table, block) / max(1, len(query) * n)


def _loss(query: Tensor, table: Tensor, block: Block) -> Tensor:
    loss: Tensor = _AgainstAll.apply(query, table, block)  # type: ignore[no-untyped-call]
    return loss


class _AgainstAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, table: Tensor, block: Block) -> Tensor:
        device = query.device.type
        dtype = torch.promote_types(query.dtype, table.dtype)
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        at_once = max(1, SCORES_AT_ONCE // max(1, len(table)))
        loss = torch.zeros((), device=query.device)
        to_query = torch.empty(query.shape, device=query.device) if query.requires_grad else None
        to_table = torch.zeros(table.shape, device=table.device) if table.requires_grad else None
        # Cast once, not once per block and product as autocast would.
        query, table = query.to(dtype), table.to(dtype)
        with torch.autocast(device, enabled=False):
            for low in range(0, len(query), at_once):
                rows = query[low : low + at_once]
                block_loss, gradient = block(rows @ table.T, low, low + len(rows))
                loss += block_loss
                if to_query is not None:
                    to_query[low : low + at_once] = gradient @ table
                if to_table is not None:
                    _add_product(to_table, gradient, rows)
        ctx.save_for_backward(to_query, to_table)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        to_query, to_table = ctx.saved_tensors
        return (
            None if to_query is None else to_query.mul_(outer),
            None if to_table is None else to_table.mul_(outer),
            None,
        )


def _add_product(total: Tensor, gradient: Tensor, query: Tensor) -> None:
    """Add ``gradient.T @ query`` to ``total``, without a copy where the product has its type."""
    if query.dtype == total.dtype:
        total.addmm_(gradient.T, query)
    else:
        total += gradient.T @ query
