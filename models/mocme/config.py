"""Options of MoCME, with the paper's values as defaults, or NativE's where the paper gives none.

Each docstring names the options with which its option is ignored. Contradicting options are
refused; ignored ones are not, so that one setting can apply to all rows of a suite.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.config.base import Config as Options
from harness.config.search import between, one_of
from harness.model import ModelConfig

from .._fusion import ModalityDropout
from .information_config import Information

__all__ = [
    "INFORMED",
    "WEIGHTED_SUMS",
    "Experts",
    "FusionOptions",
    "MoCMEConfig",
    "Projection",
    "Score",
    "Structure",
]

INFORMED = frozenset({"complementarity", "relevance"})
"""Fusions with weights by the mutual information of the modalities."""

WEIGHTED_SUMS = INFORMED | {"mean", "attention"}
"""Fusions by a weighted sum of the modalities' vectors."""


class Structure(Options):
    """The structural embedding, a trainable vector per entity."""

    as_modality: bool = True
    """True to fuse the structure like a modality (section 3.2); False to add it to the fused
    vector. Ignored without features, when only the structure is fused."""
    through_experts: bool = True
    """True to pass the structure through experts. Ignored without as_modality."""
    init: Literal["xavier_uniform", "rotate"] = "xavier_uniform"
    """Xavier (section 4.1), or uniform in +-(margin + epsilon) / (2 dim) as in OpenKE's RotatE."""
    mask_unseen: bool = False
    """True to hide the structure of unseen entities that have another modality. The paper does not;
    such a vector is trained only as a negative. Ignored without features."""


class Projection(Options):
    """Maps of frozen features to the common width."""

    layers: Literal[1, 2] = 2
    """2: the paper's MLP with ReLU; 1: one linear layer (AdaMF). Ignored without features."""
    normalise: Annotated[Literal["none", "l2"], one_of("none", "l2")] = "none"
    """l2 divides rows of features by their Euclidean norms (MoMoK). Ignored without features."""


class Experts(Options):
    """Experts, whose outputs are the views of a modality."""

    K: Annotated[int, Field(ge=1), one_of(1, 3, 4, 5)] = 3
    """Experts per modality; the paper reports a peak at 3 on DB15K. Two always have equal weights,
    since information is symmetric. Ignored except with the backbone "cmoe"."""
    kind: Literal["mlp", "linear_shift", "linear"] = "mlp"
    """mlp: W2 relu(W1 e + b1) + b2; linear_shift: W (e - b) (MoMoK); linear: W e. Linear experts
    under weights common to all entities are one matrix, not a mixture. Ignored except with the
    backbone "cmoe"."""
    hidden: Annotated[int, Field(ge=1)] | None = None
    """Hidden width of "mlp", by default the width of the embedding. Ignored by linear experts."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the input of the experts, and on a structure that is fused directly."""
    weights: Literal["complementarity", "mean"] = "complementarity"
    """Weights of the views: softmax of minus their mutual information (Eq. 3), or 1 / K. Ignored if
    views have no weights: experts.K 1, backbones "mlp" and "linear", fusion.scope "both"; and if
    they are equal anyway: estimator "uniform"."""


class FusionOptions(Options):
    """Fusion of the modalities' vectors of an entity."""

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
    """complementarity: Eq. 4, the mean for entities with two modalities; relevance: not in the
    paper, more weight for modalities that share information with the structure and with no other
    (docs/robustness.md); mean; concat: a linear map of all; product: of normalised vectors; gate:
    sigmoid gates seeing the structure; attention: softmax of w tanh(v) (AdaMF, NativE);
    self_attention: one layer over the modalities."""
    scope: Literal["inter", "both"] = "inter"
    """Fuse modalities (inter) or all views at once (both). Ignored by the kinds "complementarity"
    and "relevance", and if modalities have one view."""
    missing: Literal["mask_renorm", "literal"] = "mask_renorm"
    """Omit an absent modality and renormalise the weights, or fuse it as a zero row. Ignored
    without features."""
    rescale_information: bool = False
    """True to multiply the information of a modality with the other n modalities of an entity by (M
    - 1) / n, as if the entity had all M modalities. The sum of Eq. 4 has no such factor, so an
    entity with few modalities has more even weights. Two modalities have equal weights either way.
    Ignored except with the kind "complementarity", by the controls, with ``missing`` "literal", and
    without features."""


class Score(Options):
    """RotatE (Eq. 5)."""

    norm: Literal["modulus_sum", "l2"] = "modulus_sum"
    """Sum of moduli of the complex components (RotatE), or the Euclidean norm of the whole vector
    (slower, without a fused kernel). Rotations preserve both. The sum of absolute real coordinates
    is not offered: rotations change it, so head and tail queries would score a triple
    differently."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 4.0
    """gamma, added to minus the distance; NativE's 4 (12 on DB15K). The paper's formula has none
    (0)."""
    epsilon: float = 2.0
    """Slack of the initial ranges (RotatE repository): of phases, which are uniform in +-pi in any
    case, it scales the learning rate; of entities with structure.init "rotate"; of the fusion
    "product". Ignored without any of these."""
    relation_phase: Literal["uniform_pi", "xavier"] = "uniform_pi"
    """Phases uniform in +-pi (RotatE), or Xavier values used as phases (near-identity at first)."""
    per_modality_relation: bool = False
    """True to compare by modality, each with its own phases (r_m of Eq. 5), and subtract the sum of
    the distances; a modality's vector is scaled by its fusion weight. Ignored without features."""


class MoCMEConfig(ModelConfig):
    """Options of MoCME."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components; vectors have 2 * dim real numbers."""
    structure: Structure = Structure()
    """The structural embedding."""
    modality_dropout: ModalityDropout = ModalityDropout()
    """Modalities hidden at random in training."""
    proj: Projection = Projection()
    """Maps of features to the common width."""
    backbone: Literal["cmoe", "mlp", "linear"] = "cmoe"
    """cmoe: K experts per modality; mlp, linear: one network per modality, no weights (Table 5)."""
    experts: Experts = Experts()
    """Experts, whose outputs are the views of a modality."""
    mi: Information = Information()
    """Mutual information and the weights from it."""
    fusion: FusionOptions = FusionOptions()
    """Fusion of the modalities."""
    score: Score = Score()
    """Score of a triple."""

    @model_validator(mode="after")
    def _consistent(self) -> MoCMEConfig:
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
        separate = self.fusion.scope == "inter" or self.fusion.kind in INFORMED
        estimated = self.experts.weights == "complementarity"
        return separate and estimated and self.backbone == "cmoe" and self.experts.K > 1
