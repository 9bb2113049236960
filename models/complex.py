"""ComplEx: DistMult with complex numbers."""

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
from ._scorers import complex_product


class ComplExConfig(ModelConfig):
    """Options of ComplEx."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: all vectors are 2 * dim real numbers."""
    l3: Annotated[float, Field(ge=0), between(1e-6, 1e-1, log=True)] = 0.0
    """Weight of the cubic penalty on a batch's positives (N3, Lacroix et al. 2018)."""


@register_model("complex")
class ComplEx(Model):
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
        self.entity = xavier_table(index.n_entities, 2 * config.dim)
        self.relation = xavier_table(index.n_relations, 2 * config.dim)

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {"entity": self.entity if entities is None else rows_of(self.entity, entities)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        # Re(a conj(b)) is the inner product of the real vectors: h r with t, and t conj(r) with h.
        anchor, relation = rows_of(tables["entity"], anchors), rows_of(self.relation, relations)
        query = complex_product(anchor, relation, conjugate=side == "head")
        return Query((Term("dot", query, "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        if not self.config.l3:
            return None
        entities = _modulus(rows_of(tables["entity"], rows))
        weight: float = self.config.l3
        return weight * cubic(entities, _modulus(rows_of(self.relation, relations)))


def _modulus(x: Tensor) -> Tensor:
    real, imaginary = x.chunk(2, -1)
    # The small constant keeps the gradient at zero finite.
    return (real * real + imaginary * imaginary + 1e-12).sqrt()
