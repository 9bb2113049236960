"""ComplEx, DistMult with complex vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.kernels import dropout
from harness.model import Capabilities, Query, Tables, Term, register_model

from ._init import normal_or_xavier_table as _table
from ._init import rows_of
from ._penalties import cubic, modulus
from ._residual import ResidualModel, StructuralConfig
from ._scorers import complex_product


class ComplExConfig(StructuralConfig):
    """Options of ComplEx."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: all vectors are 2 * dim real numbers."""
    l3: Annotated[float, Field(ge=0), between(1e-6, 1e-1, log=True)] = 0.0
    """Weight of the cubic penalty on a batch's positives (N3, Lacroix et al. 2018)."""
    reciprocal: bool = False
    """Predict a head as the tail of the reverse relation, which has its own vector (Lacroix et al.
    2018; they train with objective.loss=one_vs_all, l3=5e-2 on FB15k-237 and optimiser adagrad with
    lr=0.1)."""
    scale: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the normal initial values (1e-3 in Lacroix et al.'s repository, kbc);
    0: Glorot's uniform values."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of the anchor's vector in training; candidates have none."""


@register_model("complex")
class ComplEx(ResidualModel):
    """score(h, r, t) = Re(sum_k h_k r_k conj(t_k)).

    Trouillon et al., Complex Embeddings for Simple Link Prediction (2016).
    """

    Config = ComplExConfig
    capabilities = Capabilities(
        title="ComplEx",
        reference="Trouillon et al. 2016",
        formula="Re sum h r conj(t)",
    )
    free_encoding = True

    def __init__(
        self, config: ComplExConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.reciprocal = config.reciprocal
        relations = index.n_relations * (2 if self.reciprocal else 1)
        self.entity = _table(index.n_entities, 2 * config.dim, config.scale)
        self.relation = _table(relations, 2 * config.dim, config.scale)
        self.add_features(index, modalities)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {"entity": self.entity_vectors(entities)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        # Re(a conj(b)) is the inner product of the real vectors: h r with t, and t conj(r) with h.
        reverse = self.reciprocal and side == "head"
        ids = relations + self.n_relations if reverse else relations
        anchor = dropout(rows_of(tables["entity"], anchors), self.config.dropout, self.training)
        relation = rows_of(self.relation, ids)
        query = complex_product(anchor, relation, conjugate=side == "head" and not reverse)
        return Query((Term("dot", query, "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        if not self.config.l3:
            return None
        entities = modulus(rows_of(tables["entity"], rows))
        weight: float = self.config.l3
        if self.reciprocal:
            relations = torch.stack([relations, relations + self.n_relations], 1)
        return weight * cubic(entities, modulus(rows_of(self.relation, relations)))
