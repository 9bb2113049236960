"""ComplEx over fused vectors with reverse relations, the base of RSME and OTKGE."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.index import GraphIndex, Side
from harness.model import Model, Query, Tables, Term

from ._init import normal_table, rows_of
from ._penalties import cubic, modulus
from ._scorers import complex_product

__all__ = ["ReverseComplEx"]


class ReverseComplEx(Model):
    """ComplEx on the table "entity", which a subclass fuses in ``encode`` (Lacroix et al. 2018).

    The query (?, r, t) becomes (t, r', ?), where the reverse relation r' has its own vector.

    Attributes:
        entity: structural vectors [N, 2d].
        relation: relation vectors [2R, 2d], the reverse relations last.
    """

    reciprocal = True

    def build_tables(self, index: GraphIndex, dim: int, scale: float) -> None:
        """Create the structural tables; call it first in a constructor.

        Args:
            index: sizes of the graph.
            dim: number of complex components, d.
            scale: standard deviation of the initial values.
        """
        self.entity = normal_table(index.n_entities, 2 * dim, scale)
        self.relation = normal_table(2 * index.n_relations, 2 * dim, scale)

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        ids = relations if side == "tail" else relations + self.n_relations
        query = complex_product(rows_of(tables["entity"], anchors), rows_of(self.relation, ids))
        return Query((Term("dot", query, "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return the cubic penalty on the fused vectors of a batch and its relations."""
        weight: float = self.config.l3
        if not weight:
            return None
        entities = modulus(rows_of(tables["entity"], rows))
        directions = torch.stack([relations, relations + self.n_relations], 1)
        return weight * cubic(entities, modulus(rows_of(self.relation, directions)))
