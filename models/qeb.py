"""QEB, structural and multi-modal entity vectors, translated by two vectors of a relation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Query, Tables, register_model

from ._init import rows_of, uniform_table
from ._modal import Concatenation, dense_tanh, offered
from ._scorers import crossed, normalise, translate_query

TERMS = 10
"""Distances in the energy."""


class QEBConfig(ModelConfig):
    """Options of QEB."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors: the MoCME paper's value for all methods (section 4.1); QEB used 100."""
    margin: Annotated[float, between(1.0, 12.0, log=True)] = 4.0
    """gamma, added to minus the mean of ten distances, as for RotatE. The margin loss, with which
    QEB was trained, is independent of it: ``objective.margin`` is 10 in the authors' code for the
    sum of the distances, which is 1 for their mean."""
    epsilon: float = 2.0
    """Initial vectors of entities and relations are uniform in +-(margin + epsilon) / dim."""
    variant: Literal["paper", "released"] = "paper"
    """paper (the authors' code): structural vectors and relations pass one dense layer with tanh,
    concatenated features another; norms are free; features are constants. released (the class in
    NativE's repository): features pass a linear map and are fine-tuned, nothing else is mapped, and
    every vector is divided by its norm."""
    unit: Annotated[bool, one_of(True, False)] = True
    """True to divide rows of features by their norms, so that tanh does not saturate; the authors
    do not. Ignored by the variant "released", which uses features as stored."""


@register_model("qeb")
class QEB(Model):
    """score(h, r, t) = margin - 1/10 [ sum_{a,b in s,m; q in r,p} f(a,q,b) + sum_q f(s+m,q,s+m) ].

    f(a,q,b) = |a_h + q - b_t|_1; s = tanh(W e + b) is the structural vector of an entity, r is the
    relation's vector after the same layer, m = tanh(V [x_1; ...; x_M] + c) for the features of all
    modalities of an entity, p is a relation's multi-modal vector. Wang et al., TIVA-KG: A
    Multimodal Knowledge Graph with Text, Image, Video and Audio (2023).

    Differences from the authors' code: p = tanh of a trained vector, since no feature set has
    images of relations; e is trained from the start, not taken from a TransE and frozen; audio is
    one vector, not a sequence; the mean of the distances, not their sum. Absent features are zeros,
    not trained vectors; an entity without any has m = s, and s in place of s + m.
    """

    Config = QEBConfig
    capabilities = Capabilities(
        title="QEB",
        reference="Wang et al. 2023",
        formula="margin - mean of |a_h + q - b_t|_1, a and b structure or modalities, q in {r, p}",
        uses_modalities=True,
        needs_features=True,
    )

    def __init__(
        self, config: QEBConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.released = config.variant == "released"
        bound = (config.margin + config.epsilon) / config.dim
        self.entity = uniform_table(index.n_entities, config.dim, bound)
        self.relation = uniform_table(index.n_relations, config.dim, bound)
        self.modal_relation = uniform_table(index.n_relations, config.dim, bound)
        if not self.released:
            self.structural = dense_tanh(config.dim)
        self.modal = Concatenation(
            offered(modalities),
            config.dim,
            index.n_entities,
            unit=config.unit and not self.released,
            trainable=self.released,
            xavier=not self.released,
        )

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        has, modal = self.modal.has_any(entities), self.modal(entities)
        if not self.released:
            structure, modal = self.structural(structure).float(), modal.tanh()
        modal = torch.where(has, modal, structure)
        joint = torch.where(has, structure + modal, structure)
        tables = {"structure": structure, "modal": modal, "joint": joint}
        if not self.released:
            return tables
        return {name: normalise(table) for name, table in tables.items()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        first, second = rows_of(self.relation, relations), rows_of(self.modal_relation, relations)
        if self.released:
            translations = [normalise(first), normalise(second)]
        else:
            translations = [self.structural(first).float(), second.tanh()]
        terms = []
        for translation in translations:
            point = partial(translate_query, relation=translation, side=side)
            for names in (("structure", "modal"), ("joint",)):
                terms += crossed("l1", tables, anchors, point, names, 1 / TERMS)
        return Query(tuple(terms), self.config.margin)
