"""Features with something wrong with them; pure functions of a feature set and a seed.

What is drawn depends on the run's seed, the dataset, the kind of corruption and the modality, and
not on how much there is of it: who loses a modality at 20 % has lost it at 50 % too, and noise of
scale 2 is twice that of scale 1. The points of a curve over the amount share their draws.
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
    """Return the features with the corruptions made one after another; the first are left alone.

    Args:
        features: intact ones.
        corruptions: what to do, in order.
        seed: the run's seed.
        dataset: digest of the dataset.

    Raises:
        ConfigError: a corruption names a modality that is not there, or a copy takes the name of
            one that is.
    """
    tables = dict(features.tables)
    for corruption in corruptions:
        for name in _chosen(corruption, tables):
            tables |= _made(corruption, tables, name, seed, dataset)
    return FeatureSet(features.name, tables)


def drop(table: FeatureTable, share: float, generator: torch.Generator) -> FeatureTable:
    """Return the table without the modality of a share of the entities that have it, never of all.

    Tokens go with it.

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
    """Return the table in fp32 with Gaussian noise on the rows of those that have the modality.

    Args:
        table: N entities, d components.
        scale: standard deviation of the noise over that of each component among those rows.
        generator: draws N d numbers.

    Raises:
        ConfigError: entities have tokens, which a table with another mean would contradict.
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
    """Return the table where a share of the entities that have the modality have another's row.

    Each takes that of the next in a random cycle, its tokens too, so none keeps its own but a
    single one.

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


def _chosen(corruption: Corruption, tables: Mapping[str, FeatureTable]) -> tuple[str, ...]:
    if corruption.modality is None:
        return tuple(tables)
    if corruption.modality not in tables:
        raise ConfigError(
            f"no modality '{corruption.modality}' to corrupt{suggest(corruption.modality, tables)}"
        )
    return (corruption.modality,)


def _made(
    corruption: Corruption,
    tables: Mapping[str, FeatureTable],
    name: str,
    seed: int,
    dataset: str,
) -> dict[str, FeatureTable]:
    """Return the tables that a corruption of one modality replaces or adds."""
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
    """Return the ids of the entities that have a modality."""
    order = torch.randperm(len(table.present), generator=generator)
    return order[table.present[order]]


def _origin(table: FeatureTable) -> dict[str, object]:
    """Return the provenance without what stood for the values: they are other ones."""
    return {key: value for key, value in table.provenance.items() if key != "identity"}
