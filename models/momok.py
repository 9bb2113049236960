"""MoMoK, gated experts per modality and a TuckER decoder per view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.kernels import dropout
from harness.model import (
    STRUCTURE,
    Capabilities,
    ModelConfig,
    Query,
    Tables,
    Term,
    register_model,
)

from ._init import normal_table, rows_of
from ._tucker import FusionDropout, QueryGroups, TuckER
from ._views import FUSED, FusedViews, ViewVectors, normal_xavier_table
from .mocme.backbones import LinearExperts
from .mocme.information import ComplementarityWeights
from .mocme.information_config import Critic, Information

__all__ = ["MoMoK"]

ENTITIES_AT_ONCE = 1024
"""Entities per estimate of information, the released batch size."""


class MoMoKConfig(ModelConfig):
    """Options of MoMoK, with the released code's values as defaults."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors (200 on MKG-W and 300 on MKG-Y in the released README)."""
    variant: Literal["paper", "released"] = "paper"
    """paper: information is bounded by CLUB. released: the likelihood lacks the term of the
    variance, so it is not a bound."""
    experts: Annotated[int, Field(ge=1), one_of(2, 3, 4)] = 3
    """Experts per view."""
    information: Annotated[float, Field(ge=0), between(1e-5, 1e-2, log=True)] = 1e-4
    """Weight of the mutual information of a view's experts. Ignored with one expert."""
    branches: Annotated[int, Field(ge=1)] = 2
    """Number of attention sums that are added in the fusion."""
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


@register_model("momok")
class MoMoK(FusedViews):
    """p(h, r, t) = mean_m sigmoid(q_m(h, r) . v_m(t)), m: structure, modalities, fused.

    Zhang et al., Multiple Heads are Better than One: Mixture of Modality Knowledge Experts (2025).
    K experts map an entity's vector e_m to W_k (e_m - b_k); v_m is their sum with gates softmax(G
    e_m), and in a query with softmax(G e_m / sigmoid(rho_r)), so the relation sets the sharpness.
    In training the gates are noisy. The fused vector is sum_b sum_m a_bm h_bm with h_bm = relu(A_bm
    v_m + c_bm) and a_b = softmax_m(w . h_bm); relations are fused in the same way. q_m is TuckER's
    query, and vectors of modalities are initialised and trained, as in imf. A small multiple of the
    mutual information of a view's experts, bounded by CLUB (an estimator of mocme), is added to the
    loss. Heads are predicted by reverse relations. Each view has its own loss; train with
    objective.loss=k_vs_all, lr=5e-4.

    The score is the log-odds of p. Differences from the released code: information covers all pairs
    of experts, not a random one, on standardised views, and its estimators are trained on random
    entities instead of the batch; dropout is drawn once per entity and per relation of a batch;
    modalities have the width of the structure at any width of features; the fused experts, which
    are unused, are omitted.
    """

    Config = MoMoKConfig
    capabilities = Capabilities(
        title="MoMoK",
        reference="Zhang et al. 2025",
        formula="mean_m sigmoid(TuckER_m(experts_m(h, r), r) . experts_m(t))",
        uses_modalities=True,
    )
    reciprocal = True

    @classmethod
    def numerics_of(cls, options: Mapping[str, Any], *, bf16: bool) -> int:
        """Return 2 for bf16 runs, whose gate and attention logits were once bf16."""
        return 2 if bf16 else cls.capabilities.numerics

    def __init__(
        self, config: MoMoKConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        width, relations = config.dim, 2 * index.n_relations
        self.entity = ViewVectors(index.n_entities, width, modalities)
        self.names = self.entity.names
        self.relation = nn.ParameterDict(
            {name: normal_xavier_table(relations, width) for name in self.names}
        )
        self.sharpness = normal_table(relations, 1, 1.0)
        self.experts = nn.ModuleDict(
            {name: GatedExperts(config.experts, width) for name in self.names}
        )
        self.fuses = len(self.names) > 1
        self.views = [*self.names, FUSED] if self.fuses else self.names
        self.decoder = nn.ModuleDict(
            {name: TuckER(width, width, config.dropout) for name in self.views}
        )
        if self.fuses:
            self.fuse_entities = AttentionFusion(len(self.names), width, config)
            self.fuse_relations = AttentionFusion(len(self.names), width, config)
        self.estimators = nn.ModuleDict(
            {name: self._estimator(config, index.n_entities) for name in self.names}
            if config.experts > 1 and config.information
            else {}
        )

    def encode(self, entities: Tensor | None = None) -> Tables:
        vectors = self.entity(entities)
        mixed = {name: self._mixed(name, vectors[name]) for name in self.names}
        if self.fuses:
            mixed[FUSED] = self.fuse_entities(list(mixed.values()))
        return mixed | {_before(name): vectors[name] for name in self.names}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        ids = self.directed(relations, side)
        sharpness = rows_of(self.sharpness, ids).sigmoid()
        mixed = {
            name: self._mixed(name, rows_of(tables[_before(name)], anchors), sharpness)
            for name in self.names
        }
        groups = QueryGroups.by_relation(ids)
        # Entities first: the order of the dropout's draws is part of the numbers of stored runs.
        if self.fuses:
            mixed[FUSED] = self.fuse_entities(list(mixed.values()))
        by = self.relation_vectors(groups.relations)
        terms = [
            Term("dot", self.decoder[name](mixed[name], by[name], groups), name)
            for name in self.views
        ]
        return Query(tuple(terms), views=self.config.average)

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        parts = []
        if self.config.l3:
            parts.append(self.config.l3 * self.cubes(tables, rows, relations))
        if self.estimators and self.training:
            parts.append(self.config.information * self._shared_information(tables, rows))
        return torch.stack(parts).sum() if parts else None

    def _shared_information(self, tables: Tables, rows: Tensor) -> Tensor:
        """Return the mean information that a view's experts share, of entities of the batch."""
        entities = torch.unique(rows)
        order = torch.randperm(len(entities), generator=self.draws, device=entities.device)
        sample = entities[order[:ENTITIES_AT_ONCE]]
        shared = [
            estimator.shared(
                self._views(name, rows_of(tables[_before(name)], sample)),
                self._present(name, sample),
            )
            for name, estimator in self._estimators()
        ]
        return torch.stack(shared).mean()

    def auxiliary_parameters(self) -> Sequence[nn.Parameter]:
        return list(self.estimators.parameters())

    def auxiliary_loss(self, generator: torch.Generator) -> Tensor | None:
        """Return the mean loss of the estimators on random entities."""
        if not self.estimators:
            return None
        order = torch.randperm(self.n_entities, generator=generator, device=generator.device)
        sample = order[:ENTITIES_AT_ONCE]
        with torch.no_grad():
            vectors = self.entity(sample)
            views = {name: self._views(name, vectors[name]) for name in self.names}
        losses = [
            estimator.observe(views[name], self._present(name, sample), sample)
            for name, estimator in self._estimators()
        ]
        return torch.stack(losses).mean()

    def _mixed(self, name: str, vectors: Tensor, sharpness: Tensor | None = None) -> Tensor:
        mixed: Tensor = self.experts[name](vectors, sharpness, self.draws)
        return mixed

    def _views(self, name: str, vectors: Tensor) -> Tensor:
        experts = self.experts[name]
        assert isinstance(experts, GatedExperts)
        return experts.linear.views(vectors)

    def _present(self, name: str, entities: Tensor) -> Tensor:
        """Return the mask bool [K, b] of entities with the modality, for each expert."""
        everyone = torch.ones_like(entities, dtype=torch.bool)
        present = everyone if name == STRUCTURE else self.entity.present(name)[entities]
        return present.expand(self.config.experts, -1)

    def _estimators(self) -> list[tuple[str, ComplementarityWeights]]:
        estimators = []
        for name, estimator in self.estimators.items():
            assert isinstance(estimator, ComplementarityWeights)
            estimators.append((name, estimator))
        return estimators

    @staticmethod
    def _estimator(config: MoMoKConfig, n_entities: int) -> ComplementarityWeights:
        options = Information(
            estimator="club" if config.variant == "paper" else "club_momok",
            critic=Critic(hidden=max(1, config.dim // 2)),
            warmup_steps=0,
        )
        return ComplementarityWeights(
            config.experts,
            config.dim,
            options,
            temperature=1.0,
            n_rows=min(ENTITIES_AT_ONCE, n_entities),
            overlap=torch.full((config.experts, config.experts), n_entities),
            n_entities=n_entities,
        )


class GatedExperts(nn.Module):
    """sum_k g_k W_k (x - b_k) with gates g = softmax((G x + noise) / sharpness).

    The noise, only in training, is normal with standard deviation softplus(S x) + 0.01.

    Args:
        count: number of experts, K.
        width: width of x.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.linear = LinearExperts(count, width, shift=True)
        nn.init.normal_(self.linear.weight, 0.0, 0.02)
        self.gate = nn.Parameter(torch.zeros(width, count))
        self.noise = nn.Parameter(torch.zeros(width, count))

    def forward(self, x: Tensor, sharpness: Tensor | None, draws: torch.Generator | None) -> Tensor:
        """Return the gated sum of the experts, [n, width].

        Args:
            x: vectors [n, width].
            sharpness: divisor [n, 1] of the gate logits, None for 1.
            draws: random stream of the noise.
        """
        with torch.autocast(x.device.type, enabled=False):
            exact = x.float()
            logits = exact @ self.gate
            size = softplus(exact @ self.noise) + 0.01 if self.training else None
        if size is not None:
            logits = logits + size * torch.randn(
                logits.shape, generator=draws, device=logits.device
            )
        gates = (logits if sharpness is None else logits / sharpness).softmax(1)
        mixed: Tensor = self.linear(x, gates)
        return mixed


class AttentionFusion(nn.Module):
    """sum_b sum_m a_bm h_bm, h_bm = relu(A_bm D(x_m) + c_bm), a_b = softmax_m(w . h_bm).

    Args:
        count: number of vectors, M.
        width: width of all vectors.
        config: number of branches and dropout.
    """

    def __init__(self, count: int, width: int, config: MoMoKConfig) -> None:
        super().__init__()
        self.branches, self.drop = config.branches, config.dropout.fusion
        # One layer has all branches of a vector.
        self.layers = nn.ModuleList(nn.Linear(width, config.branches * width) for _ in range(count))
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, vectors: list[Tensor]) -> Tensor:
        """Return the fusion [n, width] of M vectors [n, width]."""
        hidden = torch.stack(
            [
                torch.stack(
                    layer(dropout(x, self.drop, self.training)).relu().chunk(self.branches, 1)
                )
                for layer, x in zip(self.layers, vectors, strict=True)
            ]
        )  # [M, branches, n, width]
        with torch.autocast(hidden.device.type, enabled=False):
            attention = self.score(hidden.float()).softmax(0)
        fused: Tensor = (attention * hidden).sum((0, 1))
        return fused


def _before(name: str) -> str:
    """Return the name of the table with a view's vectors before the experts."""
    return f"{name} before experts"
