"""A model under examination, on a graph of a few entities with a planted rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from harness.catalog import create_model
from harness.config.override import Setting, flatten, group_of
from harness.contract.noise import make_modality
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality, Side
from harness.model import MODELS, Capabilities, Model
from harness.plan.possible import usual_loss
from harness.plan.settings import build_spec
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure

__all__ = ["SIDES", "N", "R", "Subject", "make_graph"]

N, R = 29, 3
"""Entities and relations. N is a prime that is no usual width, so a dimension of this size is that
of the entities."""

SIDES: tuple[Side, ...] = ("head", "tail")

GROUPS = ("model", "negatives", "objective", "optimiser", "training")
"""Settings that change something here."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

USUAL: Mapping[str, Any] = {
    "negatives.count": 8,
    "optimiser.lr": 0.02,
    "training.patience": 0,
}
"""Settings under which a model is trained here."""


def make_graph() -> GraphIndex:
    """Entities on a circle; relation k leads k + 1 places on: learnable by every scorer."""
    heads = torch.arange(N).repeat(R)
    relations = torch.arange(R).repeat_interleave(N)
    return GraphIndex(N, R, torch.stack([heads, relations, (heads + relations + 1) % N], 1), "d")


@dataclass(frozen=True, eq=False)
class Subject:
    """A registered model with options for a small graph.

    Attributes:
        name: registered name.
        given: settings that hold before the model's own and the usual ones, as
            ``config.override.parse_overrides`` returns them.
    """

    name: str
    given: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in self.given:
            if group not in GROUPS:
                raise ConfigError(
                    f"--set {group}: a check has no such setting; it has {', '.join(GROUPS)}"
                )

    @property
    def model_class(self) -> type[Model]:
        """The registered class."""
        return MODELS.get(self.name)

    @property
    def capabilities(self) -> Capabilities:
        """What the model, with the given options, is and needs."""
        return self.model_class.capabilities_of(self.spec().model.options)

    @cached_property
    def index(self) -> GraphIndex:
        """The graph."""
        return make_graph()

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """What a run would offer the model; some entities have all, some one, the first none."""
        widths = {"text": 10, "image": 6} if self.capabilities.uses_modalities else {}
        if self.capabilities.needs_features and not self.capabilities.requires:
            widths = {"text": 10, "image": 6}
        widths |= dict.fromkeys(sorted(self.capabilities.requires - widths.keys()), 6)
        return {
            name: make_modality(name, N, w, 5 + i) for i, (name, w) in enumerate(widths.items())
        }

    @property
    def queries(self) -> tuple[Tensor, Tensor]:
        """Some anchors and relations."""
        return self.index.train[::5, 0], self.index.train[::5, 1]

    def spec(
        self, settings: Mapping[str, Any] = _NOTHING, fixed: Mapping[str, Any] = _NOTHING
    ) -> RunSpec:
        """Return the run that settings with dotted keys describe.

        Args:
            settings: what a check would have; ``given`` holds before them.
            fixed: what a check is about; they hold before everything.

        Raises:
            ConfigError: an option of the model or a setting is wrong.
        """
        model = self.model_class
        trial = model.contract
        options = {f"model.{k}": v for k, v in self._small().items()}
        loss = usual_loss(model, {**self._small(), **group_of(self.given, "model")})
        usual = {**USUAL, "objective.loss": loss}
        if trial.lr is not None:
            usual["optimiser.lr"] = trial.lr
        layers = (
            *_layer({**options, **usual, **settings}, "usual", strict=False),
            *_layer(self.given, "--set", strict=True),
            *_layer(fixed, "fixed", strict=False),
        )
        return build_spec(layers, name=self.name, model=model, dataset="d", seed=0)

    def _small(self) -> Mapping[str, Any]:
        """Return options for a graph of a few entities."""
        config, own = self.model_class.Config, self.model_class.contract.options
        try:
            config.model_validate(small := {"dim": 16, **own})
        except ValidationError:  # no such option, or not that value
            return own
        return small

    def make(
        self,
        modalities: Mapping[str, Modality] | None = None,
        *,
        index: GraphIndex | None = None,
        seed: int = 0,
        settings: Mapping[str, Any] = _NOTHING,
    ) -> Model:
        """Build the model, by default with its modalities on its graph."""
        offered = self.modalities if modalities is None else modalities
        options = self.spec(settings).model.options
        return create_model(self.name, options, index or self.index, offered, seed=seed)

    def procedure(
        self,
        model: Model,
        *,
        index: GraphIndex | None = None,
        static_shapes: bool = False,
        settings: Mapping[str, Any] = _NOTHING,
        fixed: Mapping[str, Any] = _NOTHING,
    ) -> StandardProcedure:
        """Return what trains the model, by default on its graph."""
        spec = self.spec(settings, fixed)
        return StandardProcedure(
            model,
            index or self.index,
            spec,
            torch.device("cpu"),
            static_shapes=static_shapes,
        )

    def loss_of_a_step(self, model: Model, **how: Any) -> float:
        """Take one training step on the whole graph; return the loss before it.

        ``how``: as for ``procedure``.
        """
        procedure = self.procedure(model.train(), **how)
        torch.manual_seed(0)
        return float(procedure.step(procedure.rows, torch.Generator().manual_seed(0)).loss)


def _layer(settings: Mapping[str, Any], source: str, *, strict: bool) -> list[Setting]:
    return list(flatten(settings, lambda keys: f"{source} {'.'.join(keys)}", strict=strict))
