"""MyGO, entities as sequences of tokens, with a contrastive loss between two dropout draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side, Tokens
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

from ._fusion import features_of
from ._init import rows_of
from ._modal import dense, offered, selected
from ._transformer import (
    Rate,
    TransformerConfig,
    initial_tables,
    output_at,
    query_sequence,
    transformer,
)
from ._tucker import DecoderDropout, QueryGroups, TuckER


class MyGOConfig(TransformerConfig):
    """Options of MyGO, with the values of the released script for MKG-W as defaults."""

    variant: Literal["paper", "released"] = "paper"
    """released: the contrasted means include the padding of a sequence, except the last position of
    the last modality."""
    init: Literal["paper", "released"] = "paper"
    """Initial values. paper: Glorot's of tables [n, dim], biases of projections 0. released: the
    code's, of tensors [n, 1, dim], sqrt(dim) times smaller for entity vectors; biases of
    torch.nn.Linear."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of every layer (2 on DB15K)."""
    entity_layers: Annotated[int, Field(ge=1)] = 1
    """Layers of the encoder of entities."""
    decoder_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the decoder of queries (1 on DB15K)."""
    feedforward: Annotated[int, Field(ge=1)] = 1024
    """Width of the hidden layer of each feed-forward block."""
    image_tokens: Annotated[int, Field(ge=1)] = 8
    """Number of an entity's image tokens that are used, the most frequent ones."""
    other_tokens: Annotated[int, Field(ge=1)] = 8
    """Number of tokens of each other modality (text: 4 on DB15K)."""
    dropout: Annotated[Rate, between(0.0, 0.3)] = 0.01
    """Dropout inside the layers."""
    structure_dropout: Annotated[Rate, between(0.5, 0.9)] = 0.9
    """Dropout of the structural vectors of entities and relations (0.6 on DB15K)."""
    image_dropout: Rate = 0.4
    """Dropout of projected image tokens (0.3 on DB15K)."""
    other_dropout: Rate = 0.1
    """Dropout of projected tokens of the other modalities."""
    tucker: DecoderDropout = DecoderDropout()
    """Dropout of the TuckER decoder."""
    contrast: Annotated[float, Field(ge=0), between(1e-4, 1e-1, log=True)] = 1e-3
    """Weight of the contrastive loss (1e-2 on DB15K); 0 saves the second pass."""
    temperature: Annotated[float, Field(gt=0)] = 0.5
    """Temperature of the contrastive loss. Ignored without it."""
    contrasted: Annotated[int, Field(ge=2)] = 512
    """Number of random entities in the contrastive loss of a step. Ignored without it."""


@register_model("mygo")
class MyGO(Model):
    """score(h, r, t) = TuckER(decoder([h; r; mask])_mask, decoder(...)_r) . t.

    Zhang et al., Tokenization, Fusion, and Augmentation: Towards Fine-grained Multi-modal
    Entity Representation (AAAI 2025; as a preprint MyGO). An entity's vector f is the
    first output of a transformer over

        [token; D(LN(e)) + p_s; D(LN(P_m x)) + p_m for each token x of modality m],

    D is dropout, and x a row of a frozen codebook; a modality without tokens has one token, its
    vector. A relation is D(LN(r)). A query is a transformer over three vectors with positions; its
    outputs for the mask token and the relation are combined by TuckER (see imf), with a matrix for
    each query. Train against all entities: objective.loss=one_vs_all, lr=5e-4, clip=0.1, batch
    2048.

    The contrastive loss is added for random entities: f must identify its own among the g_j of all
    of them, -log softmax_j(cos(f_i, g_j) / temperature)_i, with g the first output of a second pass
    with other dropout, the mean of its outputs, and the mean of the outputs of each modality; these
    losses are averaged.

    Differences from the released code: means exclude padding, and an entity without a modality is
    excluded from its loss (variant: released includes padding, by token 0 of the codebook, and
    drops the last position of the last modality); head and tail of every triple are predicted,
    where the code chooses one at random (objective.sides: one); the mask token is not contrasted;
    the second pass encodes only the contrasted entities, which is equivalent.
    """

    Config = MyGOConfig
    capabilities = Capabilities(
        title="MyGO",
        reference="Zhang et al. 2025",
        formula=(
            "TuckER(decoder(h, r, blank), r) . t, entities encoded by a transformer over tokens"
        ),
        uses_modalities=True,
        needs_features=True,
    )
    reciprocal = True
    contract = ContractOptions(
        # Small layers without dropout: with it, the few entities of the test graph are not enough.
        options={"dim": 32, "feedforward": 64, "heads": 2, "decoder_layers": 1, "contrasted": 8,
                 "structure_dropout": 0.0, "image_dropout": 0.0, "other_dropout": 0.0,
                 "tucker": {"input": 0.0, "matrix": 0.0, "output": 0.0}},
        lr=5e-3,  # at the usual rate transformers learn nothing here
    )  # fmt: skip

    @classmethod
    def numerics_of(cls, options: Mapping[str, Any], *, bf16: bool) -> int:
        """Return 2 for bf16 runs, whose contrastive loss once had bf16 cosines."""
        return 2 if bf16 else cls.capabilities.numerics

    def __init__(
        self, config: MyGOConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        present = offered(modalities)
        images = [m.name == "image" for m in present]
        released = config.init == "released"
        tables = initial_tables(
            config.dim,
            index.n_entities,
            index.n_relations,
            tokens=2,
            kinds=1 + len(present),
            released=released,
        )
        self.entity, self.relation = tables.entity, tables.relation
        # Tokens of entity and mask; positions of structure and modalities; positions of h, r, t.
        self.tokens, self.kinds, self.positions = tables.tokens, tables.kinds, tables.positions
        self.entity_norm, self.relation_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        counts = [config.image_tokens if image else config.other_tokens for image in images]
        rates = [config.image_dropout if image else config.other_dropout for image in images]
        self.modal = nn.ModuleList(
            TokenTable(*options, config.dim, zero_bias=not released)
            for options in zip(present, counts, rates, strict=True)
        )
        options = config.dim, config.heads, config.feedforward, config.dropout
        self.encoder = transformer(*options, config.entity_layers)
        self.decoder = transformer(*options, config.decoder_layers)
        self.tucker = TuckER(config.dim, config.dim, config.tucker)

    # --- model interface --------------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        x, absent = self._sequences(entities)
        return {"entity": output_at(self.encoder, x, absent=absent).float()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        anchor = rows_of(tables["entity"], anchors)
        relation = self._dropped(self.relation_norm(self.relation))
        relation_vectors = rows_of(relation, relations)
        sequence, position = query_sequence(
            self.positions, self.tokens[1], anchor, relation_vectors, side
        )
        decoded = self.decoder(sequence)
        groups = QueryGroups.ungrouped(len(anchors), anchors.device)
        query = self.tucker(decoded[:, position], decoded[:, 1], groups)
        return Query((Term("dot", query.float(), "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        if not (self.training and self.config.contrast):
            return None
        device = rows.device
        order = torch.randperm(self.n_entities, generator=self.draws, device=device)
        sample = order[: self.config.contrasted]
        weight: float = self.config.contrast
        return weight * self.contrast_of(rows_of(tables["entity"], sample), sample)

    # --- pieces ---------------------------------------------------------------------------

    def contrast_of(self, first: Tensor, entities: Tensor) -> Tensor:
        """Return the contrastive loss of vectors [n, dim] of entities [n] with a second pass."""
        x, absent = self._sequences(entities)
        outputs = self.encoder(x, src_key_padding_mask=absent).float()
        everyone = torch.ones_like(entities, dtype=torch.bool)
        released = self.config.variant == "released"
        if released:
            absent = torch.zeros_like(absent)
        views = [(outputs[:, 0], everyone), _mean(outputs, absent)]
        start = 2
        for table in self._token_tables():
            end = start + table.longest
            last = released and table.longest > 1 and end == outputs.shape[1]
            positions = slice(start, end - 1 if last else end)
            views.append(_mean(outputs[:, positions], absent[:, positions]))
            start = end
        losses = [_info_nce(first, view, has, self.config.temperature) for view, has in views]
        return torch.stack(losses).mean()

    def _sequences(self, entities: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the input sequences [n, s, dim] of entities, and the padding mask bool [n, s]."""
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        n = len(structure)
        structure = self._dropped(self.entity_norm(structure)) + self.kinds[0]
        sequence = [torch.stack([self.tokens[0].expand(n, -1), structure], 1)]
        absent = [torch.zeros(n, 2, dtype=torch.bool, device=structure.device)]
        for table, kind in zip(self._token_tables(), self.kinds[1:], strict=True):
            sequence.append(table(entities) + kind)
            absent.append(selected(table.absent, entities))
        return torch.cat(sequence, 1), torch.cat(absent, 1)

    def _token_tables(self) -> list[TokenTable]:
        return [table for table in self.modal if isinstance(table, TokenTable)]

    def _dropped(self, vectors: Tensor) -> Tensor:
        return dropout(vectors, self.config.structure_dropout, self.training)


class TokenTable(nn.Module):
    """D(LN(P x)) of the tokens x of entities.

    Args:
        modality: tokens of the entities; without tokens an entity's vector is its only one.
        count: number of an entity's tokens that are used, the most frequent.
        rate: dropout rate.
        width: width of the result.
        zero_bias: True for initial biases of 0 in the projection.
    """

    codebook: Tensor
    slots: Tensor
    absent: Tensor

    def __init__(
        self, modality: Modality, count: int, rate: float, width: int, *, zero_bias: bool = True
    ) -> None:
        super().__init__()
        tokens = modality.tokens
        if tokens is None:
            rows = torch.arange(len(modality.present))[:, None]
            tokens = Tokens(features_of(modality), rows)
        frequent = most_frequent(tokens.of(modality.present).ids, count)
        # Only rows in use are projected; padding points to the first.
        distinct, slots = torch.unique(frequent.clamp(min=0), return_inverse=True)
        self.register_buffer("codebook", tokens.codebook[distinct].float(), persistent=False)
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("absent", frequent < 0, persistent=False)
        self.projection = dense(tokens.codebook.shape[1], width, zero_bias=zero_bias)
        self.norm = nn.LayerNorm(width)
        self.rate = rate

    @property
    def longest(self) -> int:
        """Largest number of tokens of an entity, m."""
        return self.slots.shape[1]

    def forward(self, entities: Tensor | None) -> Tensor:
        """Return the tokens [n, m, width] of entities (None: all N); padding is arbitrary."""
        slots = selected(self.slots, entities)
        if slots.numel() < len(self.codebook):
            projected = self.norm(self.projection(self.codebook[slots]))
        else:  # project each token once, since many entities share it
            projected = rows_of(self.norm(self.projection(self.codebook)), slots)
        return dropout(projected, self.rate, self.training)


def most_frequent(ids: Tensor, count: int) -> Tensor:
    """Return the most frequent distinct tokens of each entity, ascending; ties go to the first.

    Args:
        ids: token ids int64 [N, m], -1 for none.
        count: largest number of tokens.

    Returns:
        token ids int64 [N, k], -1 for none; k is the largest number of an entity.
    """
    frequent = []
    for row in ids.tolist():
        common = Counter(token for token in row if token >= 0).most_common(count)
        frequent.append(sorted(token for token, _ in common))
    longest = max(map(len, frequent))
    return torch.tensor([row + [-1] * (longest - len(row)) for row in frequent])


def _mean(outputs: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean [n, width] of the present positions, and the mask [n] of non-empty rows."""
    has = ~absent
    total = (outputs * has[..., None]).sum(1)
    return total / has.sum(1, keepdim=True).clamp(min=1), has.any(1)


def _info_nce(first: Tensor, second: Tensor, has: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax_j(cos(first_i, second_j) / temperature)_i among ``has``.

    Args:
        first, second: vectors [n, width].
        has: mask bool [n].
        temperature: divisor of the cosines.
    """
    with torch.autocast(first.device.type, enabled=False):
        logits = normalize(first.float(), dim=1) @ normalize(second.float(), dim=1).T / temperature
    logits = logits.masked_fill(~has, torch.finfo(logits.dtype).min)
    labels = torch.arange(len(first), device=first.device)
    losses = torch.where(has, cross_entropy(logits, labels, reduction="none"), 0.0)
    return losses.sum() / has.sum().clamp(min=1)
