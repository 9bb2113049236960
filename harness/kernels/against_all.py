"""1-vs-all losses over all rows of a table, without a [queries, rows] tensor.

Queries are scored in blocks. The forward pass computes a block's loss and gradients and then drops
its scores: three matrix products per block, as many as with all scores in memory. Scores are inner
products; the products follow autocast, everything else is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from harness.index import Pairs

__all__ = ["SCORES_AT_ONCE", "binary_loss", "softmax_loss"]

SCORES_AT_ONCE = 2**23
"""Number of scores of a block (32 MiB in float32)."""

Block = Callable[[Tensor, int, int], Tensor]
"""Given the scores [high - low, n] of queries low:high, overwrites them with their gradients and
returns their summed loss."""


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
    share = 1.0 - smoothing

    def block(scores: Tensor, low: int, high: int) -> Tensor:
        rows = targets[low:high, None]
        largest, target = scores.amax(1, keepdim=True), scores.gather(1, rows)
        if smoothing:
            target = share * target + smoothing * scores.mean(1, keepdim=True)
        torch.softmax(scores, 1, out=scores)
        # log sum exp(scores) from the largest probability, at least 1 / n: log never underflows.
        total = largest - scores.amax(1, keepdim=True).log()
        # ``scores`` holds the softmax: subtract the target distribution to get the gradient.
        if smoothing:
            scores.sub_(smoothing / scores.shape[1])
        scores.scatter_add_(1, rows, scores.new_full((len(rows), 1), -share))
        return (total - target).sum()

    return _loss(query, table, block) / max(1, len(query))


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

    def block(scores: Tensor, low: int, high: int) -> Tensor:
        rows = answers.indices[indptr[low] : indptr[high]]
        query_ids = torch.repeat_interleave(answers.sizes[low:high], output_size=len(rows))
        if offset:
            scores.add_(offset)
        loss = softplus(scores).sum() - (1.0 - smoothing) * scores[query_ids, rows].sum()
        if floor:
            loss = loss - floor * scores.sum()
        scores.sigmoid_()
        if floor:
            scores.sub_(floor)
        scores.index_put_((query_ids, rows), scores.new_tensor(smoothing - 1.0), accumulate=True)
        return loss

    return _loss(query, table, block) / max(1, len(query) * n)


def _loss(query: Tensor, table: Tensor, block: Block) -> Tensor:
    loss: Tensor = _AgainstAll.apply(query, table, block)  # type: ignore[no-untyped-call]
    return loss


class _AgainstAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, table: Tensor, block: Block) -> Tensor:
        at_once = max(1, SCORES_AT_ONCE // max(1, len(table)))
        loss = torch.zeros((), device=query.device)
        to_query = torch.empty(query.shape, device=query.device) if query.requires_grad else None
        to_table = torch.zeros(table.shape, device=table.device) if table.requires_grad else None
        for low in range(0, len(query), at_once):
            rows = query[low : low + at_once]
            gradient = (rows @ table.T).float()
            loss += block(gradient, low, low + len(rows))
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
    """Add ``gradient.T @ query`` to ``total``, without a copy where the product is fp32."""
    if torch.is_autocast_enabled(total.device.type) or query.dtype != total.dtype:
        total += gradient.T @ query
    else:
        total.addmm_(gradient.T, query)
