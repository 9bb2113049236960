"""Trainable vectors per modality, initialised with features, for IMF and MoMoK."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from harness.index import Modality
from harness.model import STRUCTURE, Model, Tables

from ._fusion import features_of
from ._init import rows_of
from ._modal import offered
from ._penalties import cubic_of_views

__all__ = ["FUSED", "FeatureVectors", "FusedViews", "ViewVectors", "normal_xavier_table", "pooled"]

FUSED = "fused"
"""Name of the view that fuses the others."""

POOLS = {
    4096: ((64, 64), (16, 16)),
    2048: ((32, 64), (4, 64)),
    768: ((12, 64), (4, 64)),
    384: ((12, 32), (4, 64)),
}
"""Width of features -> matrix as which the released codes of IMF and MoMoK read a row, and the
matrix of 256 averages."""


def pooled(features: Tensor, width: int) -> Tensor:
    """Return averages [N, width] of neighbours in features [N, n].

    For a width of 256 and the feature widths of the released codes it is their pooling (``POOLS``);
    otherwise adjacent components are averaged.
    """
    shapes = POOLS.get(features.shape[1])
    if width == 256 and shapes is not None:
        (rows, columns), target = shapes
        return adaptive_avg_pool2d(features.view(-1, rows, columns), target).flatten(1)
    return adaptive_avg_pool1d(features, width)


class FeatureVectors(nn.Module):
    """Trainable vectors, initialised with the pooled unit features of a modality.

    Entities without the modality share one vector, initialised with the mean of the others (IMF
    does so for images).

    Args:
        modality: features of N entities, present for at least one.
        width: width of the vectors.
    """

    present: Tensor

    def __init__(self, modality: Modality, width: int) -> None:
        super().__init__()
        present = modality.present.bool()
        vectors = pooled(features_of(modality, unit=True), width)
        self.vectors = nn.Parameter(vectors)
        self.absent = nn.Parameter(vectors[present].mean(0))
        self.register_buffer("present", present, persistent=False)

    def forward(self, entities: Tensor | None) -> Tensor:
        """Return the vectors [n, width] of entities (None: all N)."""
        vectors, present = self.vectors, self.present
        if entities is not None:
            return torch.where(present[entities, None], rows_of(vectors, entities), self.absent)
        return torch.where(present[:, None], vectors, self.absent)


def normal_xavier_table(rows: int, width: int) -> nn.Parameter:
    """Return a parameter [rows, width], normal with variance 2 / (rows + width) (Glorot 2010)."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(rows, width)))


class ViewVectors(nn.Module):
    """Vectors of entities in all views: the structure, and modalities by name.

    Args:
        n_entities: N.
        width: width of all vectors.
        modalities: features; each modality of at least one entity becomes a view.

    Attributes:
        names: names of the views.
    """

    def __init__(self, n_entities: int, width: int, modalities: Mapping[str, Modality]) -> None:
        super().__init__()
        self.structure = normal_xavier_table(n_entities, width)
        names = [modality.name for modality in offered(modalities)]
        self.features = nn.ModuleDict(
            {name: FeatureVectors(modalities[name], width) for name in names}
        )
        self.names = [STRUCTURE, *names]

    def present(self, name: str) -> Tensor:
        """Return the mask bool [N] of entities with a modality."""
        return self.features.get_submodule(name).get_buffer("present")

    def forward(self, entities: Tensor | None) -> dict[str, Tensor]:
        """Return view -> vectors [n, width] of entities (None: all N)."""
        structure = self.structure if entities is None else rows_of(self.structure, entities)
        modal = {name: vectors(entities) for name, vectors in self.features.items()}
        return {STRUCTURE: structure, **modal}


class FusedViews(Model):
    """Base of IMF and MoMoK: a relation vector in each view, and a fusion of them.

    Attributes:
        names: structure and modalities.
        views: ``names``, and ``FUSED`` where there are several.
        fuses: True if there are several.
        relation: vectors [2R, width] by name, the reverse relations last.
        fuse_relations: fusion of the vectors by name; only where ``fuses``.
    """

    names: list[str]
    views: list[str]
    fuses: bool
    relation: nn.ParameterDict
    fuse_relations: nn.Module

    def relation_vectors(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the vectors [n, width] of relations by view."""
        vectors = {name: rows_of(self.relation[name], ids) for name in self.names}
        if self.fuses:
            vectors[FUSED] = self.fuse_relations(list(vectors.values()))
        return vectors

    def cubes(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor:
        """Return the mean over views of the cubic penalty; arguments as ``penalty``."""
        by_view = self.relation_vectors(torch.cat([relations, self.directed(relations, "head")]))
        return cubic_of_views(
            (rows_of(tables[name], rows), torch.stack(by_view[name].chunk(2), 1))
            for name in self.views
        )
