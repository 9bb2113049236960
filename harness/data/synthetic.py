"""Generator of multi-modal graphs with a planted signal, of any size.

Construction. Every *source* s (structure, and each modality) gives each entity k hidden angles
θ_e^s, uniform on the circle. Every relation r belongs to one source and has k angles φ_r; the
triple (h, r, t) holds if θ_t^s is among the nearest to θ_h^s + φ_r. This is a rotation, so a model
such as RotatE can learn it from the triples. The features of an entity in modality m are a random
linear map of (cos θ_e^m, sin θ_e^m) plus Gaussian noise: the relations of m can be read from its
features, also for entities that never occur in train; structural relations cannot be read from any;
a modality without relations is noise.

Heads, tails and relations have Zipf-like frequencies. Splits share no triple; no relation is
(nearly) symmetric or the inverse of another. A share of the entities is cold (unseen in train):
they occur only in valid and test, always with an entity of train at the other end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, model_validator

from harness.config.base import Config
from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.errors import ConfigError

__all__ = ["PlantedModality", "SyntheticConfig", "generate", "imitate"]

VERSION = 1
"""Version of the generator; raise it with every change of triples or features."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Share = Annotated[float, Field(ge=0, le=1)]


class PlantedModality(Config):
    """One modality, with the number of relations that it predicts."""

    name: str
    """Name ("text", "image", "numeric", "audio", "video" or any other)."""
    dim: int = Field(32, ge=1)
    """Components of the features."""
    relations: int = Field(1, ge=0)
    """Number of predicted relations; 0 makes the modality noise."""
    coverage: Share = 0.9
    """Share of the entities with the modality, drawn at random."""
    noise: float = Field(0.3, ge=0)
    """Standard deviation of the noise, for a signal of 1 per component."""


class SyntheticConfig(Config):
    """Configuration of the generator; equal ones give equal graphs and features."""

    name: str = "synthetic"
    """Name of the dataset."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    entities: int = Field(300, ge=8)
    """Number of entities, cold ones included."""
    relations: int = Field(8, ge=1)
    """Number of relations; relations that no modality predicts are structural."""
    train: int = Field(8000, ge=1)
    """Training triples."""
    valid: int = Field(500, ge=0)
    """Validation triples."""
    test: int = Field(500, ge=0)
    """Test triples."""
    cold_entities: Share = 0.1
    """Share of the entities that never occur in train."""
    cold_triples: Share = 0.25
    """Share of the valid and test triples with a cold entity."""
    random_triples: Share = 0.02
    """Share of the other triples with a random tail, which no model can predict."""
    zipf: float = Field(0.5, ge=0, le=2)
    """Exponent of the weight (i + 1) ** -zipf of entity i; 0 makes all equally frequent."""
    angles: int = Field(1, ge=1, le=8)
    """Hidden angles per entity and source, k; more are harder to learn."""
    modalities: tuple[PlantedModality, ...] = (
        PlantedModality(name="text"),
        PlantedModality(name="image", dim=48),
        PlantedModality(name="numeric", dim=8, coverage=0.7, noise=0.1),
        PlantedModality(name="audio", dim=16, coverage=0.3),
        PlantedModality(name="video", dim=24, relations=0, coverage=0.6),
    )
    """Modalities; by default video is noise."""

    @model_validator(mode="after")
    def _possible(self) -> SyntheticConfig:
        names = [m.name for m in self.modalities]
        if len(set(names)) != len(names):
            raise ValueError("modalities: a name occurs twice")
        if sum(m.relations for m in self.modalities) > self.relations:
            raise ValueError("modalities predict more relations than there are")
        if self.n_warm < 4:
            raise ValueError("cold_entities: fewer than 4 entities are left for train")
        if self.train < self.n_warm + self.relations:  # train has a triple of each
            raise ValueError(
                f"train: {self.train} triples for {self.n_warm} entities and {self.relations} "
                f"relations; need {self.n_warm + self.relations} or more"
            )
        room = self.n_warm * self.relations * self.degree_limit
        if self.n_warm_triples > room // 2:
            raise ValueError(f"train + valid + test: too dense, at most {room // 2} triples fit")
        return self

    @property
    def n_cold(self) -> int:
        """Number of cold entities; 0 without cold triples."""
        return round(self.entities * self.cold_entities) if self.n_cold_triples else 0

    @property
    def n_warm(self) -> int:
        """Number of entities that occur in train."""
        return self.entities - self.n_cold

    @property
    def n_cold_triples(self) -> int:
        """Number of triples of valid and test with a cold entity."""
        if not round(self.entities * self.cold_entities):
            return 0
        return round(self.valid * self.cold_triples) + round(self.test * self.cold_triples)

    @property
    def n_warm_triples(self) -> int:
        """Number of triples without a cold entity."""
        return self.train + self.valid + self.test - self.n_cold_triples

    @property
    def degree_limit(self) -> int:
        """Largest number of tails of one head under one relation."""
        return max(1, (self.n_warm - 2) // 2)


def imitate(name: str, counts: Mapping[str, int], modalities: Mapping[str, int]) -> SyntheticConfig:
    """Return a configuration with the size and the modality coverage of a published dataset.

    A quarter of the relations, at least one, is structural; modalities share the others.

    Args:
        name: name of the configuration.
        counts: entities, relations, train, valid, test.
        modalities: modality -> number of entities with it.
    """
    dealt = counts["relations"] - max(1, counts["relations"] // 4)
    share, extra = divmod(dealt, max(len(modalities), 1))
    return SyntheticConfig(
        name=name,
        entities=counts["entities"],
        relations=counts["relations"],
        train=counts["train"],
        valid=counts["valid"],
        test=counts["test"],
        cold_entities=0.03,  # MKG-W: 3.3 % of the entities do not occur in train
        cold_triples=0.1,
        modalities=tuple(
            PlantedModality(
                name=modality,
                relations=share + (i < extra),
                coverage=n / counts["entities"],
            )
            for i, (modality, n) in enumerate(modalities.items())
        ),
    )


@lru_cache(maxsize=2)
def generate(config: SyntheticConfig) -> tuple[KnowledgeGraph, FeatureSet]:
    """Generate a graph and its feature set "all".

    Relations are named after their source: "structure_0", "text_0", ...

    Raises:
        ConfigError: the cold triples do not fit on the cold entities.
    """
    sources = _sources(config)
    angles = {
        s: _rng(config, f"angles/{s}").uniform(0, 2 * np.pi, (config.entities, config.angles))
        for s in dict.fromkeys([*sources, *(m.name for m in config.modalities)])
    }
    shifts = _shifts(config)
    cold = _rng(config, "cold").permutation(config.entities)[: config.n_cold]
    warm = np.setdiff1d(np.arange(config.entities), cold)
    triples = _warm_triples(config, sources, angles, shifts, warm)
    graph = KnowledgeGraph(
        name=config.name,
        entities=tuple(f"e{i}" for i in range(config.entities)),
        relations=_relation_names(sources),
        splits=_split(config, triples, _cold_triples(config, sources, angles, shifts, warm, cold)),
        notes=("generated: relations are named after what predicts them",),
    )
    return graph, FeatureSet(
        "all", {m.name: _features(config, m, angles[m.name]) for m in config.modalities}
    )


def _rng(config: SyntheticConfig, stream: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{config.seed}/{VERSION}/{stream}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _sources(config: SyntheticConfig) -> list[str]:
    """Return the source of each relation, shuffled to be independent of frequency."""
    names = [m.name for m in config.modalities for _ in range(m.relations)]
    names += ["structure"] * (config.relations - len(names))
    order = _rng(config, "sources").permutation(len(names))
    return [names[i] for i in order]


def _relation_names(sources: list[str]) -> tuple[str, ...]:
    return tuple(f"{s}_{sources[:i].count(s)}" for i, s in enumerate(sources))


def _shifts(config: SyntheticConfig) -> Floats:
    """Return the angles [R, k] of the relations.

    The first is in (0.5, 2.6): two such angles never add up to 2π, so no relation is symmetric and
    none is the inverse of another.
    """
    rng = _rng(config, "shifts")
    shifts = rng.uniform(0, 2 * np.pi, (config.relations, config.angles))
    shifts[:, 0] = rng.uniform(0.5, 2.6, config.relations)
    return shifts


def _weights(config: SyntheticConfig, n: int, stream: str) -> Floats:
    weights = (1.0 + _rng(config, stream).permutation(n)) ** -config.zipf
    return np.asarray(weights / weights.sum())


def _warm_triples(
    config: SyntheticConfig,
    sources: list[str],
    angles: Mapping[str, Floats],
    shifts: Floats,
    warm: Ints,
) -> Ints:
    """Return distinct triples [n, 3] of warm entities, with each entity and relation."""
    n = len(warm)
    popularity = _weights(config, n, "popularity")
    degree = _out_degrees(config, popularity)
    blocks = []
    for relation, source in enumerate(sources):
        rng = _rng(config, f"tails/{relation}")
        heads = np.flatnonzero(degree[:, relation])
        warm_angles = angles[source][warm]
        target = warm_angles[heads] + shifts[relation]
        tails = _choose(warm_angles, target, heads, degree[heads, relation], popularity, rng)
        owner = np.repeat(heads, degree[heads, relation])
        _randomise(owner, tails, config.random_triples, n, rng)
        blocks.append(np.stack([warm[owner], np.full_like(owner, relation), warm[tails]], axis=1))
    return np.concatenate(blocks)


def _out_degrees(config: SyntheticConfig, popularity: Floats) -> Ints:
    """Return the number of tails [n, R] per head and relation, in total ``n_warm_triples``."""
    rng = _rng(config, "degrees")
    n, relations = len(popularity), config.relations
    frequency = (1.0 + np.arange(relations)) ** -config.zipf
    frequency /= frequency.sum()
    degree = np.zeros((n, relations), dtype=np.int64)
    first = rng.permutation(max(n, relations))
    degree[first % n, np.arange(len(first)) % relations] = 1
    for _ in range(8):  # draw again what exceeds the limit of popular heads
        missing = config.n_warm_triples - int(degree.sum())
        heads = rng.choice(n, missing, p=popularity)
        np.add.at(degree, (heads, rng.choice(relations, missing, p=frequency)), 1)
        np.minimum(degree, config.degree_limit, out=degree)
    while (missing := config.n_warm_triples - int(degree.sum())) > 0:
        free = rng.permutation(np.flatnonzero(degree.ravel() < config.degree_limit))
        degree.ravel()[free[:missing]] += 1
    return degree


def _choose(
    candidates: Floats,
    target: Floats,
    excluded: Ints,
    counts: Ints,
    popularity: Floats,
    rng: np.random.Generator,
) -> Ints:
    """Draw distinct entities near each target, preferring near and popular ones.

    Args:
        candidates: angles [n, k] of the candidates.
        target: angles [q, k] of the targets.
        excluded: candidate [q] that must not be drawn (the head), -1 for none.
        counts: number [q] to draw, from the nearest 2 ** ceil(log2(count + 2)); the i-th nearest
            has weight exp(-i / count) * popularity, so that answers are predictable.
        popularity: weights [n].

    Returns:
        positions [sum(counts)] in ``candidates``, grouped by target.
    """
    from scipy.spatial import cKDTree

    full_turn = 2 * np.pi
    tree = cKDTree(candidates % full_turn, boxsize=full_turn)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    drawn_tails = np.zeros(offsets[-1], dtype=np.int64)
    pools = np.minimum(2 ** np.ceil(np.log2(counts + 2)).astype(np.int64), len(candidates))
    for pool in np.unique(pools):
        rows = np.flatnonzero(pools == pool)
        near = tree.query(target[rows] % full_turn, k=np.arange(1, pool + 1))[1]
        keys = np.log(popularity[near]) - np.arange(pool) / counts[rows, None]
        keys += rng.gumbel(size=near.shape)  # top keys: a weighted draw without replacement
        keys[near == excluded[rows, None]] = -np.inf
        order = np.take_along_axis(near, np.argsort(-keys, axis=1), axis=1)
        for row, drawn in zip(rows, order, strict=True):
            drawn_tails[offsets[row] : offsets[row + 1]] = drawn[: counts[row]]
    return drawn_tails


def _randomise(heads: Ints, tails: Ints, share: float, n: int, rng: np.random.Generator) -> None:
    """Replace a share of the tails by random ones in place, without repeats and loops."""
    keys = set((heads * n + tails).tolist())
    for i in np.flatnonzero(rng.random(len(tails)) < share):
        tail = int(rng.integers(n))
        key = int(heads[i]) * n + tail
        if tail != heads[i] and key not in keys:
            keys.add(key)
            tails[i] = tail


def _cold_triples(
    config: SyntheticConfig,
    sources: list[str],
    angles: Mapping[str, Floats],
    shifts: Floats,
    warm: Ints,
    cold: Ints,
) -> Ints:
    """Return triples [n, 3] with one cold end, alternately head and tail."""
    if not config.n_cold_triples:
        return np.zeros((0, 3), dtype=np.int64)
    rng = _rng(config, "cold-triples")
    popularity = _weights(config, len(warm), "popularity")
    slots = len(cold) * config.relations * 2
    per_slot = -(-config.n_cold_triples // slots)
    if per_slot > config.degree_limit:
        raise ConfigError(
            f"{config.name}: {config.n_cold_triples} cold triples do not fit on {len(cold)} cold "
            f"entities; raise cold_entities or lower cold_triples"
        )
    blocks = []
    for relation, source in enumerate(sources):
        for sign in (1, -1):  # cold head: tails near θ + φ; cold tail: heads near θ - φ
            target = angles[source][cold] + sign * shifts[relation]
            counts = np.full(len(cold), per_slot)
            rows = _choose(
                angles[source][warm], target, np.full(len(cold), -1), counts, popularity, rng
            )
            cold_ends, partners = np.repeat(cold, per_slot), warm[rows]
            head, tail = (cold_ends, partners) if sign == 1 else (partners, cold_ends)
            blocks.append(np.stack([head, np.full_like(head, relation), tail], axis=1))
    triples = np.concatenate(blocks)
    return np.asarray(triples[rng.permutation(len(triples))[: config.n_cold_triples]])


def _split(config: SyntheticConfig, warm: Ints, cold: Ints) -> dict[str, torch.Tensor]:
    """Split the triples; the first triple of each entity and relation is in train."""
    rng = _rng(config, "splits")
    warm = warm[rng.permutation(len(warm))]
    first = _first_occurrences(config, warm)
    remaining = np.setdiff1d(np.arange(len(warm)), first)
    remaining = remaining[rng.permutation(len(remaining))]
    cold_valid = min(round(config.valid * config.cold_triples), len(cold))
    n_valid, n_test = config.valid - cold_valid, config.test - (len(cold) - cold_valid)
    valid, test, train = np.split(remaining, [n_valid, n_valid + n_test])
    splits = {
        "train": warm[np.concatenate([first, train])],
        "valid": np.concatenate([warm[valid], cold[:cold_valid]]),
        "test": np.concatenate([warm[test], cold[cold_valid:]]),
    }
    return {k: torch.from_numpy(v[rng.permutation(len(v))].copy()) for k, v in splits.items()}


def _first_occurrences(config: SyntheticConfig, triples: Ints) -> Ints:
    """Return positions of triples that together contain every entity and relation."""
    ids = triples + np.array([0, config.entities, 0])
    _, first = np.unique(ids, return_index=True)
    return np.unique(first // 3)


def _features(config: SyntheticConfig, plan: PlantedModality, angles: Floats) -> FeatureTable:
    rng = _rng(config, f"features/{plan.name}")
    signal = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)  # variance 1/2 each
    mixing = rng.normal(size=(signal.shape[1], plan.dim)) / np.sqrt(config.angles)
    values = signal @ mixing + plan.noise * rng.normal(size=(config.entities, plan.dim))
    present = np.zeros(config.entities, dtype=bool)
    present[rng.permutation(config.entities)[: round(plan.coverage * config.entities)]] = True
    matrix = torch.from_numpy(np.where(present[:, None], values, 0.0)).float()
    options = f"{plan.model_dump_json()} {config.seed} {config.entities} {config.angles}"
    provenance = {
        "encoder": "synthetic",
        "planted": plan.model_dump(),
        "identity": f"synthetic-v{VERSION} {options}",
    }
    return FeatureTable(plan.name, matrix, torch.from_numpy(present), provenance)
