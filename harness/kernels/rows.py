"""Rows of a table, with a gradient that costs what it touches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

__all__ = ["anchors_apart", "rows_of", "sparse_rows"]


def rows_of(table: Tensor, ids: Tensor) -> Tensor:
    """Return ``table[ids]``; its gradient is dense, or sparse after ``sparse_rows(table)``.

    Args:
        table: [n, width].
        ids: [...] rows.
    """
    return embedding(ids, table, sparse=getattr(table, "sparse_rows", False))


def sparse_rows(parameter: Tensor) -> None:
    """Let the gradient of ``rows_of(parameter, ids)`` be sparse, for an optimiser that is lazy."""
    parameter.sparse_rows = True  # type: ignore[attr-defined]


def anchors_apart(table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``table[ids]``, and the table for candidates.

    The gradient of ``table[ids]`` alone is a tensor of the table's size that is nearly all zero. On
    CPUs, where filling and adding it takes longer than scoring, it is added to the gradient that
    the candidates give the same table instead, in place: so the table that is returned must be
    given to the kernels alone, whose gradients belong to nobody else.

    Args:
        table: [n, width].
        ids: [q] rows.
    """
    if table.device.type != "cpu":
        return embedding(ids, table), table
    rows, candidates = _Apart.apply(table, ids)  # type: ignore[no-untyped-call]
    return rows, candidates


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.rows = len(table)
        ctx.set_materialize_grads(False)
        return table.index_select(0, ids), table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_rows: Tensor | None, of_table: Tensor | None
    ) -> tuple[Tensor | None, None]:
        (ids,) = ctx.saved_tensors
        if of_rows is None:
            return of_table, None
        if of_table is None:
            of_table = of_rows.new_zeros(ctx.rows, of_rows.shape[1])
        return of_table.index_add_(0, ids, of_rows.to(of_table.dtype)), None
