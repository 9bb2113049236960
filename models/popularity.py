"""Popularity baseline: the most frequent answers of a relation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Tables, register_model

from ._counting import side_counts


class PopularityConfig(ModelConfig):
    """Options of Popularity (none)."""


@register_model("popularity")
class Popularity(Model):
    """score(h, r, t) = number of train triples of r with t as tail (with h as head for heads)."""

    Config = PopularityConfig
    capabilities = Capabilities(
        title="Popularity",
        reference="counting baseline",
        formula="#(., r, t) in train",
        trainable=False,
    )
    free_encoding = True

    def __init__(
        self, config: PopularityConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        for side, counts in side_counts(index).items():
            self.register_buffer(side, counts, persistent=False)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {}

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        counts: Tensor = getattr(self, side)
        return counts[relations]
