"""Options of MoCME that are ignored beside others: those the docstrings name, and no more."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.catalog import build_model
from harness.config.override import nest
from harness.index import GraphIndex, Modality
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure
from models.mocme.config import MoCMEConfig

N, R = 40, 2
DRAW = torch.Generator().manual_seed(1)
TRAIN = torch.stack([torch.randint(n, (50,), generator=DRAW) for n in (N - 9, R, N - 9)], 1)
INDEX = GraphIndex(N, R, TRAIN, "digest")
PRESENT = torch.rand(2, N, generator=DRAW) < 0.6
MODALITIES = {
    name: Modality(name, torch.randn(N, 3, generator=DRAW) * has[:, None], has)
    for name, has in zip(("image", "text"), PRESENT, strict=True)
}
AUDIO = Modality("audio", torch.randn(N, 3, generator=DRAW), torch.ones(N, dtype=torch.bool))
SMALL = {
    "dim": 4, "mi.batch": 16, "mi.warmup_steps": 0, "mi.min_overlap": 2,
    "mi.plugin.bins": 3, "mi.plugin.bias_correct": False, "mi.clamp": (-9, 9),
}  # fmt: skip
"""What makes a default matter at once on a toy."""

CHANGES: dict[str, Any] = {
    "structure.as_modality": False,
    "structure.through_experts": False,
    "structure.init": "rotate",
    "structure.mask_unseen": True,
    "modality_dropout.structure": 0.5,
    "modality_dropout.others": 0.5,
    "proj.layers": 1,
    "proj.normalise": "l2",
    "backbone": "linear",
    "experts.K": 2,
    "experts.kind": "linear",
    "experts.hidden": 5,
    "experts.dropout": 0.5,
    "experts.weights": "mean",
    "mi.estimator": "cosine",
    "mi.granularity": "pointwise",
    "mi.batch": 12,
    "mi.draw": "balanced",
    "mi.normalise": "pair_mean",
    "mi.critic.hidden": 7,
    "mi.critic.out": 5,
    "mi.plugin.bins": 4,
    "mi.plugin.balance": 1.0,
    "mi.plugin.bias_correct": True,
    "mi.clamp": (-9, 1e-5),
    "mi.pmi_clamp": 1e-3,
    "mi.ema": 0.1,
    "mi.warmup_steps": 9,
    "mi.min_overlap": 30,
    "mi.temperature.intra": 0.1,
    "mi.temperature.inter": 0.1,
    "mi.weight_grad": "flow",
    "mi.train": "joint",
    "mi.joint_weight": 3.0,
    "mi.minimise_weight": 0.5,
    "fusion.kind": "mean",
    "fusion.scope": "both",
    "fusion.missing": "literal",
    "fusion.rescale_information": True,
    "score.norm": "l2",
    "score.margin": 1.0,
    "score.epsilon": 1.0,
    "score.relation_phase": "xavier",
    "score.per_modality_relation": True,
}
"""A value of every option that differs from the one in SMALL or the default."""


def leaves(config: Any, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name in type(config).model_fields:
        value = getattr(config, name)
        inner = hasattr(type(value), "model_fields")
        names |= leaves(value, f"{prefix}{name}.") if inner else {prefix + name}
    return names


@cache
def outcome(given: tuple[tuple[str, Any], ...], modalities: int) -> tuple[float, ...]:
    """Losses of four steps of a model with this many modalities beside the structure."""
    options = nest({tuple(name.split(".")): value for name, value in given})
    spec = RunSpec.model_validate(
        {"model": {"name": "mocme"}, "data": {"dataset": "d"}, "negatives": {"count": 4}}
    )
    offered = dict([*MODALITIES.items(), ("audio", AUDIO)][:modalities])
    model = build_model("mocme", options, INDEX, offered, seed=3).train()
    procedure = StandardProcedure(model, INDEX, spec, torch.device("cpu"))
    procedure.start_epoch(0)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    return tuple(float(procedure.step(TRAIN[i::4], generator).loss) for i in range(4))


def differs(option: str, beside: dict[str, Any], *, modalities: int = 2) -> bool:
    base = SMALL | beside
    changed = base | {option: CHANGES[option]}
    return outcome(tuple(base.items()), modalities) != outcome(tuple(changed.items()), modalities)


CRITIC = {"mi.critic.hidden", "mi.critic.out"}
PLUGIN = {"mi.plugin.bins", "mi.plugin.balance", "mi.plugin.bias_correct"}
RESCALE = {"fusion.rescale_information"}
UNUSED = {"mi.critic.out", "mi.pmi_clamp", "mi.joint_weight", "fusion.scope"} | RESCALE
ESTIMATING = (
    CRITIC
    | PLUGIN
    | {
        "mi.granularity",
        "mi.batch",
        "mi.draw",
        "mi.normalise",
        "mi.clamp",
        "mi.pmi_clamp",
        "mi.ema",
        "mi.warmup_steps",
        "mi.min_overlap",
        "mi.weight_grad",
        "mi.joint_weight",
    }
)
TEMPERATURES = {"mi.temperature.intra", "mi.temperature.inter"}
UNINFORMED = ESTIMATING | TEMPERATURES | {"mi.estimator", "mi.train"}
NO_VIEWS = {"experts.weights", "mi.temperature.intra"}
NOT_CMOE = NO_VIEWS | {"experts.K", "experts.kind"}
FEATURES = {name for name in CHANGES if name.startswith(("modality_dropout", "proj", "fusion"))} | {
    "structure.as_modality",
    "structure.mask_unseen",
    "mi.draw",
    "score.per_modality_relation",
}

IGNORED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, UNUSED),
    ({"structure.as_modality": False}, {"structure.through_experts"}),
    ({"backbone": "mlp"}, NOT_CMOE),
    ({"backbone": "linear"}, NOT_CMOE | {"experts.hidden"}),
    ({"experts.K": 1}, NO_VIEWS),
    ({"experts.kind": "linear"}, {"experts.hidden"}),
    ({"experts.kind": "linear_shift"}, {"experts.hidden"}),
    ({"experts.weights": "mean"}, {"mi.temperature.intra"}),
    ({"mi.estimator": "mine_sep"}, PLUGIN),
    ({"mi.estimator": "infonce"}, PLUGIN),
    ({"mi.estimator": "mine_cat"}, PLUGIN | {"mi.critic.out"}),
    ({"mi.estimator": "club"}, PLUGIN | {"mi.critic.out"}),
    ({"mi.estimator": "club_momok"}, PLUGIN | {"mi.critic.out"}),
    ({"mi.estimator": "mine_on_heads"}, PLUGIN - {"mi.plugin.bins"} | {"mi.critic.out"}),
    ({"mi.estimator": "cosine"}, PLUGIN | CRITIC),
    ({"mi.estimator": "uniform"}, ESTIMATING | TEMPERATURES | {"experts.weights"}),
    ({"mi.estimator": "random"}, ESTIMATING),
    ({"mi.estimator": "learned"}, ESTIMATING),
    ({"mi.granularity": "pointwise"}, {"mi.clamp"}),
    ({"fusion.kind": "attention"}, {"mi.temperature.inter"}),
    ({"fusion.kind": "mean", "experts.weights": "mean"}, UNINFORMED),
    ({"fusion.kind": "gate", "fusion.scope": "both"}, UNINFORMED | {"experts.weights"}),
    ({"fusion.kind": "mean", "backbone": "mlp"}, UNINFORMED | {"fusion.scope"}),
    ({"score.relation_phase": "xavier"}, {"score.epsilon"}),
]
"""Options -> those that do nothing beside them."""


def ids(case: Any) -> str:
    return " ".join(f"{k}={v}" for k, v in case.items()) if isinstance(case, dict) else ""


def description(option: str) -> str:
    *groups, name = option.split(".")
    model: Any = MoCMEConfig
    for group in groups:
        model = model.model_fields[group].annotation
    return str(model.model_fields[name].description)


def test_a_change_of_every_option_is_tried() -> None:
    assert leaves(MoCMEConfig()) == {*CHANGES, "dim"}


@pytest.mark.parametrize(("beside", "ignored"), IGNORED, ids=ids)
def test_ignored_options_do_nothing(beside: dict[str, Any], ignored: set[str]) -> None:
    assert [option for option in sorted(ignored) if differs(option, beside)] == []


@pytest.mark.parametrize("option", sorted(FEATURES))
def test_options_of_features_are_ignored_without_any(option: str) -> None:
    assert not differs(option, {}, modalities=0)


@pytest.mark.parametrize("option", sorted(CHANGES.keys() - UNUSED))
def test_every_other_option_does_something(option: str) -> None:
    assert differs(option, {})


def test_options_that_the_defaults_ignore_do_something_where_they_are_used() -> None:
    assert differs("mi.critic.out", {"mi.estimator": "infonce"})
    assert differs("mi.pmi_clamp", {"mi.granularity": "pointwise"})
    assert differs("mi.joint_weight", {"mi.train": "joint"})
    assert differs("fusion.scope", {"fusion.kind": "mean", "mi.temperature.intra": 0.1})


@pytest.mark.parametrize(
    "beside",
    [
        {"fusion.kind": "mean"},
        {"fusion.kind": "relevance"},
        {"fusion.missing": "literal"},
        {"mi.estimator": "uniform"},
        {"mi.estimator": "random"},
        {"mi.estimator": "learned"},
    ],
    ids=ids,
)
def test_information_is_rescaled_where_it_decides_among_three_modalities_of_four(
    beside: dict[str, Any],
) -> None:
    (option,) = RESCALE
    assert differs(option, {}, modalities=3)
    assert not differs(option, beside, modalities=3)


TOLD = FEATURES.union(*(ignored for _, ignored in IGNORED))


@pytest.mark.parametrize("option", sorted(TOLD - {"fusion.kind"}))
def test_the_docstring_of_an_option_says_where_it_is_ignored(option: str) -> None:
    assert "gnored" in description(option)


def test_two_modalities_always_weigh_the_same() -> None:
    """So the kind of fusion that is Eq. 4 is then the mean."""
    assert not differs("fusion.kind", {"structure.as_modality": False})


def test_bounds_must_ascend() -> None:
    with pytest.raises(ValidationError, match="clamp must ascend"):
        MoCMEConfig.model_validate({"mi": {"clamp": (1.0, 0.5)}})
