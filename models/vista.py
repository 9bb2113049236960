"""VISTA: transformers over what is known of an entity, and over a question with a blank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.kernels import dropout
from harness.model import (
    Capabilities,
    Model,
    Query,
    Tables,
    Term,
    Trial,
    register_model,
)

from ._init import rows_of
from ._modal import FeatureTable, dense, offered
from ._transformer import (
    Rate,
    TransformerConfig,
    initial_tables,
    place_of,
    question,
    transformer,
)


class VISTAConfig(TransformerConfig):
    """Options of VISTA; the defaults are the repository's for VTKG-C."""

    variant: Literal["paper", "released"] = "paper"
    """Initial values. paper: Glorot's of tables [n, dim]. released: as the code has them, of
    tensors [n, 1, dim], for vectors of entities sqrt(dim) times smaller."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of every layer (64 on FB15k-237, 16 on WN18RR++)."""
    entity_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the encoder of entities (1 on FB15k-237, 2 on WN18RR++, 4 on VTKG-I)."""
    relation_layers: Annotated[int, Field(ge=1)] = 1
    """Layers of the encoder of relations."""
    decoder_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the decoder of questions (1 on FB15k-237 and WN18RR++)."""
    feedforward: Annotated[int, Field(ge=1)] = 2048
    """Width of the hidden layer between attentions (768 on VTKG-I)."""
    dropout: Annotated[Rate, between(0.0, 0.3)] = 0.01
    """Inside the layers (0.1 on FB15k-237)."""
    structure_dropout: Annotated[Rate, between(0.5, 0.9)] = 0.9
    """Of the structural vectors of entities and relations; so high on purpose."""
    image_dropout: Rate = 0.4
    """Of projected images (0.3 on FB15k-237)."""
    other_dropout: Rate = 0.1
    """Of the other projected modalities (text: 0 on FB15k-237)."""


@register_model("vista")
class VISTA(Model):
    """score(h, r, t) = decoder([h; r; blank])_blank . t, with h and t out of a transformer.

    Lee et al., VISTA: Visual-Textual Knowledge Graph Representation Learning (Findings of EMNLP
    2023). An entity is the first output of a transformer over

        [token; drop(LN(e)) + p_s; drop(LN(P_m x_m)) + p_m for each m it has],

    a relation likewise over [token; drop(LN(r)) + p_s], and a question the output, in the place of
    the blank, of a transformer over three vectors with positions. It is trained against all
    entities: ``objective.loss=one_vs_all``, Adam, ``optimiser.clip=0.1``.

    What differs: an entity has one vector per modality, where the paper has up to k images; the
    datasets have no pictures and texts of relations; head and tail of every triple are asked for,
    where the repository asks for one of them, by a coin (``objective.sides: one``); a modality that
    is neither image nor text is one more token. The initial values are those of ``variant``.
    """

    Config = VISTAConfig
    capabilities = Capabilities(
        title="VISTA",
        reference="Lee et al. 2023",
        formula="decoder(h, r, blank) . t, entities out of a transformer over modalities",
        uses_modalities=True,
        needs_features=True,
    )
    reciprocal = True
    trial = Trial(
        # Small layers, and nothing dropped: a few entities say too little to learn from a tenth.
        options={"dim": 32, "feedforward": 64, "heads": 2, "entity_layers": 1, "decoder_layers": 1,
                 "structure_dropout": 0.0, "image_dropout": 0.0, "other_dropout": 0.0},
        lr=2e-3,  # at the usual one transformers learn nothing here
    )  # fmt: skip

    def __init__(
        self, config: VISTAConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        found = offered(modalities)
        tables = initial_tables(
            config.dim,
            index.n_entities,
            index.n_relations,
            tokens=3,
            kinds=2 + len(found),
            released=config.variant == "released",
        )
        self.entity, self.relation = tables.entity, tables.relation
        # Tokens of entity, relation and blank; then positions: structure, modalities; h, r, t.
        self.tokens, self.kinds, self.positions = tables.tokens, tables.kinds, tables.positions
        self.features = nn.ModuleList(FeatureTable(m, unit=False) for m in found)
        self.projections = nn.ModuleList(dense(m.matrix.shape[1], config.dim) for m in found)
        self.rates = [config.image_dropout if m.name == "image" else config.other_dropout
                      for m in found]  # fmt: skip
        self.entity_norm, self.relation_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in found)
        options = config.dim, config.heads, config.feedforward, config.dropout
        self.entity_encoder = transformer(*options, config.entity_layers)
        self.relation_encoder = transformer(*options, config.relation_layers)
        self.decoder = transformer(*options, config.decoder_layers)

    # --- the contract ---------------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        n = len(structure)
        sequence = [
            self.tokens[0].expand(n, -1),
            self._dropped(self.entity_norm(structure), self.config.structure_dropout)
            + self.kinds[0],
        ]
        absent = [torch.zeros(n, 2, dtype=torch.bool, device=structure.device)]
        parts = zip(self.features, self.projections, self.norms, self.rates, strict=True)
        for place, (table, projection, norm, rate) in enumerate(parts):
            assert isinstance(table, FeatureTable)
            made = norm(table.mapped(projection, entities))
            sequence.append(self._dropped(made, rate) + self.kinds[2 + place])
            absent.append(~table.has(entities))
        encoded = place_of(
            self.entity_encoder, torch.stack(sequence, 1), absent=torch.cat(absent, 1)
        )
        return {"entity": encoded.float()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        known = rows_of(tables["entity"], anchors)
        relation = rows_of(self._relations(), relations)
        asked, place = question(self.positions, self.tokens[2], known, relation, side)
        query = place_of(self.decoder, asked, place)
        return Query((Term("dot", query.float(), "entity"),))

    # --- pieces ---------------------------------------------------------------------------

    def _relations(self) -> Tensor:
        """Return the encoded relations [R, dim]."""
        structure = self._dropped(self.relation_norm(self.relation), self.config.structure_dropout)
        sequence = [self.tokens[1].expand_as(structure), structure + self.kinds[1]]
        return place_of(self.relation_encoder, torch.stack(sequence, 1))

    def _dropped(self, vectors: Tensor, rate: float) -> Tensor:
        return dropout(vectors, rate, self.training)
