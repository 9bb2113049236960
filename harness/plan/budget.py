"""What a run will take: time and memory, from counts of its work and the machine's rates.

The time is an upper bound: it assumes that all epochs are run, for nothing says beforehand when
early stopping ends a run. Loading data and compiling kernels are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.data.graph import SPLITS
from harness.data.load import Dataset
from harness.plan.machine import Machine
from harness.plan.profile import Profile, profile_model
from harness.plan.spec import RunSpec

__all__ = ["Budget", "Sizes", "estimate"]

BYTES_PER_PARAMETER = 4 * 5
"""Value, gradient, two moments of Adam, and the best state so far, in fp32."""
BYTES_PER_PAIR = 80
"""Ids, random numbers, scores and their gradients of one negative."""
BYTES_PER_TRIPLE = 100
"""A triple, its two filter keys, and the copies made in sorting them."""
QUERIES_AT_ONCE = 1024
"""Queries ranked together."""


@dataclass(frozen=True)
class Budget:
    """An estimate.

    Attributes:
        seconds: at most, on the machine it was made for.
        bytes: peak memory of the process (of the device, on a GPU).
    """

    seconds: float
    bytes: float


@dataclass(frozen=True)
class Sizes:
    """What the cost of a run depends on in its dataset.

    Attributes:
        entities, relations: N and R.
        train, valid, test: number of triples.
        widths: modality -> width of its features.
    """

    entities: int
    relations: int
    train: int
    valid: int
    test: int
    widths: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> Sizes:
        """Return the sizes of a loaded dataset."""
        graph = dataset.graph
        widths = {name: table.matrix.shape[1] for name, table in dataset.features.tables.items()}
        train, valid, test = (len(graph.splits[split]) for split in SPLITS)
        return cls(graph.n_entities, graph.n_relations, train, valid, test, widths)


def estimate(spec: RunSpec, sizes: Sizes, machine: Machine) -> Budget:
    """Return what a run takes at most.

    Args:
        spec: the run; its model must have been loaded.
        sizes: of its dataset and features.
        machine: rates of the machine.
    """
    profile = profile_model(spec.model, sizes.widths)
    return Budget(_seconds(spec, sizes, machine, profile), _bytes(spec, sizes, machine, profile))


def _seconds(spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile) -> float:
    last = _ranking(sizes.valid + sizes.test, spec, sizes, machine, profile)
    if not profile.trainable:
        return last
    training = spec.training
    steps = training.epochs * math.ceil(sizes.train / training.batch_size)
    validations = math.ceil(training.epochs / training.evaluate_every)
    valid = _ranking(sizes.valid, spec, sizes, machine, profile)
    return steps * _step(spec, sizes, machine, profile) + validations * valid + last


def _step(spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile) -> float:
    pairs = spec.training.batch_size * (spec.negatives.count + 1)
    flops = profile.auxiliary_flops
    if profile.encodes:
        flops += profile.trained_flops * _encoded(spec, sizes)
    compared = sum(pairs * width / machine.gathered[op] for op, width in profile.terms)
    parameters = profile.parameters(sizes.entities, sizes.relations)
    return compared + flops / machine.matmul + pairs / machine.drawn + parameters / machine.updated


def _encoded(spec: RunSpec, sizes: Sizes) -> float:
    """Return how many entities a step encodes: the distinct ones among all that it draws."""
    drawn = spec.training.batch_size * (spec.negatives.count + 2)
    return sizes.entities * -math.expm1(-drawn / sizes.entities)


def _ranking(
    triples: int, spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile
) -> float:
    scores = float(triples * len(spec.protocol.sides)) * sizes.entities
    if not profile.terms:
        return scores / machine.filled
    compared = sum(scores * width / machine.counted[op] for op, width in profile.terms)
    return compared + profile.flops * sizes.entities / machine.matmul


def _bytes(spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile) -> float:
    parameters = profile.parameters(sizes.entities, sizes.relations)
    pairs = spec.training.batch_size * (spec.negatives.count + 1) if profile.trainable else 0
    features = 4.0 * sizes.entities * sum(sizes.widths.values())
    triples = sizes.train + sizes.valid + sizes.test
    encoding = profile.saved * _encoded(spec, sizes) if profile.encodes else 0.0
    ranking = 0.0 if profile.terms else 8.0 * QUERIES_AT_ONCE * sizes.entities
    return (
        machine.resident
        + BYTES_PER_PARAMETER * parameters
        + features
        + BYTES_PER_TRIPLE * triples
        + max(BYTES_PER_PAIR * pairs + 2 * encoding, ranking)
    )
