"""Fusions of the vectors of an entity's modalities into one.

Rows of entities without a modality may be missing or arbitrary. Weighted sums (complementarity,
mean, attention) give them weight 0; the other fusions take [n, P, D] with zeros for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from harness.kernels import tanh_dot

from .._fusion import SparseRows, masked_softmax, to_dense, weighted_sum
from .._init import linear_row
from .._modal import dense
from .config import INFORMED, MoCMEConfig
from .information import ComplementarityWeights

__all__ = [
    "Attention",
    "Complementarity",
    "Fused",
    "Inputs",
    "Mean",
    "ModalityFusion",
    "build_fusion",
]


class Inputs(NamedTuple):
    """Inputs of a fusion.

    Attributes:
        embeddings: P embeddings, of modalities or views.
        available: mask bool [n, P].
        structure: structural vectors [n, D], zero where hidden.
        entities: ids [n]; None for all entities in order.
        fresh: estimate [P, P] of information with gradient, or None.
    """

    embeddings: Sequence[SparseRows]
    available: Tensor
    structure: Tensor
    entities: Tensor | None = None
    fresh: Tensor | None = None


class Fused(NamedTuple):
    """Result of a fusion.

    Attributes:
        joint: fused vectors [n, D].
        weights: weights [n, P], with rows that sum to one; None for fusions without weights.
    """

    joint: Tensor
    weights: Tensor | None


class ModalityFusion(nn.Module):
    """Base class of fusions."""

    def forward(self, inputs: Inputs) -> Fused:
        raise NotImplementedError


class Complementarity(ModalityFusion):
    """sum_m w_m v_m, w = softmax_m( -sum_{m' != m} I(v_m; v_m') ) (Eq. 4), or by relevance."""

    def __init__(self, weights: ComplementarityWeights) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, inputs: Inputs) -> Fused:
        weights = self.weights(inputs.available, inputs.entities, inputs.fresh)
        return Fused(weighted_sum(inputs.embeddings, weights), weights)


class Mean(ModalityFusion):
    """Mean of the available embeddings."""

    def forward(self, inputs: Inputs) -> Fused:
        available = inputs.available.float()
        weights = available / available.sum(1, keepdim=True).clamp(min=1)
        return Fused(weighted_sum(inputs.embeddings, weights), weights)


class Attention(ModalityFusion):
    """softmax_m( w . tanh(v_m) ) (AdaMF; NativE without its relation gate)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = linear_row(width)

    def forward(self, inputs: Inputs) -> Fused:
        n = len(inputs.available)
        # Not the compiled kernel: it rounds differently from the stored fp32 runs.
        logits = [
            to_dense(SparseRows(tanh_dot.reference(p.values, self.query)[:, None], p.rows), n)
            for p in inputs.embeddings
        ]
        weights = masked_softmax(torch.cat(logits, 1), inputs.available)
        return Fused(weighted_sum(inputs.embeddings, weights), weights)


class Gate(ModalityFusion):
    """sum_m g_m * v_m, g_m = sigmoid(W_m [e_S; v_m] + b_m), one gate per coordinate.

    The reported weight of a modality is its mean gate relative to the other gates of the entity.
    """

    def __init__(self, n_parts: int, width: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(dense(2 * width, width) for _ in range(n_parts))

    def forward(self, inputs: Inputs) -> Fused:
        joint: Tensor | None = None
        means = []
        for column, gate in enumerate(self.gates):
            vectors = to_dense(inputs.embeddings[column], len(inputs.available))
            structure = inputs.structure.to(vectors.dtype)
            opened = torch.sigmoid(gate(torch.cat([structure, vectors], 1)))
            opened = opened * inputs.available[:, column, None]
            means.append(opened.float().mean(1))
            gated = opened.float() * vectors.float()
            joint = gated if joint is None else joint + gated
        assert joint is not None
        stacked = torch.stack(means, 1)
        return Fused(joint, stacked / stacked.sum(1, keepdim=True).clamp(min=1e-12))


class Concat(ModalityFusion):
    """Linear map of the concatenated vectors."""

    def __init__(self, n_parts: int, width: int) -> None:
        super().__init__()
        self.map = dense(n_parts * width, width)

    def forward(self, inputs: Inputs) -> Fused:
        return Fused(self.map(_dense(inputs).flatten(1)), None)


class Product(ModalityFusion):
    """Coordinate-wise product of normalised vectors times a trained scale; zero without modalities.

    Raw products of M small vectors vanish, so each is scaled to unit variance first; the scale
    starts at the variance of RotatE's initial entities.
    """

    def __init__(self, width: int, bound: float) -> None:
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.tensor(bound / 3**0.5))

    def forward(self, inputs: Inputs) -> Fused:
        normal = layer_norm(_dense(inputs).float(), (self.width,))
        factors = normal.masked_fill(~inputs.available[..., None], 1.0)
        has_any = inputs.available.any(1, keepdim=True)
        return Fused(factors.prod(1) * self.scale * has_any, None)


class SelfAttention(ModalityFusion):
    """One self-attention layer with residual over the modalities, followed by their mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = dense(width, 3 * width)

    def forward(self, inputs: Inputs) -> Fused:
        tokens, available = _dense(inputs), inputs.available
        query, key, value = self.qkv(tokens).chunk(3, -1)
        # An entity without modalities attends to its zero rows, as attention without keys is NaN.
        keys = available | ~available.any(1, keepdim=True)
        mixed = tokens + scaled_dot_product_attention(query, key, value, attn_mask=keys[:, None])
        shares = available.float() / available.sum(1, keepdim=True).clamp(min=1)
        return Fused(torch.einsum("np,npd->nd", shares, mixed.float()), None)


def build_fusion(
    config: MoCMEConfig, n_parts: int, weights: ComplementarityWeights | None, bound: float
) -> ModalityFusion:
    """Return the fusion named by ``config.fusion.kind``.

    Args:
        config: options of the model.
        n_parts: number of embeddings, P.
        weights: weights for the kinds "complementarity" and "relevance".
        bound: initial bound of RotatE's entities.
    """
    width, kind = 2 * config.dim, config.fusion.kind
    if kind in INFORMED:
        assert weights is not None
        return Complementarity(weights)
    if kind == "mean":
        return Mean()
    if kind == "attention":
        return Attention(width)
    if kind == "gate":
        return Gate(n_parts, width)
    if kind == "concat":
        return Concat(n_parts, width)
    if kind == "product":
        return Product(width, bound)
    return SelfAttention(width)


def _dense(inputs: Inputs) -> Tensor:
    """Return the embeddings as [n, P, D], zero where absent or hidden."""
    n = len(inputs.available)
    stacked = torch.stack([to_dense(embedding, n).float() for embedding in inputs.embeddings], 1)
    return stacked * inputs.available[..., None]
