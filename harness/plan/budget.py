"""What a run will take: time and memory, from counts of its work and the machine's rates.

The time is an upper bound: it assumes that all epochs are run, for nothing says beforehand when
early stopping ends a run. It follows ``StandardProcedure`` and ``rank`` term by term. Loading data
and starting the process are not in it (``START_UP``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from harness.data.batches import steps_per_epoch
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.plan.machine import Machine
from harness.plan.profile import FeatureSize, Profile
from harness.plan.spec import RunSpec

__all__ = [
    "ACCURACY",
    "NOTHING",
    "START_UP",
    "Beside",
    "Budget",
    "Process",
    "Sizes",
    "estimate",
    "memory",
]

START_UP = 4.0
"""Seconds a process takes to import its libraries and load its compiled kernels, measured on two
cores of an AMD EPYC."""

ACCURACY = 1.25
"""Memory is what the estimate says within this factor, either way."""

FLOATS_PER_PARAMETER = 4
"""Value, gradient and two moments of Adam."""
TABLE_GRADIENTS = 3
"""Gradients of a table that exist at once: from the pairs, and from the lookups of either side's
anchors; autograd adds them up."""
BYTES_PER_PAIR = 150
"""Ids, random numbers, scores and their gradients of one negative, and sorting them by row."""
BYTES_PER_TRIPLE = 100
"""A triple, its two filter keys, and the copies made in sorting them."""
QUERIES_AT_ONCE = 1024
"""Queries ranked together."""
SCORES_AT_ONCE = 2 * 2**20
"""Scores held at once by a model that fills a matrix."""
SCORES_OF_A_BLOCK = 2**23
"""Scores that a loss against all entities holds, and as many on the way."""
BYTES_PER_SCORE = 80
"""A score, what it was made from and whether it counts, and freed memory in pieces too small to be
used again (measured: 27 where few queries are asked, 50 to 160 else)."""
SLACK = 1.5
"""Peak of a training step by what autograd keeps: the gradients on their way back, and freed memory
the allocator has not given back (measured: 1.4 to 1.7)."""


@dataclass(frozen=True)
class Budget:
    """An estimate.

    Attributes:
        seconds: at most, on the machine it was made for.
        bytes: peak memory of the process (of the device, on a GPU).
        remedy: what makes the largest part of the memory smaller.
    """

    seconds: float
    bytes: float
    remedy: str = ""


class Process(NamedTuple):
    """A process before it has loaded data.

    Attributes:
        device: type of the device it computes on.
        libraries: bytes it takes with all libraries.
        resident: bytes it takes with all libraries and kernels.
    """

    device: str
    libraries: float
    resident: float


class Beside(NamedTuple):
    """What a strategy of negatives and an adversary add to a step.

    Attributes:
        seconds: of a step.
        saved: bytes kept for the backward pass.
    """

    seconds: float
    saved: float


NOTHING = Beside(0.0, 0.0)


@dataclass(frozen=True)
class Sizes:
    """What the cost of a run depends on in its dataset.

    Attributes:
        entities, relations: N and R.
        train, valid, test: number of triples.
        features: modality -> its size.
        shares: of the training triples that each relation has; () where it is not known.
    """

    entities: int
    relations: int
    train: int
    valid: int
    test: int
    features: Mapping[str, FeatureSize] = field(default_factory=dict)
    shares: tuple[float, ...] = ()

    @classmethod
    def of(cls, graph: KnowledgeGraph, features: Mapping[str, FeatureSize]) -> Sizes:
        """Return the sizes of a graph with these features."""
        train, valid, test = (len(graph.splits[split]) for split in SPLITS)
        counts = torch.bincount(graph.splits["train"][:, 1], minlength=graph.n_relations)
        shares = tuple((counts / max(1, train)).tolist())
        return cls(graph.n_entities, graph.n_relations, train, valid, test, features, shares)


def estimate(
    spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile, beside: Beside = NOTHING
) -> Budget:
    """Return what a run takes at most.

    Args:
        spec: the run.
        sizes: of its dataset and features.
        machine: rates of the machine.
        profile: costs of the run's model with these features (``profile_model``).
        beside: costs of the rest of a step.
    """
    process = Process(machine.device, machine.libraries, machine.resident)
    size, remedy = memory(spec, sizes, process, profile, beside)
    return Budget(_seconds(spec, sizes, machine, profile, beside), size, remedy)


def _seconds(
    spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile, beside: Beside
) -> float:
    # The chosen model is ranked on both splits at the end.
    last = _ranking(sizes.valid + sizes.test, spec, sizes, machine, profile)
    if not profile.trainable:
        return last
    training = spec.training
    # No more distinct queries than twice the triples.
    rows = sizes.train * (2 if spec.objective.loss == "k_vs_all" else 1)
    steps = training.epochs * steps_per_epoch(rows, training.batch_size, training.traversal)
    validations = math.ceil(training.epochs / training.evaluate_every)
    valid = _ranking(sizes.valid, spec, sizes, machine, profile)
    step = _step(spec, sizes, machine, profile) + beside.seconds
    return steps * step + validations * valid + last


def _step(spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile) -> float:
    positives = min(spec.training.batch_size, sizes.train)
    encoded = _encoded(spec, sizes, machine.device, profile)
    if spec.objective.against_all:
        # Three products of the queries of both sides with the table.
        pairs, draws = 0, 0
        scores = 2.0 * positives * sizes.entities
        compared = sum(3 * scores * width / machine.counted[op] for op, width in profile.terms)
    else:
        pairs = positives * (spec.negatives.count + 1)
        # On the CPU finding the distinct ones is a search too.
        draws = 1 if encoded == sizes.entities or machine.device != "cpu" else 2
        compared = sum(pairs * width / machine.gathered[op] for op, width in profile.terms)
    moved = round(encoded) if _lazy(spec) else sizes.entities
    parameters = profile.parameters(moved, sizes.relations)
    return (
        draws * pairs / machine.drawn
        + encoded * profile.training
        # Two queries per positive; backward takes about twice as long as forward.
        + 3 * 2 * positives * profile.querying
        + compared
        + encoded * profile.table_width / machine.swept
        + parameters / machine.updated
        + profile.auxiliary
    )


def _encoded(spec: RunSpec, sizes: Sizes, device: str, profile: Profile) -> float:
    """Return how many entities a step encodes: all, or the distinct ones among those it draws.

    On an accelerator a row per draw, for sizes are static there.
    """
    if spec.objective.against_all:
        return float(sizes.entities)
    drawn = min(spec.training.batch_size, sizes.train) * (spec.negatives.count + 2)
    if not _lazy(spec) and (not profile.encodes or drawn > 2 * sizes.entities):
        return float(sizes.entities)
    if device != "cpu":
        return float(min(drawn, sizes.entities))
    return sizes.entities * -math.expm1(-drawn / sizes.entities)


def _lazy(spec: RunSpec) -> bool:
    return spec.optimiser.name == "lazy_adam"


def _ranking(
    triples: int, spec: RunSpec, sizes: Sizes, machine: Machine, profile: Profile
) -> float:
    queries = float(triples * len(spec.protocol.sides))
    scores = queries * sizes.entities
    if not profile.terms:
        return scores * (profile.scoring + 1 / machine.filled)
    compared = sum(scores * width / machine.counted[op] for op, width in profile.terms)
    # Encoded once for the scores and once for the diagnostics that are logged with them.
    return compared + queries * profile.querying + 2 * profile.encoding * sizes.entities


def memory(
    spec: RunSpec, sizes: Sizes, process: Process, profile: Profile, beside: Beside = NOTHING
) -> tuple[float, str]:
    """Return the peak memory of a run in bytes, and what makes the largest part of it smaller.

    Args:
        spec: the run.
        sizes: of its dataset and features.
        process: what it runs in.
        profile: sizes of the run's model with these features (``profile_model``).
        beside: sizes of the rest of a step.
    """
    parts = (
        _training(spec, sizes, process, profile, beside)
        if profile.terms
        else _counting(sizes, profile)
    )
    parts["use fewer modalities (data.modalities)"] = sum(
        4.0 * sizes.entities * size.width * (1 + size.coverage) for size in sizes.features.values()
    )
    triples = sizes.train + sizes.valid + sizes.test
    fixed = process.resident if profile.terms else process.libraries
    total = fixed + BYTES_PER_TRIPLE * triples + sum(parts.values())
    return total, max(parts, key=parts.__getitem__)


def _counting(sizes: Sizes, profile: Profile) -> dict[str, float]:
    """Return, by remedy, what a model that fills a matrix of scores takes."""
    rows = min(QUERIES_AT_ONCE, max(1, SCORES_AT_ONCE // sizes.entities))
    counts = 4.0 * profile.per_pair * sizes.relations * sizes.entities
    return {_LARGER: counts + float(BYTES_PER_SCORE) * rows * sizes.entities}


_LARGER = "take a machine with more"


def _training(
    spec: RunSpec, sizes: Sizes, process: Process, profile: Profile, beside: Beside
) -> dict[str, float]:
    """Return, by remedy, what training takes."""
    positives = min(spec.training.batch_size, sizes.train)
    compared = (
        2 * 4.0 * min(SCORES_OF_A_BLOCK, 2 * positives * sizes.entities)
        if spec.objective.against_all
        else BYTES_PER_PAIR * positives * (spec.negatives.count + 1)
    )
    pairs = compared + 2 * positives * profile.query_saved + beside.saved
    encoded = _encoded(spec, sizes, process.device, profile)
    tables = encoded * (profile.saved + TABLE_GRADIENTS * 4.0 * profile.table_width)
    parameters = profile.parameters(sizes.entities, sizes.relations)
    state = 4.0 * FLOATS_PER_PARAMETER * parameters
    return {
        "lower training.batch_size or negatives.count": SLACK * pairs,
        "make the model smaller (model.dim)": state + SLACK * (tables + profile.auxiliary_saved),
    }
