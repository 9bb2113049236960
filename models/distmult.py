"""DistMult: a relation is a diagonal matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Query, Tables, Term, register_model

from ._init import rows_of, xavier_table
from ._penalties import cubic


class DistMultConfig(ModelConfig):
    """Options of DistMult."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of entity and relation vectors."""
    l3: Annotated[float, Field(ge=0), between(1e-6, 1e-1, log=True)] = 0.0
    """Weight of the cubic penalty on a batch's positives (N3, Lacroix et al. 2018)."""


@register_model("distmult")
class DistMult(Model):
    """score(h, r, t) = sum_k h_k r_k t_k, symmetric in head and tail.

    Yang et al., Embedding Entities and Relations for Learning and Inference in Knowledge Bases
    (2015).
    """

    Config = DistMultConfig
    capabilities = Capabilities(
        title="DistMult",
        reference="Yang et al. 2015",
        formula="sum h r t",
    )
    free_encoding = True

    def __init__(
        self, config: DistMultConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.entity = xavier_table(index.n_entities, config.dim)
        self.relation = xavier_table(index.n_relations, config.dim)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {"entity": self.entity if entities is None else rows_of(self.entity, entities)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        query = rows_of(tables["entity"], anchors) * rows_of(self.relation, relations)
        return Query((Term("dot", query, "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        if not self.config.l3:
            return None
        entities = rows_of(tables["entity"], rows)
        weight: float = self.config.l3
        return weight * cubic(entities.abs(), rows_of(self.relation, relations).abs())
