"""The full description of one run, and its identity.

``run_id`` is a hash of what can change the result: every value that differs from its default, the
dataset and feature digests, the seed, the ``numerics`` version of each part, and the source of a
user's own model. Where the run is executed (device, kernels, threads, commit) is provenance of an
execution and not part of it, and so is which numbers dropout draws, which differs between kernels
and devices. A new option with a default therefore never invalidates old results; a fix that changes
numbers does, because it raises ``numerics``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from harness.config.base import Config
from harness.config.search import Domain, between, one_of
from harness.config.storable import plain_problems
from harness.data.corruption import Corruption, in_training, when_tested

__all__ = [
    "ADAGRAD_LR",
    "IS_PLAIN",
    "NUMERICS",
    "AdversarySpec",
    "AuditSpec",
    "DataSpec",
    "EgnsWeighting",
    "ModelSpec",
    "NegativesSpec",
    "ObjectiveSpec",
    "OptimiserSpec",
    "Protocol",
    "RunSpec",
    "StrategySpec",
    "TrainingSpec",
    "changed_values",
]

NUMERICS = {"training": 1, "negatives": 1, "objective": 1, "evaluation": 1}
"""Version of the numbers each part of the harness produces; raised when a fix changes them."""
OPTIONAL_NUMERICS = {"strategy": 1, "adversary": 1, "corruption": 1, "shared_negatives": 2}
"""The same of parts that few runs have; in the identity of those runs alone, from version 2 on.
Shared negatives have 2 since a step encodes the distinct entities alone, which changes the random
numbers of models that draw some per entity; the others' ids change with them."""


class ModelSpec(Config):
    """A model and its options (the options depend on the model: ``harness models show NAME``)."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Registered name: ``harness models list``."""

    @property
    def options(self) -> dict[str, Any]:
        """The options given beside the name."""
        return dict(self.model_extra or {})


class DataSpec(Config):
    """The graph and the features a run sees."""

    dataset: str
    """Dataset name: ``harness data list``."""
    features: str = "none"
    """Feature set of the dataset ("none", "names", ...): ``harness data show NAME``."""
    modalities: tuple[str, ...] | None = None
    """Modalities of the feature set to use; all when not given."""
    corrupt: tuple[Corruption, ...] = ()
    """Corruptions applied to the features, in order; those of amount 0 are dropped."""

    @field_validator("corrupt")
    @classmethod
    def _each_once(cls, corrupt: tuple[Corruption, ...]) -> tuple[Corruption, ...]:
        # Draws depend on kind and modality alone: a second one would be the first again.
        for first, second in itertools.combinations(corrupt, 2):
            modalities = {first.modality, second.modality}
            if first.kind == second.kind and (len(modalities) == 1 or None in modalities):
                modality = second.modality or first.modality or "every modality"
                raise ValueError(f"'{first.kind}' of {modality} is given twice")
        return corrupt

    @field_validator("corrupt")
    @classmethod
    def _effective(cls, corrupt: tuple[Corruption, ...]) -> tuple[Corruption, ...]:
        return tuple(corruption for corruption in corrupt if corruption.amount)


class StrategySpec(Config):
    """A strategy and its options (the options depend on it: ``harness models show NAME``)."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    """Registered name, "" for none: ``harness models list``."""

    @property
    def options(self) -> dict[str, Any]:
        """The options given beside the name."""
        return dict(self.model_extra or {})


class NegativesSpec(Config):
    """Corruption of positives."""

    sampler: Annotated[
        Literal["uniform", "bernoulli", "shared"], one_of("uniform", "bernoulli")
    ] = "uniform"
    """Side to corrupt: a fair coin, or Bernoulli with tph / (tph + hpt) (Wang et al. 2014). shared:
    a fair coin, and ``share`` positives are corrupted with the same entities."""
    share: Annotated[int, Field(ge=1)] = 64
    """Positives that share their ``count`` entities; where one of these would make a known triple,
    that positive gets another. Used only by the sampler "shared"."""
    count: Annotated[int, Field(ge=1)] = 64
    """Negatives per positive: independent draws, or, with the sampler "shared", those of
    ``share`` positives; a strategy chooses as many."""
    filter: Literal["none", "train"] = "train"
    """train: never draw a corruption that is a training triple."""
    strategy: StrategySpec = StrategySpec()
    """Strategy that chooses among the corruptions, by scores of the model or of a generator."""


class EgnsWeighting(Config):
    """Entropy-guided weights of negatives (MoCME, Eqs. 6-8)."""

    delta: tuple[float, float] = (0.2, 0.8)
    """Thresholds on the binary entropy in bits: below the first easy, from the second on hard."""
    easy: float = 0.5
    """Weight of easy negatives."""
    ambiguous: float = 1.5
    """Weight of ambiguous negatives (section 4.1 of the paper; its Eq. 7 has ambiguous < hard)."""
    hard: float = 1.2
    """Weight of hard negatives."""
    base: Literal["bits", "nats"] = "bits"
    """Unit of the entropy. In nats it never exceeds 0.693, so a threshold above is never met."""
    score: Literal["with_margin", "without_margin"] = "with_margin"
    """Score whose entropy is taken: the loss's own, or minus the distance alone."""
    overconfident: Literal["literal", "hard"] = "literal"
    """A negative with p > 1/2: as its entropy says, or always hard."""
    smooth: Annotated[float, Field(ge=0)] = 0.0
    """Width, in units of the entropy, of sigmoids in place of the steps at the thresholds; 0: the
    paper's steps."""
    gradient: Literal["stop", "flow"] = "stop"
    """flow: the weights have a gradient too (needs ``smooth``; steps have none)."""

    @model_validator(mode="after")
    def _consistent(self) -> EgnsWeighting:
        if self.delta[0] > self.delta[1]:
            raise ValueError(f"delta must ascend, got {self.delta}")
        if self.gradient == "flow" and not self.smooth:
            raise ValueError("gradient 'flow' needs smooth > 0: steps have no gradient")
        return self


class ObjectiveSpec(Config):
    """The loss."""

    loss: Literal["logistic", "margin", "one_vs_all", "k_vs_all"] = "logistic"
    """logistic: -log s(pos) - mean w log s(-neg), halved; margin: relu(m - pos + neg). Without
    negatives, for scores that are inner products: one_vs_all: -log softmax over all entities, for
    the head and the tail of each triple (Lacroix et al. 2018); k_vs_all: binary cross entropy of
    all entities for each distinct query of train (Dettmers et al. 2018)."""
    margin: Annotated[float, Field(ge=0), between(1.0, 12.0, log=True)] = 5.0
    """m of the margin loss. Ignored by the others."""
    smoothing: Annotated[float, Field(ge=0, lt=1), between(0.0, 0.3)] = 0.1
    """Label smoothing of k_vs_all: 1 - smoothing + 1 / N for an answer, 1 / N for any other entity
    (ConvE, IMF and MoMoK); 0: 1 and 0. Ignored by the other losses."""
    softmax_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing e of one_vs_all: the target is 1 - e + e / N for the answer and e / N for any
    other entity (Szegedy et al. 2016); kbc, VISTA and MyGO have 0. Ignored by the other losses."""
    sides: Literal["both", "one"] = "both"
    """Queries that one_vs_all makes of a triple. both: its tail and its head are predicted. one:
    one of them, by a fair coin (released code of VISTA and MyGO). Ignored by the other losses."""
    subsampling: bool = False
    """Weigh positives, each with its negatives, by (c(h, r) + c(r, t))^-1/2, divided by the sum of
    these weights in the batch; c is three more than the number of training triples with the pair
    (the repositories of RotatE and MMRNS, whose counts start at 4). Ignored by losses against all
    entities."""
    weighting: Literal["uniform", "self_adversarial", "egns", "egns_adversarial"] = (
        "self_adversarial"
    )
    """Weights of the n negatives of a positive: equal; softmax of their scores (Sun et al. 2019);
    by classes of entropy (MoCME, Eq. 7); or the product of the last two, which adds Eq. 7 to the
    loss of NativE, whose setting the MoCME paper follows."""
    temperature: Annotated[float, Field(ge=0), between(0.25, 4.0, log=True)] = 2.0
    """Self-adversarial temperature (NativE uses 2.0). Ignored by the other weightings."""
    egns: EgnsWeighting = EgnsWeighting()
    """Parameters of the "egns" weightings. Ignored by the others."""
    reduction: Literal["mean", "sum", "weights"] = "mean"
    """Over a positive's negatives: mean, sum (the paper's formula read literally), or divided by
    the sum of their weights. Used only by "uniform" and "egns": self-adversarial weights sum to
    one before they are multiplied by anything."""

    @property
    def against_all(self) -> bool:
        """True if the loss compares with all entities, without negatives."""
        return self.loss in ("one_vs_all", "k_vs_all")

    @property
    def weighs_by_score(self) -> bool:
        """True if negatives are weighed by the softmax of their scores."""
        return not self.against_all and self.weighting in ("self_adversarial", "egns_adversarial")

    @property
    def weighs_by_entropy(self) -> bool:
        """True if negatives are weighed by the entropy of their scores."""
        return not self.against_all and self.weighting in ("egns", "egns_adversarial")


class AdversarySpec(Config):
    """A generator of modalities that the model is trained against; for models that offer their
    modalities (``harness models show NAME``)."""

    kind: Literal["none", "wasserstein", "logistic"] = "none"
    """wasserstein: NativE's, one generator that sees all of an entity's modalities; logistic:
    AdaMF-MAT's, one per modality that sees the structure."""
    mu: Annotated[float, Field(ge=0), between(1e-5, 1e-2, log=True)] = 1e-4
    """Weight of the adversarial term in the model's loss (NativE: 1e-4, on KVC16K 1e-5;
    AdaMF-MAT's scripts: 0)."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of the generator's Adam."""
    noise: Annotated[int, Field(ge=1)] = 64
    """Width of the noise it starts from."""
    hidden: Annotated[int, Field(ge=1)] = 512
    """Width of its hidden layer."""


ADAGRAD_LR = Domain(low=1e-2, high=1.0, log=True)
"""Where the learning rate of Adagrad is searched, whose steps shrink: around the 0.1 and 0.01 that
were tried with losses against all entities (Lacroix et al. 2018)."""


class OptimiserSpec(Config):
    """The optimiser and its schedule."""

    name: Literal["adam", "lazy_adam", "adamw", "adagrad", "sgd"] = "adam"
    """Optimiser. lazy_adam: entities that a step does not draw are left alone, their running
    averages too, so that its time does not grow with the graph. It is not the same optimiser: Adam
    moves every entity in every step."""
    lr: Annotated[float, Field(gt=0), between(1e-4, 1e-1, log=True)] = 1e-3
    """Learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay."""
    clip: Annotated[float, Field(ge=0)] = 0.0
    """Clip the gradient's norm to this; 0 does not clip."""
    schedule: Literal["constant", "cosine", "linear", "step", "restarts"] = "constant"
    """constant; cosine or linear to 0 over all epochs after ``warmup``; step: a tenth from half of
    the epochs on; restarts: cosines to 0 over ``cycle`` epochs, twice as many, four times as many,
    and so on (Loshchilov and Hutter 2017)."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """First epochs, in which the rate rises linearly: that of epoch k is k / (warmup + 1) of the
    schedule's first."""
    cycle: Annotated[int, Field(ge=1)] = 50
    """Epochs of the first cosine of ``schedule: restarts`` (50 for VISTA and MyGO). Ignored by the
    other schedules."""
    auxiliary_lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of a model's auxiliary parameters (information estimators). Ignored by models
    without any."""

    @model_validator(mode="after")
    def _consistent(self) -> OptimiserSpec:
        for option in ("weight_decay", "clip"):
            if self.name == "lazy_adam" and getattr(self, option):
                raise ValueError(
                    f"{option} needs the gradient of every entity, which name=lazy_adam does not "
                    f"make; use adam, or leave {option} at 0"
                )
        return self


class TrainingSpec(Config):
    """Length of the training, validation and precision."""

    epochs: Annotated[int, Field(ge=0)] = 100
    """At most this many epochs (``traversal``)."""
    batch_size: Annotated[int, Field(ge=1), one_of(256, 512, 1024, 2048)] = 1024
    """Positives per step."""
    traversal: Literal["pass", "draws"] = "pass"
    """pass: an epoch takes every row of train once, in random order. draws: each of its steps draws
    ``batch_size`` of the distinct rows with replacement, and there are as many steps as whole
    batches of them, at least one (OpenKE, and so the code of NativE, AdaMF-MAT and MANS)."""
    evaluate_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between validations."""
    patience: Annotated[int, Field(ge=0)] = 5
    """Stop after this many validations without a better MRR; 0 never stops early. Ignored with
    ``select`` "last"."""
    select: Literal["validation", "last"] = "validation"
    """Weights that are kept and tested: those of the epoch with the best validation MRR, or those
    after the last epoch. With last, validation is for the record alone: for a number of epochs that
    was chosen elsewhere, as on a cleaned variant of a dataset whose validation split stands in
    train."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products under autocast; information, entropy and log-sum-exp stay in fp32."""
    compile: bool = False
    """Compile with torch what a training step encodes; takes a C++ compiler, and minutes at first.
    Meant for GPUs: on a CPU a compiled MoCME step took 13 to 57 percent longer. Figures differ by
    rounding, and on CPUs by what dropout drops. Ignored by models whose tables are their
    parameters: nothing is computed."""


class Protocol(Config):
    """Rules of ranking; stored with every number, never mixed in one table."""

    ties: Literal["realistic", "optimistic", "pessimistic"] = "realistic"
    """Rank among equal scores: the mean of best and worst, the best, the worst."""
    filter: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")
    """Splits whose triples are not counted as competitors; () gives raw ranks."""
    sides: Annotated[tuple[Literal["head", "tail"], ...], Field(min_length=1)] = ("head", "tail")
    """Sides that are predicted; their queries are pooled."""
    valid_filter: tuple[Literal["train", "valid", "test"], ...] | None = None
    """Splits that filter the ranks of the validation split; those of ``filter`` when not given.
    Studies leave "test" out: what they choose owes nothing to the test split."""

    @property
    def key(self) -> str:
        """Short text that names the protocol of the test split, equal for equal protocols."""
        return self.key_of("test")

    def key_of(self, split: str) -> str:
        """Short text that names the protocol of a split, equal for equal protocols."""
        filtered = "+".join(self.filter_of(split)) or "raw"
        return f"{self.ties}/{filtered}/{'+'.join(self.sides)}/all"

    def filter_of(self, split: str) -> tuple[str, ...]:
        """Return the splits whose triples are no competitors in the ranks of a split."""
        valid_filter = self.valid_filter if split == "valid" else None
        return self.filter if valid_filter is None else valid_filter

    def describe(self) -> str:
        """Return one sentence for footnotes."""
        filtered = f"filtered with {'+'.join(self.filter)}" if self.filter else "raw"
        if self.valid_filter is not None:
            filtered += f" (validation: {'+'.join(self.valid_filter) or 'raw'})"
        return (
            f"{' and '.join(self.sides)} queries pooled, {filtered}, "
            f"{self.ties} ties, all entities are candidates"
        )


class AuditSpec(Config):
    """Output for audits; nothing in it changes a result."""

    shadow_test: bool = False
    """Rank the test split at every validation, filtered and raw, and store the ranks in the run's
    folder; only the table of protocols reads them. Refused in a study."""


IS_PLAIN = {"plain": True}
"""Context in which a run specification is not checked for values that no store can hold."""


class RunSpec(Config):
    """One run: everything that can change its result."""

    model: ModelSpec
    data: DataSpec
    negatives: NegativesSpec = NegativesSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    adversary: AdversarySpec = AdversarySpec()
    optimiser: OptimiserSpec = OptimiserSpec()
    training: TrainingSpec = TrainingSpec()
    protocol: Protocol = Protocol()
    audit: AuditSpec = AuditSpec()
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Any integer that the result database can hold."""

    @model_validator(mode="after")
    def _storable(self, info: ValidationInfo) -> RunSpec:
        if info.context != IS_PLAIN:
            for path, problem in plain_problems(self.model_dump()):
                raise ValueError(f"{'.'.join(map(str, path))} {problem}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> RunSpec:
        if self.training.compile and self.optimiser.name == "lazy_adam":
            raise ValueError(
                "training.compile has no gradient of single rows, as optimiser.name=lazy_adam "
                "needs; use adam"
            )
        trained, tested = in_training(self.data.corrupt), when_tested(self.data.corrupt)
        if self.audit.shadow_test and trained != tested:
            raise ValueError(
                "audit.shadow_test ranks the test split with the features of the training, and "
                "data.corrupt gives the test others; leave one of them out"
            )
        return self

    @property
    def trained_as(self) -> RunSpec:
        """The run that shares this one's training, tested on the features that it is trained on.

        Equal to this one but where features are corrupted in training or in testing alone.
        """
        alike = tuple(
            corruption.model_copy(update={"at": "both"})
            for corruption in in_training(self.data.corrupt)
        )
        data = self.data.model_copy(update={"corrupt": alike})
        return self.model_copy(update={"data": data})

    @property
    def numerics(self) -> dict[str, int]:
        """``numerics`` version of each part of the harness that the run uses."""
        in_use = {
            "strategy": bool(self.negatives.strategy.name),
            "adversary": self.adversary.kind != "none",
            "corruption": bool(self.data.corrupt),
            "shared_negatives": self.negatives.sampler == "shared",
        }
        versions = OPTIONAL_NUMERICS.items()
        return NUMERICS | {name: version for name, version in versions if in_use[name]}

    def run_id(
        self,
        *,
        dataset_digest: str,
        feature_digest: str,
        model_numerics: int,
        code: str = "",
        part_versions: Mapping[str, int] | None = None,
    ) -> str:
        """Return the run's identity: 12 hex digits.

        Args:
            dataset_digest: digest of the graph.
            feature_digest: digest of the features used ("" without), before they are corrupted.
            model_numerics: ``Capabilities.numerics`` of the model.
            code: digest of the source of a user's own model and strategy; "" for those of the
                package, whose changes raise ``numerics``.
            part_versions: ``numerics`` of the parts of the harness; this version's when None.

        ``model.options`` must hold only values that differ from the model's defaults, and options
        without effect must have their default (``harness.plan.settings`` does both).
        """
        versions = self.numerics if part_versions is None else part_versions
        content = {
            "values": changed_values(self),
            "model": self.model.name,
            "dataset": dataset_digest,
            "features": feature_digest,
            "seed": self.seed,
            "numerics": {
                **{p: v for p, v in versions.items() if p in NUMERICS or v > 1},
                "model": model_numerics,
            },
            **({"code": code} if code else {}),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def changed_values(config: Config) -> dict[str, Any]:
    """Return the values of ``config`` that differ from the defaults, as nested plain JSON."""
    dumped: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return dumped
