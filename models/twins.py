"""Twins negative sampling of VBKGC: one entity for the structure, another for the modalities."""

from __future__ import annotations

from torch import Tensor

from harness.procedure import Negatives, Strategy, register_strategy


@register_strategy("twins")
class Twins(Strategy):
    """A negative has the structure of one corrupted entity and the modalities of another.

    Zhang and Zhang, Knowledge Graph Completion with Pre-trained Multimodal Transformer and Twins
    Negative Sampling (2022). Both are drawn alike and independently. A model that compares one
    vector per entity gets plain negatives. Where a table mixes structure with features (the sum
    s + m of TBKGC and QEB, what IMF and MoMoK fuse, the vectors that stand for features which an
    entity lacks) all of it is of the entity of the modalities. In the released code both are the
    same entity.
    """

    @property
    def drawn(self) -> int:
        return 2 * self.situation.count

    one_side = True

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        count = self.situation.count
        first, second = negatives.candidates.split(count, 1)
        apart = dict.fromkeys(self.situation.model.structure_tables, second)
        return Negatives(first, (negatives.tails > 0) * count, apart)
