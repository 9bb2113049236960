"""Building blocks of models with structural vectors and features: tables, maps, masks.

Constant features are stored only for the entities that have them. No tensor size depends on the
entities that are encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from harness.index import Modality

from ._fusion import features_of
from ._init import rows_of

__all__ = [
    "Blocks",
    "Concatenation",
    "ModalityTable",
    "dense",
    "dense_tanh",
    "has_any_modality",
    "ids_of",
    "offered",
    "selected",
    "side_by_side",
]


def offered(modalities: Mapping[str, Modality]) -> list[Modality]:
    """Return the modalities of at least one entity, sorted by name."""
    return [modalities[name] for name in sorted(modalities) if modalities[name].present.any()]


def has_any_modality(modalities: list[Modality], n_entities: int) -> Tensor:
    """Return the mask bool [N] of entities with at least one of the modalities."""
    has_any = torch.zeros(n_entities, dtype=torch.bool)
    for modality in modalities:
        has_any |= modality.present.bool()
    return has_any


def selected(values: Tensor, entities: Tensor | None) -> Tensor:
    """Return ``values[entities]``, or ``values`` for None."""
    return values if entities is None else values[entities]


def ids_of(entities: Tensor | None, like: Tensor) -> Tensor:
    """Return the ids of encoded entities as a table [n, 1], for penalties that need them.

    Args:
        entities: ids [n]; None for all rows of ``like``.
        like: tensor on the target device.
    """
    everyone = torch.arange(len(like), device=like.device) if entities is None else entities
    return everyone[:, None]


def dense(n_in: int, n_out: int, *, zero_bias: bool = True) -> nn.Linear:
    """Return a linear layer with Xavier weights, and zero or ``nn.Linear``'s biases."""
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(layer.weight)
    if zero_bias:
        nn.init.zeros_(layer.bias)
    return layer


def dense_tanh(width: int) -> nn.Sequential:
    """Return a Xavier linear layer [width, width] with tanh."""
    return nn.Sequential(dense(width, width), nn.Tanh())


class ModalityTable(nn.Module):
    """Features of the entities that have a modality.

    Args:
        modality: features by entity.
        unit: True to divide rows by their Euclidean norms.
        trainable: True to fine-tune the features, with a row per entity; else they are constants,
            not in the state dict.
    """

    matrix: Tensor
    present: Tensor
    slot: Tensor

    def __init__(self, modality: Modality, *, unit: bool, trainable: bool = False) -> None:
        super().__init__()
        present = modality.present.bool()
        matrix = features_of(modality, unit=unit)
        slot = torch.arange(len(present))
        if trainable:
            self.matrix = nn.Parameter(matrix)
        else:
            # Entities without the modality point to the first row; ``present`` masks them.
            owners = present.nonzero()[:, 0] if present.any() else slot[:1]
            slot = torch.zeros_like(slot)
            slot[owners] = torch.arange(len(owners))
            self.register_buffer("matrix", matrix[owners], persistent=False)
        self.register_buffer("slot", slot, persistent=False)
        self.register_buffer("present", present, persistent=False)

    @property
    def width(self) -> int:
        """Components per entity."""
        return self.matrix.shape[1]

    def has(self, entities: Tensor | None) -> Tensor:
        """Return the mask bool [n, 1] of entities with the modality."""
        return selected(self.present, entities)[:, None]

    def rows(self, entities: Tensor) -> Tensor:
        """Return the features [n, width] of entities; arbitrary rows without the modality."""
        return rows_of(self.matrix, self.slot[entities])

    def mapped(self, layer: Callable[[Tensor], Tensor], entities: Tensor | None) -> Tensor:
        """Return ``layer`` of the features of entities (None: all), float32 [n, k].

        Rows of entities without the modality are arbitrary. When more entities are asked for than
        have the modality, the layer maps each row of the table once. Which of the two is done
        depends on the number of entities alone, never on which they are.
        """
        if entities is not None and len(entities) < len(self.matrix):
            return layer(self.rows(entities)).float()
        mapped = layer(self.matrix).float()
        if entities is None and len(self.matrix) == len(self.slot):
            return mapped
        return rows_of(mapped, selected(self.slot, entities))


def side_by_side(
    structure: Tensor,
    tables: Iterable[nn.Module],
    layers: Iterable[nn.Module],
    entities: Tensor | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the embeddings of entities by modality, the structure first, and their masks.

    Args:
        structure: structural vectors [n, width].
        tables: features of M modalities (``ModalityTable``).
        layers: map of each modality to [n, width].
        entities: entity ids [n]; None for all.

    Returns:
        1 + M embeddings [n, width], arbitrary where the modality is absent, and 1 + M masks bool
        [n, 1].
    """
    vectors, has = [structure], [torch.ones_like(structure[:, :1], dtype=torch.bool)]
    for table, layer in zip(tables, layers, strict=True):
        assert isinstance(table, ModalityTable)
        vectors.append(table.mapped(layer, entities))
        has.append(table.has(entities))
    return vectors, has


class Concatenation(nn.Module):
    """W [x_1; ...; x_M] + b, where an absent x_m is zero.

    Args:
        modalities: M modalities; without any the map is the bias.
        width: width of the result.
        n_entities: N.
        unit, trainable: as for ``ModalityTable``.
        xavier: True for the initial values of ``dense``, else those of ``torch.nn.Linear``.
    """

    featured: Tensor

    def __init__(
        self,
        modalities: list[Modality],
        width: int,
        n_entities: int,
        *,
        unit: bool,
        trainable: bool = False,
        xavier: bool = False,
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            ModalityTable(m, unit=unit, trainable=trainable) for m in modalities
        )
        # Without modalities the weight has one unused column, since it cannot be empty.
        self.widths = [m.matrix.shape[1] for m in modalities] or [1]
        self.linear = (dense if xavier else nn.Linear)(sum(self.widths), width)
        self.register_buffer("featured", has_any_modality(modalities, n_entities), persistent=False)

    def has_any(self, entities: Tensor | None) -> Tensor:
        """Return who has at least one of the modalities: [n, 1] boolean."""
        return selected(self.featured, entities)[:, None]

    def forward(self, entities: Tensor | None) -> Tensor:
        """Return the map of entities (None: all N), float32 [n, width]."""
        n = len(self.featured) if entities is None else len(entities)
        total = self.linear.bias.float().expand(n, -1)
        weights = self.linear.weight.split(self.widths, 1)
        for table, weight in zip(self.tables, weights, strict=False):
            assert isinstance(table, ModalityTable)
            block = table.mapped(partial(linear, weight=weight), entities)
            total = total + torch.where(table.has(entities), block, 0.0)
        return total


class Blocks(nn.Module):
    """[P_1 x_1; ...; P_M x_M], in which each modality fills its share of the coordinates.

    The structural vector fills the coordinates of an absent modality. The features are fine-tuned.

    Args:
        modalities: M modalities.
        width: width of the result; the shares differ by at most one.
        n_entities: N.
    """

    featured: Tensor

    def __init__(self, modalities: list[Modality], width: int, n_entities: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            ModalityTable(m, unit=False, trainable=True) for m in modalities
        )
        self.shares = [len(x) for x in torch.arange(width).tensor_split(max(1, len(modalities)))]
        self.maps = nn.ModuleList(
            nn.Linear(m.matrix.shape[1], share)
            for m, share in zip(modalities, self.shares, strict=False)
        )
        self.register_buffer("featured", has_any_modality(modalities, n_entities), persistent=False)

    def has_any(self, entities: Tensor | None) -> Tensor:
        """Return who has at least one of the modalities: [n, 1] boolean."""
        return selected(self.featured, entities)[:, None]

    def forward(self, entities: Tensor | None, structure: Tensor) -> Tensor:
        """Return the map of entities (None: all N), float32 [n, width], from their structure."""
        blocks = list(structure.split(self.shares, 1))
        for i, (table, layer) in enumerate(zip(self.tables, self.maps, strict=True)):
            assert isinstance(table, ModalityTable)
            blocks[i] = torch.where(table.has(entities), table.mapped(layer, entities), blocks[i])
        return torch.cat(blocks, 1)
