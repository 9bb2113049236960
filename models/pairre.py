"""PairRE, in which a relation scales head and tail by separate vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Query, Tables, Term, register_model

from ._init import rows_of, uniform_table
from ._residual import ResidualModel, StructuralConfig
from ._scorers import normalise


class PairREConfig(StructuralConfig):
    """Options of PairRE."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of entity vectors; a relation has two of this width."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 6.0
    """gamma: added to the score; sets the range of the initial values."""
    epsilon: float = 2.0
    """Initial values are uniform in +-(margin + epsilon) / dim (PairRE repository)."""


@register_model("pairre")
class PairRE(ResidualModel):
    """score(h, r, t) = margin - |h' r_head - t' r_tail|_1 with h' = h / |h|_2, t' = t / |t|_2.

    Chao et al., PairRE: Knowledge Graph Embeddings via Paired Relation Vectors (2021). Entities
    have unit norm, so |r| must grow from (margin + 2) / dim to about margin / sqrt(dim) before
    scores can differ: use learning rates of 1e-3 rather than 1e-4.
    """

    Config = PairREConfig
    capabilities = Capabilities(
        title="PairRE",
        reference="Chao et al. 2021",
        formula="margin - |h/|h| r_head - t/|t| r_tail|_1",
    )

    def __init__(
        self, config: PairREConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        bound = (config.margin + config.epsilon) / config.dim
        self.entity = uniform_table(index.n_entities, config.dim, bound)
        self.relation = uniform_table(index.n_relations, 2 * config.dim, bound)
        self.add_features(index, modalities)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {"entity": normalise(self.entity_vectors(entities))}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        head, tail = rows_of(self.relation, relations).chunk(2, -1)
        anchor_scale, candidate_scale = (head, tail) if side == "tail" else (tail, head)
        query = rows_of(tables["entity"], anchors) * anchor_scale
        return Query((Term("l1", query, "entity", scale=candidate_scale),), self.config.margin)
