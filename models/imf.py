"""IMF, a TuckER decoder per modality and for their fusion, each with its own loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.kernels import dropout
from harness.model import Capabilities, ModelConfig, Query, Tables, Term, register_model

from ._init import rows_of
from ._scorers import normalise
from ._tucker import FusionDropout, QueryGroups, TuckER
from ._views import FUSED, FusedViews, ViewVectors, normal_xavier_table

__all__ = ["IMF"]


class IMFConfig(ModelConfig):
    """Options of IMF, with the released code's values as defaults."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors."""
    variant: Literal["paper", "released"] = "paper"
    """paper: the contrastive loss is added. released: it is omitted, as the code never calls it."""
    branches: Annotated[int, Field(ge=1)] = 2
    """Number of products that are summed in the fusion."""
    contrastive: Annotated[float, Field(ge=0), between(1e-3, 1.0, log=True)] = 1.0
    """Weight of the contrastive loss. Ignored by the variant "released", and without features."""
    average: Annotated[Literal["probabilities", "logits"], one_of("probabilities", "logits")] = (
        "probabilities"
    )
    """Quantity of the views that is averaged for the score; probabilities as published."""
    l3: Annotated[float, Field(ge=0), between(1e-4, 1e-1, log=True)] = 0.0
    """Weight of the cubes of the views' vectors, summed over head, relation and tail, with the mean
    of a relation and its reverse, and averaged over views and batch (N3, Lacroix et al. 2018). The
    released code has no such penalty."""
    dropout: FusionDropout = FusionDropout()
    """FusionDropout in training."""


@register_model("imf")
class IMF(FusedViews):
    """p(h, r, t) = mean_m sigmoid(q_m(h, r) . e_m(t)), m: structure, modalities, fused.

    Li et al., IMF: Interactive Multimodal Fusion Model for Link Prediction (2023). q_m is TuckER's
    query D BN(D BN(e_m(h)) D(sum_k r_mk W_mk)). The fused vector of an entity is relu(sum_b prod_m
    relu(A_bm D e_m + a_bm)); relations are fused in the same way with other weights. Vectors e_m of
    a modality start as unit features pooled to dim and are trained; entities without the modality
    share a vector that starts as the mean of the others. Heads are predicted by reverse relations.
    Each view has its own loss; train with objective.loss=k_vs_all, lr=5e-4.

    The score is the log-odds of p, so that nearly equal probabilities do not tie. The contrastive
    loss is softplus(n - p) over the entities of a batch: p is the mean cosine of an entity's
    vectors of two modalities, n the mean cosine of two entities' vectors of one modality.
    Differences from the released code: it does not run as published; it divides by the norm of the
    whole batch in the loss it never calls; it draws the dropout of fused vectors separately for
    queries and each branch b, and the dropout of relation matrices for each query, where entities
    and relations here have one draw per batch. Its pre-training by a graph attention network, off
    by default, is omitted.
    """

    Config = IMFConfig
    capabilities = Capabilities(
        title="IMF",
        reference="Li et al. 2023",
        formula="mean_m sigmoid(TuckER_m(h, r) . t_m)",
        uses_modalities=True,
    )
    reciprocal = True

    def __init__(
        self, config: IMFConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        width = config.dim
        self.entity = ViewVectors(index.n_entities, width, modalities)
        self.names = self.entity.names
        self.relation = nn.ParameterDict(
            {name: normal_xavier_table(2 * index.n_relations, width) for name in self.names}
        )
        self.fuses = len(self.names) > 1
        self.views = [*self.names, FUSED] if self.fuses else self.names
        self.decoder = nn.ModuleDict(
            {name: TuckER(width, width, config.dropout) for name in self.views}
        )
        if self.fuses:
            self.fuse_entities = Mutan(len(self.names), width, config)
            self.fuse_relations = Mutan(len(self.names), width, config)

    def encode(self, entities: Tensor | None = None) -> Tables:
        tables: dict[str, Tensor] = self.entity(entities)
        return tables | {FUSED: self.fuse_entities(list(tables.values()))} if self.fuses else tables

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        groups = QueryGroups.by_relation(self.directed(relations, side))
        by = self.relation_vectors(groups.relations)
        terms = [
            Term(
                "dot",
                self.decoder[name](rows_of(tables[name], anchors), by[name], groups),
                name,
            )
            for name in self.views
        ]
        return Query(tuple(terms), views=self.config.average)

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        parts = []
        if self.config.l3:
            parts.append(self.config.l3 * self.cubes(tables, rows, relations))
        if self.config.variant == "paper" and self.config.contrastive and self.fuses:
            entities = torch.unique(rows)
            similar = contrast([rows_of(tables[name], entities) for name in self.names])
            parts.append(self.config.contrastive * similar)
        return torch.stack(parts).sum() if parts else None


class Mutan(nn.Module):
    """relu(sum_b prod_m relu(A_bm D(x_m) + a_bm)) of M vectors (Ben-Younes et al. 2017).

    Args:
        count: number of vectors, M.
        width: width of all vectors.
        config: number of branches and dropout.
    """

    def __init__(self, count: int, width: int, config: IMFConfig) -> None:
        super().__init__()
        self.branches, self.drop = config.branches, config.dropout.fusion
        # One layer has all branches of a vector.
        self.layers = nn.ModuleList(nn.Linear(width, config.branches * width) for _ in range(count))

    def forward(self, vectors: list[Tensor]) -> Tensor:
        """Return the fusion [n, width] of M vectors [n, width]."""
        product: Tensor | None = None
        for layer, vector in zip(self.layers, vectors, strict=True):
            factor = layer(dropout(vector, self.drop, self.training)).relu()
            product = factor if product is None else product * factor
        assert product is not None
        return torch.stack(product.chunk(self.branches, 1)).sum(0).relu()


def contrast(vectors: list[Tensor]) -> Tensor:
    """Return the mean of softplus(n - p) over entities.

    p is the mean cosine of an entity's vectors in two modalities, n the mean cosine of its vector
    and another entity's in one modality.

    Args:
        vectors: M >= 2 modalities, [b, width] each.
    """
    unit = torch.stack([normalise(vector.float()) for vector in vectors])
    count, entities, _ = unit.shape
    total = unit.sum(0)
    # All pairs of modalities at once: |sum_m x_m|^2 = sum_m |x_m|^2 + 2 sum of pairs.
    self_similarity = unit.square().sum(2)
    alike = (total.square().sum(1) - self_similarity.sum(0)) / (count * (count - 1))
    cross = ((unit @ unit.sum(1)[:, :, None])[:, :, 0] - self_similarity).mean(0) / max(
        1, entities - 1
    )
    return softplus(cross - alike).mean()
