"""What is compared: the same step and the same ranking, done by this harness and by others.

A contender is one model on one graph. It trains for some seconds and says how many positives it
saw, and it ranks test triples and says how many queries that were. This module is what they share;
``ours``, ``pykeen_peer`` and ``torchkge_peer`` are the contenders.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from harness.data.graph import KnowledgeGraph

__all__ = [
    "COMPLEX",
    "CONTENDERS",
    "DIM",
    "EVERY_QUERY",
    "LEARNING_RATE",
    "MODELS",
    "NEGATIVES",
    "ONCE",
    "POSITIVES",
    "Contender",
    "Entrant",
    "Ranked",
    "StepClock",
    "Trained",
]

POSITIVES, NEGATIVES, DIM, LEARNING_RATE = 1024, 64, 256, 1e-3
"""Positives per step, independent negatives of each, width of a vector, rate of Adam."""
EVERY_QUERY, ONCE = "ranking, every query", "ranking, equal queries once"
"""Ways of ranking: two triples of one head and relation ask the same of all candidates."""
MODELS = ("rotate", "transe", "distmult", "complex", "pairre")
COMPLEX = ("rotate", "complex")
"""Models whose ``DIM`` components are complex: 2 * DIM numbers."""


class Trained(NamedTuple):
    """Positives of whole steps, and the seconds these took."""

    positives: int
    seconds: float


class Ranked(NamedTuple):
    """Queries (two per triple), and the seconds these took."""

    queries: int
    seconds: float


class Contender(Protocol):
    """A model on a graph."""

    @property
    def rankings(self) -> Mapping[str, Callable[[int], Ranked]]:
        """Ways of ranking by name; each ranks both sides of so many triples of test (0: of all)."""
        ...

    def train(self, seconds: float) -> Trained:
        """Train for about so long, after a few steps that do not count."""
        ...


@dataclass(frozen=True)
class Entrant:
    """A library that takes part.

    Attributes:
        title: as printed.
        package: what must be installed ("" for nothing).
        module: where its contender is made; importing it imports the library.
        models: those it has.
        make: function of the module, of a model's name and a graph.
        triples: of test, that it ranks (0: all).
        ranks: False for one whose ranking is another's.
    """

    title: str
    package: str
    module: str
    models: tuple[str, ...]
    make: str = "build"
    triples: int = 256
    ranks: bool = True

    @property
    def installed(self) -> bool:
        """Whether it can take part."""
        return not self.package or find_spec(self.package) is not None

    def load(self) -> Callable[[str, KnowledgeGraph], Contender]:
        """Import it and return what makes a contender of a model's name and a graph."""
        make: Callable[[str, KnowledgeGraph], Contender]
        make = getattr(importlib.import_module(f"harness.bench.{self.module}"), self.make)
        return make


CONTENDERS = {
    "ours": Entrant("harness", "", "ours", MODELS, triples=0),
    "pykeen": Entrant("PyKEEN", "pykeen", "pykeen_peer", MODELS),
    "pykeen+": Entrant(
        "PyKEEN+", "pykeen", "pykeen_peer", ("distmult", "complex"), "build_penalised", ranks=False
    ),
    "torchkge": Entrant("TorchKGE", "torchkge", "torchkge_peer", ("transe", "distmult", "complex")),
}


class StepClock:
    """Counts positives of whole steps over a stretch of time.

    Args:
        seconds: length of the stretch; the step in which it ends counts in full.
        warm_up: steps that do not count.
        now: the clock, in seconds.
    """

    def __init__(
        self, seconds: float, warm_up: int = 2, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._seconds, self._left, self._now = seconds, warm_up, now
        self._began = self._ended = 0.0
        self._positives = 0

    def over(self, positives: int) -> bool:
        """Take note of a finished step; return whether it was the last."""
        moment = self._now()
        if self._left > 0:
            self._left -= 1
            self._began = moment
            return False
        self._positives += positives
        self._ended = moment
        return moment - self._began >= self._seconds

    @property
    def trained(self) -> Trained:
        """What was counted."""
        return Trained(self._positives, self._ended - self._began)
