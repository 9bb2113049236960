"""Corruption of features: pure functions of a feature set and a seed.

Random draws depend on the run's seed, the dataset, the kind of corruption and the modality, but not
on the amount: entities that lose a modality at 20 % also lose it at 50 %, and noise of scale 2 is
twice the noise of scale 1. So the points of a curve over the amount share their draws.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from harness.data.corruption import Corruption
from harness.data.features import FeatureSet, FeatureTable
from harness.errors import ConfigError, suggest
from harness.seeding import seed_for

__all__ = ["corrupted", "drop", "noise", "shuffle"]


def corrupted(
    features: FeatureSet, corruptions: Iterable[Corruption], *, seed: int, dataset: str
) -> FeatureSet:
    """Apply corruptions in order and return the resulting features; the input is not changed.

    Args:
        features: intact features.
        corruptions: corruptions in the order in which they apply.
        seed: the run's seed.
        dataset: digest of the dataset.

    Raises:
        ConfigError: a corruption names a missing modality, or a copy has the name of an existing
            one.
    """
    tables = dict(features.tables)
    for corruption in corruptions:
        for name in _corrupted_modalities(corruption, tables):
            tables |= _corrupted_tables(corruption, tables, name, seed, dataset)
    return FeatureSet(features.name, tables)


def drop(table: FeatureTable, share: float, generator: torch.Generator) -> FeatureTable:
    """Drop a modality from a share of the entities that have it; at least one keeps it.

    Their tokens are dropped too.

    Args:
        table: N entities.
        share: of those that have it.
        generator: draws their order.
    """
    owners = _in_random_order(table, generator)
    lost = owners[: min(round(share * len(owners)), len(owners) - 1)]
    present = table.present.clone()
    present[lost] = False
    tokens = None if table.tokens is None else table.tokens.of(present)
    matrix = table.matrix * present[:, None]
    return replace(table, matrix=matrix, present=present, tokens=tokens, provenance=_origin(table))


def noise(table: FeatureTable, scale: float, generator: torch.Generator) -> FeatureTable:
    """Add Gaussian noise to the rows of entities with the modality; returns float32.

    Args:
        table: features [N, d].
        scale: standard deviation of the noise relative to each component's among those rows.
        generator: source of N * d draws.

    Raises:
        ConfigError: the modality has tokens, whose mean the noisy rows would contradict.
    """
    if table.tokens is not None:
        raise ConfigError(
            f"modality '{table.name}' is made of tokens, which are there or not and take no noise; "
            "use drop or shuffle, or a feature set of vectors such as 'names'"
        )
    matrix = table.matrix.float()
    drawn = torch.randn(matrix.shape, generator=generator)
    spread = matrix[table.present].std(0, correction=0) if table.present.any() else 0.0
    noisy = matrix + scale * spread * drawn * table.present[:, None]
    return replace(table, matrix=noisy, provenance=_origin(table))


def shuffle(table: FeatureTable, share: float, generator: torch.Generator) -> FeatureTable:
    """Permute the rows of a share of the entities that have the modality.

    Each takes the row and tokens of the next in a random cycle, so none keeps its own, unless it is
    the only one.

    Args:
        table: N entities.
        share: of those that have it.
        generator: draws their order.
    """
    owners = _in_random_order(table, generator)
    moved = owners[: round(share * len(owners))]
    source = torch.arange(len(table.present))
    source[moved] = moved.roll(-1)
    tokens = table.tokens
    if tokens is not None:
        tokens = replace(tokens, ids=tokens.ids[source])
    matrix = table.matrix[source]
    return replace(table, matrix=matrix, tokens=tokens, provenance=_origin(table))


_KINDS: Mapping[str, Callable[[FeatureTable, float, torch.Generator], FeatureTable]] = {
    "drop": drop,
    "noise": noise,
    "shuffle": shuffle,
}


def _corrupted_modalities(
    corruption: Corruption, tables: Mapping[str, FeatureTable]
) -> tuple[str, ...]:
    if corruption.modality is None:
        return tuple(tables)
    if corruption.modality not in tables:
        raise ConfigError(
            f"no modality '{corruption.modality}' to corrupt{suggest(corruption.modality, tables)}"
        )
    return (corruption.modality,)


def _corrupted_tables(
    corruption: Corruption,
    tables: Mapping[str, FeatureTable],
    name: str,
    seed: int,
    dataset: str,
) -> dict[str, FeatureTable]:
    """Return the tables that the corruption of one modality replaces or adds."""
    table = tables[name]
    if corruption.kind != "duplicate":
        draws = _generator(corruption.kind, name, seed, dataset)
        return {name: _KINDS[corruption.kind](table, corruption.amount, draws)}
    copies = {}
    for copy in corruption.names_of(name):
        if copy in tables:
            raise ConfigError(f"'{name}' cannot be duplicated as '{copy}': there is one already")
        renamed = replace(table, name=copy, provenance=_origin(table))
        if corruption.scale:
            renamed = noise(renamed, corruption.scale, _generator("noise", copy, seed, dataset))
        copies[copy] = renamed
    return copies


def _generator(kind: str, modality: str, seed: int, dataset: str) -> torch.Generator:
    step = zlib.crc32(f"{kind}/{modality}".encode())
    return torch.Generator().manual_seed(seed_for(seed, dataset, "corruption", step))


def _in_random_order(table: FeatureTable, generator: torch.Generator) -> Tensor:
    """Return the ids of the entities with the modality, in random order."""
    order = torch.randperm(len(table.present), generator=generator)
    return order[table.present[order]]


def _origin(table: FeatureTable) -> dict[str, object]:
    """Return the provenance without ``identity``, which described the intact values."""
    return {key: value for key, value in table.provenance.items() if key != "identity"}
