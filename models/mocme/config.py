"""Options of MoCME. Defaults: the paper where it speaks, else NativE's, which it follows.

A docstring says beside which others its option is ignored. What contradicts another option is
refused; what merely has nothing to do is not, so that all rows of a suite can be given one setting.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.config.base import Config as Options
from harness.config.search import between, one_of
from harness.model import ModelConfig

from .._fusion import ModalityDropout

__all__ = [
    "CONTROLS",
    "INFORMED",
    "WEIGHTED_SUMS",
    "Config",
    "Critic",
    "Experts",
    "Fusion",
    "Information",
    "PlugIn",
    "Projection",
    "Score",
    "Structure",
    "Temperature",
]

CONTROLS = frozenset({"uniform", "random", "learned"})
"""Sources of weights that look at no information: they decide whether looking helps."""

INFORMED = frozenset({"complementarity", "relevance"})
"""Kinds of fusion whose weights come from information among the modalities."""

WEIGHTED_SUMS = INFORMED | {"mean", "attention"}
"""Kinds of fusion whose result is a weighted sum of the modalities' vectors."""


class Structure(Options):
    """The structural embedding: one learnable vector per entity."""

    as_modality: bool = True
    """Fused like the others (section 3.2, "another modality"); else added to what they fuse to.
    Ignored without features: then the structure is all there is to fuse."""
    through_experts: bool = True
    """Passes through experts like the others; else used as it is. Ignored without as_modality."""
    init: Literal["xavier_uniform", "rotate"] = "xavier_uniform"
    """Xavier (section 4.1), or uniform in +-(margin + epsilon) / (2 dim) as OpenKE's RotatE."""
    mask_unseen: bool = False
    """Hide the structure of entities without a training triple when they have another modality.
    The paper does not; without it such an entity's vector was only ever a negative. Ignored
    without features."""


class Projection(Options):
    """From frozen features to the common width."""

    layers: Literal[1, 2] = 2
    """2: the paper's MLP with ReLU; 1: one linear layer (AdaMF). Ignored without features."""
    normalise: Annotated[Literal["none", "l2"], one_of("none", "l2")] = "none"
    """Divide feature rows by their Euclidean norms first (MoMoK does). Ignored without features."""


class Experts(Options):
    """The views of one modality."""

    K: Annotated[int, Field(ge=1), one_of(1, 3, 4, 5)] = 3
    """Experts per modality; the paper reports a peak at 3 on DB15K. Two always weigh the same: what
    the first shares with the second the second shares with the first. Ignored but by the backbone
    "cmoe"."""
    kind: Literal["mlp", "linear_shift", "linear"] = "mlp"
    """mlp: W2 relu(W1 e + b1) + b2; linear_shift: W (e - b) (MoMoK); linear: W e. Linear experts
    under weights that are the same for every entity are one matrix, that is no mixture. Ignored
    but by the backbone "cmoe"."""
    hidden: Annotated[int, Field(ge=1)] | None = None
    """Hidden width of "mlp"; the width of the embedding when not given. Ignored by linear ones."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on what goes into the experts, and on a structure that is fused as it is."""
    weights: Literal["complementarity", "mean"] = "complementarity"
    """Weights of the views: softmax of minus their mutual information (Eq. 3), or 1 / K. Ignored
    where views have no weights: experts.K 1, backbones "mlp" and "linear", fusion.scope "both"; and
    where they are equal in any case: estimator "uniform"."""


class Critic(Options):
    """Networks of the estimators."""

    hidden: Annotated[int, Field(ge=1)] = 128
    """Hidden width, also of the heads that make P(v). Ignored by the estimator "cosine" and the
    controls."""
    out: Annotated[int, Field(ge=1)] = 64
    """Width of the towers of separable critics. Ignored but by the estimators "mine_sep" and
    "infonce"."""


class PlugIn(Options):
    """The plug-in estimator (Eq. 2)."""

    bins: Annotated[int, Field(ge=2)] = 16
    """Outcomes of each view's distribution P(v). Ignored but by the estimators "plugin" and
    "mine_on_heads"."""
    balance: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the entropies of the margins, against all entities in one bin. Ignored but by the
    estimator "plugin"."""
    bias_correct: bool = True
    """Subtract (bins - 1)^2 / (2 rows), the bias of the plug-in under independence. Among the views
    of one modality it is the same for all pairs, so only ``clamp`` lets it matter there. Ignored
    but by the estimator "plugin"."""


class Temperature(Options):
    """Divisors of the summed information in Eqs. 3 and 4; the paper has none."""

    intra: Annotated[float, Field(gt=0), between(0.1, 10.0, log=True)] = 1.0
    """Among the views of a modality (Eq. 3). Ignored where experts.weights is, and where it is
    "mean"."""
    inter: Annotated[float, Field(gt=0), between(0.1, 10.0, log=True)] = 1.0
    """Among modalities (Eq. 4). Ignored but by the fusions "complementarity" and "relevance", and
    by the estimator "uniform"."""


class Information(Options):
    """How mutual information is estimated and turned into weights."""

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
    proxy. Controls: uniform, random (drawn once) and learned (free logits trained with the
    model). Like all of mi ignored where no weight asks for information: with a fusion other than
    "complementarity" and "relevance" where the views have no weights either, or equal ones
    (experts.weights)."""
    granularity: Literal["batch", "pointwise"] = "batch"
    """One weight per view and modality, as Eqs. 3-4 are written, or one per entity from pointwise
    information. Ignored by the controls."""
    batch: Annotated[int, Field(ge=2)] | None = None
    """Entities per estimate; 2048 for plugin and cosine, else 1024, when not given. Ignored by the
    controls."""
    draw: Literal["uniform", "balanced"] = "uniform"
    """How those entities are drawn: all alike, or so that each modality has about the same share of
    owners among them, which a modality that few entities have needs for its pairs to be seen.
    Ignored by the controls, and without features."""
    normalise: Literal["none", "logB", "logC", "pair_mean"] = "none"
    """Divide information by the logarithm of the batch, of the bins (plugin), or by its mean.
    Ignored by the controls."""
    critic: Critic = Critic()
    """Networks of the estimators."""
    plugin: PlugIn = PlugIn()
    """The plug-in estimator."""
    clamp: tuple[float, float | None] = (0.0, None)
    """Bounds of an estimate; the upper one is log(batch) when not given. Ignored by the controls,
    and where information is pointwise."""
    pmi_clamp: Annotated[float, Field(gt=0)] = 10.0
    """Bound of an entity's pointwise information, both ways. Ignored but by granularity
    "pointwise"."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the running averages of estimates (bias-corrected). Ignored by the controls."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Steps with uniform weights, while the estimators learn. Ignored by the controls."""
    min_overlap: Annotated[int, Field(ge=2)] = 64
    """Modalities that fewer entities of the graph share count as sharing no information, and so do
    the views of a modality that fewer have. A batch holds only some of these entities: a pair that
    fewer than two of them have is not estimated on it, and its average stays as it was. Ignored by
    the controls."""
    temperature: Temperature = Temperature()
    """Divisors of the summed information."""
    weight_grad: Literal["stop", "flow"] = "stop"
    """flow: experts are also trained through the weights (a fresh estimate per step); where it is
    beyond ``clamp``, by the gradient that leads back alone. Ignored by the controls."""
    train: Literal["separate", "joint"] = "separate"
    """separate: estimators look at detached views and have an optimiser of their own; joint: their
    loss is added to the model's, so that it shapes the views too. Ignored where nothing is
    estimated; refused with the controls."""
    joint_weight: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the estimators' loss when they train jointly. Ignored unless they do."""
    minimise_weight: Annotated[float, Field(ge=0)] = 0.0
    """Factor of the information among a modality's views (mean of its pairs, mean of modalities)
    that is added to the model's loss; MoMoK's is 1e-4. The paper's Eq. 8 has no such term."""

    @model_validator(mode="after")
    def _consistent(self) -> Information:
        for option, wanted in (
            ("train 'joint'", self.train == "joint"),
            ("minimise_weight", self.minimise_weight > 0),
        ):
            if wanted and self.estimator in CONTROLS:
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


class Fusion(Options):
    """How the vectors of an entity's modalities become one."""

    kind: Literal[
        "complementarity",
        "relevance",
        "mean",
        "concat",
        "product",
        "gate",
        "attention",
        "self_attention",
    ] = "complementarity"
    """complementarity: Eq. 4, which is the mean for whoever has two modalities; relevance: not in
    the paper, more weight to what shares information with the structure and is not repeated
    (docs/robustness.md); mean; concat: a linear map of all; product: of normalised vectors; gate:
    sigmoid gates seeing the structure; attention: softmax of w tanh(v) (AdaMF, NativE);
    self_attention: one layer over the modalities."""
    scope: Literal["inter", "both"] = "inter"
    """What is fused: modalities, or all views at once. Ignored by the kinds "complementarity" and
    "relevance", and where a modality has one view."""
    missing: Literal["mask_renorm", "literal"] = "mask_renorm"
    """An absent modality is left out and the weights renormalised, or takes part as a zero row.
    Ignored without features."""
    rescale_information: bool = False
    """Multiply the information that a modality shares with the others of an entity by (M - 1) /
    (number of those others), as if the entity had all M modalities. The sum of Eq. 4 has no such
    factor: an entity with few modalities has more even weights. Two modalities weigh the same
    either way. Ignored but by the kind "complementarity", by the controls, with ``missing``
    "literal", and without features."""


class Score(Options):
    """RotatE (Eq. 5)."""

    norm: Literal["modulus_sum", "l2"] = "modulus_sum"
    """Sum of moduli of the complex components (RotatE), or the Euclidean norm of the whole vector
    (slower: it has no fused kernel). Rotations keep both. The sum of absolute real coordinates is
    not offered: they do not keep it, so head and tail queries would score a triple differently."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 4.0
    """gamma, added to minus the distance; NativE's 4 (12 on DB15K). The paper prints none: 0."""
    epsilon: float = 2.0
    """Slack of the initial ranges (RotatE repository): of phases, which are uniform in +-pi in any
    case, it sets what a learning rate means; of entities with structure.init "rotate"; of the
    fusion "product". Ignored where there is none of these."""
    relation_phase: Literal["uniform_pi", "xavier"] = "uniform_pi"
    """Phases uniform in +-pi (RotatE), or Xavier values used as phases (near-identity at first)."""
    per_modality_relation: bool = False
    """Compare modality by modality, each with phases of its own (the r_m of Eq. 5), and subtract
    the sum of the distances; a modality's vector enters with its weight from the fusion. Ignored
    without features."""


class Config(ModelConfig):
    """Options of MoCME."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components; the real width is twice as much."""
    structure: Structure = Structure()
    """The structural embedding."""
    modality_dropout: ModalityDropout = ModalityDropout()
    """Modalities hidden at random in training."""
    proj: Projection = Projection()
    """From features to the common width."""
    backbone: Literal["cmoe", "mlp", "linear"] = "cmoe"
    """cmoe: K experts per modality; mlp, linear: one network per modality, no weights (Table 5)."""
    experts: Experts = Experts()
    """The views of one modality."""
    mi: Information = Information()
    """How mutual information is estimated and turned into weights."""
    fusion: Fusion = Fusion()
    """How modalities become one vector."""
    score: Score = Score()
    """The score."""

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        kind = self.fusion.kind
        if self.score.per_modality_relation and kind not in WEIGHTED_SUMS:
            raise ValueError(
                f"score.per_modality_relation needs a fusion that is a weighted sum, not '{kind}'; "
                f"choose {', '.join(sorted(WEIGHTED_SUMS))}"
            )
        if kind == "relevance" and not self.structure.as_modality:
            raise ValueError(
                "fusion.kind 'relevance' needs structure.as_modality: relevance is information "
                "shared with the structure"
            )
        if kind == "relevance" and self.mi.granularity == "pointwise":
            raise ValueError("fusion.kind 'relevance' needs mi.granularity 'batch'")
        if self.mi.minimise_weight and not self._weighs_views:
            raise ValueError(
                "mi.minimise_weight needs estimated views: backbone 'cmoe' with experts.K > 1, "
                "experts.weights 'complementarity', and not fusion.scope 'both'"
            )
        return self

    @property
    def _weighs_views(self) -> bool:
        apart = self.fusion.scope == "inter" or self.fusion.kind in INFORMED
        estimated = self.experts.weights == "complementarity"
        return apart and estimated and self.backbone == "cmoe" and self.experts.K > 1
