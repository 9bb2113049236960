"""Building blocks of modality fusion: masks, modality dropout, weighted sums of embeddings."""

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
    "SparseRows",
    "drop_modalities",
    "features_of",
    "mask_unseen",
    "masked_softmax",
    "mean_weights",
    "to_dense",
    "weighted_sum",
]


class ModalityDropout(Config):
    """Dropout of whole modalities, per entity and training step."""

    structure: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.5)] = 0.0
    """Probability that an entity's structural vector is hidden, as if the entity were unseen.
    Ignored without features, since an entity keeps at least one modality."""
    others: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.5)] = 0.0
    """Probability that a further modality of an entity is hidden, independently. Ignored without
    features."""


class SparseRows(NamedTuple):
    """Embeddings of the entities that have a modality.

    Attributes:
        values: embeddings [r, width].
        rows: distinct positions [r] among the n encoded entities; None for r = n.
    """

    values: Tensor
    rows: Tensor | None


def features_of(modality: Modality, *, unit: bool = False) -> Tensor:
    """Return features float32 [N, width]; rows of entities without the modality are zero.

    Args:
        modality: features and their mask.
        unit: divide each row by its Euclidean norm.
    """
    matrix = torch.where(modality.present[:, None], modality.matrix.float(), 0.0)
    return normalize(matrix, dim=1) if unit else matrix


def mean_weights(weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Return ``weight/<modality>`` -> mean weight among the entities with the modality.

    Args:
        weights: modality -> weights [n], 0 for entities without it.
    """
    return {
        f"weight/{name}": float(share.sum() / (share > 0).sum().clamp(min=1))
        for name, share in weights.items()
    }


def mask_unseen(available: Tensor, seen_entities: Tensor) -> Tensor:
    """Hide the structure of unseen entities that have another modality.

    Their structural vector was trained only as a negative, so it scores low for every query.

    Args:
        available: bool [N, 1 + M], column 0 is the structure.
        seen_entities: bool [N], True for entities with a training triple.
    """
    masked = available.clone()
    masked[:, 0] &= seen_entities | ~available[:, 1:].any(1)
    return masked


def drop_modalities(available: Tensor, dropout: ModalityDropout) -> Tensor:
    """Hide modalities at random; an entity that would lose all of them keeps all.

    Args:
        available: bool [n, 1 + M], column 0 is the structure.
        dropout: probabilities of hiding.
    """
    if not (dropout.structure or dropout.others):
        return available
    keep = torch.rand(available.shape, device=available.device)
    visible = available & torch.cat(
        [keep[:, :1] >= dropout.structure, keep[:, 1:] >= dropout.others], 1
    )
    return torch.where(visible.any(1, keepdim=True), visible, available)


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the entries of ``mask`` in the last axis; zeros for empty rows.

    Always in float32. The fill is finite, since empty rows would give NaN gradients with -inf.
    """
    filled = logits.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return filled.softmax(-1) * mask


def to_dense(embedding: SparseRows, n: int) -> Tensor:
    """Return the embeddings as [n, width], with zero rows for absent entities."""
    if embedding.rows is None:
        return embedding.values
    return embedding.values.new_zeros(n, embedding.values.shape[1]).index_copy(
        0, embedding.rows, embedding.values
    )


def weighted_sum(embeddings: Sequence[SparseRows], weights: Tensor) -> Tensor:
    """Return sum_p weights[:, p] * embeddings[p] as float32 [n, width], without absent rows.

    Args:
        embeddings: embeddings of P modalities.
        weights: weights [n, P].
    """
    if (
        all(embedding.rows is None for embedding in embeddings)
        and not torch.compiler.is_compiling()
    ):
        values_of_all = [embedding.values.float() for embedding in embeddings]
        summed: Tensor = _WeightedSum.apply(weights, *values_of_all)  # type: ignore[no-untyped-call]
        return summed
    total: Tensor | None = None
    for column, embedding in enumerate(embeddings):
        weight, values = weights[:, column, None], embedding.values.float()
        if embedding.rows is None:
            total = weight * values if total is None else torch.addcmul(total, weight, values)
            continue
        if total is None:
            total = values.new_zeros(len(weights), values.shape[1])
        total = total.index_add(0, embedding.rows, weight[embedding.rows] * values)
    assert total is not None
    return total


class _WeightedSum(torch.autograd.Function):
    """sum_p w_p v_p, without autograd's extra product of every v_p with 1 for ``addcmul``."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *values: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *values)
        first, *rest_weights = (weights[:, p, None] for p in range(len(values)))
        total = first * values[0]
        for weight, value in zip(rest_weights, values[1:], strict=True):
            total.addcmul_(weight, value)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        weights, *values = ctx.saved_tensors
        to_weights = torch.stack([(gradient * value).sum(1) for value in values], 1)
        return to_weights, *(gradient * weights[:, p, None] for p in range(len(values)))
