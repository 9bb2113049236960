"""Negative samplers without parameters; learned samplers are part of their models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness import kernels
from harness.index import FilterIndex, GraphIndex
from harness.precision import widest_float
from harness.procedure import Negatives

__all__ = ["CorruptionSampler", "bernoulli_tail_shares"]


def bernoulli_tail_shares(index: GraphIndex) -> Tensor:
    """Return the probability [R] of corrupting the tail, by relation.

    With tph = triples per distinct head and hpt = triples per distinct tail of the relation, the
    head is replaced with probability tph / (tph + hpt) (Wang et al. 2014, TransH); relations
    without triples get 1/2.
    """
    triples = torch.unique(index.train, dim=0)
    relation = triples[:, 1]
    n, real = index.n_relations, widest_float(triples.device)

    def distinct(column: int) -> Tensor:
        pairs = torch.unique(triples[:, [1, column]], dim=0)
        return torch.bincount(pairs[:, 0], minlength=n).to(real).clamp_(min=1)

    total = torch.bincount(relation, minlength=n).to(real).clamp_(min=1)
    tails_per_head, heads_per_tail = total / distinct(0), total / distinct(2)
    return heads_per_tail / (heads_per_tail + tails_per_head)


@dataclass
class CorruptionSampler:
    """Uniform corruption of head or tail, n independent negatives per positive.

    Attributes:
        n_entities: number of entities, N.
        count: negatives per positive, n.
        tail_shares: probability [R] of replacing the tail.
        filter_index: known triples, whose entities are never drawn (exactly, not by rejection).
            None draws from all entities.
        share: number of consecutive positives with the same draws; 1 for independent draws.
        one_side: True if all negatives of a positive replace the same side.
    """

    n_entities: int
    count: int
    tail_shares: Tensor
    filter_index: FilterIndex | None
    share: int = 1
    one_side: bool = False

    @classmethod
    def build(
        cls,
        index: GraphIndex,
        *,
        sampler: Literal["uniform", "bernoulli", "shared"],
        count: int,
        share: int = 1,
        filter: Literal["none", "train"],  # noqa: A002 - the option's name
        device: torch.device | str = "cpu",
        one_side: bool = False,
    ) -> CorruptionSampler:
        """Build the sampler for options of ``NegativesSpec``."""
        shares = (
            bernoulli_tail_shares(index)
            if sampler == "bernoulli"
            else torch.full((index.n_relations,), 0.5)
        )
        filter_index = index.train_filter.to(device) if filter == "train" else None
        together = share if sampler == "shared" else 1
        shares = shares.to(widest_float(device)).to(device)
        return cls(index.n_entities, count, shares, filter_index, together, one_side)

    def sample(self, batch: Tensor, generator: torch.Generator) -> Negatives:
        """Return n negatives per positive of ``batch`` int64 [B, 3], on its device.

        Each negative draws its side independently; a row has its tail corruptions first.
        """
        size = (len(batch), self.count)
        uniform = torch.rand(
            (2, *size),
            generator=generator,
            device=batch.device,
            dtype=widest_float(batch.device),
        )
        sides = uniform[0, :, :1].expand(size) if self.one_side else uniform[0]
        tails = (sides < self.tail_shares[batch[:, 1]][:, None]).sum(1)
        replaces_tail = torch.arange(self.count, device=batch.device) < tails[:, None]
        if self.share == 1:
            return Negatives(self._drawn(batch, replaces_tail, uniform[1]), tails)
        shared = (uniform[1, :: self.share] * self.n_entities).long()
        shared = shared.repeat_interleave(self.share, 0)[: len(batch)]
        if self.filter_index is not None:
            unshared = self._drawn(batch, replaces_tail, uniform[1])
            shared = torch.where(self._makes_known(batch, replaces_tail, shared), unshared, shared)
        return Negatives(shared, tails)

    def _drawn(self, batch: Tensor, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
        if self.filter_index is None:
            return (uniform * self.n_entities).long()
        return kernels.draw_free(self.filter_index.free(batch), replaces_tail, uniform)

    def _makes_known(self, batch: Tensor, replaces_tail: Tensor, drawn: Tensor) -> Tensor:
        assert self.filter_index is not None
        head, relation, tail = batch[:, :, None].unbind(1)
        as_tail = self.filter_index.contains(head, relation, drawn, "tail")
        as_head = self.filter_index.contains(tail, relation, drawn, "head")
        return torch.where(replaces_tail, as_tail, as_head)
