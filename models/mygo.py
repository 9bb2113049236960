"""MyGO: entities as sequences of tokens, and vectors that agree from one dropout to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side, Tokens
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

from ._fusion import features_of
from ._init import rows_of
from ._modal import dense, offered, selected
from ._transformer import (
    Rate,
    TransformerConfig,
    initial_tables,
    place_of,
    question,
    transformer,
)
from ._tucker import Asked, DecoderDropout, TuckER


class MyGOConfig(TransformerConfig):
    """Options of MyGO; the defaults are those of the released script for MKG-W."""

    variant: Literal["paper", "released"] = "paper"
    """released: the contrasted means take in the places that pad a sequence, all but the last of
    those of the last modality."""
    init: Literal["paper", "released"] = "paper"
    """Initial values. paper: Glorot's of tables [n, dim], biases of projections 0. released: as the
    code has them, of tensors [n, 1, dim], for vectors of entities sqrt(dim) times smaller; biases
    as of torch.nn.Linear."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of every layer (2 on DB15K)."""
    entity_layers: Annotated[int, Field(ge=1)] = 1
    """Layers of the encoder of entities."""
    decoder_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the decoder of questions (1 on DB15K)."""
    feedforward: Annotated[int, Field(ge=1)] = 1024
    """Width of the hidden layer between attentions."""
    image_tokens: Annotated[int, Field(ge=1)] = 8
    """Most frequent tokens of an entity's images that are used."""
    other_tokens: Annotated[int, Field(ge=1)] = 8
    """The same of each other modality (text: 4 on DB15K)."""
    dropout: Annotated[Rate, between(0.0, 0.3)] = 0.01
    """Inside the layers."""
    structure_dropout: Annotated[Rate, between(0.5, 0.9)] = 0.9
    """Of the structural vectors of entities and relations (0.6 on DB15K)."""
    image_dropout: Rate = 0.4
    """Of projected tokens of images (0.3 on DB15K)."""
    other_dropout: Rate = 0.1
    """Of projected tokens of the other modalities."""
    tucker: DecoderDropout = DecoderDropout()
    """Dropout of the score."""
    contrast: Annotated[float, Field(ge=0), between(1e-4, 1e-1, log=True)] = 1e-3
    """Weight of the contrast (1e-2 on DB15K); 0 saves the second pass."""
    temperature: Annotated[float, Field(gt=0)] = 0.5
    """Of the contrast. Ignored without it."""
    contrasted: Annotated[int, Field(ge=2)] = 512
    """Random entities that are contrasted in a step. Ignored without contrast."""


@register_model("mygo")
class MyGO(Model):
    """score(h, r, t) = TuckER(decoder([h; r; blank])_blank, decoder(...)_r) . t

    Zhang et al., Tokenization, Fusion, and Augmentation: Towards Fine-grained Multi-modal
    Entity Representation (AAAI 2025; as a preprint MyGO). An entity's vector f is the
    first output of a transformer over

        [token; D(LN(e)) + p_s; D(LN(P_m x)) + p_m for each token x of modality m],

    D is dropout, and x a row of a codebook that is not trained; a modality without tokens
    is one, its vector. A relation is D(LN(r)). A question is a transformer over three
    vectors with positions; what it makes of the blank and of the relation is put together
    by TuckER (see imf), with a matrix for each query. It is trained against all entities:
    objective.loss=one_vs_all, lr=5e-4, clip=0.1, batch 2048.

    The contrast is added to the loss: of random entities, f has to find its own among the
    g_j of the others, -log softmax_j(cos(f_i, g_j) / temperature)_i, for g the first output
    of a second pass, with other dropout, the mean of its outputs, and the mean of those of
    each modality; the mean of these losses.

    Unlike the released code: means are of the tokens that are there, and an entity that
    lacks a modality is left out of its contrast (variant: released has padding in them, by
    token 0 of the codebook, and drops the last place of the last modality); head and tail
    of every triple are asked for, where a coin chooses one (objective.sides: one); the blank
    is contrasted with nobody; the second pass encodes the contrasted entities alone, which
    is the same.
    """

    Config = MyGOConfig
    capabilities = Capabilities(
        title="MyGO",
        reference="Zhang et al. 2025",
        formula="TuckER(decoder(h, r, blank), r) . t, entities out of a transformer over tokens",
        uses_modalities=True,
        needs_features=True,
    )
    reciprocal = True
    trial = Trial(
        # Small layers, and nothing dropped: a few entities say too little to learn from a tenth.
        options={"dim": 32, "feedforward": 64, "heads": 2, "decoder_layers": 1, "contrasted": 8,
                 "structure_dropout": 0.0, "image_dropout": 0.0, "other_dropout": 0.0,
                 "tucker": {"input": 0.0, "matrix": 0.0, "output": 0.0}},
        lr=5e-3,  # at the usual one transformers learn nothing here
    )  # fmt: skip

    def __init__(
        self, config: MyGOConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        found = offered(modalities)
        images = [m.name == "image" for m in found]
        released = config.init == "released"
        tables = initial_tables(
            config.dim,
            index.n_entities,
            index.n_relations,
            tokens=2,
            kinds=1 + len(found),
            released=released,
        )
        self.entity, self.relation = tables.entity, tables.relation
        # Tokens of entity and blank; then positions: structure, modalities; h, r, t.
        self.tokens, self.kinds, self.positions = tables.tokens, tables.kinds, tables.positions
        self.entity_norm, self.relation_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        counts = [config.image_tokens if image else config.other_tokens for image in images]
        rates = [config.image_dropout if image else config.other_dropout for image in images]
        self.modal = nn.ModuleList(
            TokenTable(*options, config.dim, zero_bias=not released)
            for options in zip(found, counts, rates, strict=True)
        )
        options = config.dim, config.heads, config.feedforward, config.dropout
        self.encoder = transformer(*options, config.entity_layers)
        self.decoder = transformer(*options, config.decoder_layers)
        self.tucker = TuckER(config.dim, config.dim, config.tucker)

    # --- the contract ---------------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        x, absent = self._sequences(entities)
        return {"entity": place_of(self.encoder, x, absent=absent).float()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        known = rows_of(tables["entity"], anchors)
        relation = self._dropped(self.relation_norm(self.relation))
        asked = rows_of(relation, relations)
        sequence, place = question(self.positions, self.tokens[1], known, asked, side)
        decoded = self.decoder(sequence)
        each = Asked.each(len(anchors), anchors.device)
        query = self.tucker(decoded[:, place], decoded[:, 1], each)
        return Query((Term("dot", query.float(), "entity"),))

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        if not (self.training and self.config.contrast):
            return None
        device = rows.device
        order = torch.randperm(self.n_entities, generator=self.draws, device=device)
        some = order[: self.config.contrasted]
        weight: float = self.config.contrast
        return weight * self.contrast_of(rows_of(tables["entity"], some), some)

    # --- pieces ---------------------------------------------------------------------------

    def contrast_of(self, first: Tensor, entities: Tensor) -> Tensor:
        """Return the contrast of vectors [n, dim] of entities [n] with those of another pass."""
        x, absent = self._sequences(entities)
        outputs = self.encoder(x, src_key_padding_mask=absent).float()
        everyone = torch.ones_like(entities, dtype=torch.bool)
        released = self.config.variant == "released"
        if released:
            absent = torch.zeros_like(absent)
        seen = [(outputs[:, 0], everyone), _mean(outputs, absent)]
        start = 2
        for part in self._token_tables():
            end = start + part.longest
            last = released and part.longest > 1 and end == outputs.shape[1]
            places = slice(start, end - 1 if last else end)
            seen.append(_mean(outputs[:, places], absent[:, places]))
            start = end
        losses = [_info_nce(first, other, has, self.config.temperature) for other, has in seen]
        return torch.stack(losses).mean()

    def _sequences(self, entities: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what the encoder sees of entities, [n, s, dim], and which places are padding."""
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        n = len(structure)
        structure = self._dropped(self.entity_norm(structure)) + self.kinds[0]
        sequence = [torch.stack([self.tokens[0].expand(n, -1), structure], 1)]
        absent = [torch.zeros(n, 2, dtype=torch.bool, device=structure.device)]
        for part, kind in zip(self._token_tables(), self.kinds[1:], strict=True):
            sequence.append(part(entities) + kind)
            absent.append(selected(part.absent, entities))
        return torch.cat(sequence, 1), torch.cat(absent, 1)

    def _token_tables(self) -> list[TokenTable]:
        return [part for part in self.modal if isinstance(part, TokenTable)]

    def _dropped(self, vectors: Tensor) -> Tensor:
        return dropout(vectors, self.config.structure_dropout, self.training)


class TokenTable(nn.Module):
    """D(LN(P x)) of the tokens x of entities.

    Args:
        modality: its tokens; without any an entity has one, its vector.
        count: tokens of an entity that are used, the most frequent.
        rate: dropout.
        width: of the result.
        zero_bias: start with biases of the projection that are 0.
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
            own = torch.arange(len(modality.present))[:, None]
            tokens = Tokens(features_of(modality), own)
        chosen = most_frequent(tokens.of(modality.present).ids, count)
        # Rows that nobody uses would be projected for nothing; padding is by the first.
        used, slots = torch.unique(chosen.clamp(min=0), return_inverse=True)
        self.register_buffer("codebook", tokens.codebook[used].float(), persistent=False)
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("absent", chosen < 0, persistent=False)
        self.projection = dense(tokens.codebook.shape[1], width, zero_bias=zero_bias)
        self.norm = nn.LayerNorm(width)
        self.rate = rate

    @property
    def longest(self) -> int:
        """m: tokens of an entity that has most."""
        return self.slots.shape[1]

    def forward(self, entities: Tensor | None) -> Tensor:
        """Return [n, m, width] of entities (None: all N); padding is arbitrary."""
        slots = selected(self.slots, entities)
        if slots.numel() < len(self.codebook):
            made = self.norm(self.projection(self.codebook[slots]))
        else:  # a token that many have is projected once
            made = rows_of(self.norm(self.projection(self.codebook)), slots)
        return dropout(made, self.rate, self.training)


def most_frequent(ids: Tensor, count: int) -> Tensor:
    """Return the most frequent distinct tokens of each entity, ascending; of equals the first ones.

    Args:
        ids: [N, m], -1 for none.
        count: at most so many.

    Returns:
        [N, k] of the same kind, k the largest number that anyone has.
    """
    chosen = []
    for row in ids.tolist():
        common = Counter(token for token in row if token >= 0).most_common(count)
        chosen.append(sorted(token for token, _ in common))
    longest = max(map(len, chosen))
    return torch.tensor([row + [-1] * (longest - len(row)) for row in chosen])


def _mean(outputs: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over the places [n, s, width] that are not absent [n, s], and who has any."""
    has = ~absent
    total = (outputs * has[..., None]).sum(1)
    return total / has.sum(1, keepdim=True).clamp(min=1), has.any(1)


def _info_nce(first: Tensor, second: Tensor, has: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax_j(cos(first_i, second_j) / temperature)_i among ``has``."""
    logits = normalize(first, dim=1) @ normalize(second, dim=1).T / temperature
    logits = logits.masked_fill(~has, torch.finfo(logits.dtype).min)
    own = torch.arange(len(first), device=first.device)
    losses = torch.where(has, cross_entropy(logits, own, reduction="none"), 0.0)
    return losses.sum() / has.sum().clamp(min=1)
