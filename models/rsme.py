"""RSME, ComplEx on structure mixed with images, plus the similarity of two entities' images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, ModelConfig, Query, Tables, Term, register_model

from ._bilinear import Bilinear
from ._fusion import features_of
from ._init import rows_of, xavier_table

__all__ = ["RSME", "mean_rank_percentage"]

SCORES_AT_ONCE = 2**22


class RSMEConfig(ModelConfig):
    """Options of RSME, with the released code's values as defaults unless noted."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: all vectors are 2 * dim real numbers (1000 on FB15k and WN18)."""
    variant: Literal["paper", "released"] = "paper"
    """paper: the same score in training and ranking. released: training uses only ComplEx, and the
    similarity of images is added in ranking."""
    alpha: Annotated[float, Field(ge=0, lt=1), one_of(0.1, 0.3, 0.5, 0.7)] = 0.7
    """Weight of the image in an entity's vector; the structure has the rest."""
    beta: Annotated[float, Field(gt=0, le=1), one_of(0.5, 0.95)] = 0.95
    """Weight of ComplEx in the score; the similarity of images has the rest. The released settings
    use 0.5, a comment next to them and the version for OpenKE 0.95."""
    remember: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Forget gate: the similarity of images counts for relations with a mean rank percentage in
    train below this; 1 for all relations."""
    normalise: Literal["none", "l2"] = "none"
    """l2 divides features by their norms before the projection."""
    l3: Annotated[float, Field(ge=0), between(1e-4, 1e-1, log=True)] = 5e-2
    """Weight of the cubic penalty on a batch's fused vectors (N3)."""
    scale: Annotated[float, Field(gt=0)] = 1e-3
    """Standard deviation of the initial structural values."""


@register_model("rsme")
class RSME(Bilinear):
    """score(h, r, t) = beta Re(sum z_h r conj(z_t)) + (1 - beta) g_r cos(x_h, x_t).

    z = (1 - alpha) e + alpha x W with frozen image features x; the forget gate g_r is 1 for
    relations with similar images of head and tail (mean_rank_percentage) and 0 for the others. Wang
    et al., Is Visual Context Really Helpful for Knowledge Graph? (2021). Heads are predicted by
    reverse relations; train with objective.loss=one_vs_all and optimiser adagrad with lr=0.1.

    An entity without an image has z = (1 - alpha) e and no similarity (cosine 0), as in the
    released code. Unlike there, the gate is computed on train only (there on all three splits); the
    selection of an entity's images by perceptual hash is left to the feature set.
    """

    Config = RSMEConfig
    capabilities = Capabilities(
        title="RSME",
        reference="Wang et al. 2021",
        formula="b Re sum z_h r conj(z_t) + (1-b) g_r cos(x_h, x_t), z = (1-a) e + a x W",
        requires=frozenset({"image"}),
    )
    reciprocal = True

    features: Tensor
    gate: Tensor

    def __init__(
        self, config: RSMEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.build_tables(index, config.dim, config.scale)
        image = modalities["image"]
        features = features_of(image, unit=config.normalise == "l2")
        self.register_buffer("features", features, persistent=False)
        self.project = xavier_table(features.shape[1], 2 * config.dim)
        gate = torch.ones(index.n_relations)
        if config.remember < 1:
            ranks = mean_rank_percentage(index, features, image.present)
            gate = (ranks < config.remember).float()
        self.register_buffer("gate", gate, persistent=False)

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure: Tensor = self.entity
        features = self.features
        if entities is not None:
            structure, features = rows_of(self.entity, entities), features[entities]
        share: float = self.config.alpha
        tables = {"entity": (1 - share) * structure + share * (features @ self.project)}
        return tables | {"image": normalize(features, dim=1)} if self._uses_likeness else tables

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        query = super().queries(tables, anchors, relations, side)
        if not self._uses_likeness:
            return query
        beta: float = self.config.beta
        alike = rows_of(tables["image"], anchors) * self.gate[relations, None]
        term = query.terms[0]._replace(weight=beta)
        return Query((term, Term("dot", alike, "image", 1 - beta)))

    @property
    def _uses_likeness(self) -> bool:
        """True if the similarity of images is part of the current score."""
        return self.config.beta < 1 and not (self.training and self.config.variant == "released")


def mean_rank_percentage(index: GraphIndex, features: Tensor, present: Tensor) -> Tensor:
    """Return the mean rank percentage [R] of each relation's tails by similarity of images.

    For a head, the tails of all relations are sorted by the cosine of their images with the head's;
    the mean rank of its targets, as a share of all tails, is averaged over the heads (MRP.py of the
    released code). Only pairs linked by a single relation count, and only entities with images; a
    relation without such a pair has 1, the last rank.

    Args:
        index: sizes and train triples of the graph.
        features: image features [N, width].
        present: bool [N], True for entities with an image.
    """
    head, _, tail = index.train.unbind(1)
    pair = head * index.n_entities + tail
    _, pair_id, count = torch.unique(pair, return_inverse=True, return_counts=True)
    triples = index.train[(count[pair_id] == 1) & present[head] & present[tail]]
    looks = normalize(features, dim=1)
    tails, target = torch.unique(triples[:, 2], return_inverse=True)
    step = max(1, SCORES_AT_ONCE // max(1, len(tails)))
    ranks = []
    for chunk, targets in zip(triples.split(step), target.split(step), strict=True):
        likeness = looks[chunk[:, 0]] @ looks[tails].T
        better = likeness > likeness.gather(1, targets[:, None])
        ranks.append((1 + better.sum(1)) / len(tails))
    # Mean over the targets of a head, then over the heads of a relation.
    queries, owner = torch.unique(triples[:, :2], dim=0, return_inverse=True)
    of_heads = _means(torch.cat(ranks), owner, len(queries))
    return _means(of_heads, queries[:, 1], index.n_relations)


def _means(values: Tensor, groups: Tensor, n: int) -> Tensor:
    """Return the mean value [n] of each group, 1 for an empty group."""
    total = torch.zeros(n).index_add_(0, groups, values)
    sizes = torch.bincount(groups, minlength=n)
    return torch.where(sizes > 0, total / sizes.clamp(min=1), 1.0)
