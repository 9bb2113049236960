"""TuckER decoder: query vectors from entity and relation vectors and a core tensor."""

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

__all__ = ["DecoderDropout", "FusionDropout", "QueryGroups", "TuckER", "padded_products"]

MATRICES_BYTES = 2**26
"""Bytes of relation matrices that a decoder keeps for its gradients; with more, matrices are made
in chunks of this size, and again in the backward pass."""
PADDED_BYTES = 2**28
"""Largest bytes of queries padded to groups of equal size; with more, groups are multiplied one by
one."""
PADDED_ON_CPU = 64
"""Largest group for which queries are padded on CPUs, where a product of one row takes about as
long as one of 64."""


class DecoderDropout(Config):
    """Dropout of a decoder."""

    input: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.5)] = 0.3
    """Dropout on a decoder's entity vectors."""
    matrix: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Dropout on the matrices of relations."""
    output: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.6)] = 0.5
    """Dropout on a decoder's queries."""


class FusionDropout(DecoderDropout):
    """Dropout of the decoders and of the fusion."""

    fusion: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout on the inputs of the fusion."""


class QueryGroups(NamedTuple):
    """q queries grouped by u distinct relations.

    Attributes:
        relations: distinct relation ids [u].
        order: query ids [q], sorted by relation.
        counts: number [u] of queries of each relation.
        sizes: the same numbers on the host.
        single: True if each group is one query by construction.
    """

    relations: Tensor
    order: Tensor
    counts: Tensor
    sizes: list[int]
    single: bool = False

    @classmethod
    def by_relation(cls, relations: Tensor) -> QueryGroups:
        """Group queries by their relation ids [q]."""
        distinct, counts = torch.unique(relations, return_counts=True)
        return cls(distinct, relations.argsort(stable=True), counts, counts.tolist())

    @classmethod
    def ungrouped(cls, count: int, device: torch.device) -> QueryGroups:
        """Return ``count`` groups of one query, each with its own relation matrix."""
        ids = torch.arange(count, device=device)
        return cls(ids, ids, torch.ones_like(ids), [1] * count, single=True)


class TuckER(nn.Module):
    """q(e, r) = D_3 BN(D_1 BN(e) D_2(sum_k r_k W_k)), with dropouts D (Balazevic et al. 2019).

    The matrix of a relation is made once for all its queries in a batch, so they share its dropout.
    In the released codes each query has its own matrix, [q, d, d] numbers, as here only ungrouped
    queries have (``QueryGroups.ungrouped``).

    Args:
        width: width of entity vectors, d.
        relation_width: width of relation vectors.
        options: dropout rates.
    """

    def __init__(self, width: int, relation_width: int, options: DecoderDropout) -> None:
        super().__init__()
        self.core = nn.Parameter(torch.empty(relation_width, width, width))
        nn.init.xavier_uniform_(self.core)
        self.norm_in, self.norm_out = Norm(width), Norm(width)
        self.options = options

    def forward(self, entities: Tensor, relations: Tensor, groups: QueryGroups) -> Tensor:
        """Return queries [q, d].

        Args:
            entities: anchor vectors [q, d].
            relations: vectors [u, relation_width] of the distinct relations.
            groups: groups of the queries by relation.
        """
        if not len(entities):
            return entities
        x = dropout(self.norm_in(entities), self.options.input, self.training)
        sorted_rows = x[groups.order]
        width = x.shape[1]
        at_once = max(1, MATRICES_BYTES // (4 * width * width))
        products, low = [], 0
        for chunk, counts, sizes in zip(
            relations.split(at_once),
            groups.counts.split(at_once),
            _split(groups.sizes, at_once),
            strict=True,
        ):
            rows = sorted_rows[low : low + sum(sizes)]
            low += len(rows)
            arguments = rows, chunk, counts, sizes, groups.single
            if torch.is_grad_enabled() and len(relations) > at_once:
                products.append(checkpoint(self._products, *arguments, use_reentrant=False))
            else:
                products.append(self._products(*arguments))
        back = torch.empty_like(groups.order)
        back[groups.order] = torch.arange(len(back), device=back.device)
        queries = torch.cat(products)[back]
        return dropout(self.norm_out(queries), self.options.output, self.training)

    def _products(
        self, rows: Tensor, relations: Tensor, counts: Tensor, sizes: list[int], single: bool
    ) -> Tensor:
        """Return the products [n, d] of rows [n, d], sorted by relation, and matrices of [u, k]."""
        width = rows.shape[1]
        matrices = (relations @ self.core.flatten(1)).view(-1, width, width)
        matrices = dropout(matrices, self.options.matrix, self.training)
        if single:
            return torch.bmm(rows[:, None], matrices)[:, 0]
        largest = max(sizes)
        small = rows.device.type != "cpu" or largest <= PADDED_ON_CPU
        if small and 4 * width * len(sizes) * largest <= PADDED_BYTES:
            return padded_products(rows, matrices, counts, largest)
        pairs = zip(rows.split(sizes), matrices, strict=True)
        return torch.cat([group @ matrix for group, matrix in pairs])


def padded_products(rows: Tensor, matrices: Tensor, counts: Tensor, largest: int) -> Tensor:
    """Multiply each group of rows by its matrix, padded to the largest group for one kernel launch.

    Args:
        rows: rows [n, d], sorted by group.
        matrices: matrix [u, d, d] of each group.
        counts: number [u] of rows of each group.
        largest: number of rows of the largest group.

    Returns:
        products [n, d].
    """
    group = torch.repeat_interleave(counts, output_size=len(rows))
    position = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[group]
    padded = rows.new_zeros(len(counts), largest, rows.shape[1])
    return torch.bmm(padded.index_put_((group, position), rows), matrices)[group, position]


class Norm(nn.Module):
    """Batch normalisation that uses the running averages for a batch of one row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.batch = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised rows [n, width]."""
        norm = self.batch
        if self.training and len(x) > 1:
            normed: Tensor = norm(x)
            return normed
        return batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )


def _split(sizes: list[int], at_once: int) -> list[list[int]]:
    return [sizes[low : low + at_once] for low in range(0, len(sizes), at_once)]
