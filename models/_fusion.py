"""Building blocks of models that fuse modalities: who has what, and weighted sums of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from harness.config.base import Config
from harness.config.search import between
from harness.index import Modality

__all__ = [
    "ModalityDropout",
    "Part",
    "drop_modalities",
    "features_of",
    "mask_unseen",
    "masked_softmax",
    "mean_weights",
    "spread",
    "weighted_sum",
]


class ModalityDropout(Config):
    """Modalities hidden at random, per entity and step, in training only."""

    structure: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.5)] = 0.0
    """Probability that an entity's structural vector is hidden: so does an unseen entity look.
    Ignored without features: nobody is left with nothing."""
    others: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.5)] = 0.0
    """Probability that a further modality of an entity is hidden, each by itself. Ignored without
    features."""


class Part(NamedTuple):
    """Vectors of the entities that have a modality.

    Attributes:
        values: [r, width].
        rows: [r] distinct positions among the n encoded entities; None when r = n.
    """

    values: Tensor
    rows: Tensor | None


def features_of(modality: Modality, *, unit: bool = False) -> Tensor:
    """Return features [N, width] in fp32; rows of entities without the modality are zero.

    Args:
        modality: features and who has them.
        unit: divide each row by its Euclidean norm.
    """
    matrix = torch.where(modality.present[:, None], modality.matrix.float(), 0.0)
    return normalize(matrix, dim=1) if unit else matrix


def mean_weights(weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Return ``weight/<modality>``: its mean weight among the entities that have it.

    Args:
        weights: by modality [n], 0 where an entity lacks it.
    """
    return {
        f"weight/{name}": float(each.sum() / (each > 0).sum().clamp(min=1))
        for name, each in weights.items()
    }


def mask_unseen(available: Tensor, seen: Tensor) -> Tensor:
    """Hide the structure of entities that no training triple mentions but another modality does.

    Their structural vector was only ever a negative, so it says "not this one" to every query.

    Args:
        available: [N, 1 + M] boolean, column 0 is the structure.
        seen: [N] boolean.
    """
    masked = available.clone()
    masked[:, 0] &= seen | ~available[:, 1:].any(1)
    return masked


def drop_modalities(available: Tensor, dropout: ModalityDropout) -> Tensor:
    """Hide modalities at random; an entity that would be left with nothing keeps all it had.

    Args:
        available: [n, 1 + M] boolean, column 0 is the structure.
        dropout: probabilities.
    """
    if not (dropout.structure or dropout.others):
        return available
    keep = torch.rand(available.shape, device=available.device)
    kept = available & torch.cat(
        [keep[:, :1] >= dropout.structure, keep[:, 1:] >= dropout.others], 1
    )
    return torch.where(kept.any(1, keepdim=True), kept, available)


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis among the entries of ``mask``; zeros where there are none.

    Always in fp32. The fill is finite: a row without entries would give NaN gradients otherwise.
    """
    filled = logits.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return filled.softmax(-1) * mask


def spread(part: Part, n: int) -> Tensor:
    """Return the part as [n, width] with zero rows where it is absent."""
    if part.rows is None:
        return part.values
    return part.values.new_zeros(n, part.values.shape[1]).index_copy(0, part.rows, part.values)


def weighted_sum(parts: Sequence[Part], weights: Tensor) -> Tensor:
    """Return sum_p weights[:, p] * parts[p] as [n, width] fp32; absent rows are never touched.

    Args:
        parts: P parts.
        weights: [n, P].
    """
    if all(part.rows is None for part in parts) and not torch.compiler.is_compiling():
        whole = [part.values.float() for part in parts]
        summed: Tensor = _WeightedSum.apply(weights, *whole)  # type: ignore[no-untyped-call]
        return summed
    total: Tensor | None = None
    for column, part in enumerate(parts):
        weight, values = weights[:, column, None], part.values.float()
        if part.rows is None:
            total = weight * values if total is None else torch.addcmul(total, weight, values)
            continue
        if total is None:
            total = values.new_zeros(len(weights), values.shape[1])
        total = total.index_add(0, part.rows, weight[part.rows] * values)
    assert total is not None
    return total


class _WeightedSum(torch.autograd.Function):
    """sum_p w_p v_p. What torch derives from ``addcmul`` multiplies every v_p by 1 first."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *values: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *values)
        first, *others = (weights[:, p, None] for p in range(len(values)))
        total = first * values[0]
        for weight, value in zip(others, values[1:], strict=True):
            total.addcmul_(weight, value)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        weights, *values = ctx.saved_tensors
        to_weights = torch.stack([(gradient * value).sum(1) for value in values], 1)
        return to_weights, *(gradient * weights[:, p, None] for p in range(len(values)))
