"""Bilinear scores: queries, reverse relations and the cubic penalty of DistMult and ComplEx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.kernels import dropout
from harness.model import Model, Query, Tables, Term

from ._init import normal_or_xavier_table, rows_of
from ._penalties import cubic, modulus
from ._residual import ResidualModel, StructuralConfig
from ._scorers import complex_product

__all__ = ["Bilinear", "BilinearConfig", "StructuralBilinear"]


class Bilinear(Model):
    """score(h, r, t) = Re(sum_k h_k r_k conj(t_k)) on the table "entity", or of real vectors.

    With ``reciprocal`` the query (?, r, t) becomes (t, r', ?), where the reverse relation r' has
    its own vector (Lacroix et al. 2018).

    Attributes:
        is_complex: True for complex vectors, real parts first.
        anchor_dropout: dropout of the anchor's vector in training.
        entity: structural vectors [N, width].
        relation: relation vectors [R, width]; with ``reciprocal`` [2R, width], the reverse
            relations last.
    """

    is_complex: ClassVar[bool] = True
    anchor_dropout: float = 0.0

    def build_tables(self, index: GraphIndex, dim: int, scale: float) -> None:
        """Create the structural tables; call it first in a constructor.

        Args:
            index: sizes of the graph.
            dim: number of components of a vector.
            scale: standard deviation of the initial values; 0: Glorot's uniform values.
        """
        width = 2 * dim if self.is_complex else dim
        relations = index.n_relations * (2 if self.reciprocal else 1)
        self.entity = normal_or_xavier_table(index.n_entities, width, scale)
        self.relation = normal_or_xavier_table(relations, width, scale)

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        anchor = dropout(rows_of(tables["entity"], anchors), self.anchor_dropout, self.training)
        relation = rows_of(self.relation, self.directed(relations, side))
        if self.is_complex:
            # Re(a conj(b)) is the inner product of real vectors: h r with t, and t conj(r) with h.
            conjugate = side == "head" and not self.reciprocal
            query = complex_product(anchor, relation, conjugate=conjugate)
        else:
            query = anchor * relation
        return Query((Term("dot", query, "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return the cubic penalty on the vectors of a batch and its relations, with weight l3."""
        weight: float = self.config.l3
        if not weight:
            return None
        if self.reciprocal:
            relations = torch.stack([relations, self.directed(relations, "head")], 1)
        moduli = modulus if self.is_complex else torch.abs
        entities = moduli(rows_of(tables["entity"], rows))
        return weight * cubic(entities, moduli(rows_of(self.relation, relations)))


class BilinearConfig(StructuralConfig):
    """Options of DistMult and ComplEx."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of entity and relation vectors."""
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


class StructuralBilinear(Bilinear, ResidualModel):
    """Base class of DistMult and ComplEx, with residual features as an option."""

    free_encoding = True

    def __init__(
        self, config: BilinearConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.reciprocal = config.reciprocal
        self.anchor_dropout = config.dropout
        self.build_tables(index, config.dim, config.scale)
        self.add_features(index, modalities)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {"entity": self.entity_vectors(entities)}
