"""Estimators of the mutual information between views of the same entities.

An estimator takes V views of B entities and estimates every pair. It works in float32 also under
autocast, and on views standardised over the batch: information is invariant under invertible maps,
and the networks get inputs of the same scale for any embedding.

Over distinct entities any two injective views share the maximum information (log N), so an ideal
estimator gives uniform weights, and a view that an estimator cannot read appears complementary.
This is a property of the method, not of the estimators; controls and logged weights show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cosine_similarity, relu

from .information_config import Information

__all__ = ["Estimator", "Measured", "PairEstimate", "bounded", "build_estimator"]

_TINY = 1e-8
"""Lower bound of joint probabilities, so that their logarithm is finite."""
_LEAST = 2
"""Minimum number of entities with both views of a pair, since an estimate compares entities."""
_CLIP = 20.0
"""Bound of the concatenating critic before exp."""


class PairEstimate(NamedTuple):
    """Mutual information of two views, or of P pairs of views.

    Attributes:
        value: estimate in nats, scalar or [P].
        rows: pointwise information [B] or [P, B], whose mean over shared rows is about ``value``;
            None when only the value is wanted.
        loss: loss of the networks, scalar or [P] (0 without networks).
    """

    value: Tensor
    rows: Tensor | None
    loss: Tensor


class Measured(NamedTuple):
    """Mutual information of all pairs of V views, symmetric with zero diagonal.

    Attributes:
        matrix: estimates [V, V] in nats, clamped; 0 if too few entities of the batch have both
            views.
        rows: pointwise information [B, V, V], clamped; entities without both views have the pair's
            value; None without granularity "pointwise".
        loss: mean loss of the pairs, 0 for pairs that are not estimated.
        mean: mean over the pairs before clamping, whose gradient no bound cuts off.
        estimated: bool [V, V], pairs of at least two entities of the batch.
    """

    matrix: Tensor
    rows: Tensor | None
    loss: Tensor
    mean: Tensor
    estimated: Tensor


class Towers(nn.Module):
    """V two-layer networks, one per view: [V, B, n_in] -> [V, B, n_out]."""

    def __init__(self, count: int, n_in: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.weight1 = nn.Parameter(_uniform(count, n_in, hidden, bound=n_in**-0.5))
        self.bias1 = nn.Parameter(_uniform(count, 1, hidden, bound=n_in**-0.5))
        self.weight2 = nn.Parameter(_uniform(count, hidden, n_out, bound=hidden**-0.5))
        self.bias2 = nn.Parameter(_uniform(count, 1, n_out, bound=hidden**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(torch.baddbmm(self.bias1, x, self.weight1))
        return torch.baddbmm(self.bias2, inner, self.weight2)


class Estimator(nn.Module):
    """Base class, which standardises views, iterates over pairs and clamps.

    Attributes:
        pairs: P pairs (v, w) with v < w.
        wants_rows: True to compute pointwise information.

    Args:
        n_views: number of views, V.
        width: width of a view.
        options: options of all estimators.
        n_rows: entities per estimate, for the default upper bound log(n_rows).
    """

    left_view: Tensor
    right_view: Tensor

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        super().__init__()
        self.pairs = tuple(combinations(range(n_views), 2))
        low, high = options.clamp
        self.bounds = (low, math.log(n_rows) if high is None else high)
        self.pmi_bound = options.pmi_clamp
        self.wants_rows = options.granularity == "pointwise"
        first, second = torch.tensor(self.pairs).T
        self.register_buffer("left_view", first, persistent=False)
        self.register_buffer("right_view", second, persistent=False)

    def forward(self, views: Tensor, present: Tensor) -> Measured:
        """Estimate all pairs.

        Args:
            views: views [V, B, width].
            present: bool [V, B]; a pair is estimated on the entities with both views.
        """
        with torch.autocast(views.device.type, enabled=False):
            codes = self.encode(_standardised(views.float(), present))
            shared = present[self.left_view] & present[self.right_view]
            estimate = self.measure(codes, shared)
            is_estimated = shared.sum(1) >= _LEAST
            free = torch.where(is_estimated, estimate.value, 0.0)
            value = torch.where(is_estimated, bounded(free, *self.bounds), 0.0)
            rows = None
            if estimate.rows is not None:
                rows_of_pairs = torch.where(shared, estimate.rows, value[:, None]).detach()
                rows = self._square(rows_of_pairs.clamp(-self.pmi_bound, self.pmi_bound).T)
            loss = torch.where(is_estimated, estimate.loss, 0.0).mean()
            estimated = self._square(is_estimated.float()).bool()
            return Measured(self._square(value), rows, loss, free.mean(), estimated)

    def _square(self, pairs: Tensor) -> Tensor:
        """Arrange values [..., P] of pairs as symmetric matrices [..., V, V]."""
        count = int(self.pairs[-1][1]) + 1
        empty = pairs.new_zeros(*pairs.shape[:-1], count * count)
        upper = empty.index_copy(-1, self.left_view * count + self.right_view, pairs)
        square = upper.view(*pairs.shape[:-1], count, count)
        return square + square.transpose(-1, -2)

    def measure(self, codes: Sequence[Tensor], shared: Tensor) -> PairEstimate:
        """Estimate all P pairs, by default one by one.

        Args:
            codes: result of ``encode``.
            shared: bool [P, B], entities with both views of a pair.
        """
        estimates = [self.pair(codes, p, v, w, shared[p]) for p, (v, w) in enumerate(self.pairs)]
        rows = [estimate.rows for estimate in estimates if estimate.rows is not None]
        return PairEstimate(
            torch.stack([estimate.value for estimate in estimates]),
            torch.stack(rows) if rows else None,
            torch.stack([estimate.loss for estimate in estimates]),
        )

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        """Return the inputs of ``pair``, computed once per view."""
        return (views,)

    def pair(
        self, codes: Sequence[Tensor], pair: int, v: int, w: int, shared: Tensor
    ) -> PairEstimate:
        """Estimate the mutual information of views ``v`` and ``w``.

        Args:
            codes: result of ``encode``.
            pair: index of the pair.
            v, w: indices of the views.
            shared: bool [B], entities with both views.
        """
        raise NotImplementedError


class PlugIn(Estimator):
    """Eq. 2 on the joint distribution of two quantisations P(v), averaged over the batch.

    J = mean_b p_b q_b^T; I(J) is at most log(bins) and, by data processing, at most the information
    of the views. The heads are trained to maximise it.
    """

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        super().__init__(n_views, width, options, n_rows)
        self.options = options.plugin
        self.heads = Towers(n_views, width, options.critic.hidden, options.plugin.bins)

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        return (self.heads(views).softmax(-1),)

    def measure(self, codes: Sequence[Tensor], shared: Tensor) -> PairEstimate:
        # index_select: several threads would sum the gradient of codes[views] in any order.
        p, q = (codes[0].index_select(0, views) for views in (self.left_view, self.right_view))
        n = shared.sum(1).clamp(min=1)
        joint = torch.bmm((p * shared[..., None]).mT, q) / n[:, None, None]
        joint = joint.clamp(min=_TINY)
        joint = joint / joint.sum((1, 2), keepdim=True)
        row_margin, column_margin = joint.sum(2), joint.sum(1)
        ratio = joint.log() - row_margin.log()[:, :, None] - column_margin.log()[:, None]
        information = (joint * ratio).sum((1, 2))
        entropies = -(row_margin * row_margin.log()).sum(1) - (
            column_margin * column_margin.log()
        ).sum(1)
        loss = -information - self.options.balance * entropies
        bias = torch.zeros_like(information)
        if self.options.bias_correct:
            bias = (self.options.bins - 1) ** 2 / (2 * n)
        rows = None
        if self.wants_rows:
            rows = ((p @ ratio) * q).sum(2) - bias[:, None]
        return PairEstimate(information - bias, rows, loss)


class SeparableMINE(Estimator):
    """Donsker-Varadhan bound with critic T = g(x) . f(y) / sqrt(o) (Belghazi et al. 2018).

    mean_b T_bb - log mean_{b != e} exp T_be over all other pairs of the batch.
    """

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        super().__init__(n_views, width, options, n_rows)
        critic = options.critic
        self.left = Towers(n_views, width, critic.hidden, critic.out)
        self.right = Towers(n_views, width, critic.hidden, critic.out)

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        right = self.right(views)
        return self.left(views), right / math.sqrt(right.shape[-1])

    def pair(
        self, codes: Sequence[Tensor], pair: int, v: int, w: int, shared: Tensor
    ) -> PairEstimate:
        critic = codes[0][v] @ codes[1][w].T
        off_diagonal = shared[:, None] & shared[None] & ~_diagonal(critic)
        masked = critic.masked_fill(~off_diagonal, -torch.inf)
        n = shared.sum().clamp(min=_LEAST)
        marginal = _finite(masked.flatten().logsumexp(0)) - (n * (n - 1)).log()
        value = _mean(critic.diagonal(), shared) - marginal
        rows = None
        if self.wants_rows:
            with torch.no_grad():
                log_sums = _finite(masked.logsumexp(1)) + _finite(masked.logsumexp(0))
                rows = critic.diagonal() - log_sums / 2 + (n - 1).log()
        return PairEstimate(value, rows, -value)


class InfoNCE(SeparableMINE):
    """Row-wise bound, at most log(rows) (van den Oord et al. 2018), with the critic of MINE."""

    def pair(
        self, codes: Sequence[Tensor], pair: int, v: int, w: int, shared: Tensor
    ) -> PairEstimate:
        critic = codes[0][v] @ codes[1][w].T
        masked = critic.masked_fill(~(shared[:, None] & shared[None]), -torch.inf)
        n = shared.sum().clamp(min=1).log()
        by_row, by_column = _finite(masked.logsumexp(1)), _finite(masked.logsumexp(0))
        rows = critic.diagonal() - (by_row + by_column) / 2 + n
        value = _mean(rows, shared)
        return PairEstimate(value, rows, -value)


class ConcatMINE(Estimator):
    """Donsker-Varadhan bound with critic T([x; y]), and marginals by shifting y over the entities.

    The gradient of log mean exp T is biased in a batch; its denominator is a running average
    (Belghazi et al. 2018, section 3.2).
    """

    moving: Tensor

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        super().__init__(n_views, width, options, n_rows)
        self.critic = Towers(len(self.pairs), 2 * width, options.critic.hidden, 1)
        self.register_buffer("moving", torch.zeros(len(self.pairs)))

    def pair(
        self, codes: Sequence[Tensor], pair: int, v: int, w: int, shared: Tensor
    ) -> PairEstimate:
        x, y = codes[0][v], codes[0][w]
        inputs = torch.stack(
            [torch.cat([x, y], 1), torch.cat([x, y.index_select(0, _shifted(shared))], 1)]
        )
        towers = self.critic
        inner = relu(inputs @ towers.weight1[pair] + towers.bias1[pair])
        scores = (inner @ towers.weight2[pair] + towers.bias2[pair])[..., 0]
        joint, shifted = scores.clamp(-_CLIP, _CLIP)
        log_mean = _finite(shifted.masked_fill(~shared, -torch.inf).logsumexp(0))
        log_mean = log_mean - shared.sum().clamp(min=1).log()
        mean = log_mean.exp()
        rows = joint - log_mean
        value = _mean(joint, shared) - log_mean
        average = self._average(pair, mean, is_estimated=shared.sum() >= _LEAST)
        return PairEstimate(value, rows, mean / average - _mean(joint, shared))

    def _average(self, pair: int, mean: Tensor, *, is_estimated: Tensor) -> Tensor:
        with torch.no_grad():
            old = self.moving[pair]
            new = torch.where(old == 0, mean, 0.99 * old + 0.01 * mean)
            if self.training:
                self.moving[pair] = torch.where(is_estimated, new, old)
        return new


class HeadsMINE(ConcatMINE):
    """The Donsker-Varadhan bound on the distributions P(v) of two views.

    Heads as in the plug-in compute P(v); heads and critic jointly maximise the bound. By data
    processing the information of P(v) and P(w) is at most the information of the views.
    """

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        bins = options.plugin.bins
        super().__init__(n_views, bins, options, n_rows)
        self.heads = Towers(n_views, width, options.critic.hidden, bins)

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        # Probabilities average 1 / bins; scaled, the critic's inputs are around 1.
        probabilities = self.heads(views).softmax(-1)
        return (probabilities * probabilities.shape[-1],)


class CLUB(Estimator):
    """Upper bound (Cheng et al. 2020) with q(y | x) = N(mu(x), exp(lv(x))), lv = tanh(...).

    1/2 mean_b sum [ (mu - y_other)^2 - (mu - y)^2 ] exp(-lv), y_other from another entity.
    """

    with_variance: ClassVar[bool] = True

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        super().__init__(n_views, width, options, n_rows)
        hidden = options.critic.hidden
        self.mean = Towers(len(self.pairs), width, hidden, width)
        self.log_variance = Towers(len(self.pairs), width, hidden, width)

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        inputs = views.index_select(0, self.left_view)
        return views, self.mean(inputs), self.log_variance(inputs).tanh()

    def pair(
        self, codes: Sequence[Tensor], pair: int, v: int, w: int, shared: Tensor
    ) -> PairEstimate:
        y, mean, log_variance = codes[0][w], codes[1][pair], codes[2][pair]
        precision = (-log_variance).exp()
        near = (mean - y).square()
        far = (mean - y.index_select(0, _shifted(shared))).square()
        rows = ((far - near) * precision).sum(1) / 2
        fit = near * precision
        if self.with_variance:
            fit = fit + log_variance
        return PairEstimate(_mean(rows, shared), rows, _mean(fit.mean(1), shared) / 2)


class MoMoKCLUB(CLUB):
    """CLUB as in MoMoK, whose likelihood lacks the term of the variance, so it is not a bound."""

    with_variance = False


class Cosine(Estimator):
    """Mean absolute cosine of two views of an entity, a cheap proxy without networks."""

    def pair(
        self, codes: Sequence[Tensor], pair: int, v: int, w: int, shared: Tensor
    ) -> PairEstimate:
        rows = cosine_similarity(codes[0][v], codes[0][w], dim=-1).abs()
        return PairEstimate(_mean(rows, shared), rows, rows.new_zeros(()))


_ESTIMATORS: dict[str, Callable[[int, int, Information, int], Estimator]] = {
    "plugin": PlugIn,
    "mine_sep": SeparableMINE,
    "mine_cat": ConcatMINE,
    "mine_on_heads": HeadsMINE,
    "club": CLUB,
    "club_momok": MoMoKCLUB,
    "infonce": InfoNCE,
    "cosine": Cosine,
}


def build_estimator(n_views: int, width: int, options: Information, n_rows: int) -> Estimator:
    """Return the estimator named by ``options.estimator``, which must not be a control."""
    return _ESTIMATORS[options.estimator](n_views, width, options, n_rows)


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float) -> Tensor:
        clamped = value.clamp(low, high)
        ctx.save_for_backward(value - clamped)
        return clamped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (excess,) = ctx.saved_tensors
        return gradient * (gradient * excess >= 0), None, None


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """Clamp to [low, high] with a gradient outside that only leads back inside.

    A plain clamp has no gradient outside, so views that share less than their estimate's bias would
    never learn to share more; a straight-through gradient would lower an estimate without limit.
    """
    clamped: Tensor = _Bounded.apply(value, low, high)  # type: ignore[no-untyped-call]
    return clamped


def _uniform(*shape: int, bound: float) -> Tensor:
    return torch.empty(*shape).uniform_(-bound, bound)


def _standardised(views: Tensor, present: Tensor) -> Tensor:
    """Centre each coordinate and divide each view by its scale, over the present rows."""
    mask = present[..., None]
    n = mask.sum(1, keepdim=True).clamp(min=1)
    centred = (views - (views * mask).sum(1, keepdim=True) / n) * mask
    variance = centred.square().sum((1, 2), keepdim=True) / (n * views.shape[-1])
    return centred * (variance + 1e-12).rsqrt()


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(len(square), dtype=torch.bool, device=square.device)


def _finite(x: Tensor) -> Tensor:
    """Replace minus infinity (of an empty log-sum-exp) by 0, without a NaN gradient."""
    return torch.where(x == -torch.inf, torch.zeros_like(x), x)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum() / mask.sum().clamp(min=1)


def _shifted(mask: Tensor) -> Tensor:
    """Return, for each masked row, the position [B] of the next masked row, cyclically.

    Entities of a batch are in random order, so this is a random pairing without fixed points; it
    needs no count on the host.
    """
    order = mask.int().argsort(descending=True, stable=True)
    rank = mask.cumsum(0)  # 1-based place among the masked rows: the next one's 0-based place
    return order[rank % mask.sum().clamp(min=1)]
