"""RotatE, in which a relation is a rotation in the complex plane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Query, Tables, Term, register_model

from ._init import rows_of, uniform_table
from ._residual import ResidualModel, StructuralConfig
from ._scorers import rotate_query


class RotatEConfig(StructuralConfig):
    """Options of RotatE."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: entity vectors are 2 * dim real numbers, relations dim phases."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 4.0
    """gamma: added to the score; sets the range of the initial values (NativE's scripts: 12 on
    DB15K, 4 on the other datasets)."""
    epsilon: float = 2.0
    """Initial entity values are uniform in +-(margin + epsilon) / (2 dim) (OpenKE; the RotatE
    repository divides by dim)."""


@register_model("rotate")
class RotatE(ResidualModel):
    """score(h, r, t) = margin - sum_k |h_k e^{i phase_k} - t_k|.

    Sun et al., RotatE: Knowledge Graph Embedding by Relational Rotation in Complex Space (2019).
    Phases start uniform in [-pi, pi].
    """

    Config = RotatEConfig
    capabilities = Capabilities(
        title="RotatE",
        reference="Sun et al. 2019",
        formula="margin - sum |h e^(i phase) - t|",
    )
    free_encoding = True

    def __init__(
        self, config: RotatEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        slack = config.margin + config.epsilon
        self.entity = uniform_table(index.n_entities, 2 * config.dim, slack / (2 * config.dim))
        # A phase is stored in units of bound / pi, so that phases and entities take steps of equal
        # size under Adam (RotatE repository).
        bound = slack / config.dim
        self.relation = uniform_table(index.n_relations, config.dim, bound)
        self.phase_per_unit = math.pi / bound
        self.add_features(index, modalities)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {"entity": self.entity_vectors(entities)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        phase = rows_of(self.relation, relations) * self.phase_per_unit
        query = rotate_query(rows_of(tables["entity"], anchors), phase, side)
        return Query((Term("modulus", query, "entity"),), self.config.margin)
