"""TBKGC, translation between structural, multi-modal and summed entity vectors."""

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
    """Width of all vectors: the MoCME paper's value for all methods (section 4.1); TBKGC used
    100."""
    margin: Annotated[float, between(5.0, 60.0, log=True)] = 20.0
    """gamma, added to minus the sum of five distances: five times RotatE's. The margin loss, with
    which TBKGC was trained, is independent of it (``objective.margin``, 10 in the paper)."""
    epsilon: float = 2.0
    """Initial structural vectors are uniform in +-(margin / 5 + epsilon) / dim."""
    variant: Literal["paper", "released"] = "paper"
    """paper: structural vectors and relations pass one dense layer with tanh, concatenated features
    another; norms are free; features are constants divided by their norms. released (the class in
    NativE's repository): one linear map per modality to its share of the coordinates, no dense
    layers; every vector is divided by its norm; features are as stored and fine-tuned."""


@register_model("tbkgc")
class TBKGC(Model):
    """score(h, r, t) = margin - [ f(s,s) + f(m,m) + f(m,s) + f(s,m) + f(s+m,s+m) ].

    f(a,b) = |a_h + r - b_t|_1; s = tanh(W e + b) is the structural vector of an entity, r is the
    relation's vector after the same layer, m = tanh(V [x_1; ...; x_M] + c) for the features of all
    modalities. Mousselly-Sergieh et al., A Multimodal Translation-Based Approach for Knowledge
    Graph Representation Learning (2018).

    Differences from the authors' code: e is trained from the start, not taken from a TransE and
    frozen; any modalities, not only image and words; the losses of heads and tails are equal, since
    |h + r - t| is symmetric. Absent features are zeros in m; an entity without any has m = s, and s
    in place of s + m.
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
        present, n = offered(modalities), index.n_entities
        self.modal: Blocks | Concatenation
        if self.released:
            self.modal = Blocks(present, config.dim, n)
        else:
            self.structural = dense_tanh(config.dim)
            self.modal = Concatenation(present, config.dim, n, unit=True, xavier=True)

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
