"""The id of a run, from its settings, its data and the code that is here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from harness.model import MODELS
from harness.plan.spec import RunSpec
from harness.procedure import STRATEGIES
from harness.source import is_shipped, source_digest

__all__ = ["code_of", "past_ids", "registered", "run_id_of"]

FOREIGN_NUMERICS = 9
"""Highest ``numerics`` that is tried for a model from outside the package."""


def run_id_of(spec: RunSpec, dataset_digest: str, feature_digest: str) -> str:
    """Return the id of a run; its model is loaded.

    Args:
        spec: every setting.
        dataset_digest: digest of the graph.
        feature_digest: digest of the features before they are corrupted, "" without.

    Raises:
        ConfigError: an unknown model.
    """
    return spec.run_id(
        dataset_digest=dataset_digest,
        feature_digest=feature_digest,
        model_numerics=_model_numerics(spec),
        code=code_of(spec),
    )


def code_of(spec: RunSpec) -> str:
    """Return the digest of the source of the user's own classes that a run uses, "" without any."""
    return source_digest(*registered(spec))


def registered(spec: RunSpec) -> list[type]:
    """Return the classes of a run's model and strategy, as far as they are loaded."""
    model, strategy = spec.model.name, spec.negatives.strategy.name
    models: list[type] = [MODELS.get(model)] if model in MODELS else []
    return models + ([STRATEGIES.get(strategy)] if strategy in STRATEGIES else [])


def past_ids(
    spec: RunSpec, dataset_digest: str, feature_digest: str, code: str = ""
) -> Iterator[str]:
    """Yield the ids that this version and earlier ones give a run, this version's first.

    Each ``numerics`` counts up from 1, so an earlier version has a lower one. That of a model from
    outside the package is not recorded: 1 to 9 are tried.

    Args:
        spec, dataset_digest, feature_digest: as ``run_id_of``.
        code: digest of the source of a user's model, from the run's provenance.
    """
    name = spec.model.name
    shipped = name in MODELS and is_shipped(MODELS.get(name))
    newest = _model_numerics(spec) if shipped else FOREIGN_NUMERICS
    models = range(newest, 0, -1) if shipped else range(1, newest + 1)
    current = spec.numerics
    for versions in product(models, *(range(version, 0, -1) for version in current.values())):
        yield spec.run_id(
            dataset_digest=dataset_digest,
            feature_digest=feature_digest,
            model_numerics=versions[0],
            code=code,
            part_versions=dict(zip(current, versions[1:], strict=True)),
        )


def _model_numerics(spec: RunSpec) -> int:
    bf16 = spec.training.precision == "bf16"
    return MODELS.get(spec.model.name).numerics_of(spec.model.options, bf16=bf16)
