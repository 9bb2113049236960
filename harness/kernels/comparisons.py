"""Scores of listed pairs and of all pairs of queries and the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from harness.index import Pairs
from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.compiled import (
    Array,
    array,
    arrays,
    check_pairs,
    grouped_by_row,
    loops,
    widest,
)
from harness.kernels.fusion import FusedTable, score_fused_pairs

__all__ = [
    "BLOCK_BYTES",
    "CHUNK_BYTES",
    "NOT_COMPILED",
    "Op",
    "VectorComparison",
    "Vectors",
    "compare",
    "prepared",
    "rows_at_once",
    "score_all",
    "score_pairs",
    "score_tiles",
    "tile_arrays",
    "tile_parts",
]

Op = Literal["dot", "l1", "l2", "modulus"]

NOT_COMPILED: frozenset[Op] = frozenset({"l2"})
"""Comparisons without a compiled loop, as models rarely use them; CPUs compute them in chunks."""

CHUNK_BYTES = 256 * 2**20
"""Size of one [pairs, width] intermediate when pairs are scored in chunks, in bytes."""

BLOCK_BYTES = 64 * 2**20
"""Size of a block of scores, or of listed pairs, that a compiled version needs, in bytes."""


class VectorComparison(NamedTuple):
    """A comparison of q queries with the n rows of a table: scores weight * op(query, scale * row).

    Attributes:
        op: "dot" (inner product), "l1" (negative sum of absolute differences), "l2" (negative
            Euclidean norm of the difference) or "modulus" (negative sum of the complex moduli of
            the difference; the first half of a vector are the real parts).
        query: [q, w].
        table: [n, w], or rows that are fused for each query; a fused table has no scale.
        scale: [q, w], multiplied into the rows, or None.
        weight: factor of the scores.
    """

    op: Op
    query: Tensor
    table: Tensor | FusedTable
    scale: Tensor | None = None
    weight: float = 1.0

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        table = self.table
        return len(table.embeddings if isinstance(table, FusedTable) else table)

    def of_queries(self, low: int, high: int) -> VectorComparison:
        """Return the comparison of queries low:high."""
        return self._select(slice(low, high))

    def _select(self, queries: slice | Tensor) -> VectorComparison:
        table, scale = self.table, self.scale
        if isinstance(table, FusedTable):
            table = table._replace(temperature=table.temperature[queries])
        scale = None if scale is None else scale[queries]
        return self._replace(query=self.query[queries], table=table, scale=scale)

    def with_plain_table(self) -> VectorComparison:
        """Return the comparison with its table fused to [n, w]; all queries share a temperature."""
        if not isinstance(self.table, FusedTable):
            return self
        return self._replace(table=self.table.at(self.table.temperature[0]))

    def by_temperature(self) -> Iterator[tuple[VectorComparison, Tensor]]:
        """Yield a comparison with a plain table per temperature, and the ids [k] of its queries."""
        assert isinstance(self.table, FusedTable)
        values, group = torch.unique(self.table.temperature, return_inverse=True)
        for number in range(len(values)):
            queries = (group == number).nonzero()[:, 0]
            yield self._select(queries).with_plain_table(), queries

    def weighted(self, scores: Tensor) -> Tensor:
        """Multiply scores by the weight."""
        return scores if self.weight == 1.0 else scores * self.weight


def compare(op: str, query: Tensor, candidate: Tensor) -> Tensor:
    """Return the score ``op`` of vectors along the last axis; see ``VectorComparison.op``."""
    if op == "dot":
        return (query * candidate).sum(-1)
    difference = query - candidate
    if op == "l1":
        return -difference.abs().sum(-1)
    if op == "l2":
        # vector_norm has gradient 0 at 0; sqrt of a sum would have NaN.
        norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return -norm
    real, imaginary = difference.chunk(2, -1)
    square = real * real + imaginary * imaginary
    # "where" inside and outside the root: the gradient at 0 is 0 instead of NaN, and NaN inputs
    # still give NaN.
    zero = square == 0
    return -torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt()).sum(-1)


# --- listed pairs -----------------------------------------------------------------------------


@kernel
def score_pairs(comparison: VectorComparison, pairs: Pairs) -> Tensor:
    """Score listed pairs of a query and a row; differentiable.

    Args:
        comparison: of q queries and n rows.
        pairs: the rows that each query is compared with, p in all.

    Returns:
        [p] scores; CPUs score half precision in float32.

    Raises:
        ValueError: shapes do not match.
        IndexError: a listed row is not in the table, or the pairs do not have q queries.
    """
    return comparison.weighted(_score_listed(comparison, pairs.query_ids, pairs.indices))


def _score_listed(comparison: VectorComparison, query_ids: Tensor, rows: Tensor) -> Tensor:
    """Return the scores [p] of pairs without the weight, given the query and row of each pair."""
    op, query, table, scale, _ = comparison
    if isinstance(table, FusedTable):
        candidates = table.rows(rows, table.temperature[query_ids])
    else:
        candidates = table[rows]
    if scale is not None:
        candidates = candidates * scale[query_ids]
    return compare(op, query[query_ids], candidates)


@score_pairs.register("chunked")
def _score_pairs_chunked(comparison: VectorComparison, pairs: Pairs) -> Tensor:
    """Score chunks with intermediates below ``CHUNK_BYTES``, recomputed in the backward pass."""
    table = comparison.table
    vectors = table.embeddings if isinstance(table, FusedTable) else comparison.query
    at_once = rows_at_once(vectors.shape[1] * vectors.element_size())
    scores = [
        checkpoint(_score_listed, comparison, query_ids, rows, use_reentrant=False)
        for query_ids, rows in zip(
            pairs.query_ids.split(at_once), pairs.indices.split(at_once), strict=True
        )
    ]
    return comparison.weighted(torch.cat(scores))


def rows_at_once(bytes_per_row: int) -> int:
    """Return the number of rows of a chunk within ``CHUNK_BYTES``, at least 1."""
    return max(1, CHUNK_BYTES // max(1, bytes_per_row))


@score_pairs.register("numba")
def _score_pairs_numba(comparison: VectorComparison, pairs: Pairs) -> Tensor:
    """Read each row once; the backward pass compares again, first by query, then by row."""
    op, query, table, *_ = comparison
    if op in NOT_COMPILED:
        return _score_pairs_chunked(comparison, pairs)
    if isinstance(table, FusedTable):
        return comparison.weighted(score_fused_pairs(op, query, table, pairs))
    vectors = prepared(comparison)
    check_pairs(pairs, len(vectors[0]), len(vectors[1]))
    scores: Tensor = _ScorePairs.apply(op, *vectors, *pairs)  # type: ignore[no-untyped-call]
    return comparison.weighted(scores)


Vectors = tuple[Tensor, Tensor, Tensor | None]
"""Query [q, w], table [n, w] and scale [q, w] or None, contiguous and of one dtype."""


def prepared(comparison: VectorComparison) -> Vectors:
    """Return contiguous inputs in float32 or float64; "dot" multiplies its scale into the query.

    Raises:
        ValueError: the shapes do not fit.
    """
    op, query, table, scale, _ = comparison
    assert isinstance(table, Tensor)
    if query.ndim != 2 or table.ndim != 2 or query.shape[1] != table.shape[1]:
        raise ValueError(f"query {tuple(query.shape)} and table {tuple(table.shape)} do not fit")
    if scale is not None and scale.shape != query.shape:
        raise ValueError(f"scale {tuple(scale.shape)} is not like query {tuple(query.shape)}")
    if op == "modulus" and query.shape[1] % 2:
        raise ValueError(f"width {query.shape[1]} is odd: there is no imaginary half")
    dtype = widest(query, table)
    query, table = query.to(dtype).contiguous(), table.to(dtype).contiguous()
    scale = None if scale is None else scale.to(dtype).contiguous()
    if op == "dot" and scale is not None:
        return query * scale, table, None
    return query, table, scale


class _ScorePairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, op: Op, query: Tensor, table: Tensor, scale: Tensor | None, *pairs: Tensor
    ) -> Tensor:
        ctx.op = op
        ctx.save_for_backward(query, table, scale, *pairs)
        indptr, indices = arrays(*pairs)
        module, out = loops("pairs"), query.new_empty(len(indices))
        threads.over(
            threads.parts_by_work(indptr, query.shape[1]), module.pair_scores, module.CODES[op],
            _vector_arrays((query, table, scale)), (indptr, indices), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *vectors, indptr, indices = ctx.saved_tensors
        _, query, table, scale, *_ = ctx.needs_input_grad
        to_query, to_table, to_scale = _pair_gradients(
            ctx.op, tuple(vectors), Pairs(indptr, indices), gradient,
            per_query=query or scale, per_row=table,
        )  # fmt: skip
        return None, to_query, to_table, to_scale, None, None


def _pair_gradients(
    op: Op, vectors: Vectors, pairs: Pairs, gradient: Tensor, *, per_query: bool, per_row: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of query, table and scale, each None unless requested.

    The gradients of query and scale sum over the pairs of a query, that of the table over the pairs
    of a row, so each output has one thread that writes it.
    """
    module = loops("pairs")
    code, width = module.CODES[op], vectors[0].shape[1]
    query, table, scale = vectors
    inputs, outer = _vector_arrays(vectors), array(gradient)
    to_query = to_table = to_scale = None
    if per_query:
        listed = arrays(*pairs)
        to_query = torch.zeros_like(query)
        to_scale = None if scale is None else torch.zeros_like(scale)
        threads.over(
            threads.parts_by_work(listed[0], width), module.query_gradient, code, inputs, listed,
            outer, to_query.numpy(), None if to_scale is None else to_scale.numpy(),
        )  # fmt: skip
    if per_row:
        to_table = torch.empty_like(table)
        by_row = grouped_by_row(pairs, len(table))
        threads.over(
            threads.parts_by_work(by_row[0], width), module.table_gradient, code, inputs, by_row,
            outer, to_table.numpy(),
        )  # fmt: skip
    return to_query, to_table, to_scale


def _vector_arrays(vectors: Vectors) -> tuple[Array, Array, Array | None]:
    query, table, scale = vectors
    return array(query), array(table), None if scale is None else array(scale)


# --- all pairs --------------------------------------------------------------------------------


@kernel
def score_all(comparison: VectorComparison) -> Tensor:
    """Score every query against every row; differentiable.

    Fused tables are fused once per distinct temperature.

    Returns:
        [q, n] scores.

    Raises:
        ValueError: shapes do not match.
    """
    op, query, table, scale, _ = comparison
    if isinstance(table, FusedTable):
        return _score_all_fused(comparison)
    if op == "dot":
        scores = (query if scale is None else query * scale) @ table.T
    else:
        rows = table[None] if scale is None else table[None] * scale[:, None]
        scores = compare(op, query[:, None], rows)
    return comparison.weighted(scores)


def _score_all_fused(comparison: VectorComparison) -> Tensor:
    scores = comparison.query.new_empty(len(comparison.query), comparison.n_rows)
    for plain, queries in comparison.by_temperature():
        scores[queries] = score_all(plain)
    return scores


@score_all.register("chunked")
def _score_all_chunked(comparison: VectorComparison) -> Tensor:
    """Score chunks with intermediates below ``CHUNK_BYTES``, recomputed in the backward pass."""
    op, query, table, *_ = comparison
    if op == "dot" or isinstance(table, FusedTable):
        return score_all.reference(comparison)
    at_once = rows_at_once(table.numel() * query.element_size())
    bounds = [*range(0, max(1, len(query)), at_once), len(query)]
    chunks = [comparison.of_queries(low, high) for low, high in pairwise(bounds)]
    scores = [checkpoint(score_all.reference, chunk, use_reentrant=False) for chunk in chunks]
    return torch.cat(scores)


@score_all.register("numba")
def _score_all_numba(comparison: VectorComparison) -> Tensor:
    """Score with compiled tiles; torch computes inner products.

    The backward pass lists the pairs of as many queries at a time as fit in ``BLOCK_BYTES``.
    """
    if comparison.op in NOT_COMPILED or comparison.op == "dot":
        return _score_all_chunked(comparison)
    if isinstance(comparison.table, FusedTable):
        return score_all.reference(comparison)
    vectors = prepared(comparison)
    scores: Tensor = _ScoreAll.apply(comparison.op, *vectors)  # type: ignore[no-untyped-call]
    return comparison.weighted(scores)


class _ScoreAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: Op, query: Tensor, table: Tensor, scale: Tensor | None) -> Tensor:
        ctx.op = op
        ctx.save_for_backward(query, table, scale)
        return _score_in_tiles(op, (query, table, scale))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, table, scale = ctx.saved_tensors
        _, wants_query, wants_table, wants_scale = ctx.needs_input_grad
        rows = torch.arange(len(table))
        to_table = torch.zeros_like(table) if wants_table else None
        to_query: list[Tensor] = []
        to_scale: list[Tensor] = []
        # Pairs list an int64 row (8 bytes) per score.
        for block in torch.arange(len(query)).split(max(1, BLOCK_BYTES // (8 * max(1, len(rows))))):
            vectors = query[block], table, None if scale is None else scale[block]
            block_query, block_table, block_scale = _pair_gradients(
                ctx.op, vectors, Pairs.from_matrix(rows.expand(len(block), -1)),
                gradient[block].reshape(-1),
                per_query=wants_query or wants_scale, per_row=wants_table,
            )  # fmt: skip
            if block_query is not None:
                to_query.append(block_query)
            if block_scale is not None:
                to_scale.append(block_scale)
            if to_table is not None and block_table is not None:
                to_table += block_table
        return (
            None,
            torch.cat(to_query) if to_query else None,
            to_table,
            torch.cat(to_scale) if to_scale else None,
        )


def score_tiles(comparison: VectorComparison) -> Tensor:
    """Return the scores [q, n] of all pairs, without a gradient; equal rows get equal scores.

    Unlike a matrix product, the tiles score every row by the same sequence of operations.

    Raises:
        ValueError: shapes do not match.
    """
    return _score_in_tiles(comparison.op, prepared(comparison)).mul_(comparison.weight)


def _score_in_tiles(op: Op, vectors: Vectors) -> Tensor:
    query, table, _ = vectors
    out = query.new_empty(len(query), len(table))
    threads.over(
        tile_parts(vectors), loops("tiles").score_tiles, loops("pairs").CODES[op],
        tile_arrays(op, vectors), out.numpy(),
    )  # fmt: skip
    return out


def tile_parts(vectors: Vectors) -> list[int]:
    """Return boundaries that cut the tiles of a table into parts for threads."""
    query, table, _ = vectors
    tiles = -(-len(table) // loops("tiles").LANES)
    return threads.even_parts(tiles, query.numel() * len(table))


def tile_arrays(op: Op, vectors: Vectors) -> tuple[Array, Array, Array | None]:
    """Return query, table and scale, padded with zeros to the width that the tiles need.

    The compiled loop takes four components at once; zeros add 0 to every score.
    """
    query, table, scale = vectors
    groups = 2 if op == "modulus" else 1  # pad real and imaginary halves separately
    missing = -(query.shape[1] // groups) % (4 // groups)

    def widen(tensor: Tensor) -> Tensor:
        if not missing:
            return tensor
        return torch.cat([pad(half, (0, missing)) for half in tensor.chunk(groups, 1)], 1)

    return _vector_arrays((widen(query), widen(table), None if scale is None else widen(scale)))
