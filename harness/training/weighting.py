"""Weights of negatives as pure functions of their scores.

All functions compute in float32 for any precision of the model, without synchronisation. Scores are
detached unless the specification lets the gradient flow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from harness.plan.spec import EgnsWeighting

__all__ = ["binary_entropy", "egns", "self_adversarial", "uniform"]


def uniform(scores: Tensor) -> Tensor:
    """Return ones: [B, n] -> [B, n]."""
    return torch.ones_like(scores, dtype=torch.float32)


def self_adversarial(scores: Tensor, temperature: float) -> Tensor:
    """Return softmax(temperature * scores) over a positive's negatives (Sun et al. 2019, Eq. 4).

    Args:
        scores: scores [B, n] of the negatives.
        temperature: factor of the scores; 0 gives equal weights.

    Returns:
        weights [B, n] with rows that sum to one.
    """
    return (temperature * scores.detach().float()).softmax(-1)


def binary_entropy(logits: Tensor, base: str = "bits") -> Tensor:
    """Return the binary entropy of p = sigmoid(logit), in float32 (MoCME, Eq. 6).

    -log p = softplus(-s) and -log(1 - p) = softplus(s), so no logarithm of a rounded probability is
    taken and the entropy of a certain outcome is 0, not NaN.

    Args:
        logits: any shape.
        base: "bits" (at most 1) or "nats" (at most 0.693).
    """
    s = logits.float()
    p = torch.sigmoid(s)
    nats = softplus(-s) * p + softplus(s) * torch.sigmoid(-s)
    return nats / math.log(2) if base == "bits" else nats


def egns(scores: Tensor, margin: float, spec: EgnsWeighting) -> tuple[Tensor, dict[str, Tensor]]:
    """Return entropy-guided weights of negatives (MoCME, Eqs. 6-8).

    Args:
        scores: scores [B, n] of the negatives, as in the loss.
        margin: margin in the scores (``Query.offset``), subtracted if the entropy is computed from
            minus the distance.
        spec: thresholds, weights and readings.

    Returns:
        weights [B, n], and the shares of "easy", "ambiguous" and "hard" negatives, scalar tensors
        that sum to one (by the thresholds, also when the weights pass them smoothly).
    """
    logits = scores.float() if spec.gradient == "flow" else scores.detach().float()
    if spec.score == "without_margin":
        logits = logits - margin
    entropy = binary_entropy(logits, spec.base)
    hard = entropy >= spec.delta[1]
    easy = entropy < spec.delta[0]
    wrong = logits > 0 if spec.overconfident == "hard" else torch.zeros_like(hard)
    hard, easy = hard | wrong, easy & ~wrong
    if spec.smooth:
        weights = _smooth_steps(entropy, spec).masked_fill(wrong, spec.hard)
    else:
        weights = torch.full_like(entropy, spec.ambiguous)
        weights = weights.masked_fill(easy, spec.easy).masked_fill(hard, spec.hard)
    shares = {
        "easy": easy.float().mean(),
        "ambiguous": (~(easy | hard)).float().mean(),
        "hard": hard.float().mean(),
    }
    return weights, shares


def _smooth_steps(entropy: Tensor, spec: EgnsWeighting) -> Tensor:
    """Return Eq. 7 with each of its two steps replaced by a sigmoid of width ``spec.smooth``."""
    first, second = (torch.sigmoid((entropy - edge) / spec.smooth) for edge in spec.delta)
    return spec.easy + (spec.ambiguous - spec.easy) * first + (spec.hard - spec.ambiguous) * second
