"""Random baseline."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, ContractOptions, Model, ModelConfig, Tables, register_model


class RandomConfig(ModelConfig):
    """Options of Random (none)."""


@register_model("random")
class Random(Model):
    """score(h, r, t) = a fixed pseudo-random number of (anchor, relation, side, candidate).

    A hash instead of a generator, so that the score of a triple does not depend on the order or
    size of batches.
    """

    Config = RandomConfig
    capabilities = Capabilities(
        title="Random",
        reference="control",
        formula="hash(anchor, r, side, candidate)",
        trainable=False,
    )
    free_encoding = True
    contract = ContractOptions(
        exempt={"numbering": "its scores are hashes of the entities' numbers"}
    )
    salt: Tensor

    def __init__(
        self, config: RandomConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.register_buffer("salt", torch.randint(1 << 31, ()), persistent=True)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {}

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        candidate = torch.arange(self.n_entities, device=anchors.device)
        query = (anchors * self.n_relations + relations) * 2 + (side == "head") + self.salt
        return _hash(_hash(query)[:, None] ^ candidate).float() / float(1 << 24)


def _hash(x: Tensor) -> Tensor:
    """Mix int64 values into 24 bits with prospector32, cut to 31 bits.

    Wellons, Prospecting for Hash Functions (2018), https://nullprogram.com/blog/2018/07/31/.
    """
    x = (x ^ (x >> 15)) * 0x2C1B3C6D & 0x7FFFFFFF
    x = (x ^ (x >> 12)) * 0x297A2D39 & 0x7FFFFFFF
    return (x ^ (x >> 15)) & 0xFFFFFF
