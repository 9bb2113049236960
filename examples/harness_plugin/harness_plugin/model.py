"""DistMult with a bias per entity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.index import GraphIndex, Modality, Side
from harness.kernels.rows import rows_of
from harness.model import Capabilities, Model, ModelConfig, Query, Tables, Term, register_model


class ShiftedDistMultConfig(ModelConfig):
    """Options of DistMult with a bias."""

    dim: Annotated[int, Field(ge=1)] = 32
    """Width of the vectors."""


@register_model("shifted_distmult")
class ShiftedDistMult(Model):
    """score(h, r, t) = <h, r, t> + b_h + b_t; the bias is one more component of the table."""

    Config = ShiftedDistMultConfig
    capabilities = Capabilities(
        title="DistMult + bias", reference="an example", formula="<h, r, t> + b_h + b_t"
    )

    def __init__(
        self, config: ShiftedDistMultConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.entity = nn.Parameter(0.1 * torch.randn(index.n_entities, config.dim))
        self.relation = nn.Parameter(0.1 * torch.randn(index.n_relations, config.dim))
        self.bias = nn.Parameter(torch.zeros(index.n_entities, 1))

    def encode(self, entities: Tensor | None = None) -> Tables:
        """Return vectors, then the bias and a one, which is compared with the anchor's bias."""
        rows, bias = self.entity, self.bias
        if entities is not None:
            rows, bias = rows_of(rows, entities), rows_of(bias, entities)
        return {"entity": torch.cat([rows, bias, torch.ones_like(bias)], 1)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        """Return the product of anchor and relation, a one, and the bias of the anchor."""
        anchor = rows_of(tables["entity"], anchors)
        vector, bias, one = anchor[:, :-2], anchor[:, -2:-1], anchor[:, -1:]
        product = vector * rows_of(self.relation, relations)
        return Query((Term("dot", torch.cat([product, one, bias], 1), "entity"),))
