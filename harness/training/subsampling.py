"""Weights of positives by the frequency of their pairs, subsampling as in word2vec."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.precision import widest_float

__all__ = ["PairFrequency"]

START = 4
"""Initial count of a pair (``count_frequency`` of the RotatE repository)."""


class PairFrequency:
    """Weights (c(h, r) + c(r, t))^-1/2 of training triples (Sun et al. 2019, their repository).

    c is the number of train rows with a pair, including repeated ones, starting at 4.

    Args:
        train: training triples int64 [n, 3].
        n_relations: number of relations, R.
    """

    def __init__(self, train: Tensor, n_relations: int) -> None:
        self.n_relations = n_relations
        head, relation, tail = train.unbind(1)
        self.heads, self.head_counts = self._counted(head, relation)
        self.tails, self.tail_counts = self._counted(tail, relation)

    def _counted(self, entity: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distinct pairs as sorted keys, and their counts."""
        keys, counts = torch.unique(entity * self.n_relations + relation, return_counts=True)
        return keys, counts + (START - 1)

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the weights [B] of training triples [B, 3]."""
        head, relation, tail = batch.unbind(1)
        of_head = torch.searchsorted(self.heads, head * self.n_relations + relation)
        of_tail = torch.searchsorted(self.tails, tail * self.n_relations + relation)
        counts = self.head_counts[of_head] + self.tail_counts[of_tail]
        return counts.to(widest_float(batch.device)).rsqrt().float()
