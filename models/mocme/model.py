"""MoCME, experts per modality with weights by complementarity, and RotatE on the fused vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, Query, Tables, Term, register_model

from .._fusion import SparseRows, drop_modalities, mask_unseen, weighted_sum
from .._init import rows_of, uniform_table, xavier_table
from .._modal import offered
from .._scorers import rotate_query
from .backbones import Identity, build_backbone
from .branches import Branch, FeatureBranch, StructureBranch, weighted_views
from .config import INFORMED, MoCMEConfig
from .fusion import Complementarity, Fused, Inputs, build_fusion
from .information import ComplementarityWeights, RelevanceWeights
from .information_config import Information

__all__ = ["MoCME"]


class Sample(NamedTuple):
    """Inputs of the estimators for b entities.

    Attributes:
        views: views [K, b, D] of each fused modality.
        vectors: weighted sums [M, b, D] of the views.
        present: mask bool [M, b], before dropout.
    """

    views: list[Tensor]
    vectors: Tensor
    present: Tensor


class Encoding(NamedTuple):
    """Fused vectors of n entities, with the inputs of the fusion.

    Attributes:
        joint: fused vectors float32 [n, D].
        weights: weights [n, P] of the embeddings, or None.
        embeddings: P embeddings that were fused.
        structure: structural vectors [n, D], zero where hidden.
    """

    joint: Tensor
    weights: Tensor | None
    embeddings: Sequence[SparseRows]
    structure: Tensor


class Fresh(NamedTuple):
    """Estimates with gradient (``mi.weight_grad: flow``), None without it."""

    intra: Sequence[Tensor | None]
    inter: Tensor | None


@register_model("mocme")
class MoCME(Model):
    """score(h, r, t) = margin - sum |v_h e^(i phase_r) - v_t|, v = sum_m w_m sum_i w_mi v_mi.

    K experts map the embedding e_m of modality m (structure: trained; else an MLP of frozen
    features) to views v_mi, which are weighted by Eq. 3, and modalities by Eq. 4 of the MoCME
    paper. Every component is an option, with the paper's values as defaults, or NativE's where the
    paper gives none. Experts are non-linear by default, since linear ones under shared weights are
    one matrix.

    The estimators are auxiliary: they use detached views and their own optimiser, and their running
    averages are buffers that only ``auxiliary_loss`` updates. With ``mi.train: joint``
    ``penalty`` does all this instead.
    """

    Config = MoCMEConfig
    capabilities = Capabilities(
        title="MoCME",
        reference="MoCME: complementarity-guided mixture of modality experts",
        formula="margin - sum |v_h e^(i phase) - v_t|, v = sum_m w_m sum_i w_mi v_mi",
        uses_modalities=True,
        numerics=2,  # 1: fusion.rescale_information was always on
    )

    available: Tensor
    rate: Tensor

    @classmethod
    def numerics_of(cls, options: Mapping[str, Any], *, bf16: bool) -> int:
        """Return 3 for bf16 runs with the fusion "attention", whose logits were once bf16."""
        attention = options.get("fusion", {}).get("kind") == "attention"
        return 3 if bf16 and attention else cls.capabilities.numerics

    def __init__(
        self, config: MoCMEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        features = {modality.name: modality for modality in offered(modalities)}
        per_modality = config.score.per_modality_relation
        self.compared = ("structure", *features) if per_modality else ("entity",)
        self._build_score(config, index)
        self._build_available(config, index, features)
        self.first = 0 if config.structure.as_modality or not features else 1
        self.all_views = config.fusion.scope == "both" and config.fusion.kind not in INFORMED
        self._build_branches(config, features)
        self._build_fusion(config)

    # --- model interface --------------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        encoded = self._fuse(entities)
        if not self.config.score.per_modality_relation:
            return {"entity": encoded.joint}
        return self._by_modality(encoded)

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        terms = []
        phases = rows_of(self.relation, relations) * self.phase_per_unit
        for name, phase in zip(self.compared, phases.chunk(len(self.compared), 1), strict=True):
            query = rotate_query(rows_of(tables[name], anchors), phase, side)
            terms.append(Term(self.op, query, name))
        return Query(tuple(terms), self.config.score.margin)

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return the estimators' loss (joint training) and the penalty on information, if any."""
        options = self.config.mi
        joint = options.train == "joint" and bool(self._measuring())
        several = any(branch.weights.measures for branch in self._branches)
        minimise = options.minimise_weight > 0 and several
        if not self.training or not (joint or minimise):
            return None
        batch = self._batch(self.draws)
        sample = self._sample(batch)
        added = sample.vectors.new_zeros(())
        if minimise:
            added = added + options.minimise_weight * self._shared_by_views(sample)
        if joint:
            added = added + options.joint_weight * self._observe(sample, batch)
        return added

    def auxiliary_parameters(self) -> Sequence[nn.Parameter]:
        if self.config.mi.train == "joint":
            return []
        return [
            parameter
            for weights in self._measuring()
            if weights.estimator is not None
            for parameter in weights.estimator.parameters()
        ]

    def auxiliary_loss(self, generator: torch.Generator) -> Tensor | None:
        """Estimate on random entities, update the averages, and return the estimators' loss.

        None without anything to train (the averages are updated all the same).
        """
        if not self._measuring() or self.config.mi.train == "joint":
            return None
        batch = self._batch(generator)
        with torch.no_grad():
            sample = self._sample(batch)
        total = self._observe(sample, batch)
        return total if total.requires_grad else None

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Return weights, their entropies in bits, the information, and the size of the backbones.

        ``omega_a/<modality>/<view>``, ``entropy_a/<modality>`` and ``omega_b/<modality>`` are means
        over the entities with the modality, ``entropy_b`` over all; ``backbone_parameters`` is the
        number of parameters of all backbones.
        """
        of_backbones = (p for branch in self._branches for p in branch.backbone.parameters())
        numbers = {"backbone_parameters": float(sum(p.numel() for p in of_backbones))}
        owners = self.available[:, self.first :].unbind(1)
        for branch, has in zip(self._branches, owners, strict=True):
            if branch.weights.n_views > 1 and not self.all_views:
                omega = branch.weights()
                omega = omega[None] if omega.dim() == 1 else omega[has]
                for view, share in enumerate(omega.mean(0).tolist()):
                    numbers[f"omega_a/{branch.name}/{view}"] = share
                numbers[f"entropy_a/{branch.name}"] = _entropy(omega)
        shares = self._shares(None)
        for (name, share), has in zip(shares.items(), owners, strict=False):
            numbers[f"omega_b/{name}"] = float(share[has].mean()) if has.any() else 0.0
        if shares:
            numbers["entropy_b"] = _entropy(torch.stack(list(shares.values()), 1))
        if self.inter is not None and self.inter.estimator is not None:
            for v, w in self.inter.estimator.pairs:
                key = f"information_b/{self._branches[v].name}/{self._branches[w].name}"
                numbers[key] = float(self.inter.information[v, w])
        return numbers

    @torch.no_grad()
    def fusion_weights(self, entities: Tensor) -> dict[str, Tensor]:
        """Return modality -> fusion weights [n]; {} for fusions without weights."""
        return self._shares(entities)

    def modality_tables(self) -> Tables:
        """Return modality -> weighted vectors, whose sum is the fused one; {} without weights."""
        encoded = self._fuse(None, hide=False)
        return {} if encoded.weights is None else self._by_modality(encoded)

    # --- separate stages, for measuring their costs ----------------------------------------

    def views(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Return the views [K, n, D] of each modality's vectors [n, D].

        A training step computes their weighted sum instead (:mod:`.backbones`).
        """
        return [
            branch.backbone.views(values)
            for branch, values in zip(self._branches, vectors, strict=True)
        ]

    def fuse_views(self, views: Sequence[Tensor], structure: Tensor) -> Tensor:
        """Fuse views into vectors [n, D] by Eq. 3, then Eq. 4 or another fusion.

        Args:
            views: views [K, n, D] of each fused modality, for entities with all modalities.
            structure: structural vectors [n, D], inputs of gates.
        """
        embeddings = [
            SparseRows(weighted_views(branch.weights(), values), None)
            for branch, values in zip(self._branches, views, strict=True)
        ]
        available = structure.new_ones(len(structure), len(embeddings), dtype=torch.bool)
        fused: Fused = self.fusion(Inputs(embeddings, available, structure))
        return fused.joint.float()

    def inform(self, views: Sequence[Tensor], entities: Tensor) -> Tensor:
        """Estimate information on views [K, b, D] of entities (ids [b]) with all modalities.

        Updates the averages and returns the estimators' loss, as ``auxiliary_loss`` does.
        """
        vectors = [
            weighted_views(branch.weights(entities=entities), values)
            for branch, values in zip(self._branches, views, strict=True)
        ]
        present = torch.ones(len(views), len(entities), dtype=torch.bool, device=entities.device)
        return self._observe(Sample(list(views), torch.stack(vectors), present), entities)

    # --- building -------------------------------------------------------------------------

    def _build_score(self, config: MoCMEConfig, index: GraphIndex) -> None:
        width, score = 2 * config.dim, config.score
        slack = score.margin + score.epsilon
        self.op: Literal["modulus", "l2"]
        self.op = "modulus" if score.norm == "modulus_sum" else score.norm
        self.bound = slack / width
        if config.structure.init == "rotate":
            self.entity = uniform_table(index.n_entities, width, self.bound)
        else:
            self.entity = xavier_table(index.n_entities, width)
        # One block of columns per compared table.
        if score.relation_phase == "uniform_pi":
            bound = slack / config.dim
            columns = len(self.compared) * config.dim
            self.relation = uniform_table(index.n_relations, columns, bound)
            self.phase_per_unit = math.pi / bound
        else:
            blocks = [xavier_table(index.n_relations, config.dim) for _ in self.compared]
            self.relation = nn.Parameter(torch.cat([block.detach() for block in blocks], 1))
            self.phase_per_unit = 1.0

    def _build_available(
        self, config: MoCMEConfig, index: GraphIndex, features: Mapping[str, Modality]
    ) -> None:
        everyone = torch.ones(index.n_entities, dtype=torch.bool)
        literal = config.fusion.missing == "literal"
        columns = [everyone if literal else m.present.bool() for m in features.values()]
        available = torch.stack([everyone, *columns], 1)
        if config.structure.mask_unseen:
            available = mask_unseen(available, index.seen_entities)
        self.register_buffer("available", available, persistent=False)
        self.balanced = config.mi.draw == "balanced" and bool(features)
        if self.balanced:
            owners = available[:, 1:]
            share = owners / owners.sum(0).clamp(min=1)
            # Entities with only a structure have the rate of the uniform draw.
            rate = share.sum(1) + 1 / index.n_entities
            self.register_buffer("rate", rate, persistent=False)

    def _build_branches(self, config: MoCMEConfig, features: Mapping[str, Modality]) -> None:
        informed = config.experts.weights == "complementarity" and not self.all_views
        options = config.mi if informed else config.mi.model_copy(update={"estimator": "uniform"})

        def view_weights(n_views: int, column: int) -> ComplementarityWeights:
            owners = self.available[:, column].sum().expand(n_views, n_views)
            return self._weights(n_views, options, config.mi.temperature.intra, owners)

        branches: list[Branch] = []
        if self.first == 0:
            backbone = build_backbone(config) if config.structure.through_experts else Identity()
            weights = view_weights(backbone.n_views, 0)
            branches.append(StructureBranch("structure", backbone, weights, config.experts.dropout))
        for column, modality in enumerate(features.values(), start=1):
            backbone = build_backbone(config)
            weights = view_weights(backbone.n_views, column)
            present = self.available[:, column]
            branches.append(FeatureBranch(modality, present, backbone, weights, config))
        self.branches = nn.ModuleList(branches)

    def _build_fusion(self, config: MoCMEConfig) -> None:
        self.view_counts = [b.backbone.n_views if self.all_views else 1 for b in self._branches]
        inter: ComplementarityWeights | None = None
        if config.fusion.kind in INFORMED:
            have = self.available[:, self.first :].float()
            temperature = config.mi.temperature.inter
            kind = RelevanceWeights if config.fusion.kind == "relevance" else ComplementarityWeights
            overlap = have.T @ have
            inter = self._weights(len(self.view_counts), config.mi, temperature, overlap, kind)
        self.fusion = build_fusion(config, sum(self.view_counts), inter, self.bound)

    def _weights(
        self,
        n_views: int,
        options: Information,
        temperature: float,
        overlap: Tensor,
        kind: type[ComplementarityWeights] = ComplementarityWeights,
    ) -> ComplementarityWeights:
        return kind(
            n_views,
            2 * self.config.dim,
            options,
            temperature=temperature,
            n_rows=min(options.rows, self.n_entities),
            overlap=overlap,
            n_entities=self.n_entities,
            rescale=self.config.fusion.rescale_information,
        )

    # --- encoding -------------------------------------------------------------------------

    @property
    def inter(self) -> ComplementarityWeights | None:
        """Weights of the modalities by information; None for other fusions."""
        return self.fusion.weights if isinstance(self.fusion, Complementarity) else None

    @property
    def _branches(self) -> list[Branch]:
        """Branches of the fused modalities, in the order of ``available[:, first:]``."""
        return cast("list[Branch]", list(self.branches))

    def _fuse(self, entities: Tensor | None, *, hide: bool = True) -> Encoding:
        """Fuse the modalities of ``entities`` ([n] ids, or all N)."""
        available = self._available(entities, hide=self.training and hide)
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        fresh = Fresh([None] * len(self.branches), None)
        if self.training and hide:
            fresh = self._fresh()
        # What dropout hides needs no embedding. Of all N it has one: to choose rows here would be
        # a copy from the device that there is not otherwise.
        drops = self.training and hide and self.config.modality_dropout.others > 0
        drops = drops and entities is not None
        columns = available[:, self.first :]
        embeddings = [
            embedding
            for branch, estimate, column in zip(
                self._branches, fresh.intra, columns.unbind(1), strict=True
            )
            for embedding in branch.embeddings(
                structure,
                entities,
                column if drops else None,
                all_views=self.all_views,
                fresh=estimate,
                static=self.static_shapes,
            )
        ]
        visible = structure * available[:, :1].to(structure.dtype)
        if self.all_views:
            repeated = [
                column.expand(-1, count)
                for column, count in zip(
                    torch.split(columns, 1, dim=1), self.view_counts, strict=True
                )
            ]
            columns = torch.cat(repeated, 1)
        fused = self.fusion(Inputs(embeddings, columns, visible, entities, fresh.inter))
        joint = fused.joint.float()
        joint = joint + visible if self.first else joint
        return Encoding(joint, fused.weights, embeddings, visible)

    def _available(self, entities: Tensor | None, *, hide: bool) -> Tensor:
        """Return the mask bool [n, 1 + M]; ``hide`` applies modality dropout."""
        dropout = self.config.modality_dropout
        if hide and self.static_shapes:
            # Ids may repeat: all occurrences of an entity must hide the same modalities.
            kept = drop_modalities(self.available, dropout)
            return kept if entities is None else kept[entities]
        available = self.available if entities is None else self.available[entities]
        return drop_modalities(available, dropout) if hide else available

    def _by_modality(self, encoded: Encoding) -> Tables:
        """Return modality -> weighted vectors, which sum to the fused one; zero where absent."""
        assert encoded.weights is not None
        tables = {"structure": encoded.structure} if self.first else {}
        embeddings = iter(encoded.embeddings)
        for branch, count, weights in zip(
            self._branches,
            self.view_counts,
            torch.split(encoded.weights, self.view_counts, dim=1),
            strict=True,
        ):
            tables[branch.name] = weighted_sum([next(embeddings) for _ in range(count)], weights)
        return tables

    def _shares(self, entities: Tensor | None) -> dict[str, Tensor]:
        weights = self._fuse(entities, hide=False).weights
        if weights is None:
            return {}
        return {
            branch.name: view_shares.sum(1)
            for branch, view_shares in zip(
                self._branches, torch.split(weights, self.view_counts, dim=1), strict=True
            )
        }

    # --- information ----------------------------------------------------------------------

    def _measuring(self) -> list[ComplementarityWeights]:
        layers = [branch.weights for branch in self._branches]
        layers += [] if self.inter is None else [self.inter]
        return [weights for weights in layers if weights.measures]

    def _batch(self, generator: torch.Generator | None) -> Tensor:
        """Draw entities for one estimate, without replacement."""
        device = self.entity.device if generator is None else generator.device
        if self.balanced:
            order = self._race(generator, device)
        else:
            order = torch.randperm(self.n_entities, generator=generator, device=device)
        return order[: self.config.mi.rows].to(self.entity.device, non_blocking=True)

    def _race(self, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return all entities in the order of exponential clocks with their rates.

        The first B are a draw without replacement with probabilities proportional to the rates
        (Efraimidis and Spirakis 2006), without synchronisation with the host.
        """
        clocks = torch.empty(self.n_entities, device=device).exponential_(generator=generator)
        return (clocks / self.rate.to(device)).argsort()

    def _observe(self, sample: Sample, batch: Tensor) -> Tensor:
        """Update the averages of all estimators, and return the sum of their losses."""
        losses = [
            branch.weights.observe(views, present.expand(len(views), -1), batch)
            for branch, views, present in zip(
                self._branches, sample.views, sample.present, strict=True
            )
            if branch.weights.measures
        ]
        if self.inter is not None and self.inter.measures:
            losses.append(self.inter.observe(sample.vectors, sample.present, batch))
        return torch.stack(losses).sum()

    def _shared_by_views(self, sample: Sample) -> Tensor:
        """Return the information of a modality's views, mean over modalities with several views."""
        shared = [
            branch.weights.shared(views, present.expand(len(views), -1))
            for branch, views, present in zip(
                self._branches, sample.views, sample.present, strict=True
            )
            if branch.weights.measures
        ]
        return torch.stack(shared).mean()

    def _sample(self, entities: Tensor) -> Sample:
        structure = rows_of(self.entity, entities)
        views, vectors = zip(
            *(branch.sample(structure, entities) for branch in self._branches), strict=True
        )
        present = self.available[entities, self.first :].T
        return Sample(list(views), torch.stack(vectors), present)

    def _fresh(self) -> Fresh:
        """Estimate information with a gradient to the views, for ``weight_grad: flow``."""
        if self.config.mi.weight_grad == "stop" or not self._measuring():
            return Fresh([None] * len(self.branches), None)
        sample = self._sample(self._batch(self.draws))
        intra = [
            branch.weights.estimate(views, present.expand(len(views), -1))
            if branch.weights.measures
            else None
            for branch, views, present in zip(
                self._branches, sample.views, sample.present, strict=True
            )
        ]
        inter = None
        if self.inter is not None and self.inter.measures:
            inter = self.inter.estimate(sample.vectors, sample.present)
        return Fresh(intra, inter)


def _entropy(shares: Tensor) -> float:
    """Return the mean entropy in bits of distributions [n, k]."""
    return float(torch.special.entr(shares).sum(1).mean() / math.log(2))
