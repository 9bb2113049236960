"""TBKGC: translation between structural, multi-modal and summed vectors of an entity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Query, Tables, register_model

from ._init import rows_of, uniform_table
from ._modal import Blocks, Concatenation, dense_tanh, offered
from ._scorers import crossed, normalise, translate_query

TERMS = 5
"""Distances in the energy."""


class TBKGCConfig(ModelConfig):
    """Options of TBKGC."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors: the MoCME paper's for every method (section 4.1); TBKGC used 100."""
    margin: Annotated[float, between(5.0, 60.0, log=True)] = 20.0
    """gamma, added to minus the sum of five distances: five times that of RotatE. The margin loss,
    with which TBKGC was trained, does not see it (it has ``objective.margin``, 10 in the paper)."""
    epsilon: float = 2.0
    """Initial structural vectors are uniform in +-(margin / 5 + epsilon) / dim."""
    variant: Literal["paper", "released"] = "paper"
    """paper: structural vectors and relations pass one dense layer with tanh, the features of all
    modalities side by side another; lengths are free; features are constants divided by their
    norms. released (the class in NativE's repository): no dense layers but one linear map per
    modality, each to its share of the coordinates; every vector is divided by its norm; features
    are as stored and fine-tuned."""


@register_model("tbkgc")
class TBKGC(Model):
    """score(h, r, t) = margin - [ f(s,s) + f(m,m) + f(m,s) + f(s,m) + f(s+m,s+m) ].

    f(a,b) = |a_h + r - b_t|_1; s = tanh(W e + b) is the structural vector of an entity, r is made
    of the relation's by the same layer, m = tanh(V [x_1; ...; x_M] + c) of the features of all its
    modalities. Mousselly-Sergieh et al., A Multimodal Translation-Based Approach for Knowledge
    Graph Representation Learning (2018).

    What differs from the authors' code: e is trained from the start, not taken from a TransE and
    kept; any modalities, not image and words; both losses (of heads and of tails) are one, since
    |h + r - t| is the same read backwards. Of the features that an entity lacks nothing goes into
    m; an entity without any has m = s, and s in place of s + m.
    """

    Config = TBKGCConfig
    capabilities = Capabilities(
        title="TBKGC",
        reference="Mousselly-Sergieh et al. 2018",
        formula="margin - sum of |a_h + r - b_t|_1, a and b structure or modalities; and their sum",
        uses_modalities=True,
        needs_features=True,
    )

    def __init__(
        self, config: TBKGCConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.released = config.variant == "released"
        bound = (config.margin / TERMS + config.epsilon) / config.dim
        self.entity = uniform_table(index.n_entities, config.dim, bound)
        self.relation = uniform_table(index.n_relations, config.dim, bound)
        found, n = offered(modalities), index.n_entities
        self.modal: Blocks | Concatenation
        if self.released:
            self.modal = Blocks(found, config.dim, n)
        else:
            self.structural = dense_tanh(config.dim)
            self.modal = Concatenation(found, config.dim, n, unit=True, xavier=True)

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        has = self.modal.has_any(entities)
        if isinstance(self.modal, Blocks):
            modal = self.modal(entities, structure)
            joint = structure + modal
        else:
            structure = self.structural(structure).float()
            modal = torch.where(has, self.modal(entities).tanh(), structure)
            joint = torch.where(has, structure + modal, structure)
        tables = {"structure": structure, "modal": modal, "joint": joint}
        if not self.released:
            return tables
        return {name: normalise(table) for name, table in tables.items()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        relation = rows_of(self.relation, relations)
        relation = normalise(relation) if self.released else self.structural(relation).float()
        point = partial(translate_query, relation=relation, side=side)
        terms = crossed("l1", tables, anchors, point, ("structure", "modal"))
        terms += crossed("l1", tables, anchors, point, ("joint",))
        return Query(tuple(terms), self.config.margin)
