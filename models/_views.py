"""Vectors per modality that start as features and are learned: IMF and MoMoK."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from harness.index import Modality
from harness.model import STRUCTURE

from ._fusion import features_of
from ._init import rows_of
from ._modal import offered

__all__ = ["FeatureVectors", "ViewVectors", "normal_xavier_table", "pooled"]

POOLS = {
    4096: ((64, 64), (16, 16)),
    2048: ((32, 64), (4, 64)),
    768: ((12, 64), (4, 64)),
    384: ((12, 32), (4, 64)),
}
"""Width of features -> as which matrix the released codes of IMF and MoMoK read a row, and the
matrix of 256 averages that they take."""


def pooled(features: Tensor, width: int) -> Tensor:
    """Return averages [N, width] of neighbours in features [N, n].

    To 256 and from the widths that the released codes know it is their pooling (``POOLS``), else
    neighbours stand side by side.
    """
    shapes = POOLS.get(features.shape[1])
    if width == 256 and shapes is not None:
        (rows, columns), target = shapes
        return adaptive_avg_pool2d(features.view(-1, rows, columns), target).flatten(1)
    return adaptive_avg_pool1d(features, width)


class FeatureVectors(nn.Module):
    """Vectors that start as the unit features of a modality, pooled, and are learned.

    Entities without the modality share one vector, which starts as the mean of the others (IMF
    fills images so).

    Args:
        modality: features of N entities; some entity has it.
        width: of the vectors.
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
        """Return the vectors [n, width] of entities, of all N when None."""
        vectors, present = self.vectors, self.present
        if entities is not None:
            return torch.where(present[entities, None], rows_of(vectors, entities), self.absent)
        return torch.where(present[:, None], vectors, self.absent)


def normal_xavier_table(rows: int, width: int) -> nn.Parameter:
    """Return a [rows, width] parameter, normal with variance 2 / (rows + width) (Glorot 2010)."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(rows, width)))


class ViewVectors(nn.Module):
    """The vectors of entities in all views: the structure, and modalities by name.

    Args:
        n_entities: N.
        width: of all vectors.
        modalities: those that somebody has become views.

    Attributes:
        names: of the views.
    """

    def __init__(self, n_entities: int, width: int, modalities: Mapping[str, Modality]) -> None:
        super().__init__()
        self.structure = normal_xavier_table(n_entities, width)
        found = [modality.name for modality in offered(modalities)]
        self.features = nn.ModuleDict(
            {name: FeatureVectors(modalities[name], width) for name in found}
        )
        self.names = [STRUCTURE, *found]

    def present(self, name: str) -> Tensor:
        """Return who has a modality: [N] boolean."""
        return self.features.get_submodule(name).get_buffer("present")

    def forward(self, entities: Tensor | None) -> dict[str, Tensor]:
        """Return, by view, the vectors [n, width] of entities, of all N when None."""
        structure = self.structure if entities is None else rows_of(self.structure, entities)
        found = {name: vectors(entities) for name, vectors in self.features.items()}
        return {STRUCTURE: structure, **found}
