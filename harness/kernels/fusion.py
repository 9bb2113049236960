"""Candidates fused from modality embeddings, with weights that depend on the query (NativE).

Query i, of temperature t_i, is compared with candidate c, of embeddings e_cm and logits a_cm, as

    sum over m of softmax_m(t_i a_cm) e_cm,

NativE's relation-guided fusion, where t = 1 / sigmoid(gate of the relation). CPUs fuse a candidate
while they score it; accelerators fuse in chunks, and again in the backward pass. No [pairs, width]
tensor is stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.index import Pairs
from harness.kernels import _threads as threads
from harness.kernels.compiled import array, arrays, check_pairs, grouped_by_row, loops, widest

__all__ = ["HIDDEN", "FusedTable", "score_fused_pairs"]

HIDDEN = -1e30
"""Logit of a modality that a candidate lacks. Finite, as minus infinity times a temperature would
have a NaN gradient."""


class FusedTable(NamedTuple):
    """A table whose rows are fused for each query.

    Attributes:
        embeddings: [n, M w], the M modality embeddings of each candidate concatenated.
        logits: [n, M]; ``HIDDEN`` excludes a modality.
        temperature: [q], positive.
    """

    embeddings: Tensor
    logits: Tensor
    temperature: Tensor

    def rows(self, rows: Tensor, temperature: Tensor) -> Tensor:
        """Return fused candidates [p, w], given the row and the temperature of each, both [p]."""
        weights = (self.logits[rows] * temperature[:, None]).softmax(1)
        embeddings = self.embeddings[rows].view(len(rows), weights.shape[1], -1)
        return torch.einsum("pm,pmw->pw", weights, embeddings)

    def at(self, temperature: Tensor) -> Tensor:
        """Return all candidates [n, w], fused at one temperature, a scalar tensor."""
        rows = torch.arange(len(self.embeddings), device=self.embeddings.device)
        return self.rows(rows, temperature.expand(len(rows)))


def score_fused_pairs(op: str, query: Tensor, table: FusedTable, pairs: Pairs) -> Tensor:
    """Score listed pairs [p] of a fused table with compiled loops, as ``score_pairs`` on CPUs.

    Raises:
        ValueError: shapes do not match.
        IndexError: a row is not in the table, or the number of queries is wrong.
    """
    modalities, width = table.logits.shape[1], query.shape[1]
    if table.embeddings.shape != (len(table.logits), modalities * width):
        raise ValueError(
            f"embeddings {tuple(table.embeddings.shape)} are not {modalities} of query's width "
            f"{width}"
        )
    if table.temperature.shape != (len(query),):
        raise ValueError(f"temperature {tuple(table.temperature.shape)}: one per query")
    check_pairs(pairs, len(query), len(table.embeddings))
    dtype = widest(query, table.embeddings)
    vectors = (tensor.to(dtype).contiguous() for tensor in (query, *table))
    scores: Tensor = _FusedPairs.apply(op, *vectors, *pairs)  # type: ignore[no-untyped-call]
    return scores


class _FusedPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: str, query: Tensor, *table_and_pairs: Tensor) -> Tensor:
        *table, indptr, indices = table_and_pairs
        ctx.op = op
        ctx.save_for_backward(query, *table, indptr, indices)
        module, out = loops("fusion"), query.new_empty(len(indices))
        work = table[0].shape[1]
        threads.over(
            threads.parts_by_work(array(indptr), work), module.fused_scores,
            loops("pairs").CODES[op], array(query), arrays(*table), arrays(indptr, indices),
            out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, *table, indptr, indices = ctx.saved_tensors
        embeddings, logits, temperature = table
        module, code, work = loops("fusion"), loops("pairs").CODES[ctx.op], 2 * embeddings.shape[1]
        vectors, outer = (array(query), arrays(*table)), array(gradient)
        to_query, to_temperature = torch.zeros_like(query), torch.zeros_like(temperature)
        threads.over(
            threads.parts_by_work(array(indptr), work), module.fused_query_gradient, code,
            *vectors, arrays(indptr, indices), outer, to_query.numpy(), to_temperature.numpy(),
        )  # fmt: skip
        to_embeddings, to_logits = torch.empty_like(embeddings), torch.empty_like(logits)
        by_row = grouped_by_row(Pairs(indptr, indices), len(embeddings))
        threads.over(
            threads.parts_by_work(by_row[0], work), module.fused_table_gradient, code,
            *vectors, by_row, outer, to_embeddings.numpy(), to_logits.numpy(),
        )  # fmt: skip
        return None, to_query, to_embeddings, to_logits, to_temperature, None, None
