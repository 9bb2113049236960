"""Residual features, linear maps of an entity's features added to its structural vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.config.base import Config
from harness.index import GraphIndex, Modality
from harness.model import Capabilities, Model, ModelConfig

from ._init import rows_of
from ._modal import ModalityTable, has_any_modality, offered, selected

__all__ = ["Residual", "ResidualConfig", "ResidualModel", "StructuralConfig"]


HIDE = 0.1
"""Default probability that a structural vector is hidden in training."""


class ResidualConfig(Config):
    """Features added to the structural vectors: e = s + gain * sum_m W_m x_m."""

    gain: Annotated[float, Field(ge=0)] = 0.0
    """Factor of the mapped features; 0 for structure only. Adam and Adagrad take steps of the same
    size at any scale of the gradient, so a gain of 0.2 trains the maps with a fifth of the learning
    rate."""
    hide: Annotated[float, Field(ge=0, lt=1)] = HIDE
    """Probability, per entity and step of the training, that the structural vector of an entity
    with features is hidden, as it always is for entities without a training triple. Without effect
    if gain is 0."""

    @model_validator(mode="after")
    def _without_effect(self) -> ResidualConfig:
        # Options without effect must not change the run id.
        return self if self.gain or self.hide == HIDE else ResidualConfig()


class StructuralConfig(ModelConfig):
    """Options of all structural models."""

    residual: ResidualConfig = ResidualConfig()
    """Features added to the structural vectors."""


class Residual(nn.Module):
    """e = s + gain * sum_m W_m x_m, with a linear map W_m without bias per modality.

    Rows of features are divided by their Euclidean norms; absent modalities add zero. The
    structural vector s of entities with features but without a training triple counts as zero,
    because it was trained only as a negative.

    Args:
        config: gain and probability of hiding.
        modalities: M modalities of N entities.
        seen_entities: bool [N], True for entities with a training triple.
        width: width of the entity vectors.
    """

    featured: Tensor
    seen_entities: Tensor

    def __init__(
        self,
        config: ResidualConfig,
        modalities: Mapping[str, Modality],
        seen_entities: Tensor,
        width: int,
    ) -> None:
        super().__init__()
        self.config = config
        present = offered(modalities)
        self.tables = nn.ModuleList(ModalityTable(m, unit=True) for m in present)
        self.maps = nn.ModuleList(nn.Linear(m.matrix.shape[1], width, bias=False) for m in present)
        self.register_buffer(
            "featured", has_any_modality(present, len(seen_entities)), persistent=False
        )
        self.register_buffer("seen_entities", seen_entities.clone(), persistent=False)

    def forward(self, structure: Tensor, entities: Tensor | None) -> Tensor:
        """Add the mapped features.

        Args:
            structure: structural vectors [n, width].
            entities: entity ids [n]; None for all N.

        Returns:
            entity vectors float32 [n, width].
        """
        featured, seen_or_kept = (
            selected(self.featured, entities),
            selected(self.seen_entities, entities),
        )
        if self.training and self.config.hide:
            seen_or_kept = seen_or_kept & (
                torch.rand(seen_or_kept.shape, device=seen_or_kept.device) >= self.config.hide
            )
        total = torch.where((seen_or_kept | ~featured)[:, None], structure, 0.0)
        for table, layer in zip(self.tables, self.maps, strict=True):
            assert isinstance(table, ModalityTable)
            mapped = table.mapped(layer, entities)
            total = total + self.config.gain * torch.where(table.has(entities), mapped, 0.0)
        return total


class ResidualModel(Model):
    """Base class of structural models with optional residual features (``model.residual``).

    Attributes:
        entity: structural vectors [N, width], which a subclass creates before ``add_features``.
        residual: maps of the features; None for structure only.
    """

    entity: nn.Parameter
    residual: Residual | None

    @classmethod
    def capabilities_of(cls, options: Mapping[str, Any]) -> Capabilities:
        config = cls.Config.model_validate(dict(options))
        assert isinstance(config, StructuralConfig)
        if not config.residual.gain:
            return cls.capabilities
        return replace(cls.capabilities, uses_modalities=True, needs_features=True)

    def add_features(self, index: GraphIndex, modalities: Mapping[str, Modality]) -> None:
        """Create the maps of the features, if any; call it last in a constructor.

        Drawn last, they do not change the initial structural vectors and relations of the model
        without features.
        """
        config: ResidualConfig = self.config.residual
        self.residual = None
        if config.gain:
            width = self.entity.shape[1]
            self.residual = Residual(config, modalities, index.seen_entities, width)
            self.free_encoding = False

    def entity_vectors(self, entities: Tensor | None) -> Tensor:
        """Return vectors [n, width] of entities (None: all N), with features if enabled."""
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        return structure if self.residual is None else self.residual(structure, entities)
