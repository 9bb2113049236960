"""VISTA, transformers over the modalities of an entity and over a query with a mask token."""

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
    ContractOptions,
    Model,
    Query,
    Tables,
    Term,
    register_model,
)

from ._init import rows_of
from ._modal import ModalityTable, dense, offered
from ._transformer import (
    Rate,
    TransformerConfig,
    initial_tables,
    output_at,
    query_sequence,
    transformer,
)


class VISTAConfig(TransformerConfig):
    """Options of VISTA, with the repository's values for VTKG-C as defaults."""

    variant: Literal["paper", "released"] = "paper"
    """Initial values. paper: Glorot's of tables [n, dim]. released: the code's, of tensors
    [n, 1, dim], sqrt(dim) times smaller for entity vectors."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of every layer (64 on FB15k-237, 16 on WN18RR++)."""
    entity_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the encoder of entities (1 on FB15k-237, 2 on WN18RR++, 4 on VTKG-I)."""
    relation_layers: Annotated[int, Field(ge=1)] = 1
    """Layers of the encoder of relations."""
    decoder_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the decoder of queries (1 on FB15k-237 and WN18RR++)."""
    feedforward: Annotated[int, Field(ge=1)] = 2048
    """Width of the hidden layer of each feed-forward block (768 on VTKG-I)."""
    dropout: Annotated[Rate, between(0.0, 0.3)] = 0.01
    """Dropout inside the layers (0.1 on FB15k-237)."""
    structure_dropout: Annotated[Rate, between(0.5, 0.9)] = 0.9
    """Dropout of the structural vectors of entities and relations, as high as published."""
    image_dropout: Rate = 0.4
    """Dropout of projected images (0.3 on FB15k-237)."""
    other_dropout: Rate = 0.1
    """Dropout of the other projected modalities (text: 0 on FB15k-237)."""


@register_model("vista")
class VISTA(Model):
    """score(h, r, t) = decoder([h; r; mask])_mask . t, with h and t encoded by a transformer.

    Lee et al., VISTA: Visual-Textual Knowledge Graph Representation Learning (Findings of EMNLP
    2023). An entity is the first output of a transformer over

        [token; drop(LN(e)) + p_s; drop(LN(P_m x_m)) + p_m for each m it has],

    a relation likewise over [token; drop(LN(r)) + p_s], and a query the output at the position of
    the mask token of a transformer over three vectors with positions. Train against all entities:
    ``objective.loss=one_vs_all``, Adam, ``optimiser.clip=0.1``.

    Differences: an entity has one vector per modality, where the paper has up to k images; the
    datasets have no images and texts of relations; head and tail of every triple are predicted,
    where the repository chooses one at random (``objective.sides: one``); a modality that is
    neither image nor text is one more token. ``variant`` sets the initial values.
    """

    Config = VISTAConfig
    capabilities = Capabilities(
        title="VISTA",
        reference="Lee et al. 2023",
        formula="decoder(h, r, blank) . t, entities encoded by a transformer over modalities",
        uses_modalities=True,
        needs_features=True,
    )
    reciprocal = True
    contract = ContractOptions(
        # Small layers without dropout: with it, the few entities of the test graph are not enough.
        options={"dim": 32, "feedforward": 64, "heads": 2, "entity_layers": 1, "decoder_layers": 1,
                 "structure_dropout": 0.0, "image_dropout": 0.0, "other_dropout": 0.0},
        lr=2e-3,  # at the usual rate transformers learn nothing here
    )  # fmt: skip

    def __init__(
        self, config: VISTAConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        present = offered(modalities)
        tables = initial_tables(
            config.dim,
            index.n_entities,
            index.n_relations,
            tokens=3,
            kinds=2 + len(present),
            released=config.variant == "released",
        )
        self.entity, self.relation = tables.entity, tables.relation
        # Tokens of entity, relation, mask; positions of the modalities; positions of h, r, t.
        self.tokens, self.kinds, self.positions = tables.tokens, tables.kinds, tables.positions
        self.features = nn.ModuleList(ModalityTable(m, unit=False) for m in present)
        self.projections = nn.ModuleList(dense(m.matrix.shape[1], config.dim) for m in present)
        self.rates = [config.image_dropout if m.name == "image" else config.other_dropout
                      for m in present]  # fmt: skip
        self.entity_norm, self.relation_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in present)
        options = config.dim, config.heads, config.feedforward, config.dropout
        self.entity_encoder = transformer(*options, config.entity_layers)
        self.relation_encoder = transformer(*options, config.relation_layers)
        self.decoder = transformer(*options, config.decoder_layers)

    # --- model interface --------------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        n = len(structure)
        sequence = [
            self.tokens[0].expand(n, -1),
            self._dropped(self.entity_norm(structure), self.config.structure_dropout)
            + self.kinds[0],
        ]
        absent = [torch.zeros(n, 2, dtype=torch.bool, device=structure.device)]
        modalities = zip(self.features, self.projections, self.norms, self.rates, strict=True)
        for i, (table, projection, norm, rate) in enumerate(modalities):
            assert isinstance(table, ModalityTable)
            projected = norm(table.mapped(projection, entities))
            sequence.append(self._dropped(projected, rate) + self.kinds[2 + i])
            absent.append(~table.has(entities))
        encoded = output_at(
            self.entity_encoder, torch.stack(sequence, 1), absent=torch.cat(absent, 1)
        )
        return {"entity": encoded.float()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        anchor = rows_of(tables["entity"], anchors)
        relation = rows_of(self._relations(), relations)
        sequence, position = query_sequence(self.positions, self.tokens[2], anchor, relation, side)
        query = output_at(self.decoder, sequence, position)
        return Query((Term("dot", query.float(), "entity"),))

    # --- pieces ---------------------------------------------------------------------------

    def _relations(self) -> Tensor:
        """Return the encoded relations [R, dim]."""
        structure = self._dropped(self.relation_norm(self.relation), self.config.structure_dropout)
        sequence = [self.tokens[1].expand_as(structure), structure + self.kinds[1]]
        return output_at(self.relation_encoder, torch.stack(sequence, 1))

    def _dropped(self, vectors: Tensor, rate: float) -> Tensor:
        return dropout(vectors, rate, self.training)
