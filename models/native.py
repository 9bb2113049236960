"""NativE: modalities fused by attention that the relation sharpens; RotatE on the fused vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.kernels import HIDDEN, compare, tanh_dot
from harness.model import (
    Capabilities,
    Fusion,
    ModalityEmbeddings,
    Model,
    ModelConfig,
    Query,
    Tables,
    Term,
    register_model,
)

from ._fusion import masked_softmax, mean_weights
from ._init import linear_row, rows_of, uniform_table
from ._modal import ModalityTable, offered, side_by_side
from ._scorers import rotate_query


class NativEConfig(ModelConfig):
    """Options of NativE, with the values of its scripts for MKG-W and MKG-Y as defaults."""

    dim: Annotated[int, Field(ge=1)] = 250
    """Complex components (150 on TIVA): all vectors of entities are 2 * dim real numbers."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 4.0
    """gamma (12 on DB15K)."""
    epsilon: float = 2.0
    """Initial entity values are uniform in +-(margin + epsilon) / (2 dim)."""
    gate: bool = True
    """True for a temperature per relation; without it the fusion is AdaMF's with an MLP per
    modality."""
    regularise: Annotated[float, Field(ge=0), between(1e-7, 1e-3, log=True)] = 1e-5
    """Weight of the mean square of structural vectors and phases of the positives (0 on DB15K). The
    released code includes negatives, and instead of a phase the parameter that it is scaled from,
    which is pi dim / (margin + epsilon) times smaller."""
    missing: Literal["mask", "zero"] = "mask"
    """Treatment of an absent modality: weight 0, or (released, whose code has no mask) zero
    features, which the MLP maps to the same vector for all entities."""


@register_model("native")
class NativE(Model):
    """score(h, r, t) = margin - sum |v_h(r) e^(i phase_r) - v_t(r)|.

    Zhang et al., NativE: Multi-modal Knowledge Graph Completion in the Wild (SIGIR 2024). With the
    structure as one of the modalities, e_m an MLP of the features (two layers, ReLU), and

        v_e(r) = sum_m softmax_m( a_em / sigmoid(zeta_r) ) e_em,
        a_em = w . tanh(e_em),

    the vector of an entity depends on the relation. Candidates are fused while they are scored
    (``harness.kernels.fusion``), without a table [relations, entities].

    The paper's collaborative adversarial training is available to any model of several modalities:
    ``adversary.kind: wasserstein``. The released scripts fine-tune the pooled text features only on
    DB15K; here all features are frozen, as on the other datasets.
    """

    Config = NativEConfig
    capabilities = Capabilities(
        title="NativE",
        reference="Zhang et al. 2024",
        formula="margin - sum |v_h(r) e^(i phase) - v_t(r)|, v(r) = attention over modalities",
        uses_modalities=True,
        needs_features=True,
    )

    def __init__(
        self, config: NativEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        width = 2 * config.dim
        bound = (config.margin + config.epsilon) / width
        self.entity = uniform_table(index.n_entities, width, bound)
        self.relation = uniform_table(index.n_relations, config.dim, 2 * bound)
        self.phase_per_unit = math.pi / (2 * bound)
        self.gate = uniform_table(index.n_relations, 1, bound) if config.gate else None
        present = offered(modalities)
        self.names = ("structure", *(modality.name for modality in present))
        self.features = nn.ModuleList(ModalityTable(m, unit=False) for m in present)
        self.maps = nn.ModuleList(_mlp(m.matrix.shape[1], width) for m in present)
        self.attention = linear_row(width)

    # --- model interface --------------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        vectors, present = self.modality_embeddings(entities)
        return {"parts": vectors.flatten(1), "attention": self._logits(vectors, present)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        sharpness = self._sharpness(relations)
        embeddings = rows_of(tables["parts"], anchors).view(len(anchors), len(self.names), -1)
        weights = (rows_of(tables["attention"], anchors) * sharpness[:, None]).softmax(1)
        query = rotate_query(_joined(weights, embeddings), self._phases(relations), side)
        term = Term("modulus", query, "parts", fusion=Fusion("attention", sharpness))
        return Query((term,), self.config.margin)

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        if not self.config.regularise:
            return None
        structure = rows_of(tables["parts"][:, : 2 * self.config.dim], rows)
        phases = rows_of(self.relation, relations) * self.phase_per_unit
        squares = 2 * structure.square().mean() + phases.square().mean()
        weight: float = self.config.regularise
        return weight * squares / 3

    def diagnostics(self) -> dict[str, float]:
        """Return ``weight/<modality>`` -> mean weight without the gate, where present."""
        everyone = torch.arange(self.n_entities, device=self.entity.device)
        return mean_weights(self.fusion_weights(everyone))

    @torch.no_grad()
    def fusion_weights(self, entities: Tensor) -> dict[str, Tensor]:
        vectors, present = self.modality_embeddings(entities)
        logits = self._logits(vectors, present)
        weights = masked_softmax(logits, logits > HIDDEN)
        return dict(zip(self.names, weights.unbind(1), strict=True))

    def modality_tables(self) -> Tables:
        vectors, present = self.modality_embeddings(None)
        shown = torch.where(present[..., None], vectors, 0)
        return dict(zip(self.names, shown.unbind(1), strict=True))

    # --- adversarial training -----------------------------------------------------------------

    def modality_embeddings(self, entities: Tensor | None) -> ModalityEmbeddings:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        vectors, has = side_by_side(structure.float(), self.features, self.maps, entities)
        if self.config.missing == "zero":
            for column, (table, mlp) in enumerate(zip(self.features, self.maps, strict=True), 1):
                assert isinstance(table, ModalityTable)
                empty = mlp(vectors[column].new_zeros(1, table.width)).float()
                vectors[column] = torch.where(has[column], vectors[column], empty)
                has[column] = torch.ones_like(has[column])
        return torch.stack(vectors, 1), torch.cat(has, 1)

    def compare(
        self, heads: ModalityEmbeddings, relations: Tensor, tails: ModalityEmbeddings
    ) -> Tensor:
        sharpness = self._sharpness(relations)[:, None]
        head, tail = (
            _joined((self._logits(*end) * sharpness).softmax(1), end[0]) for end in (heads, tails)
        )
        query = rotate_query(head, self._phases(relations), "tail")
        margin: float = self.config.margin
        return margin + compare("modulus", query, tail)

    # --- pieces ---------------------------------------------------------------------------

    def _logits(self, vectors: Tensor, present: Tensor) -> Tensor:
        logits = tanh_dot(vectors, self.attention)
        return logits.masked_fill(~present, HIDDEN)

    def _sharpness(self, relations: Tensor) -> Tensor:
        """Return 1 / sigmoid(zeta_r), [q]; initially about 2."""
        if self.gate is None:
            return torch.ones(len(relations), device=relations.device)
        return 1 / rows_of(self.gate, relations)[:, 0].sigmoid()

    def _phases(self, relations: Tensor) -> Tensor:
        return rows_of(self.relation, relations) * self.phase_per_unit


def _mlp(features: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))


def _joined(weights: Tensor, embeddings: Tensor) -> Tensor:
    return torch.einsum("np,npd->nd", weights, embeddings)
