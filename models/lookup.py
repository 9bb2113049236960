"""Lookup baseline: membership in train, then popularity."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Tables, register_model

from ._counting import side_counts


class LookupConfig(ModelConfig):
    """Options of Lookup (none)."""


@register_model("lookup")
class Lookup(Model):
    """score(h, r, t) = [(h, r, t) in train] + popularity of the answer, scaled below one.

    A learned model below it on a split does not use the leaks of the split: with a filter over all
    splits, a test triple that is also in train is ranked first.
    """

    Config = LookupConfig
    capabilities = Capabilities(
        title="Lookup",
        reference="counting baseline",
        formula="[(h, r, t) in train] + #(., r, t) / (1 + max #)",
        trainable=False,
    )
    free_encoding = True

    def __init__(
        self, config: LookupConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.train_filter = index.train_filter
        for side, counts in side_counts(index).items():
            self.register_buffer(side, counts.div_(1.0 + counts.max()), persistent=False)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {}

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        popularity: Tensor = getattr(self, side)
        scores = popularity[relations]
        self.train_filter = self.train_filter.to(anchors.device)  # copied once
        answers = self.train_filter.lookup(anchors, relations, side)
        scores[answers.query_ids, answers.indices] += 1.0
        return scores
