"""Registered models and negative samplers, described."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.catalog import load_all
from harness.config.search import Domain, declared
from harness.environment import Folders
from harness.errors import ConfigError, suggest
from harness.model import MODELS, Capabilities, Model
from harness.plan.spec import RunSpec
from harness.plugins import plugin_problem
from harness.procedure import STRATEGIES

__all__ = ["ModelDetails", "ModelListing", "describe_model", "list_models", "list_strategies"]


@dataclass(frozen=True)
class ModelListing:
    """A registered model.

    Attributes:
        name: registered name.
        title: name as printed in tables.
        formula: score in one line.
        modalities: modalities that it cannot do without, "any" if it reads whatever is offered, "at
            least one" if it needs some, "-" if it reads none.
        reference: paper or repository.
        adversarial: whether it can be trained against an adversary (``adversary.kind``).
    """

    name: str
    title: str
    formula: str
    modalities: str
    reference: str
    adversarial: bool = field(repr=False, default=False)


@dataclass(frozen=True)
class ModelDetails:
    """A model or a negative sampler in detail.

    Attributes:
        kind: "model" or "strategy".
        name: registered name.
        title: name and reference.
        origin: file and line of the class.
        description: docstring of the class.
        setting: group of settings that its options stand in.
        options: JSON schema of the options.
        space: what a study searches by default: key -> domain.
    """

    kind: Literal["model", "strategy"]
    name: str
    title: str
    origin: str
    description: str
    setting: str
    options: Mapping[str, Any]
    space: Mapping[str, Domain]


def list_models(model_folders: Folders = ()) -> list[ModelListing]:
    """Return every registered model by name; ``model_folders`` hold models of the user's own."""
    load_all(model_folders)
    return [
        ModelListing(
            name=name,
            title=model.capabilities.title,
            formula=model.capabilities.formula,
            modalities=modalities_of(model.capabilities),
            reference=model.capabilities.reference,
            adversarial=model.modality_embeddings is not Model.modality_embeddings,
        )
        for name in MODELS
        for model in (MODELS.get(name),)
    ]


def list_strategies() -> dict[str, str]:
    """Return every negative sampler: name -> first paragraph of its docstring."""
    load_all()
    return {
        name: inspect.cleandoc(STRATEGIES.get(name).__doc__ or "").partition("\n\n")[0]
        for name in STRATEGIES
    }


def describe_model(name: str, model_folders: Folders = ()) -> ModelDetails:
    """Return the details of a model or a negative sampler.

    Raises:
        ConfigError: an unknown name; the nearest is offered.
    """
    load_all(model_folders)
    if name in STRATEGIES:
        strategy, setting = STRATEGIES.get(name), "negatives.strategy"
        return ModelDetails(
            kind="strategy",
            name=name,
            title=f"a negative sampling strategy ({setting}.name: {name})",
            origin=STRATEGIES.origin(name),
            description=inspect.cleandoc(strategy.__doc__ or ""),
            setting=setting,
            options=strategy.Config.model_json_schema(),
            space=declared(strategy.Config, f"{setting}."),
        )
    if name not in MODELS:
        near = suggest(name, [*MODELS, *STRATEGIES])
        problem = plugin_problem(MODELS.group, name)
        raise ConfigError(problem or f"unknown model or strategy '{name}'{near}")
    model = MODELS.get(name)
    trained = model.capabilities.trainable
    return ModelDetails(
        kind="model",
        name=name,
        title=f"{model.capabilities.title} ({model.capabilities.reference})",
        origin=MODELS.origin(name),
        description=inspect.cleandoc(model.__doc__ or ""),
        setting="model",
        options=model.Config.model_json_schema(),
        space=declared(RunSpec) | declared(model.Config, "model.") if trained else {},
    )


def modalities_of(capabilities: Capabilities) -> str:
    """Return the modalities of a model in words; see ``ModelListing``."""
    if capabilities.requires:
        return ", ".join(sorted(capabilities.requires))
    if capabilities.needs_features:
        return "at least one"
    return "any" if capabilities.uses_modalities else "-"
