"""Estimators of the mutual information between views of the same entities.

An estimator looks at V views of B entities at once and estimates every pair. It works in fp32 under
autocast too, and on views standardised over the batch: information does not change under invertible
maps, and the networks then see inputs of one size whatever the scale of an embedding.

Over distinct entities any two injective views share all there is to share (log N), so an ideal
estimator gives uniform weights, and a view that an estimator fails to read looks complementary.
That is a property of the method, not of the estimators; controls and logged weights show it.
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

from .config import Information

__all__ = ["Estimate", "Estimator", "Measured", "bounded", "build_estimator"]

_TINY = 1e-8
"""Floor of joint probabilities (no log of 0)."""
_LEAST = 2
"""Entities with both views without which nothing is said of a pair: there is nothing to compare."""
_CLIP = 20.0
"""Bound of the concatenating critic before exp."""


class Estimate(NamedTuple):
    """Information between two views, or stacked for P pairs of views.

    Attributes:
        value: scalar or [P], nats.
        rows: [B] or [P, B] pointwise information, whose mean over shared rows is about ``value``;
            None when only the value is wanted.
        loss: scalar or [P], trains the networks (0 where there are none).
    """

    value: Tensor
    rows: Tensor | None
    loss: Tensor


class Measured(NamedTuple):
    """Information between all pairs of V views, symmetric with zero diagonal.

    Attributes:
        matrix: [V, V] nats, clamped; 0 where too few entities of the batch have both views.
        rows: [B, V, V] pointwise, clamped; an entity without one of the two has the pair's value.
            None when only the matrix is wanted.
        loss: mean loss of the pairs; 0 of a pair that too few have.
        mean: mean of the pairs before they are clamped, for a gradient that no bound cuts off.
        seen: [V, V] boolean: pairs that at least two entities of the batch have.
    """

    matrix: Tensor
    rows: Tensor | None
    loss: Tensor
    mean: Tensor
    seen: Tensor


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
    """Base class: standardises views, walks over pairs, clamps.

    Attributes:
        pairs: (v, w), v < w; P of them.
        wants_rows: whether pointwise information is asked for.

    Args:
        n_views: V.
        width: width of a view.
        options: all options; each estimator reads its own.
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
        left, right = torch.tensor(self.pairs).T
        self.register_buffer("left_view", left, persistent=False)
        self.register_buffer("right_view", right, persistent=False)

    def forward(self, views: Tensor, present: Tensor) -> Measured:
        """Estimate all pairs.

        Args:
            views: [V, B, width].
            present: [V, B] boolean; a pair is estimated on the entities that have both.
        """
        with torch.autocast(views.device.type, enabled=False):
            codes = self.encode(_standardised(views.float(), present))
            both = present[self.left_view] & present[self.right_view]
            found = self.measure(codes, both)
            seen = both.sum(1) >= _LEAST
            free = torch.where(seen, found.value, 0.0)
            value = torch.where(seen, bounded(free, *self.bounds), 0.0)
            rows = None
            if found.rows is not None:
                each = torch.where(both, found.rows, value[:, None]).detach()
                rows = self._square(each.clamp(-self.pmi_bound, self.pmi_bound).T)
            loss = torch.where(seen, found.loss, 0.0).mean()
            known = self._square(seen.float()).bool()
            return Measured(self._square(value), rows, loss, free.mean(), known)

    def _square(self, pairs: Tensor) -> Tensor:
        """Arrange [..., P] values of pairs as symmetric [..., V, V] matrices."""
        count = int(self.pairs[-1][1]) + 1
        empty = pairs.new_zeros(*pairs.shape[:-1], count * count)
        upper = empty.index_copy(-1, self.left_view * count + self.right_view, pairs)
        square = upper.view(*pairs.shape[:-1], count, count)
        return square + square.transpose(-1, -2)

    def measure(self, codes: Sequence[Tensor], both: Tensor) -> Estimate:
        """Estimate all P pairs: one by one, unless an estimator knows better.

        Args:
            codes: result of ``encode``.
            both: [P, B] boolean: entities that have both views of a pair.
        """
        found = [self.pair(codes, p, v, w, both[p]) for p, (v, w) in enumerate(self.pairs)]
        rows = [estimate.rows for estimate in found if estimate.rows is not None]
        return Estimate(
            torch.stack([estimate.value for estimate in found]),
            torch.stack(rows) if rows else None,
            torch.stack([estimate.loss for estimate in found]),
        )

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        """Return what ``pair`` reads, computed once per view."""
        return (views,)

    def pair(self, codes: Sequence[Tensor], pair: int, v: int, w: int, both: Tensor) -> Estimate:
        """Estimate the information between views ``v`` and ``w``.

        Args:
            codes: result of ``encode``.
            pair: number of the pair.
            v, w: the views.
            both: [B] boolean: entities that have both.
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

    def measure(self, codes: Sequence[Tensor], both: Tensor) -> Estimate:
        # The gradient of codes[views] would be added up by several threads, in any order.
        p, q = (codes[0].index_select(0, views) for views in (self.left_view, self.right_view))
        n = both.sum(1).clamp(min=1)
        joint = torch.bmm((p * both[..., None]).mT, q) / n[:, None, None]
        joint = joint.clamp(min=_TINY)
        joint = joint / joint.sum((1, 2), keepdim=True)
        left, right = joint.sum(2), joint.sum(1)
        ratio = joint.log() - left.log()[:, :, None] - right.log()[:, None]
        information = (joint * ratio).sum((1, 2))
        entropies = -(left * left.log()).sum(1) - (right * right.log()).sum(1)
        loss = -information - self.options.balance * entropies
        bias = torch.zeros_like(information)
        if self.options.bias_correct:
            bias = (self.options.bins - 1) ** 2 / (2 * n)
        rows = None
        if self.wants_rows:
            rows = ((p @ ratio) * q).sum(2) - bias[:, None]
        return Estimate(information - bias, rows, loss)


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

    def pair(self, codes: Sequence[Tensor], pair: int, v: int, w: int, both: Tensor) -> Estimate:
        critic = codes[0][v] @ codes[1][w].T
        others = both[:, None] & both[None] & ~_diagonal(critic)
        masked = critic.masked_fill(~others, -torch.inf)
        n = both.sum().clamp(min=_LEAST)
        marginal = _finite(masked.flatten().logsumexp(0)) - (n * (n - 1)).log()
        value = _mean(critic.diagonal(), both) - marginal
        rows = None
        if self.wants_rows:
            with torch.no_grad():
                either = _finite(masked.logsumexp(1)) + _finite(masked.logsumexp(0))
                rows = critic.diagonal() - either / 2 + (n - 1).log()
        return Estimate(value, rows, -value)


class InfoNCE(SeparableMINE):
    """Row-wise bound, at most log(rows) (van den Oord et al. 2018), with the critic of MINE."""

    def pair(self, codes: Sequence[Tensor], pair: int, v: int, w: int, both: Tensor) -> Estimate:
        critic = codes[0][v] @ codes[1][w].T
        masked = critic.masked_fill(~(both[:, None] & both[None]), -torch.inf)
        n = both.sum().clamp(min=1).log()
        by_row, by_column = _finite(masked.logsumexp(1)), _finite(masked.logsumexp(0))
        rows = critic.diagonal() - (by_row + by_column) / 2 + n
        value = _mean(rows, both)
        return Estimate(value, rows, -value)


class ConcatMINE(Estimator):
    """Donsker-Varadhan bound with critic T([x; y]); marginals by shifting y among the entities.

    The gradient of log mean exp T is biased in a batch; its denominator is a running average
    (Belghazi et al. 2018, section 3.2).
    """

    moving: Tensor

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        super().__init__(n_views, width, options, n_rows)
        self.critic = Towers(len(self.pairs), 2 * width, options.critic.hidden, 1)
        self.register_buffer("moving", torch.zeros(len(self.pairs)))

    def pair(self, codes: Sequence[Tensor], pair: int, v: int, w: int, both: Tensor) -> Estimate:
        x, y = codes[0][v], codes[0][w]
        inputs = torch.stack(
            [torch.cat([x, y], 1), torch.cat([x, y.index_select(0, _shifted(both))], 1)]
        )
        towers = self.critic
        inner = relu(inputs @ towers.weight1[pair] + towers.bias1[pair])
        scores = (inner @ towers.weight2[pair] + towers.bias2[pair])[..., 0]
        joint, shifted = scores.clamp(-_CLIP, _CLIP)
        log_mean = _finite(shifted.masked_fill(~both, -torch.inf).logsumexp(0))
        log_mean = log_mean - both.sum().clamp(min=1).log()
        mean = log_mean.exp()
        rows = joint - log_mean
        value = _mean(joint, both) - log_mean
        average = self._average(pair, mean, seen=both.sum() >= _LEAST)
        return Estimate(value, rows, mean / average - _mean(joint, both))

    def _average(self, pair: int, mean: Tensor, *, seen: Tensor) -> Tensor:
        with torch.no_grad():
            old = self.moving[pair]
            new = torch.where(old == 0, mean, 0.99 * old + 0.01 * mean)
            if self.training:
                self.moving[pair] = torch.where(seen, new, old)
        return new


class HeadsMINE(ConcatMINE):
    """The Donsker-Varadhan bound on the distributions P(v) of two views.

    Heads like the plug-in's make P(v); they and the critic maximise the bound together. By data
    processing the information of P(v) and P(w) is at most that of the views.
    """

    def __init__(self, n_views: int, width: int, options: Information, n_rows: int) -> None:
        bins = options.plugin.bins
        super().__init__(n_views, bins, options, n_rows)
        self.heads = Towers(n_views, width, options.critic.hidden, bins)

    def encode(self, views: Tensor) -> Sequence[Tensor]:
        # Probabilities average 1 / bins: the critic gets numbers around 1 instead.
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

    def pair(self, codes: Sequence[Tensor], pair: int, v: int, w: int, both: Tensor) -> Estimate:
        y, mean, log_variance = codes[0][w], codes[1][pair], codes[2][pair]
        precision = (-log_variance).exp()
        near = (mean - y).square()
        far = (mean - y.index_select(0, _shifted(both))).square()
        rows = ((far - near) * precision).sum(1) / 2
        fit = near * precision
        if self.with_variance:
            fit = fit + log_variance
        return Estimate(_mean(rows, both), rows, _mean(fit.mean(1), both) / 2)


class MoMoKCLUB(CLUB):
    """CLUB as MoMoK fits it: the likelihood lacks the variance's own term, so it is no bound."""

    with_variance = False


class Cosine(Estimator):
    """Mean absolute cosine of two views of an entity: no information, but free of charge."""

    def pair(self, codes: Sequence[Tensor], pair: int, v: int, w: int, both: Tensor) -> Estimate:
        rows = cosine_similarity(codes[0][v], codes[0][w], dim=-1).abs()
        return Estimate(_mean(rows, both), rows, rows.new_zeros(()))


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
    """Return the estimator that ``options.estimator`` names (not a control)."""
    return _ESTIMATORS[options.estimator](n_views, width, options, n_rows)


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float) -> Tensor:
        held = value.clamp(low, high)
        ctx.save_for_backward(value - held)
        return held

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (beyond,) = ctx.saved_tensors
        return gradient * (gradient * beyond >= 0), None, None


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """Clamp to [low, high]; of a value outside, descent may bring it back but not farther out.

    A plain clamp has no gradient outside, so that views which share less than their estimate's bias
    would never learn to share more; passed straight through, the gradient would lower an estimate
    below nothing without end.
    """
    held: Tensor = _Bounded.apply(value, low, high)  # type: ignore[no-untyped-call]
    return held


def _uniform(*shape: int, bound: float) -> Tensor:
    return torch.empty(*shape).uniform_(-bound, bound)


def _standardised(views: Tensor, present: Tensor) -> Tensor:
    """Centre each coordinate and divide each view by one number, over the present rows."""
    mask = present[..., None]
    n = mask.sum(1, keepdim=True).clamp(min=1)
    centred = (views - (views * mask).sum(1, keepdim=True) / n) * mask
    variance = centred.square().sum((1, 2), keepdim=True) / (n * views.shape[-1])
    return centred * (variance + 1e-12).rsqrt()


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(len(square), dtype=torch.bool, device=square.device)


def _finite(x: Tensor) -> Tensor:
    """Replace minus infinity (an empty log-sum-exp) by 0, without a NaN gradient."""
    return torch.where(x == -torch.inf, torch.zeros_like(x), x)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum() / mask.sum().clamp(min=1)


def _shifted(mask: Tensor) -> Tensor:
    """Return for each masked row the next masked row, cyclically: [B] positions.

    Entities of a batch come in random order, so this is a random pairing without fixed points; it
    needs no count on the host.
    """
    order = mask.int().argsort(descending=True, stable=True)
    place = mask.cumsum(0)  # 1-based place among the masked rows: the next one's 0-based place
    return order[place % mask.sum().clamp(min=1)]
