"""Backbones, which map a modality's vector through K views to the vector that is fused.

A backbone computes the views separately (``views``, for the estimators) and their weighted sum
(``forward``). The sum never builds the views: weights are applied before the last matrix product,
which is then one product for all experts; for linear experts under weights shared by all entities
the K matrices are merged first, which is exact. So is merging the last linear map of a projection
with the first of the experts, which saves a product of all entities.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from .._modal import dense
from .config import MoCMEConfig, Projection

__all__ = ["Backbone", "Identity", "LinearExperts", "MLPExperts", "build_backbone", "projection"]


class Backbone(nn.Module):
    """K views of a modality and their weighted sum.

    Attributes:
        n_views: number of views, K.
    """

    n_views: int

    def forward(self, vectors: Tensor, weights: Tensor, last: nn.Linear | None = None) -> Tensor:
        """Return the weighted sum of the views: [n, D].

        Args:
            vectors: vectors [n, D].
            weights: weights [K] for all entities, or [n, K].
            last: a map [D, D] that the vectors have yet to pass; None: they have.
        """
        raise NotImplementedError

    def views(self, vectors: Tensor) -> Tensor:
        """Return the views [K, n, D] of ``vectors`` [n, D]."""
        raise NotImplementedError


class Identity(Backbone):
    """One view, the vector itself (for a structure without experts)."""

    n_views = 1

    def forward(self, vectors: Tensor, weights: Tensor, last: nn.Linear | None = None) -> Tensor:
        return vectors if last is None else last(vectors)

    def views(self, vectors: Tensor) -> Tensor:
        return vectors[None]


class LinearExperts(Backbone):
    """v_i = W_i (e - b_i), as in MoMoK; v_i = W_i e without shift.

    Args:
        n_views: number of views, K.
        width: width of a view, D.
        shift: True for trainable shifts b_i, initially 0.
    """

    def __init__(self, n_views: int, width: int, *, shift: bool) -> None:
        super().__init__()
        self.n_views = n_views
        self.weight = nn.Parameter(_xavier(n_views, width, width))
        self.shift = nn.Parameter(torch.zeros(n_views, width)) if shift else None

    def forward(self, vectors: Tensor, weights: Tensor, last: nn.Linear | None = None) -> Tensor:
        if weights.ndim == 2:
            vectors = vectors if last is None else last(vectors)
            return torch.einsum("nk,knd->nd", weights.to(vectors.dtype), self.views(vectors))
        merged = torch.einsum("k,kio->io", weights, self.weight)
        shift = None if self.shift is None else -(weights @ self._moved())
        return linear(vectors, *_after(last, merged.T, shift))

    def views(self, vectors: Tensor) -> Tensor:
        views = vectors @ self.weight
        return views if self.shift is None else views - self._moved()[:, None]

    def _moved(self) -> Tensor:
        assert self.shift is not None
        return torch.einsum("ki,kio->ko", self.shift, self.weight)


class MLPExperts(Backbone):
    """v_i = W2_i relu(W1_i e + b1_i) + b2_i.

    Args:
        n_views: number of views, K.
        width: width of a view, D.
        hidden: hidden width, H.
    """

    def __init__(self, n_views: int, width: int, hidden: int) -> None:
        super().__init__()
        self.n_views = n_views
        self.weight1 = nn.Parameter(_xavier(n_views, hidden, width))
        self.bias1 = nn.Parameter(torch.zeros(n_views, hidden))
        self.weight2 = nn.Parameter(_xavier(n_views, hidden, width))
        self.bias2 = nn.Parameter(torch.zeros(n_views, width))

    def forward(self, vectors: Tensor, weights: Tensor, last: nn.Linear | None = None) -> Tensor:
        hidden = self._hidden(vectors, last) * weights[..., None]
        return hidden.flatten(1) @ self.weight2.flatten(0, 1) + weights @ self.bias2

    def views(self, vectors: Tensor) -> Tensor:
        return self._hidden(vectors).transpose(0, 1) @ self.weight2 + self.bias2[:, None]

    def _hidden(self, vectors: Tensor, last: nn.Linear | None = None) -> Tensor:
        weight, bias = _after(last, self.weight1.flatten(0, 1), self.bias1.flatten())
        return relu(linear(vectors, weight, bias)).view(len(vectors), *self.bias1.shape)


def build_backbone(config: MoCMEConfig) -> Backbone:
    """Return the backbone of one modality."""
    width, experts = 2 * config.dim, config.experts
    count = experts.K if config.backbone == "cmoe" else 1
    kind = experts.kind if config.backbone == "cmoe" else config.backbone
    if kind == "mlp":
        return MLPExperts(count, width, experts.hidden or width)
    return LinearExperts(count, width, shift=kind == "linear_shift")


def projection(n_features: int, width: int, options: Projection) -> nn.Sequential:
    """Return f_m, a map of features [n, n_features] to [n, width]; Xavier weights, zero biases."""
    sizes = [n_features, *[width] * options.layers]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = dense(n_in, n_out)
        layers += [nn.ReLU(), layer] if layers else [layer]
    return nn.Sequential(*layers)


def _after(
    last: nn.Linear | None, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a linear map after ``last``, in the precision of its weights."""
    if last is None:
        return weight, bias
    weight = weight.to(last.weight.dtype)
    with torch.autocast(weight.device.type, enabled=False):
        moved = weight @ last.bias
        return weight @ last.weight, moved if bias is None else moved + bias


def _xavier(count: int, rows: int, columns: int) -> Tensor:
    return torch.stack([nn.init.xavier_uniform_(torch.empty(rows, columns)) for _ in range(count)])
