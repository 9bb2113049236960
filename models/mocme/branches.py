"""Branches, one per modality: features or structure, projection, experts, weights of views."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from harness.index import Modality
from harness.kernels import dropout

from .._fusion import SparseRows
from .._init import rows_of
from .backbones import Backbone, projection
from .config import MoCMEConfig
from .information import ComplementarityWeights

__all__ = ["Branch", "FeatureBranch", "StructureBranch", "weighted_views"]


class Embedded(NamedTuple):
    """Embeddings of r of n entities, but for a last linear map.

    Attributes:
        vectors: e_m [r, D], or what ``last`` maps to it.
        rows: positions [r] among the n entities; None for all.
        ids: ids [r]; None for all N in order.
        last: the map; None if there is none.
    """

    vectors: Tensor
    rows: Tensor | None
    ids: Tensor | None
    last: nn.Linear | None = None


class Branch(nn.Module):
    """Base class: one modality from its input to the vectors that are fused.

    Args:
        name: name of the modality.
        backbone: experts of the modality.
        weights: weights of the views.
        dropout: dropout on the input of the experts.
    """

    def __init__(
        self, name: str, backbone: Backbone, weights: ComplementarityWeights, dropout: float
    ) -> None:
        super().__init__()
        self.name = name
        self.backbone = backbone
        self.weights = weights
        self.dropout = dropout

    def embed(self, structure: Tensor, entities: Tensor | None, visible: Tensor | None) -> Embedded:
        """Embed only entities that have the modality.

        Args:
            structure: structural vectors [n, D] of the entities.
            entities: ids [n]; None for all N in order.
            visible: bool [n], False for entities whose embeddings are not needed (None: all are);
                not used without ``entities``.
        """
        raise NotImplementedError

    def embed_all(self, structure: Tensor, entities: Tensor) -> Tensor:
        """Return the embeddings [n, D], with arbitrary rows for entities without the modality."""
        raise NotImplementedError

    def embeddings(
        self,
        structure: Tensor,
        entities: Tensor | None,
        visible: Tensor | None,
        *,
        all_views: bool,
        fresh: Tensor | None,
        static: bool = False,
    ) -> list[SparseRows]:
        """Return the weighted sum of the views, or each view with ``all_views``.

        Args:
            structure, entities, visible: as for ``embed``.
            all_views: True to return the views instead of their sum.
            fresh: estimate [K, K] of information with gradient, or None.
            static: True if no size may depend on the mask: entities without the modality are
                embedded too, with arbitrary rows that fusions give weight 0.
        """
        if static and entities is not None:
            embedded = Embedded(self.embed_all(structure, entities), None, entities)
        else:
            embedded = self.embed(structure, entities, visible)
        vectors, rows, ids, last = embedded
        all_views = all_views and self.backbone.n_views > 1
        drops = self.training and self.dropout > 0
        if last is not None and (all_views or drops):
            vectors, last = last(vectors), None
        vectors = dropout(vectors, self.dropout, self.training)
        if all_views:
            weighted = list(self.backbone.views(vectors))
        else:
            weighted = [self.backbone(vectors, self.weights(entities=ids, fresh=fresh), last)]
        return [SparseRows(values, rows) for values in weighted]

    def sample(self, structure: Tensor, entities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimators' inputs: views [K, n, D] and their weighted sum [n, D], float32.

        Rows of entities without the modality are arbitrary and masked later, so that the host needs
        no count from the device.
        """
        views = self.backbone.views(self.embed_all(structure, entities)).float()
        return views, weighted_views(self.weights(entities=entities), views)


class StructureBranch(Branch):
    """Branch of the structural embedding, which every entity has."""

    def embed(self, structure: Tensor, entities: Tensor | None, visible: Tensor | None) -> Embedded:
        return Embedded(structure, None, entities)

    def embed_all(self, structure: Tensor, entities: Tensor) -> Tensor:
        return structure


class FeatureBranch(Branch):
    """Branch of frozen features, stored for the entities that have them, not in the state dict.

    Args:
        modality: features of the modality.
        present: bool [N], entities that take part.
        backbone, weights: as for ``Branch``.
        config: options of the model.
    """

    features: Tensor
    entities: Tensor
    slot: Tensor

    def __init__(
        self,
        modality: Modality,
        present: Tensor,
        backbone: Backbone,
        weights: ComplementarityWeights,
        config: MoCMEConfig,
    ) -> None:
        super().__init__(modality.name, backbone, weights, config.experts.dropout)
        entities = present.nonzero()[:, 0]
        features = modality.matrix[entities].float()
        if config.proj.normalise == "l2":
            features = normalize(features, dim=1)
        slot = torch.full((len(present),), -1)
        slot[entities] = torch.arange(len(entities))
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("entities", entities, persistent=False)
        self.register_buffer("slot", slot, persistent=False)
        self.projection = projection(features.shape[1], 2 * config.dim, config.proj)

    def embed(self, structure: Tensor, entities: Tensor | None, visible: Tensor | None) -> Embedded:
        rows: Tensor | None
        ids: Tensor | None
        if entities is None:
            features = self.features
            rows = ids = None if len(features) == len(self.slot) else self.entities
        else:
            slots = self.slot[entities]
            has = slots >= 0 if visible is None else (slots >= 0) & visible
            rows = has.nonzero()[:, 0]
            ids = entities[rows]
            features = rows_of(self.features, slots[rows])
        if len(self.projection) == 1:
            return Embedded(self.projection(features), rows, ids)
        last = cast("nn.Linear", self.projection[-1])
        return Embedded(self.projection[:-1](features), rows, ids, last)

    def embed_all(self, structure: Tensor, entities: Tensor) -> Tensor:
        slots = self.slot[entities].clamp(min=0)
        embedded: Tensor = self.projection(rows_of(self.features, slots))
        return embedded


def weighted_views(weights: Tensor, views: Tensor) -> Tensor:
    """Return the weighted sum [n, D] of views [K, n, D] (Eq. 3).

    Args:
        weights: weights [K] for all entities, or [n, K].
        views: views [K, n, D].
    """
    pattern = "k,knd->nd" if weights.ndim == 1 else "nk,knd->nd"
    return torch.einsum(pattern, weights, views)
