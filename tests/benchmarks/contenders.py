"""Contenders: the same training step and the same ranking, by this harness and by others.

A contender is a model on a graph. It trains for some seconds and reports its positives, and it
ranks test triples and reports its queries. Two losses are compared: against sampled negatives
(``SAMPLED``) and against all entities (``AGAINST_ALL``).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple, Protocol

from harness.data.graph import KnowledgeGraph

SAMPLED, AGAINST_ALL = "sampled", "one_vs_all"
POSITIVES, NEGATIVES, DIM, LEARNING_RATE = 1024, 64, 256, 1e-3
"""Sampled negatives: positives per step, independent negatives of each, width, rate of Adam."""
BATCH, PENALTY, ADAGRAD_RATE, SCALE = 512, 0.1, 0.1, 1e-3
"""Against all: triples per step, weight of N3, rate of Adagrad, deviation of initial values."""
EVERY_QUERY, ONCE = "ranking, every query", "ranking, equal queries once"
"""Kinds of ranking: two triples with the same head and relation make the same query."""
MODELS = ("rotate", "transe", "distmult", "complex", "pairre")
COMPLEX = ("rotate", "complex")
"""Models whose ``DIM`` components are complex: 2 * DIM numbers."""


class Trained(NamedTuple):
    """Positives and queries of whole steps, and their seconds."""

    positives: int
    queries: int
    seconds: float


class Ranked(NamedTuple):
    """Ranked queries (two per triple), and their seconds."""

    queries: int
    seconds: float


class Contender(Protocol):
    """A model on a graph."""

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """Kinds of ranking; each ranks both sides of a number of test triples (0: all)."""
        ...

    def train(self, seconds: float) -> Trained:
        """Train for about this long, after a few steps that do not count."""
        ...


@dataclass(frozen=True)
class Entrant:
    """A way to make contenders.

    Attributes:
        title: name in tables.
        package: package it needs ("" for none).
        module: module of its builder; importing it imports the library.
        models: models it has.
        build: name of the builder, a function of a model's name and a graph.
        triples: test triples to rank (0: all).
        ranks: False where another entrant ranks the same.
        loss: loss of its training, ``SAMPLED`` or ``AGAINST_ALL``.
        precision: precision of its matrix products.
    """

    title: str
    package: str
    module: str
    models: tuple[str, ...] = ("complex",)
    build: str = "build"
    triples: int = 256
    ranks: bool = True
    loss: str = SAMPLED
    precision: str = "fp32"

    @property
    def installed(self) -> bool:
        """Whether its package is installed."""
        return not self.package or find_spec(self.package) is not None

    def load(self) -> Callable[[str, KnowledgeGraph], Contender]:
        """Import the builder."""
        builder: Callable[[str, KnowledgeGraph], Contender]
        builder = getattr(importlib.import_module(f"tests.benchmarks.{self.module}"), self.build)
        return builder


def _against_all(
    title: str, module: str, build: str, precision: str = "fp32", package: str = ""
) -> Entrant:
    return Entrant(
        title, package, module, build=build, ranks=False, loss=AGAINST_ALL, precision=precision
    )


CONTENDERS = {
    "ours": Entrant("harness", "", "ours", MODELS, triples=0),
    "pykeen": Entrant("PyKEEN", "pykeen", "pykeen_peer", MODELS),
    "pykeen+": Entrant(
        "PyKEEN+", "pykeen", "pykeen_peer", ("distmult", "complex"), "build_penalised", ranks=False
    ),
    "torchkge": Entrant("TorchKGE", "torchkge", "torchkge_peer", ("transe", "distmult", "complex")),
    "ours-all": _against_all("harness", "ours", "build_against_all"),
    "ours-all-bf16": _against_all("harness", "ours", "build_against_all_bf16", "bf16"),
    "pykeen-lcwa": _against_all("PyKEEN, LCWA", "pykeen_peer", "build_lcwa", package="pykeen"),
    "kbc": _against_all("as kbc", "against_all", "build_kbc"),
    "products": _against_all("products alone", "against_all", "build_products"),
    "products-bf16": _against_all("products alone", "against_all", "build_products_bf16", "bf16"),
}
"""By name; the first of a loss is this harness."""
FLOORS = {"fp32": "products", "bf16": "products-bf16"}
"""Precision -> the contender that computes the matrix products of a step and nothing else."""


class StepClock:
    """Counts positives and queries of whole steps over a stretch of time.

    Args:
        seconds: length of the stretch; the step in which it ends counts in full.
        warm_up: steps that do not count.
        now: clock, in seconds.
    """

    def __init__(
        self, seconds: float, warm_up: int = 2, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._seconds, self._warm_up, self._now = seconds, warm_up, now
        self._start = self._end = 0.0
        self._positives = self._queries = 0

    def over(self, positives: int, queries: int | None = None) -> bool:
        """Count a finished step; return whether it was the last.

        Args:
            positives: positives of the step.
            queries: queries of the step; two per positive by default.
        """
        now = self._now()
        if self._warm_up > 0:
            self._warm_up -= 1
            self._start = now
            return False
        self._positives += positives
        self._queries += 2 * positives if queries is None else queries
        self._end = now
        return now - self._start >= self._seconds

    @property
    def trained(self) -> Trained:
        """The count."""
        return Trained(self._positives, self._queries, self._end - self._start)
