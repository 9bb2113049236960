"""Candidates that are mixed for the query: a row is a weighted sum of parts, and the query decides
how sharply.

With parts p_cm and logits a_cm of candidate c and a temperature t_i of query i, it is compared with

    sum over m of softmax_m(t_i a_cm) p_cm,

NativE's relation-guided fusion (there t = 1 / sigmoid(gate of the relation)). On CPUs a pair is
mixed while it is scored; elsewhere in chunks that the backward pass makes again. No [pairs, width]
tensor is kept, and for ranking a table is made once per temperature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from harness.kernels import _threads as threads
from harness.kernels import cpu, reference, select

__all__ = ["HIDDEN", "Mixture", "gathered", "mixed", "pairwise", "same_temperature", "table_at"]

HIDDEN = -1e30
"""Logit of a part that a candidate does not have; finite, for a gradient is multiplied with it."""
BUDGET = 256 * 2**20
"""Bytes of one [pairs, width] intermediate where pairs are mixed in chunks."""


class Mixture(NamedTuple):
    """What makes candidates.

    Attributes:
        parts: [n, M w], the parts of a candidate side by side.
        logits: [n, M]; ``HIDDEN`` hides a part.
        temperature: [q], positive.
    """

    parts: Tensor
    logits: Tensor
    temperature: Tensor


def mixed(mixture: Mixture, rows: Tensor, temperature: Tensor) -> Tensor:
    """Return candidates [p, w]: row and temperature of each, [p]; differentiable."""
    weights = (mixture.logits[rows] * temperature[:, None]).softmax(1)
    parts = mixture.parts[rows].view(len(rows), weights.shape[1], -1)
    return torch.einsum("pm,pmw->pw", weights, parts)


def table_at(mixture: Mixture, temperature: Tensor) -> Tensor:
    """Return all candidates [n, w] at one temperature, a scalar tensor."""
    rows = torch.arange(len(mixture.parts), device=mixture.parts.device)
    return mixed(mixture, rows, temperature.expand(len(rows)))


def gathered(
    op: str, query: Tensor, mixture: Mixture, offsets: Tensor, candidates: Tensor
) -> Tensor:
    """Score listed pairs, differentiably, as ``reference.gathered`` does with plain rows.

    Args:
        op: "dot", "l1", "l2" or "modulus".
        query: [q, w].
        mixture: of n rows.
        offsets, candidates: CSR by query of the rows that are compared.

    Returns:
        [p] scores.
    """
    if select.name(query.device.type) == "numba" and op not in select.NOT_COMPILED:
        return _gathered_compiled(op, query, mixture, offsets, candidates)
    owner = torch.repeat_interleave(offsets.diff(), output_size=len(candidates))
    row_bytes = mixture.parts.shape[1] * mixture.parts.element_size()
    at_once = max(1, BUDGET // max(1, row_bytes))
    parts = [
        checkpoint(_pairs, op, query, mixture, mine, rows, use_reentrant=False)
        for mine, rows in zip(owner.split(at_once), candidates.split(at_once), strict=True)
    ]
    return torch.cat(parts)


def _pairs(op: str, query: Tensor, mixture: Mixture, owner: Tensor, rows: Tensor) -> Tensor:
    return reference.compare(op, query[owner], mixed(mixture, rows, mixture.temperature[owner]))


def pairwise(op: str, query: Tensor, mixture: Mixture) -> Tensor:
    """Score every query against every row -> [q, n]; a table is made per distinct temperature."""
    scores = query.new_empty(len(query), len(mixture.parts))
    kernels = select.implementation(query, op)
    for table, mine in same_temperature(mixture):
        scores[mine] = kernels.pairwise(op, query[mine], table)
    return scores


def same_temperature(mixture: Mixture) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a table [n, w] and the queries that are compared with it, [k] ascending."""
    values, group = torch.unique(mixture.temperature, return_inverse=True)
    for number, value in enumerate(values):
        yield table_at(mixture, value), (group == number).nonzero()[:, 0]


# --- compiled -----------------------------------------------------------------------------


def _gathered_compiled(
    op: str, query: Tensor, mixture: Mixture, offsets: Tensor, candidates: Tensor
) -> Tensor:
    n_parts, width = mixture.logits.shape[1], query.shape[1]
    if mixture.parts.shape != (len(mixture.logits), n_parts * width):
        raise ValueError(
            f"parts {tuple(mixture.parts.shape)} are not {n_parts} of query's width {width}"
        )
    if mixture.temperature.shape != (len(query),):
        raise ValueError(f"temperature {tuple(mixture.temperature.shape)}: one per query")
    dtype = torch.promote_types(query.dtype, mixture.parts.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    cpu.check_pairs(len(query), len(mixture.parts), offsets, candidates)
    scores: Tensor = _Gathered.apply(  # type: ignore[no-untyped-call]
        op, query.to(dtype), *(each.to(dtype) for each in mixture), offsets, candidates
    )
    return scores


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        op: str,
        query: Tensor,
        parts: Tensor,
        logits: Tensor,
        temperature: Tensor,
        offsets: Tensor,
        candidates: Tensor,
    ) -> Tensor:
        ctx.op = op
        vectors = [each.contiguous() for each in (query, parts, logits, temperature)]
        ctx.save_for_backward(*vectors, offsets, candidates)
        module = cpu.compiled()
        out = query.new_empty(len(candidates))
        starts = cpu.array(offsets)
        threads.over(
            threads.parts_by_work(starts, parts.shape[1]), module.mixed_scores, module.CODES[op],
            *map(cpu.array, vectors), starts, cpu.array(candidates), out.numpy(),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, parts, logits, temperature, offsets, candidates = ctx.saved_tensors
        module = cpu.compiled()
        code, work = module.CODES[ctx.op], 2 * parts.shape[1]
        vectors = [cpu.array(each) for each in (query, parts, logits, temperature)]
        starts, listed, outer = cpu.array(offsets), cpu.array(candidates), cpu.array(gradient)
        to_query, to_temperature = torch.zeros_like(query), torch.zeros_like(temperature)
        threads.over(
            threads.parts_by_work(starts, work), module.mixed_query_gradient, code, *vectors,
            starts, listed, outer, to_query.numpy(), to_temperature.numpy(),
        )  # fmt: skip
        to_parts, to_logits = torch.empty_like(parts), torch.empty_like(logits)
        rows = np.zeros(len(parts) + 1, np.int64)
        pairs, owners = np.empty_like(listed), np.empty_like(listed)
        module.group_by_row(starts, listed, rows, pairs, owners)
        threads.over(
            threads.parts_by_work(rows, work), module.mixed_table_gradient, code, *vectors,
            rows, pairs, owners, outer, to_parts.numpy(), to_logits.numpy(),
        )  # fmt: skip
        return None, to_query, to_parts, to_logits, to_temperature, None, None
