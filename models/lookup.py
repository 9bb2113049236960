"""Lookup: what train says, else popularity."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Tables, register_model

from ._counting import side_counts


class LookupConfig(ModelConfig):
    """Lookup has no options."""


@register_model("lookup")
class Lookup(Model):
    """score(h, r, t) = [(h, r, t) in train] + popularity of the answer, scaled below one.

    A learned model that stays below it on a split has not used what the split gives away: ranked
    with a filter that holds all splits, a test triple that also stands in train is answered
    perfectly.
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
        self.known = index.known
        for side, counts in side_counts(index).items():
            self.register_buffer(side, counts.div_(1.0 + counts.max()), persistent=False)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {}

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        popularity: Tensor = getattr(self, side)
        scores = popularity[relations]
        answers = self.known.to(anchors.device).lookup(anchors, relations, side)
        scores[answers.query_ids, answers.indices] += 1.0
        return scores
