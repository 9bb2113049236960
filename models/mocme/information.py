"""Weights from mutual information (Eqs. 3 and 4), and controls without information."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .._fusion import masked_softmax
from .estimators import Estimator, Measured, build_estimator
from .information_config import CONTROLS, Information

__all__ = ["ComplementarityWeights", "RelevanceWeights"]

LEAST = 0.01
"""Lower bound of relevance in nats, the resolution of an estimate."""


class ComplementarityWeights(nn.Module):
    """softmax_v( -sum_{w != v} I(v; w) / temperature ) over V views or modalities.

    Information is a running average of estimates, stored in buffers of the state dict that only
    ``observe`` updates.

    Args:
        n_views: number of views or modalities, V.
        width: width of a view.
        options: options of the estimator and the weights.
        temperature: divisor of the summed information.
        n_rows: entities per estimate.
        overlap: number [V, V] of entities with both.
        n_entities: number of entities N, for pointwise tables.
        rescale: True to multiply the sum over an entity's A - 1 other views by (V - 1) / (A - 1).
            Eq. 4 has no such factor.
    """

    information: Tensor
    counts: Tensor
    steps: Tensor
    pointwise: Tensor
    visits: Tensor
    reliable: Tensor
    fixed: Tensor

    def __init__(
        self,
        n_views: int,
        width: int,
        options: Information,
        *,
        temperature: float,
        n_rows: int,
        overlap: Tensor,
        n_entities: int,
        rescale: bool = False,
    ) -> None:
        super().__init__()
        self.options = options
        self.n_views = n_views
        self.temperature = temperature
        self.rescale = rescale
        self.unit = _unit(options, n_rows)
        self.estimator: Estimator | None = None
        self.free: nn.Parameter | None = None
        if options.estimator == "learned":
            self.free = nn.Parameter(torch.zeros(n_views))
        fixed = torch.randn(n_views) if options.estimator == "random" else torch.zeros(n_views)
        self.register_buffer("fixed", fixed)
        self.measures = options.estimator not in CONTROLS and n_views > 1
        if not self.measures:
            return
        self.estimator = build_estimator(n_views, width, options, n_rows)
        reliable = (overlap >= options.min_overlap) & ~torch.eye(n_views, dtype=torch.bool)
        # Persistent, as counted in training: the model may be tested with fewer features.
        self.register_buffer("reliable", reliable)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("information", torch.zeros(n_views, n_views))
        self.register_buffer("counts", torch.zeros(n_views, n_views, dtype=torch.long))
        if options.granularity == "pointwise":
            self.register_buffer("pointwise", torch.zeros(n_entities, n_views, n_views))
            self.register_buffer("visits", torch.zeros_like(self.pointwise, dtype=torch.long))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **keywords: Any
    ) -> None:
        if self.measures:  # checkpoints of earlier versions lack masks and counts of pairs
            state_dict.setdefault(f"{prefix}reliable", self.reliable)
            if (steps := state_dict.get(f"{prefix}steps")) is not None:
                state_dict.setdefault(f"{prefix}counts", steps.expand_as(self.counts))
            visits = state_dict.get(f"{prefix}visits")
            if visits is not None and visits.dim() == 1:
                state_dict[f"{prefix}visits"] = visits[:, None, None].expand_as(self.visits)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)

    def forward(
        self,
        available: Tensor | None = None,
        entities: Tensor | None = None,
        fresh: Tensor | None = None,
    ) -> Tensor:
        """Return weights [V] for all entities, or [n, V].

        Args:
            available: mask bool [n, V]; with it, weights are per entity, over its views.
            entities: ids [n], for pointwise information; None for all N.
            fresh: estimate [V, V] that contributes its gradient; the value is the running
                average's.
        """
        if not self.measures:
            logits = self.fixed if self.free is None else self.free
            logits = logits.float() / self.temperature
            return logits.softmax(0) if available is None else masked_softmax(logits, available)
        if self.options.granularity == "pointwise":
            return self._per_entity(available, entities)
        information = self._ready(self._scaled(self.information))
        if fresh is not None:
            gradient = self._scaled(fresh - fresh.detach())
            information = self._ready(self._scaled(self.information) + gradient)
        if available is None:
            return (-information.sum(1) / self.temperature).softmax(0)
        return masked_softmax(self._logits(information, available) / self.temperature, available)

    def _logits(self, information: Tensor, available: Tensor) -> Tensor:
        """Return the logits [n, V] of each entity's views, before the temperature."""
        return -self._per_modality(available.float() @ information, available)

    def observe(self, views: Tensor, present: Tensor, entities: Tensor) -> Tensor:
        """Estimate on a batch, update the running averages, and return the estimator's loss.

        Averages of pairs with fewer than two entities in the batch do not change.

        Args:
            views: views [V, B, width], with gradient only if the loss shall train them.
            present: mask bool [V, B].
            entities: distinct ids [B].
        """
        assert self.estimator is not None
        measured: Measured = self.estimator(views, present)
        with torch.no_grad():
            self.steps += 1
            self.counts += measured.estimated
            # Powers of one and of many elements are rounded differently; stored runs have the
            # former, and all their pairs are estimated in every batch.
            is_in_every_batch = self.counts == self.steps
            gain = torch.where(is_in_every_batch, self._gain(self.steps), self._gain(self.counts))
            change = measured.matrix - self.information
            self.information += gain * torch.where(measured.estimated, change, 0.0)
            if measured.rows is not None and self.options.granularity == "pointwise":
                self.visits[entities] += measured.estimated
                gain = self._gain(self.visits[entities])
                old = self.pointwise[entities]
                change = torch.where(measured.estimated, measured.rows - old, 0.0)
                self.pointwise[entities] = old + gain * change
        return measured.loss

    def estimate(self, views: Tensor, present: Tensor) -> Tensor:
        """Return a new estimate [V, V] with gradient to the views, not to the estimator."""
        return self._look(views, present).matrix

    def shared(self, views: Tensor, present: Tensor) -> Tensor:
        """Return the mean information of the pairs, with gradient only to the views.

        Not clamped, since there is no gradient outside the bounds. 0 during the warm-up.
        """
        mean = self._look(views, present).mean
        return torch.where(self.steps > self.options.warmup_steps, mean, 0.0)

    def _look(self, views: Tensor, present: Tensor) -> Measured:
        """Estimate without gradient to the estimator and without updating its buffers."""
        assert self.estimator is not None
        frozen = {name: p.detach() for name, p in self.estimator.named_parameters()}
        # Copies of the buffers, so that this estimate does not update running averages.
        frozen |= {name: b.clone() for name, b in self.estimator.named_buffers()}
        measured: Measured = functional_call(self.estimator, frozen, (views, present))
        return measured

    def _per_entity(self, available: Tensor | None, entities: Tensor | None) -> Tensor:
        rows = self.pointwise if entities is None else self.pointwise[entities]
        rows = self._ready(self._scaled(rows))
        if available is None:
            return (-rows.sum(2) / self.temperature).softmax(1)
        shared = torch.einsum("nvw,nw->nv", rows, available.float())
        logits = -self._per_modality(shared, available)
        return masked_softmax(logits / self.temperature, available)

    def _per_modality(self, shared: Tensor, available: Tensor) -> Tensor:
        """Return the information [n, V] with the available views, rescaled if set."""
        if not self.rescale:
            return shared
        n_others = available.sum(1, keepdim=True) - 1
        return shared * (self.n_views - 1) / n_others.clamp(min=1)

    def _scaled(self, information: Tensor) -> Tensor:
        information = information * self.reliable
        if self.options.normalise == "pair_mean":
            pairs = self.reliable.sum().clamp(min=1)
            mean = (self.information * self.reliable).sum() / pairs
            return information / mean.clamp(min=1e-6)
        return information / self.unit

    def _ready(self, information: Tensor) -> Tensor:
        """Return the information, or zeros during the warm-up."""
        return torch.where(self.steps > self.options.warmup_steps, information, 0.0)

    def _gain(self, count: Tensor) -> Tensor:
        """Return the weight of the count-th value in a bias-corrected exponential average."""
        return (1 - self.options.ema) / (1 - self.options.ema ** count.clamp(min=1).float())


class RelevanceWeights(ComplementarityWeights):
    """w_m ~ r_m / (1 + sum_{m'} c_mm' / r_m), relevance over redundancy; not in the MoCME paper.

    r_m = I(v_m; v_S) with the structure S is relevance, c_mm' = min(r_m, r_m', I(v_m; v_m'))
    redundancy, in a quotient as in mRMR (Ding and Peng 2005; Peng et al. 2005). The common
    information of two modalities about the structure is at most c: at most the relevance of either
    (Barrett 2015), and at most their mutual information. So k copies of a modality have a k-th of
    its weight each. The structure gets the largest relevance of the modalities, its minimum, since
    nothing shares more with it than itself. Sums are over the modalities of an entity, without the
    structure.
    """

    def _logits(self, information: Tensor, available: Tensor) -> Tensor:
        modal = information[0, 1:].clamp(min=LEAST)
        relevance = torch.cat([modal.max()[None], modal])
        common = torch.minimum(modal, modal[:, None]).minimum(information[1:, 1:]) / modal
        repeats = torch.nn.functional.pad(available[:, 1:].float() @ common, (1, 0))
        return relevance.log() - (1 + repeats).log()


def _unit(options: Information, n_rows: int) -> float:
    if options.normalise == "logB":
        return math.log(n_rows)
    if options.normalise == "logC":
        return math.log(options.plugin.bins)
    return 1.0
