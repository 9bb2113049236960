"""Twins negative sampling of VBKGC: one entity for the structure, another for the modalities."""

from __future__ import annotations

from torch import Tensor

from harness.model import STRUCTURE
from harness.procedure import Negatives, Strategy, register_strategy


@register_strategy("twins")
class Twins(Strategy):
    """A negative has the structure of one corrupted entity and the modalities of another.

    Zhang and Zhang, Knowledge Graph Completion with Pre-trained Multimodal Transformer and Twins
    Negative Sampling (2022). Both are drawn alike and independently. A model that compares one
    vector per entity gets plain negatives. In the released code both are the same entity.
    """

    @property
    def drawn(self) -> int:
        return 2 * self.situation.count

    one_side = True

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        count = self.situation.count
        first, second = negatives.candidates.split(count, 1)
        return Negatives(first, (negatives.tails > 0) * count, {STRUCTURE: second})
