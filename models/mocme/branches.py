"""One branch per modality: frozen features or the structure, projection, experts, view weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from harness.index import Modality
from harness.kernels import dropout

from .._fusion import Part
from .._init import rows_of
from .backbones import Backbone, projection
from .config import Config
from .information import ComplementarityWeights

__all__ = ["Branch", "FeatureBranch", "StructureBranch", "weighted_views"]


class Branch(nn.Module):
    """A modality on its way to the fusion.

    Args:
        name: of the modality.
        backbone: its experts.
        weights: weights of their views.
        dropout: on what goes into the experts.
    """

    def __init__(
        self, name: str, backbone: Backbone, weights: ComplementarityWeights, dropout: float
    ) -> None:
        super().__init__()
        self.name = name
        self.backbone = backbone
        self.weights = weights
        self.dropout = dropout

    def embed(
        self, structure: Tensor, entities: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Embed the entities that have the modality; the others cost nothing.

        Args:
            structure: [n, D] structural vectors of the entities.
            entities: [n] ids; None for all N in order.

        Returns:
            e_m [r, D], their positions among the entities (None: all n), their ids (None: all N).
        """
        raise NotImplementedError

    def embed_all(self, structure: Tensor, entities: Tensor) -> Tensor:
        """Return [n, D]: ``embed`` with arbitrary rows where the modality is absent."""
        raise NotImplementedError

    def parts(
        self,
        structure: Tensor,
        entities: Tensor | None,
        *,
        all_views: bool,
        fresh: Tensor | None,
        static: bool = False,
    ) -> list[Part]:
        """Return the weighted sum of the views, or with ``all_views`` each of them.

        Args:
            structure, entities: as for ``embed``.
            all_views: each view is a part.
            fresh: [K, K] estimate of information with gradient, or None.
            static: no size may depend on who has the modality: listed entities without it are
                embedded too, and their rows are arbitrary; fusions give them no weight.
        """
        rows: Tensor | None = None
        ids = entities
        if static and entities is not None:
            vectors = self.embed_all(structure, entities)
        else:
            vectors, rows, ids = self.embed(structure, entities)
        vectors = dropout(vectors, self.dropout, self.training)
        if all_views:
            made = list(self.backbone.views(vectors))
        else:
            made = [self.backbone(vectors, self.weights(entities=ids, fresh=fresh))]
        return [Part(values, rows) for values in made]

    def sample(self, structure: Tensor, entities: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the estimators see: views [K, n, D] and their weighted sum [n, D], fp32.

        Rows of entities without the modality are arbitrary, so that no count has to be known on the
        host; a mask goes with them.
        """
        views = self.backbone.views(self.embed_all(structure, entities)).float()
        return views, weighted_views(self.weights(entities=entities), views)


class StructureBranch(Branch):
    """The structural embedding, which every entity has."""

    def embed(
        self, structure: Tensor, entities: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return structure, None, entities

    def embed_all(self, structure: Tensor, entities: Tensor) -> Tensor:
        return structure


class FeatureBranch(Branch):
    """Frozen features, held for the entities that have them; not part of the state dict.

    Args:
        modality: features by entity.
        present: [N] boolean: who takes part.
        backbone, weights: as for ``Branch``.
        config: the model's options.
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
        config: Config,
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

    def embed(
        self, structure: Tensor, entities: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if entities is None:
            vectors = self.projection(self.features)
            if len(self.features) == len(self.slot):
                return vectors, None, None
            return vectors, self.entities, self.entities
        slots = self.slot[entities]
        rows = (slots >= 0).nonzero()[:, 0]
        return self.projection(rows_of(self.features, slots[rows])), rows, entities[rows]

    def embed_all(self, structure: Tensor, entities: Tensor) -> Tensor:
        slots = self.slot[entities].clamp(min=0)
        embedded: Tensor = self.projection(rows_of(self.features, slots))
        return embedded


def weighted_views(weights: Tensor, views: Tensor) -> Tensor:
    """Return the weighted sum [n, D] of views [K, n, D] (Eq. 3).

    Args:
        weights: [K] for all entities, or [n, K].
        views: the views.
    """
    pattern = "k,knd->nd" if weights.ndim == 1 else "nk,knd->nd"
    return torch.einsum(pattern, weights, views)
