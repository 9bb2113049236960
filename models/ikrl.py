"""IKRL, translation between structural and image vectors of entities."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Query, Tables, register_model

from ._init import rows_of, uniform_table, xavier_table
from ._modal import ModalityTable
from ._scorers import crossed, normalise, shorten, translate_query


class IKRLConfig(ModelConfig):
    """Options of IKRL."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors: the MoCME paper's value for all methods (section 4.1); IKRL used 50."""
    margin: Annotated[float, between(4.0, 48.0, log=True)] = 16.0
    """gamma, added to minus the sum of four distances: four times RotatE's. The margin loss, with
    which IKRL was trained, is independent of it (``objective.margin``, 4 in the paper)."""
    epsilon: float = 2.0
    """Slack of the initial range. Ignored except by the variant "released"."""
    variant: Literal["paper", "released", "mans"] = "paper"
    """paper: vectors have at most norm 1, image features are constants divided by their norms, the
    projection has no bias. released (the class in NativE's repository): every vector is divided by
    its norm, features are as stored and fine-tuned, the projection has a bias. mans (the class in
    the repository of MANS): as released, but features are constants, and structural vectors start
    within Glorot's bound."""


@register_model("ikrl")
class IKRL(Model):
    """score(h, r, t) = margin - [ f(s,s) + f(v,v) + f(v,s) + f(s,v) ], f(a,b) = |a_h + r - b_t|_1.

    s is an entity's structural vector, v = P x the projection of its image features x. Xie et al.,
    Image-embodied Knowledge Representation Learning (2017).

    Differences from the authors' code: feature sets have one vector per entity, so there is no
    attention over an entity's images; vectors are normalised inside the score, not after each step;
    s and r start random (uniform, of norm 1 on average), not from a trained TransE; relations are
    not corrupted. An entity without an image has v = s, which is equivalent to dropping its three
    terms and scaling the other one up.
    """

    Config = IKRLConfig
    capabilities = Capabilities(
        title="IKRL",
        reference="Xie et al. 2017",
        formula="margin - sum of |a_h + r - b_t|_1, a and b structure or image",
        requires=frozenset({"image"}),
    )

    def __init__(
        self, config: IKRLConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        published = config.variant == "paper"
        if config.variant == "mans":
            self.entity = xavier_table(index.n_entities, config.dim)
            self.relation = xavier_table(index.n_relations, config.dim)
        else:
            slack = (config.margin + config.epsilon) / config.dim
            bound = (3 / config.dim) ** 0.5 if published else slack
            self.entity = uniform_table(index.n_entities, config.dim, bound)
            self.relation = uniform_table(index.n_relations, config.dim, bound)
        trainable = config.variant == "released"
        self.image = ModalityTable(modalities["image"], unit=published, trainable=trainable)
        self.project = nn.Linear(self.image.width, config.dim, bias=not published)
        self.scaled = shorten if published else normalise

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        image = self.image.mapped(self.project, entities)
        image = torch.where(self.image.has(entities), image, structure)
        return {"structure": self.scaled(structure), "image": self.scaled(image)}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        relation = self.scaled(rows_of(self.relation, relations))
        point = partial(translate_query, relation=relation, side=side)
        terms = crossed("l1", tables, anchors, point, ("structure", "image"))
        return Query(tuple(terms), self.config.margin)
