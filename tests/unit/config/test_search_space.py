"""Domains of settings: what a suite may write, what a grid lists, what models declare."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from harness.catalog import load_models
from harness.config.search import Domain, declared
from harness.model import MODELS
from harness.plan.spec import RunSpec
from harness.studies.space import decode, distributions, encode

load_models()
TRAINABLE = [name for name in MODELS if MODELS.get(name).capabilities.trainable]


def domain(value: Any) -> Domain:
    return Domain.model_validate(value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "needs a list of choices, or low and high"),
        ({}, "needs a list of choices, or low and high"),
        ({"low": 1}, "needs a list of choices, or low and high"),
        ({"low": 2, "high": 1}, "low must be below high, got 2 and 1"),
        ({"low": 0, "high": 1, "log": True}, "log needs low > 0, got 0"),
        ({"low": 1, "high": 2, "step": 0}, "step must be positive"),
        ({"low": 1, "high": 9, "step": 2, "log": True}, "goes without log"),
        ([1, 2, 1], r"repeats a choice: \[1, 2, 1\]"),
        ({"choices": [1], "low": 0, "high": 1}, "not both"),
    ],
)
def test_a_domain_that_says_nothing_or_too_much_is_refused(written: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        domain(written)


@pytest.mark.parametrize(
    ("written", "points"),
    [
        ([3, "a", [1, 2]], (3, "a", [1, 2])),
        ({"low": 1, "high": 3}, (1, 2, 3)),
        ({"low": 1, "high": 8, "step": 3}, (1, 4, 7)),
        ({"low": 0.1, "high": 0.5, "step": 0.1}, (0.1, 0.2, 0.3, 0.4, 0.5)),
    ],
)
def test_the_points_of_a_grid(written: Any, points: tuple[Any, ...]) -> None:
    assert domain(written).points() == points


@pytest.mark.parametrize("written", [{"low": 0.0, "high": 1.0}, {"low": 1, "high": 9, "log": True}])
def test_what_has_no_step_has_no_points(written: Any) -> None:
    with pytest.raises(ValueError, match="a list of choices, or a step"):
        domain(written).points()


def test_whole_numbers_are_drawn_where_they_are_written() -> None:
    space = {
        "a": domain({"low": 1, "high": 4}),
        "b": domain({"low": 1.0, "high": 4.0, "log": True}),
        "c": domain([0.1, [1, 2]]),
    }
    found = distributions(space)
    assert found["a"] == IntDistribution(1, 4)
    assert found["b"] == FloatDistribution(1.0, 4.0, log=True)
    assert found["c"] == CategoricalDistribution([0.1, "[1, 2]"])


def test_a_point_returns_from_what_optuna_keeps() -> None:
    space = {"a": domain([[1, 2], [3]]), "b": domain(["x", None, True]), "c": domain([1, 2])}
    point = {"a": [3], "b": None, "c": 2}
    assert decode(space, encode(point)) == point


def test_a_domain_is_written_as_it_was_read() -> None:
    for written in ([1, [2, 3]], {"low": 1e-3, "high": 0.1, "log": True}):
        assert domain(written).written() == written


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_model_that_is_trained_declares_a_space_of_valid_values(name: str) -> None:
    config = MODELS.get(name).Config
    space = declared(config)
    assert space
    for key, found in space.items():
        for value in found.ends:
            nested: Any = value
            for part in reversed(key.split(".")):
                nested = {part: nested}
            config.model_validate(nested)


def test_what_all_models_share_is_declared_once() -> None:
    assert set(declared(RunSpec)) == {
        "adversary.mu",
        "negatives.sampler",
        "objective.margin",
        "objective.smoothing",
        "objective.temperature",
        "optimiser.lr",
        "training.batch_size",
    }
