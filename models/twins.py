"""Twins negative sampling of VBKGC, with separate entities for structure and modalities."""

from __future__ import annotations

from torch import Tensor

from harness.procedure import Negatives, Strategy, register_strategy


@register_strategy("twins")
class Twins(Strategy):
    """Negatives with the structure of one corrupted entity and the modalities of another.

    Zhang and Zhang, Knowledge Graph Completion with Pre-trained Multimodal Transformer and Twins
    Negative Sampling (2022). Both are drawn independently from the same distribution. A model with
    one vector per entity gets plain negatives. Where a table mixes structure with features (the sum
    s + m of TBKGC and QEB, the fusion of IMF and MoMoK, the vectors that replace absent features),
    all of it is of the entity of the modalities. In the released code both are the same entity.
    """

    @property
    def drawn(self) -> int:
        return 2 * self.context.count

    one_side = True

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        count = self.context.count
        first, second = negatives.candidates.split(count, 1)
        substitutes = dict.fromkeys(self.context.model.structure_tables, second)
        return Negatives(first, (negatives.tails > 0) * count, substitutes)
