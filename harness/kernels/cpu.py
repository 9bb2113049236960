"""Fused kernels for the CPU, compiled by numba on first use.

``gathered`` reads every candidate once and builds nothing of size [pairs, width]; its backward
pass computes the comparison again, once grouped by query and once by table row.
``count`` never holds a score matrix. Inputs of half precision are scored in float32.
Meaning and arguments: ``harness.kernels.reference``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.environment import cache_folder
from harness.index import Free
from harness.kernels import _threads as threads
from harness.kernels import reference
from harness.kernels.reference import (
    Views,
    WeightedTerm,
    check_finite,
    combined,
    count_in_blocks,
)

__all__ = [
    "array",
    "check_pairs",
    "compiled",
    "count",
    "count_terms",
    "draw_free",
    "dropout",
    "gated_cosines",
    "gathered",
    "pairwise",
    "rotate",
    "tanh_dot",
]

Array = NDArray[Any]
BLOCK_BYTES = 64 * 2**20
"""Scores (or pair lists) held at once where they cannot be avoided."""


@cache
def compiled() -> ModuleType:
    """Import the compiled functions, with numba's cache in the harness's own folder."""
    if "NUMBA_CACHE_DIR" not in os.environ:
        # In the environment, so that worker processes share it.
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder() / "numba")
    import numba

    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]  # type: ignore[attr-defined]
    from harness.kernels import _compiled as module

    return module


# --- listed pairs -----------------------------------------------------------------------------


def gathered(
    op: str,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """Score listed pairs, differentiably; see ``reference.gathered``.

    Raises:
        IndexError: a candidate is no row of the table, or the offsets do not fit the candidates.
    """
    query, table, scale = _prepared(op, query, table, scale)
    check_pairs(len(query), len(table), offsets, candidates)
    scores: Tensor = _Gathered.apply(  # type: ignore[no-untyped-call]
        op, query, table, offsets, candidates, scale
    )
    return scores


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        op: str,
        query: Tensor,
        table: Tensor,
        offsets: Tensor,
        candidates: Tensor,
        scale: Tensor | None,
    ) -> Tensor:
        ctx.op = op
        ctx.save_for_backward(query, table, offsets, candidates, scale)
        return _pair_scores(op, query, table, offsets, candidates, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, table, offsets, candidates, scale = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        to_query, to_table, to_scale = _pair_gradients(
            ctx.op, query, table, offsets, candidates, scale, gradient,
            per_query=wanted[1] or wanted[5], per_row=wanted[2],
        )  # fmt: skip
        return None, to_query, to_table, None, None, to_scale


def _pair_scores(
    op: str,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None,
) -> Tensor:
    module = compiled()
    out = query.new_empty(len(candidates))
    starts = array(offsets)
    threads.over(
        threads.parts_by_work(starts, query.shape[1]), module.pair_scores, module.CODES[op],
        array(query), array(table), _scale_array(query, scale), starts, array(candidates),
        out.numpy(),
    )  # fmt: skip
    return out


def _pair_gradients(
    op: str,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None,
    gradient: Tensor,
    *,
    per_query: bool,
    per_row: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of query, table and scale (None where not wanted)."""
    module = compiled()
    code, width = module.CODES[op], query.shape[1]
    vectors = (array(query), array(table), _scale_array(query, scale))
    starts, listed, outer = array(offsets), array(candidates), array(gradient)
    to_query = to_table = to_scale = None
    if per_query:
        to_query = torch.zeros_like(query)
        to_scale = None if scale is None else torch.zeros_like(scale)
        threads.over(
            threads.parts_by_work(starts, width), module.query_gradient, code, *vectors,
            starts, listed, outer, to_query.numpy(), _scale_array(query, to_scale),
        )  # fmt: skip
    if per_row:
        to_table = torch.empty_like(table)
        rows = np.zeros(len(table) + 1, np.int64)
        pairs, owners = np.empty_like(listed), np.empty_like(listed)
        module.group_by_row(starts, listed, rows, pairs, owners)
        threads.over(
            threads.parts_by_work(rows, width), module.table_gradient, code, *vectors,
            rows, pairs, owners, outer, to_table.numpy(),
        )  # fmt: skip
    return to_query, to_table, to_scale


# --- queries ----------------------------------------------------------------------------------


def rotate(anchor: Tensor, phase: Tensor) -> Tensor:
    """Rotate complex vectors, differentiably; see ``reference.rotate``.

    Raises:
        ValueError: the shapes do not fit.
    """
    if anchor.ndim != 2 or phase.shape != (len(anchor), anchor.shape[1] / 2):
        raise ValueError(f"anchor {tuple(anchor.shape)} and phase {tuple(phase.shape)} do not fit")
    dtype = torch.promote_types(torch.promote_types(anchor.dtype, phase.dtype), torch.float32)
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
            threads.even_parts(len(anchor), anchor.numel()), compiled().rotate,
            array(anchor), array(cosine), array(sine), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        anchor, cosine, sine = ctx.saved_tensors
        to_anchor, to_phase = torch.empty_like(anchor), torch.empty_like(cosine)
        threads.over(
            threads.even_parts(len(anchor), anchor.numel()), compiled().rotate_gradient,
            array(anchor), array(cosine), array(sine), array(gradient),
            to_anchor.numpy(), to_phase.numpy(),
        )  # fmt: skip
        return to_anchor, to_phase


def tanh_dot(x: Tensor, query: Tensor) -> Tensor:
    """Return the products of tanh of rows and a query; see ``reference.tanh_dot``.

    Nothing is kept for the backward pass but the arguments. Half precision is computed in float32;
    float64 is left to torch.
    """
    if reference.widest(x, query) != torch.float32:
        return reference.tanh_dot(x, query)
    rows = x.float().reshape(-1, x.shape[-1])
    made: Tensor = _TanhDot.apply(rows.contiguous(), query.float().contiguous())  # type: ignore[no-untyped-call]
    return made.view(x.shape[:-1])


class _TanhDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, query: Tensor) -> Tensor:
        ctx.save_for_backward(x, query)
        out = x.new_empty(len(x))
        threads.over(
            threads.even_parts(len(x), x.numel()), compiled().tanh_dot,
            array(x), array(query), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, query = ctx.saved_tensors
        module = compiled()
        blocks = -(-len(x) // module.TANH_ROWS)
        to_x, to_query = torch.empty_like(x), x.new_zeros(blocks, x.shape[1])
        threads.over(
            threads.even_parts(blocks, x.numel()), module.tanh_dot_gradient,
            array(x), array(query), array(gradient.contiguous()), to_x.numpy(), to_query.numpy(),
        )  # fmt: skip
        return to_x, to_query.sum(0)


# --- gated vectors ----------------------------------------------------------------------------


def gated_cosines(
    own: Tensor,
    own_logits: Tensor,
    sizes: Sequence[int],
    others: Tensor,
    logits: Tensor,
    bias: Tensor,
) -> Tensor:
    """Return the cosines of gated vectors; see ``reference.gated_cosines``.

    Gated vectors are made again in the backward pass: only logits are kept. Half precision is
    computed in float32; float64 is left to torch.

    Raises:
        ValueError: shapes that do not go together.
    """
    given = own, own_logits, others, logits, bias
    if reference.widest(*given) != torch.float32:
        return reference.gated_cosines(own, own_logits, sizes, others, logits, bias)
    reference.check_gated(own, own_logits, sizes, others, logits, bias)
    starts = torch.tensor([0, *sizes]).cumsum(0)
    ready = [x.float().contiguous() for x in given]
    cosines: Tensor = _GatedCosines.apply(starts, *ready)  # type: ignore[no-untyped-call]
    return cosines


class _GatedCosines(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        starts: Tensor,
        own: Tensor,
        own_logits: Tensor,
        others: Tensor,
        logits: Tensor,
        bias: Tensor,
    ) -> Tensor:
        module = compiled()
        seen, rest, length = torch.empty_like(own), torch.empty_like(own), own.new_empty(len(own))
        threads.over(
            threads.even_parts(len(own), own.numel()), module.gate,
            array(own), array(own_logits), array(bias), seen.numpy(), rest.numpy(), length.numpy(),
        )  # fmt: skip
        cosines = own.new_empty(len(own), len(others))
        tiles = len(logits) * -(-len(others) // module.GATED_ROWS)
        threads.over(
            threads.even_parts(tiles, logits.numel() + own.numel() * len(others)),
            module.gated_cosines,
            array(seen), array(length), array(starts), array(others), array(logits), array(bias),
            cosines.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(starts, seen, rest, length, others, logits, bias, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        starts, seen, rest, length, others, logits, bias, cosines = ctx.saved_tensors
        module = compiled()
        blocks = -(-len(others) // (module.GATED_ROWS * module.GATED_TILES))
        to_logits = torch.empty_like(logits)
        to_own, along = seen.new_zeros(blocks, *seen.shape), seen.new_zeros(blocks, len(seen))
        to_bias = seen.new_zeros(len(logits) * blocks, len(bias))
        threads.over(
            threads.even_parts(len(to_bias), logits.numel() + seen.numel() * len(others)),
            module.gated_gradient,
            array(seen), array(length), array(starts), array(others), array(logits), array(bias),
            array(cosines), array(gradient.contiguous()),
            to_own.numpy(), along.numpy(), to_logits.numpy(), to_bias.numpy(),
        )  # fmt: skip
        to_own_logits, of_bias = torch.empty_like(seen), to_bias.sum(0)
        module.gate_gradient(
            array(seen), array(rest), array(length), array(along.sum(0)), array(to_own.sum(0)),
            to_own_logits.numpy(), of_bias.numpy(), 0, len(seen),
        )  # fmt: skip
        return None, None, to_own_logits, None, to_logits, of_bias


# --- all pairs --------------------------------------------------------------------------------


def pairwise(op: str, query: Tensor, table: Tensor, scale: Tensor | None = None) -> Tensor:
    """Score every query against every row, differentiably; see ``reference.pairwise``.

    Inner products are left to torch. For the others the backward pass takes as many queries at once
    as keep their list of pairs within ``BLOCK_BYTES``.
    """
    if op == "dot":
        return (query if scale is None else query * scale) @ table.T
    query, table, scale = _prepared(op, query, table, scale)
    scores: Tensor = _Pairwise.apply(op, query, table, scale)  # type: ignore[no-untyped-call]
    return scores


class _Pairwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: str, query: Tensor, table: Tensor, scale: Tensor | None) -> Tensor:
        ctx.op = op
        ctx.save_for_backward(query, table, scale)
        return _all_scores(op, query, table, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, table, scale = ctx.saved_tensors
        _, wants_query, wants_table, wants_scale = ctx.needs_input_grad
        n = len(table)
        chunk = max(1, BLOCK_BYTES // (8 * max(1, n)))
        to_table = torch.zeros_like(table) if wants_table else None
        per_query: list[Tensor] = []
        per_scale: list[Tensor] = []
        for part in torch.arange(len(query)).split(chunk):
            part_query, part_table, part_scale = _pair_gradients(
                ctx.op, query[part], table, torch.arange(len(part) + 1) * n,
                torch.arange(n).repeat(len(part)), None if scale is None else scale[part],
                gradient[part].reshape(-1), per_query=wants_query or wants_scale,
                per_row=wants_table,
            )  # fmt: skip
            if part_query is not None:
                per_query.append(part_query)
            if part_scale is not None:
                per_scale.append(part_scale)
            if to_table is not None and part_table is not None:
                to_table += part_table
        return (
            None,
            torch.cat(per_query) if per_query else None,
            to_table,
            torch.cat(per_scale) if per_scale else None,
        )


def _all_scores(op: str, query: Tensor, table: Tensor, scale: Tensor | None) -> Tensor:
    """Score all pairs [q, n] tile by tile: equal rows get equal scores."""
    module = compiled()
    out = query.new_empty(len(query), len(table))
    threads.over(
        _tile_parts(query, table), module.score_tiles, module.CODES[op],
        *_tile_vectors(op, query, table, scale), out.numpy(),
    )  # fmt: skip
    return out


def _tile_vectors(
    op: str, query: Tensor, table: Tensor, scale: Tensor | None
) -> tuple[Array, Array, Array]:
    """Return query, scale and table with zero components added until the width fits the tiles.

    The compiled loop takes four components at once; a zero component adds 0 to every score.
    """
    groups = 2 if op == "modulus" else 1  # halves are padded apart
    missing = -(query.shape[1] // groups) % (4 // groups)

    def widen(tensor: Tensor) -> Tensor:
        if not missing:
            return tensor
        parts = [torch.nn.functional.pad(half, (0, missing)) for half in tensor.chunk(groups, 1)]
        return torch.cat(parts, 1)

    return (
        array(widen(query)),
        _scale_array(query, None if scale is None else widen(scale)),
        array(widen(table)),
    )


def _tile_parts(query: Tensor, table: Tensor) -> list[int]:
    tiles = -(-len(table) // compiled().LANES)
    return threads.even_parts(tiles, query.numel() * len(table))


# --- ranks ------------------------------------------------------------------------------------


@torch.no_grad()
def count(
    op: str,
    query: Tensor,
    table: Tensor,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    scale: Tensor | None = None,
    owners: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count the rows that beat and tie each target; see ``reference.count``.

    Targets, known answers and all other rows are scored by the same sequence of correctly rounded
    operations, so equal rows tie exactly, wherever they stand and whatever the number of threads.
    """
    query, table, scale = _prepared(op, query, table, scale)
    n = len(table)
    owners = torch.arange(len(targets)) if owners is None else owners
    asked = torch.searchsorted(owners, torch.arange(len(query) + 1))
    check_pairs(len(query), n, offsets, known)
    check_pairs(len(query), n, asked, targets)
    module = compiled()
    code, firsts = module.CODES[op], array(asked)
    keys = torch.unique(torch.repeat_interleave(offsets.diff()) * n + known)
    starts = torch.searchsorted(keys, torch.arange(len(query) + 1) * n).numpy()
    left_out = (keys % n).numpy() if n else keys.numpy()
    vectors = _tile_vectors(op, query, table, scale)
    goals = np.empty(len(targets), vectors[0].dtype)
    threads.over(
        threads.parts_by_work(firsts, query.shape[1]), module.target_scores, code,
        *vectors, firsts, array(targets), goals,
    )  # fmt: skip
    boundaries = _tile_parts(query, table)
    # Parts add to counts of their own; sums of integers have no order to depend on.
    counts = np.zeros((len(boundaries) - 1, len(targets), 2), np.int64)
    bad = np.zeros(len(boundaries) - 1, np.int64)
    place = {low: i for i, low in enumerate(boundaries[:-1])}

    def count_part(low: int, high: int) -> None:
        part = place[low]
        bad[part] = module.count_tiles(
            code, *vectors, firsts, goals, starts, left_out, counts[part], low, high
        )

    threads.over(boundaries, count_part)
    check_finite(int(bad.sum()))
    better, tied = torch.from_numpy(counts.sum(0)).unbind(1)
    # A target that is not left out has tied with itself.
    wanted = owners * n + targets
    itself = ~torch.isin(wanted, keys, assume_unique=False)
    return better.contiguous(), tied - itself.long()


@torch.no_grad()
def count_terms(
    terms: Sequence[WeightedTerm],
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
    views: Views | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what ``count`` does for the score that weighted terms make (``combined``).

    One term is fused. More are scored and combined for as many queries at once as keep their
    matrices of scores within ``BLOCK_BYTES``; ties are as exact as those of ``count``.
    """
    if len(terms) == 1 and terms[0][4] == 1.0:
        op, query, table, scale, _ = terms[0]
        return count(op, query, table, targets, offsets, known, scale, owners)
    n = len(terms[0][2])
    held = 2 if views is None else 1 + len(terms)
    chunk = max(1, BLOCK_BYTES // (4 * max(1, n) * held))
    scores = partial(_scores_of, terms, views)
    return count_in_blocks(scores, chunk, targets, offsets, known, owners)


def _scores_of(terms: Sequence[WeightedTerm], views: Views | None, low: int, high: int) -> Tensor:
    def scored(term: WeightedTerm) -> Tensor:
        op, query, table, scale, weight = term
        part = query[low:high], table, None if scale is None else scale[low:high]
        return _all_scores(op, *_prepared(op, *part)).mul_(weight)

    if views is not None:
        return combined([scored(term) for term in terms], views)
    total = scored(terms[0])
    for term in terms[1:]:
        total += scored(term)
    return total


# --- draws ------------------------------------------------------------------------------------


def dropout(x: Tensor, rate: float) -> Tensor:
    """Set numbers to zero at random, differentiably; see ``reference.dropout``.

    A number is dropped by a hash of its place and of two seeds that torch's generator draws, so
    nothing is kept for the backward pass and the threads do not matter. Half precision drops what
    float32 does; float64 is left to torch.
    """
    if x.dtype in (torch.bfloat16, torch.float16):
        return dropout(x.float(), rate).to(x.dtype)
    if x.dtype != torch.float32:
        return reference.dropout(x, rate)
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
        threads.even_parts(x.numel(), x.numel()), compiled().dropout,
        array(x).reshape(-1), np.uint32(first), np.uint32(second),
        np.uint32(threshold), np.float32(1 / (1 - rate)), out.numpy().reshape(-1),
    )  # fmt: skip
    return out


def draw_free(free: Free, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
    """Draw entities that make no known triple; see ``reference.draw_free``."""
    out = torch.empty_like(uniform, dtype=torch.long)
    threads.over(
        threads.even_parts(len(uniform), uniform.numel()), compiled().draw_free,
        free.n_entities, *(array(each) for each in free[1:]), array(replaces_tail),
        array(uniform), out.numpy(),
    )  # fmt: skip
    return out


# --- inputs -----------------------------------------------------------------------------------


def _prepared(
    op: str, query: Tensor, table: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return contiguous inputs of one dtype, float32 or float64; a scale of "dot" is multiplied in.

    Raises:
        ValueError: the shapes do not fit.
    """
    if query.ndim != 2 or table.ndim != 2 or query.shape[1] != table.shape[1]:
        raise ValueError(f"query {tuple(query.shape)} and table {tuple(table.shape)} do not fit")
    if scale is not None and scale.shape != query.shape:
        raise ValueError(f"scale {tuple(scale.shape)} is not like query {tuple(query.shape)}")
    if op == "modulus" and query.shape[1] % 2:
        raise ValueError(f"width {query.shape[1]} is odd: there is no imaginary half")
    dtype = torch.promote_types(torch.promote_types(query.dtype, table.dtype), torch.float32)
    query, table = query.to(dtype).contiguous(), table.to(dtype).contiguous()
    scale = None if scale is None else scale.to(dtype).contiguous()
    if op == "dot" and scale is not None:
        return query * scale, table, None
    return query, table, scale


def check_pairs(queries: int, rows: int, offsets: Tensor, candidates: Tensor) -> None:
    """Compiled code reads where it is told to: be sure that it is inside the tables."""
    if len(offsets) != queries + 1 or int(offsets[-1]) != len(candidates) or int(offsets[0]):
        raise IndexError(
            f"offsets must run from 0 to {len(candidates)} in {queries + 1} steps, "
            f"have {len(offsets)} ending at {int(offsets[-1])}"
        )
    if queries and int(offsets.diff().min()) < 0:
        raise IndexError("offsets must not decrease")
    if len(candidates):
        low, high = (int(x) for x in candidates.aminmax())
        if low < 0 or high >= rows:
            raise IndexError(f"row {low if low < 0 else high} is not in a table of {rows} rows")


def array(tensor: Tensor) -> Array:
    """Return a tensor as the compiled loops take it."""
    return tensor.detach().contiguous().numpy()


def _scale_array(like: Tensor, scale: Tensor | None) -> Array:
    return array(like.new_empty(0, 0) if scale is None else scale)
