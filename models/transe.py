"""TransE, in which a relation is a translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Query, Tables, Term, register_model

from ._init import rows_of, uniform_table
from ._residual import ResidualModel, StructuralConfig
from ._scorers import normalise, translate_query


class TransEConfig(StructuralConfig):
    """Options of TransE."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of entity and relation vectors."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 6.0
    """gamma: added to the score; sets the range of the initial values."""
    epsilon: float = 2.0
    """Initial values are uniform in +-(margin + epsilon) / dim (RotatE repository)."""
    normalise: Annotated[bool, one_of(False, True)] = False
    """True to divide h, r and t by their Euclidean norms, as in OpenKE (norm_flag)."""


@register_model("transe")
class TransE(ResidualModel):
    """score(h, r, t) = margin - |h + r - t|_1.

    Bordes et al., Translating Embeddings for Modeling Multi-relational Data (2013); the margin is
    inside the score as in the RotatE repository (Sun et al. 2019).
    """

    Config = TransEConfig
    capabilities = Capabilities(
        title="TransE",
        reference="Bordes et al. 2013",
        formula="margin - |h + r - t|_1",
    )
    free_encoding = True

    def __init__(
        self, config: TransEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        bound = (config.margin + config.epsilon) / config.dim
        self.entity = uniform_table(index.n_entities, config.dim, bound)
        self.relation = uniform_table(index.n_relations, config.dim, bound)
        self.add_features(index, modalities)

    def encode(self, entities: Tensor | None = None) -> Tables:
        table = self.entity_vectors(entities)
        return {"entity": normalise(table) if self.config.normalise else table}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        anchor, relation = rows_of(tables["entity"], anchors), rows_of(self.relation, relations)
        if self.config.normalise:
            relation = normalise(relation)
        query = translate_query(anchor, relation, side)
        return Query((Term("l1", query, "entity"),), self.config.margin)
