"""Domains of settings as Optuna's distributions, points as its parameters, samplers and limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from harness.config.search import Domain
from harness.plan.study import Study

__all__ = ["Curve", "decode", "distributions", "encode", "median_limits", "sampler", "suggest"]

Curve = Mapping[int, float]
"""Epoch -> validation MRR."""


def distributions(space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each searched key."""
    return {key: _distribution(domain) for key, domain in space.items()}


def _distribution(domain: Domain) -> BaseDistribution:
    if domain.choices:
        return CategoricalDistribution([_plain(choice) for choice in domain.choices])
    assert domain.low is not None
    assert domain.high is not None
    if domain.integral:
        step = int(domain.step or 1)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def suggest(trial: Trial, key: str, distribution: BaseDistribution) -> None:
    """Draw a value of a trial, unless it has been drawn before."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )


def encode(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as Optuna's parameters: what is no plain value becomes its JSON."""
    return {key: _plain(value) for key, value in point.items()}


def decode(space: Mapping[str, Domain], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point that Optuna's parameters stand for."""
    point = {}
    for key, domain in space.items():
        value = parameters[key]
        choices = (choice for choice in domain.choices if _plain(choice) == value)
        point[key] = next(choices, value)
    return point


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def sampler(study: Study, space: Mapping[str, Domain], number: int, key: str = "") -> BaseSampler:
    """Return the sampler of one trial, for one searched key.

    Its seed is made from the study's, the number of the trial and the key, so that a study that was
    interrupted continues as if it had not been: no state of a generator is lost, not even in the
    middle of a point. A grid has one order for all trials.
    """
    if study.sampler == "grid":
        points = {key: [_plain(v) for v in domain.points()] for key, domain in space.items()}
        return GridSampler(points, study.seed)
    digest = hashlib.sha256(f"{study.seed}/{number}/{key}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big") >> 1
    if study.sampler == "random":
        return RandomSampler(seed)
    return TPESampler(seed=seed, constant_liar=True)


def median_limits(study: Study, curves: Iterable[Curve]) -> dict[int, float]:
    """Return the validation MRR that a trial must have reached by each epoch.

    What ``optuna.pruners.MedianPruner`` decides, as a table that a worker can be given: with the
    trials of a round known beforehand, its decisions do not depend on who is faster.

    Args:
        study: startup trials and warm-up epochs.
        curves: of the first seed of every complete trial.
    """
    trained = list(curves)
    if study.pruner == "none" or len(trained) < study.startup_trials:
        return {}
    epochs = sorted({epoch for curve in trained for epoch in curve if epoch >= study.warmup_epochs})
    return {
        epoch: float(np.nanpercentile([c[epoch] for c in trained if epoch in c], 50))
        for epoch in epochs
    }
