"""Fusions: from the vectors of an entity's modalities to one.

Rows of entities without a modality may be missing or arbitrary: weighted sums (complementarity,
mean, attention) give them no weight, the others work on [n, P, D] with zeros in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from .._fusion import Part, masked_softmax, spread, weighted_sum
from .config import INFORMED, Config
from .information import ComplementarityWeights

__all__ = ["Attention", "Complementarity", "Fused", "Fusion", "Inputs", "Mean", "build_fusion"]


class Inputs(NamedTuple):
    """What a fusion may look at.

    Attributes:
        parts: P parts.
        available: [n, P] boolean.
        structure: [n, D] structural vectors, zero where hidden.
        entities: [n] ids; None when these are all entities in order.
        fresh: [P, P] estimate of information with gradient, or None.
    """

    parts: Sequence[Part]
    available: Tensor
    structure: Tensor
    entities: Tensor | None = None
    fresh: Tensor | None = None


class Fused(NamedTuple):
    """One vector per entity.

    Attributes:
        joint: [n, D].
        weights: [n, P] share of each part, rows sum to one; None where there is no such thing.
    """

    joint: Tensor
    weights: Tensor | None


class Fusion(nn.Module):
    """Base class of fusions."""

    def forward(self, inputs: Inputs) -> Fused:
        raise NotImplementedError


class Complementarity(Fusion):
    """sum_m w_m v_m, w = softmax_m( -sum_{m' != m} I(v_m; v_m') ) (Eq. 4), or by relevance."""

    def __init__(self, weights: ComplementarityWeights) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, inputs: Inputs) -> Fused:
        weights = self.weights(inputs.available, inputs.entities, inputs.fresh)
        return Fused(weighted_sum(inputs.parts, weights), weights)


class Mean(Fusion):
    """The mean of what an entity has."""

    def forward(self, inputs: Inputs) -> Fused:
        available = inputs.available.float()
        weights = available / available.sum(1, keepdim=True).clamp(min=1)
        return Fused(weighted_sum(inputs.parts, weights), weights)


class Attention(Fusion):
    """softmax_m( w . tanh(v_m) ) (AdaMF; NativE without its relation gate)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(width).uniform_(-(width**-0.5), width**-0.5))

    def forward(self, inputs: Inputs) -> Fused:
        n = len(inputs.available)
        logits = [
            spread(Part((p.values.tanh() @ self.query)[:, None], p.rows), n) for p in inputs.parts
        ]
        weights = masked_softmax(torch.cat(logits, 1), inputs.available)
        return Fused(weighted_sum(inputs.parts, weights), weights)


class Gate(Fusion):
    """sum_m g_m * v_m, g_m = sigmoid(W_m [e_S; v_m] + b_m), one gate per coordinate.

    The reported weight of a modality is its mean gate, among those of the entity.
    """

    def __init__(self, n_parts: int, width: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(_xavier_linear(2 * width, width) for _ in range(n_parts))

    def forward(self, inputs: Inputs) -> Fused:
        joint: Tensor | None = None
        means = []
        for column, gate in enumerate(self.gates):
            vectors = spread(inputs.parts[column], len(inputs.available))
            structure = inputs.structure.to(vectors.dtype)
            opened = torch.sigmoid(gate(torch.cat([structure, vectors], 1)))
            opened = opened * inputs.available[:, column, None]
            means.append(opened.float().mean(1))
            part = opened.float() * vectors.float()
            joint = part if joint is None else joint + part
        assert joint is not None
        stacked = torch.stack(means, 1)
        return Fused(joint, stacked / stacked.sum(1, keepdim=True).clamp(min=1e-12))


class Concat(Fusion):
    """A linear map of all vectors side by side."""

    def __init__(self, n_parts: int, width: int) -> None:
        super().__init__()
        self.map = _xavier_linear(n_parts * width, width)

    def forward(self, inputs: Inputs) -> Fused:
        return Fused(self.map(_dense(inputs).flatten(1)), None)


class Product(Fusion):
    """Coordinate-wise product of normalised vectors, times one learned number; zero of nothing.

    Raw products of M small vectors vanish, so each is brought to unit variance first; the number
    starts where the result has the variance of RotatE's initial entities.
    """

    def __init__(self, width: int, bound: float) -> None:
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.tensor(bound / 3**0.5))

    def forward(self, inputs: Inputs) -> Fused:
        normal = layer_norm(_dense(inputs).float(), (self.width,))
        factors = normal.masked_fill(~inputs.available[..., None], 1.0)
        some = inputs.available.any(1, keepdim=True)
        return Fused(factors.prod(1) * self.scale * some, None)


class SelfAttention(Fusion):
    """One self-attention layer with residual over the modalities, then their mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = _xavier_linear(width, 3 * width)

    def forward(self, inputs: Inputs) -> Fused:
        tokens, available = _dense(inputs), inputs.available
        query, key, value = self.qkv(tokens).chunk(3, -1)
        # An entity with nothing attends to its zero rows: without any key it would be NaN.
        keys = available | ~available.any(1, keepdim=True)
        mixed = tokens + scaled_dot_product_attention(query, key, value, attn_mask=keys[:, None])
        shares = available.float() / available.sum(1, keepdim=True).clamp(min=1)
        return Fused(torch.einsum("np,npd->nd", shares, mixed.float()), None)


def build_fusion(
    config: Config, n_parts: int, weights: ComplementarityWeights | None, bound: float
) -> Fusion:
    """Return the fusion that ``config.fusion.kind`` names.

    Args:
        config: the model's options.
        n_parts: P.
        weights: weights of the kinds "complementarity" and "relevance".
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
    """Return the parts as [n, P, D], zero where absent or hidden."""
    n = len(inputs.available)
    stacked = torch.stack([spread(part, n).float() for part in inputs.parts], 1)
    return stacked * inputs.available[..., None]


def _xavier_linear(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
