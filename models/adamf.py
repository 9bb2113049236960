"""AdaMF: RotatE on the adaptively weighted sum of an entity's modalities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.kernels import compare, tanh_dot
from harness.model import (
    Capabilities,
    ModalityEmbeddings,
    Model,
    ModelConfig,
    Query,
    Tables,
    Term,
    register_model,
)

from ._fusion import SparseRows, masked_softmax, mean_weights, weighted_sum
from ._init import linear_row, rows_of, uniform_table
from ._modal import ModalityTable, offered, side_by_side
from ._scorers import rotate_query


class AdaMFConfig(ModelConfig):
    """Options of AdaMF."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: entity vectors are 2 * dim real numbers, relations dim phases. The MoCME
    paper's value for all methods (section 4.1); AdaMF's scripts use 250 on DB15K and 200 on MKG-W
    and MKG-Y."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 4.0
    """gamma: added to the score; sets the range of the initial values (AdaMF's scripts: 12 on DB15K
    and MKG-W, 4 on MKG-Y)."""
    epsilon: float = 2.0
    """Initial structural vectors are uniform in +-(margin + epsilon) / (2 dim)."""
    normalise: Annotated[Literal["none", "l2"], one_of("none", "l2")] = "none"
    """l2 divides rows of features by their Euclidean norms; the authors do not."""
    variant: Literal["paper", "released"] = "paper"
    """paper: features are constants. released: features are fine-tuned, as in the authors' code."""


@register_model("adamf")
class AdaMF(Model):
    """score(h, r, t) = margin - sum_k |v_hk e^{i phase_rk} - v_tk|, v = sum_m w_m e_m.

    w = softmax_m( q . tanh(e_m) ) over the structural vector of an entity and, of each modality it
    has, e_m = P_m x_m + b_m. Zhang et al., Unleashing the Power of Imbalanced Modality Information
    for Multi-modal Knowledge Graph Completion (2024).

    The adversarial training of AdaMF-MAT with generated modalities is a setting of the training
    (``adversary.kind: logistic``); the authors' released commands give it weight 0. Differences
    from their code: any modalities, not only image and text; absent modalities have weight 0, where
    the code uses the filler rows of its feature file.
    """

    Config = AdaMFConfig
    capabilities = Capabilities(
        title="AdaMF",
        reference="Zhang et al. 2024",
        formula="margin - sum |v_h e^(i phase) - v_t|, v = sum_m softmax(q tanh e_m) e_m",
        uses_modalities=True,
        needs_features=True,
    )

    def __init__(
        self, config: AdaMFConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        width = 2 * config.dim
        bound = (config.margin + config.epsilon) / config.dim
        self.entity = uniform_table(index.n_entities, width, bound / 2)
        self.relation = uniform_table(index.n_relations, config.dim, bound)
        self.phase_per_unit = math.pi / bound
        self.attention = linear_row(width)  # as in the authors' code
        present = offered(modalities)
        unit, trainable = config.normalise == "l2", config.variant == "released"
        self.names = ("structure", *(m.name for m in present))
        self.features = nn.ModuleList(
            ModalityTable(m, unit=unit, trainable=trainable) for m in present
        )
        self.project = nn.ModuleList(nn.Linear(m.matrix.shape[1], width) for m in present)

    def encode(self, entities: Tensor | None = None) -> Tables:
        vectors, weights = self._fused(entities)
        return {"entity": weighted_sum([SparseRows(v, None) for v in vectors], weights)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        phase = rows_of(self.relation, relations) * self.phase_per_unit
        query = rotate_query(rows_of(tables["entity"], anchors), phase, side)
        return Query((Term("modulus", query, "entity"),), self.config.margin)

    @torch.no_grad()
    def fusion_weights(self, entities: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, self._fused(entities)[1].unbind(1), strict=True))

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Return ``weight/<modality>`` -> mean weight among the entities with the modality."""
        weights = self._fused(None)[1].unbind(1)
        return mean_weights(dict(zip(self.names, weights, strict=True)))

    def modality_tables(self) -> Tables:
        vectors, present = self.modality_embeddings(None)
        shown = torch.where(present[..., None], vectors, 0)
        return dict(zip(self.names, shown.unbind(1), strict=True))

    # --- adversarial training -----------------------------------------------------------------

    def modality_embeddings(self, entities: Tensor | None) -> ModalityEmbeddings:
        vectors, has = self._vectors(entities)
        return torch.stack(vectors, 1), has

    def compare(
        self, heads: ModalityEmbeddings, relations: Tensor, tails: ModalityEmbeddings
    ) -> Tensor:
        head, tail = (
            torch.einsum(
                "np,npd->nd", masked_softmax(tanh_dot(vectors, self.attention), has), vectors
            )
            for vectors, has in (heads, tails)
        )
        phase = rows_of(self.relation, relations) * self.phase_per_unit
        margin: float = self.config.margin
        return margin + compare("modulus", rotate_query(head, phase, "tail"), tail)

    # --- pieces ---------------------------------------------------------------------------

    def _fused(self, entities: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Return the vectors [n, 2 dim] of structure and modalities, and their weights [n, 1 + M].

        Vectors of absent modalities are arbitrary; their weight is 0.
        """
        vectors, has = self._vectors(entities)
        return vectors, self._weights(vectors, has)

    def _vectors(self, entities: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Return the vectors [n, 2 dim] of structure and modalities, and their mask."""
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        vectors, has = side_by_side(structure, self.features, self.project, entities)
        return vectors, torch.cat(has, 1)

    def _weights(self, vectors: Sequence[Tensor], has: Tensor) -> Tensor:
        logits = torch.stack([tanh_dot(vector, self.attention) for vector in vectors], 1)
        return masked_softmax(logits, has)
