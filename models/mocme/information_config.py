"""Options of MoCME's mutual information, used only where weights depend on information.

That is the case for the fusions "complementarity" and "relevance", and for views with weights
(``experts.weights``). The controls use a source of weights without information, so most options are
ignored by them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.config.base import Config as Options
from harness.config.search import between

__all__ = ["CONTROLS", "Critic", "Information", "PlugInOptions", "Temperature"]

CONTROLS = frozenset({"uniform", "random", "learned"})
"""Sources of weights without information, the baselines of the estimators."""


class Critic(Options):
    """Networks of the estimators."""

    hidden: Annotated[int, Field(ge=1)] = 128
    """Hidden width, also of the heads for P(v). Ignored by the estimator "cosine" and the
    controls."""
    out: Annotated[int, Field(ge=1)] = 64
    """Width of the towers of separable critics. Ignored except by the estimators "mine_sep" and
    "infonce"."""


class PlugInOptions(Options):
    """The plug-in estimator (Eq. 2)."""

    bins: Annotated[int, Field(ge=2)] = 16
    """Outcomes of each view's distribution P(v). Ignored except by the estimators "plugin" and
    "mine_on_heads"."""
    balance: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the entropies of the marginals, against a collapse to one bin. Ignored except by
    the estimator "plugin"."""
    bias_correct: bool = True
    """True to subtract (bins - 1)^2 / (2 rows), the bias under independence. It is equal for all
    pairs of views of a modality, so there it matters only through ``clamp``. Ignored except by the
    estimator "plugin"."""


class Temperature(Options):
    """Divisors of the summed information in Eqs. 3 and 4; the paper has none."""

    intra: Annotated[float, Field(gt=0), between(0.1, 10.0, log=True)] = 1.0
    """Divisor among the views of a modality (Eq. 3). Ignored if experts.weights is ignored or
    "mean"."""
    inter: Annotated[float, Field(gt=0), between(0.1, 10.0, log=True)] = 1.0
    """Divisor among modalities (Eq. 4). Ignored except by the fusions "complementarity" and
    "relevance", and by the estimator "uniform"."""


class Information(Options):
    """Estimation of mutual information, and the weights from it."""

    estimator: Literal[
        "plugin",
        "mine_sep",
        "mine_cat",
        "mine_on_heads",
        "club",
        "club_momok",
        "infonce",
        "cosine",
        "uniform",
        "random",
        "learned",
    ] = "plugin"
    """plugin: Eq. 2 on batch averages of P(v); mine_*: Donsker-Varadhan bound (Belghazi et al.
    2018) with a separable or a concatenating critic, or (mine_on_heads) on the distributions P(v);
    club: upper bound (Cheng et al. 2020), club_momok as MoMoK fits it; infonce; cosine: a cheap
    proxy. Controls: uniform, random (drawn once) and learned (free logits trained with the model).
    Like all options of mi, ignored if no weight depends on information: with a fusion other than
    "complementarity" and "relevance", if the views have no weights either, or equal ones
    (experts.weights)."""
    granularity: Literal["batch", "pointwise"] = "batch"
    """One weight per view and modality, as Eqs. 3-4 are written, or one per entity from pointwise
    information. Ignored by the controls."""
    batch: Annotated[int, Field(ge=2)] | None = None
    """Entities per estimate, by default 2048 for plugin and cosine, else 1024. Ignored by the
    controls."""
    draw: Literal["uniform", "balanced"] = "uniform"
    """Draw of these entities: uniform, or balanced so that each modality has about the same share
    of entities, which rare modalities need for pairs in the batch. Ignored by the controls, and
    without features."""
    normalise: Literal["none", "logB", "logC", "pair_mean"] = "none"
    """Divide information by the logarithm of the batch, of the bins (plugin), or by its mean.
    Ignored by the controls."""
    critic: Critic = Critic()
    """Networks of the estimators."""
    plugin: PlugInOptions = PlugInOptions()
    """The plug-in estimator."""
    clamp: tuple[float, float | None] = (0.0, None)
    """Bounds of an estimate, with an upper bound of log(batch) by default. Ignored by the controls,
    and by pointwise information."""
    pmi_clamp: Annotated[float, Field(gt=0)] = 10.0
    """Bound of an entity's absolute pointwise information. Ignored except with granularity
    "pointwise"."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of a pair's running average, bias-corrected by the number of its estimates. Ignored by
    the controls."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Initial steps with uniform weights, in which the estimators train. Ignored by the
    controls."""
    min_overlap: Annotated[int, Field(ge=2)] = 64
    """Number of entities with both modalities below which their information counts as zero,
    likewise for the views of a modality. A batch contains only some of these entities: a pair with
    fewer than two of them is not estimated on it, and its average is unchanged. Ignored by the
    controls."""
    temperature: Temperature = Temperature()
    """Divisors of the summed information."""
    weight_grad: Literal["stop", "flow"] = "stop"
    """flow: experts are also trained through the weights (a new estimate per step); outside
    ``clamp``, only with the gradient towards the bounds. Ignored by the controls."""
    train: Literal["separate", "joint"] = "separate"
    """separate: estimators use detached views and their own optimiser; joint: their loss is added
    to the model's, so that it also trains the views. Ignored if nothing is estimated; refused with
    the controls."""
    joint_weight: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the estimators' loss in joint training. Ignored otherwise."""
    minimise_weight: Annotated[float, Field(ge=0)] = 0.0
    """Factor of the information of a modality's views (mean over pairs, then modalities) that is
    added to the model's loss; MoMoK's is 1e-4. The paper's Eq. 8 has no such term."""

    @model_validator(mode="after")
    def _consistent(self) -> Information:
        for option, is_set in (
            ("train 'joint'", self.train == "joint"),
            ("minimise_weight", self.minimise_weight > 0),
        ):
            if is_set and self.estimator in CONTROLS:
                raise ValueError(f"{option} needs an estimator, not the control '{self.estimator}'")
        if self.clamp[1] is not None and self.clamp[0] >= self.clamp[1]:
            raise ValueError(f"clamp must ascend, got {self.clamp}")
        if self.normalise == "logC" and self.estimator != "plugin":
            raise ValueError(
                f"normalise 'logC' needs estimator 'plugin', not '{self.estimator}'; "
                "choose none, logB or pair_mean"
            )
        if self.weight_grad == "flow" and self.granularity == "pointwise":
            raise ValueError("weight_grad 'flow' needs granularity 'batch'")
        return self

    @property
    def rows(self) -> int:
        """Entities per estimate."""
        return self.batch or (2048 if self.estimator in ("plugin", "cosine") else 1024)
