"""TuckER: a query from an entity's vector and a relation's, by a core of three dimensions."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.utils.checkpoint import checkpoint

from harness.config.base import Config
from harness.config.search import between
from harness.kernels import dropout

__all__ = ["Asked", "DecoderDropout", "Dropout", "TuckER", "padded_products"]

MATRICES_BYTES = 2**26
"""Matrices of relations that a decoder keeps of a side of queries; where there are more, as many
are made at once, and again for the gradients."""
PADDED_BYTES = 2**28
"""Queries padded to groups of one size that may be held, on accelerators."""


class DecoderDropout(Config):
    """Dropout of a decoder."""

    input: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.5)] = 0.3
    """On a decoder's entity vectors."""
    matrix: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """On the matrices of relations."""
    output: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.6)] = 0.5
    """On a decoder's queries."""


class Dropout(DecoderDropout):
    """Dropout of the decoders and of the fusion."""

    fusion: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """On what is fused."""


class Asked(NamedTuple):
    """Relations of q queries, each distinct one once.

    Attributes:
        relations: [u] distinct ids.
        order: [q] the queries, those of a relation side by side.
        sizes: u numbers of queries.
        single: each relation is that of one query, by construction.
    """

    relations: Tensor
    order: Tensor
    sizes: list[int]
    single: bool = False

    @classmethod
    def of(cls, relations: Tensor) -> Asked:
        """Group queries by their relations [q]."""
        distinct, sizes = torch.unique(relations, return_counts=True)
        return cls(distinct, relations.argsort(stable=True), sizes.tolist())

    @classmethod
    def each(cls, count: int, device: torch.device) -> Asked:
        """Give each of ``count`` queries a relation, and so a matrix, of its own."""
        own = torch.arange(count, device=device)
        return cls(own, own, [1] * count, single=True)


class TuckER(nn.Module):
    """q(e, r) = D_3 BN(D_1 BN(e) D_2(sum_k r_k W_k)), with dropouts D (Balazevic et al. 2019).

    The matrix of a relation is made once for all its queries in a batch, so they share its dropout;
    in the released codes each query has a matrix, and [q, d, d] numbers, of its own, as it has here
    where its relation's vector is its own (``Asked.each``).

    Args:
        width: d, of entity vectors.
        relation_width: of relation vectors.
        options: dropout.
    """

    def __init__(self, width: int, relation_width: int, options: DecoderDropout) -> None:
        super().__init__()
        self.core = nn.Parameter(torch.empty(relation_width, width, width))
        nn.init.xavier_uniform_(self.core)
        self.norm_in, self.norm_out = Norm(width), Norm(width)
        self.options = options

    def forward(self, entities: Tensor, relations: Tensor, asked: Asked) -> Tensor:
        """Return queries [q, d].

        Args:
            entities: [q, d] vectors of the anchors.
            relations: [u, relation_width] vectors of the distinct relations.
            asked: who asks by which of them.
        """
        if not len(entities):
            return entities
        x = dropout(self.norm_in(entities), self.options.input, self.training)
        sorted_rows = x[asked.order]
        width = x.shape[1]
        at_once = max(1, MATRICES_BYTES // (4 * width * width))
        parts, low = [], 0
        for some, sizes in zip(relations.split(at_once), _split(asked.sizes, at_once), strict=True):
            rows = sorted_rows[low : low + sum(sizes)]
            low += len(rows)
            if torch.is_grad_enabled() and len(relations) > at_once:
                given = rows, some, sizes, asked.single
                parts.append(checkpoint(self._products, *given, use_reentrant=False))
            else:
                parts.append(self._products(rows, some, sizes, asked.single))
        back = torch.empty_like(asked.order)
        back[asked.order] = torch.arange(len(back), device=back.device)
        made = torch.cat(parts)[back]
        return dropout(self.norm_out(made), self.options.output, self.training)

    def _products(self, rows: Tensor, relations: Tensor, sizes: list[int], single: bool) -> Tensor:
        """Multiply rows [n, d], sorted by relation, with the matrices of relations [u, k]."""
        width = rows.shape[1]
        matrices = (relations @ self.core.flatten(1)).view(-1, width, width)
        matrices = dropout(matrices, self.options.matrix, self.training)
        if single:
            return torch.bmm(rows[:, None], matrices)[:, 0]
        most = len(sizes) * max(sizes)
        if rows.device.type != "cpu" and 4 * width * most <= PADDED_BYTES:
            return padded_products(rows, matrices, sizes)
        pairs = zip(rows.split(sizes), matrices, strict=True)
        return torch.cat([mine @ matrix for mine, matrix in pairs])


def padded_products(rows: Tensor, matrices: Tensor, sizes: list[int]) -> Tensor:
    """Multiply groups of rows with a matrix each, all padded to the largest group: one launch.

    Args:
        rows: [n, d], those of a group side by side.
        matrices: [u, d, d].
        sizes: u numbers of rows.

    Returns:
        [n, d].
    """
    counts = torch.tensor(sizes).to(rows.device, non_blocking=True)
    group = torch.repeat_interleave(counts, output_size=len(rows))
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[group]
    padded = rows.new_zeros(len(sizes), max(sizes), rows.shape[1])
    return torch.bmm(padded.index_put_((group, place), rows), matrices)[group, place]


class Norm(nn.Module):
    """Batch normalisation; a batch of one row is normalised by the running averages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.batch = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, width] of the same shape."""
        norm = self.batch
        if self.training and len(x) > 1:
            normed: Tensor = norm(x)
            return normed
        return batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )


def _split(sizes: list[int], at_once: int) -> list[list[int]]:
    return [sizes[low : low + at_once] for low in range(0, len(sizes), at_once)]
