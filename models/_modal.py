"""Building blocks of models that put features beside a structural vector: tables, maps, masks.

Constant features are held of the entities that have them alone. No size depends on which entities
are asked for.
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
    "FeatureTable",
    "dense",
    "dense_tanh",
    "ids_of",
    "known_in",
    "offered",
    "selected",
    "side_by_side",
]


def offered(modalities: Mapping[str, Modality]) -> list[Modality]:
    """Return the modalities that some entity has, sorted by name."""
    return [modalities[name] for name in sorted(modalities) if modalities[name].present.any()]


def known_in(modalities: list[Modality], n_entities: int) -> Tensor:
    """Return who has at least one of the modalities: [N] boolean."""
    known = torch.zeros(n_entities, dtype=torch.bool)
    for modality in modalities:
        known |= modality.present.bool()
    return known


def selected(values: Tensor, entities: Tensor | None) -> Tensor:
    """Return ``values[entities]``, or all of ``values`` when entities is None."""
    return values if entities is None else values[entities]


def ids_of(entities: Tensor | None, like: Tensor) -> Tensor:
    """Return the ids of encoded entities as a table [n, 1], for penalties that look them up.

    Args:
        entities: [n] ids; None for all rows of ``like``.
        like: a tensor on the device.
    """
    everyone = torch.arange(len(like), device=like.device) if entities is None else entities
    return everyone[:, None]


def dense(n_in: int, n_out: int, *, zero_bias: bool = True) -> nn.Linear:
    """Return a linear layer with Xavier weights and zero biases (else those of ``nn.Linear``)."""
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(layer.weight)
    if zero_bias:
        nn.init.zeros_(layer.bias)
    return layer


def dense_tanh(width: int) -> nn.Sequential:
    """Return tanh of a Xavier linear layer that keeps the width."""
    return nn.Sequential(dense(width, width), nn.Tanh())


class FeatureTable(nn.Module):
    """Features of the entities that have a modality.

    Args:
        modality: features by entity.
        unit: divide rows by their Euclidean norms.
        trainable: fine-tune the features, which then have a row per entity; else they are
            constants, not in the state dict.
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
            # The others point to the first row; ``present`` says who they are.
            owners = present.nonzero()[:, 0] if present.any() else slot[:1]
            slot = torch.zeros_like(slot)
            slot[owners] = torch.arange(len(owners))
            self.register_buffer("matrix", matrix[owners], persistent=False)
        self.register_buffer("slot", slot, persistent=False)
        self.register_buffer("present", present, persistent=False)

    @property
    def width(self) -> int:
        """Numbers per entity."""
        return self.matrix.shape[1]

    def has(self, entities: Tensor | None) -> Tensor:
        """Return who has the modality: [n, 1] boolean."""
        return selected(self.present, entities)[:, None]

    def rows(self, entities: Tensor) -> Tensor:
        """Return the features [n, width] of entities; arbitrary for those that have none."""
        return rows_of(self.matrix, self.slot[entities])

    def mapped(self, layer: Callable[[Tensor], Tensor], entities: Tensor | None) -> Tensor:
        """Return ``layer`` of the features of entities (None: all), [n, k] fp32.

        Rows of entities that do not have the modality are arbitrary.
        """
        if entities is not None:
            return layer(self.rows(entities)).float()
        made = layer(self.matrix).float()
        everyone = len(self.matrix) == len(self.slot)
        return made if everyone else rows_of(made, self.slot)


def side_by_side(
    structure: Tensor,
    tables: Iterable[nn.Module],
    layers: Iterable[nn.Module],
    entities: Tensor | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return what entities look like in each modality, the structure first, and who has it.

    Args:
        structure: [n, width] of the entities.
        tables: M ``FeatureTable``.
        layers: their maps to [n, width].
        entities: [n] ids; None for all.

    Returns:
        1 + M vectors [n, width], arbitrary for those that lack the modality, and as many masks,
        [n, 1] boolean.
    """
    vectors, has = [structure], [torch.ones_like(structure[:, :1], dtype=torch.bool)]
    for table, layer in zip(tables, layers, strict=True):
        assert isinstance(table, FeatureTable)
        vectors.append(table.mapped(layer, entities))
        has.append(table.has(entities))
    return vectors, has


class Concatenation(nn.Module):
    """W [x_1; ...; x_M] + b, where an absent x_m is zero.

    Args:
        modalities: M modalities; with none of them the map is the bias alone.
        width: of the result.
        n_entities: N.
        unit, trainable: as for ``FeatureTable``.
        xavier: start as ``dense`` does, else as ``torch.nn.Linear``.
    """

    known: Tensor

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
            FeatureTable(m, unit=unit, trainable=trainable) for m in modalities
        )
        # Without modalities there is a column that nothing is multiplied with.
        self.widths = [m.matrix.shape[1] for m in modalities] or [1]
        self.linear = (dense if xavier else nn.Linear)(sum(self.widths), width)
        self.register_buffer("known", known_in(modalities, n_entities), persistent=False)

    def has_any(self, entities: Tensor | None) -> Tensor:
        """Return who has at least one of the modalities: [n, 1] boolean."""
        return selected(self.known, entities)[:, None]

    def forward(self, entities: Tensor | None) -> Tensor:
        """Return [n, width] of entities (None: all N), fp32."""
        n = len(self.known) if entities is None else len(entities)
        total = self.linear.bias.float().expand(n, -1)
        weights = self.linear.weight.split(self.widths, 1)
        for table, weight in zip(self.tables, weights, strict=False):
            assert isinstance(table, FeatureTable)
            part = table.mapped(partial(linear, weight=weight), entities)
            total = total + torch.where(table.has(entities), part, 0.0)
        return total


class Blocks(nn.Module):
    """[P_1 x_1; ...; P_M x_M]: each modality fills its share of the coordinates.

    Where a modality is absent the coordinates are those of the structural vector. The features are
    fine-tuned.

    Args:
        modalities: M modalities.
        width: of the result; the shares differ by one at most.
        n_entities: N.
    """

    known: Tensor

    def __init__(self, modalities: list[Modality], width: int, n_entities: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(FeatureTable(m, unit=False, trainable=True) for m in modalities)
        self.shares = [len(x) for x in torch.arange(width).tensor_split(max(1, len(modalities)))]
        self.maps = nn.ModuleList(
            nn.Linear(m.matrix.shape[1], share)
            for m, share in zip(modalities, self.shares, strict=False)
        )
        self.register_buffer("known", known_in(modalities, n_entities), persistent=False)

    def has_any(self, entities: Tensor | None) -> Tensor:
        """Return who has at least one of the modalities: [n, 1] boolean."""
        return selected(self.known, entities)[:, None]

    def forward(self, entities: Tensor | None, structure: Tensor) -> Tensor:
        """Return [n, width] of entities (None: all N), fp32, given their structural vectors."""
        blocks = list(structure.split(self.shares, 1))
        for i, (table, layer) in enumerate(zip(self.tables, self.maps, strict=True)):
            assert isinstance(table, FeatureTable)
            blocks[i] = torch.where(table.has(entities), table.mapped(layer, entities), blocks[i])
        return torch.cat(blocks, 1)
