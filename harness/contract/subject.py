"""The model under check, on a graph of a few entities with a planted rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from harness.catalog import build_model
from harness.config.override import Setting, flatten, group_of
from harness.contract.noise import make_modality
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality, Side
from harness.model import MODELS, Capabilities, Model
from harness.plan.possible import usual_loss
from harness.plan.settings import build_spec
from harness.plan.spec import RunSpec
from harness.seeding import seed_torch
from harness.training.procedures import StandardProcedure

__all__ = ["SIDES", "N", "R", "Subject", "make_graph"]

N, R = 29, 3
"""Number of entities and relations. N is a prime and no usual width, so a dimension of size N is
that of the entities."""

SIDES: tuple[Side, ...] = ("head", "tail")

GROUPS = ("model", "negatives", "objective", "optimiser", "training")
"""Groups of settings with an effect on checks."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

USUAL: Mapping[str, Any] = {
    "negatives.count": 8,
    "optimiser.lr": 0.02,
    "training.patience": 0,
}
"""Default settings of training in checks."""


def make_graph() -> GraphIndex:
    """Return entities on a circle with relation k shifting by k + 1, learnable by every score."""
    heads = torch.arange(N).repeat(R)
    relations = torch.arange(R).repeat_interleave(N)
    return GraphIndex(N, R, torch.stack([heads, relations, (heads + relations + 1) % N], 1), "d")


@dataclass(frozen=True, eq=False)
class Subject:
    """A registered model with options for a small graph.

    Attributes:
        name: registered name.
        overrides: settings of the user, with priority over the model's and the usual ones, as
            ``config.override.parse_overrides`` returns them.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in self.overrides:
            if group not in GROUPS:
                raise ConfigError(
                    f"--set {group}: a check has no such setting; it has {', '.join(GROUPS)}"
                )

    @property
    def model_class(self) -> type[Model]:
        """The registered class."""
        return MODELS.get(self.name)

    @property
    def origin(self) -> str:
        """File and line of the class."""
        return MODELS.origin(self.name)

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the model with its options."""
        return self.model_class.capabilities_of(self.spec().model.options)

    @cached_property
    def index(self) -> GraphIndex:
        """The graph."""
        return make_graph()

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """Modalities for the model; some entities have all, some one, the first none."""
        widths = {"text": 10, "image": 6} if self.capabilities.uses_modalities else {}
        if self.capabilities.needs_features and not self.capabilities.requires:
            widths = {"text": 10, "image": 6}
        widths |= dict.fromkeys(sorted(self.capabilities.requires - widths.keys()), 6)
        return {
            name: make_modality(name, N, w, 5 + i) for i, (name, w) in enumerate(widths.items())
        }

    @property
    def queries(self) -> tuple[Tensor, Tensor]:
        """Anchors and relations of some queries, int64 [q] each."""
        return self.index.train[::5, 0], self.index.train[::5, 1]

    def spec(
        self, settings: Mapping[str, Any] = _NOTHING, fixed: Mapping[str, Any] = _NOTHING
    ) -> RunSpec:
        """Build the run specification from settings with dotted keys.

        Args:
            settings: settings of a check, overridden by ``overrides``.
            fixed: settings under test, with priority over all others.

        Raises:
            ConfigError: an option of the model or a setting is wrong.
        """
        model = self.model_class
        contract = model.contract
        options = {f"model.{k}": v for k, v in self._small().items()}
        loss = usual_loss(model, {**self._small(), **group_of(self.overrides, "model")})
        usual = {**USUAL, "objective.loss": loss}
        if contract.lr is not None:
            usual["optimiser.lr"] = contract.lr
        layers = (
            *_layer({**options, **usual, **settings}, "usual", strict=False),
            *_layer(self.overrides, "--set", strict=True),
            *_layer(fixed, "fixed", strict=False),
        )
        return build_spec(layers, name=self.name, model=model, dataset="d", seed=0)

    def _small(self) -> Mapping[str, Any]:
        """Return options suitable for a graph of a few entities."""
        config, options = self.model_class.Config, self.model_class.contract.options
        try:
            config.model_validate(small := {"dim": 16, **options})
        except ValidationError:  # no such option, or not that value
            return options
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
        return build_model(self.name, options, index or self.index, offered, seed=seed)

    def procedure(
        self,
        model: Model,
        *,
        index: GraphIndex | None = None,
        static_shapes: bool = False,
        settings: Mapping[str, Any] = _NOTHING,
        fixed: Mapping[str, Any] = _NOTHING,
    ) -> StandardProcedure:
        """Build the training procedure of the model, by default on its graph."""
        spec = self.spec(settings, fixed)
        return StandardProcedure(
            model,
            index or self.index,
            spec,
            torch.device("cpu"),
            static_shapes=static_shapes,
        )

    def loss_of_a_step(self, model: Model, **keywords: Any) -> float:
        """Take one training step on the whole graph; return the loss before it.

        ``keywords``: as for ``procedure``.
        """
        procedure = self.procedure(model.train(), **keywords)
        seed_torch(0)
        return float(procedure.step(procedure.rows, torch.Generator().manual_seed(0)).loss)


def _layer(settings: Mapping[str, Any], source: str, *, strict: bool) -> list[Setting]:
    return list(flatten(settings, lambda keys: f"{source} {'.'.join(keys)}", strict=strict))
