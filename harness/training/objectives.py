"""Contrastive losses as functions of scores; higher scores are more plausible."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import relu, softplus

from harness.plan.spec import ObjectiveSpec
from harness.training import weighting

__all__ = ["contrast"]


def contrast(
    positive: Tensor,
    negative: Tensor,
    spec: ObjectiveSpec,
    margin: float,
    importance: Tensor | None = None,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Return the loss of positives against their negatives, and values to log.

    Args:
        positive: scores [B].
        negative: scores [B, n].
        spec: loss, weighting and reduction.
        margin: constant offset of the scores (``Query.offset``), for entropies without it.
        importance: weights [B] of the positives with their negatives in the means over the batch;
            None for equal weights.

    The logistic loss is ``-(mean log s(pos) + mean_b sum_j w log s(-neg)) / 2`` with w summing to
    one (``reduction: mean`` divides uniform and entropy-guided weights by n): the form of OpenKE
    and of the RotatE repository. MoCME's Eq. 8 is twice that with the sum over negatives
    (``reduction: sum``); Adam is invariant to a constant factor.
    """
    positive, negative = positive.float(), negative.float()
    weights, logs = _weights(negative, spec, margin)
    if spec.loss == "margin":
        loss = _mean(
            (weights * relu(spec.margin - positive[:, None] + negative)).sum(1), importance
        )
    else:
        of_negatives = _mean((weights * softplus(negative)).sum(1), importance)
        loss = (_mean(softplus(-positive), importance) + of_negatives) / 2
    return loss, logs


def _mean(losses: Tensor, importance: Tensor | None) -> Tensor:
    if importance is None:
        return losses.mean()
    return (importance * losses).sum() / importance.sum()


def _weights(
    negative: Tensor, spec: ObjectiveSpec, margin: float
) -> tuple[Tensor, Mapping[str, Tensor]]:
    n_negatives = negative.shape[1]
    logs: Mapping[str, Tensor] = {}
    if spec.weighs_by_entropy:
        weights, logs = weighting.egns(negative, margin, spec.egns)
    else:
        weights = weighting.uniform(negative)
    if spec.weighs_by_score:
        weights = weights * weighting.self_adversarial(negative, spec.temperature)
    elif spec.reduction == "mean":
        weights = weights / n_negatives
    elif spec.reduction == "weights":
        weights = weights / weights.sum(1, keepdim=True).clamp_(min=1e-12)
    return weights, logs
