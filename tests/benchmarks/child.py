"""A contender in a process of its own, so that libraries share neither memory nor settings."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import psutil  # type: ignore[import-untyped]

from harness.data.load import load_graph
from harness.errors import RunError
from harness.peak import forget_peak, peak
from tests.benchmarks.contenders import CONTENDERS, Contender, Ranked, Trained

P = ParamSpec("P")
T = TypeVar("T")


def single_process() -> ProcessPoolExecutor:
    """Return a pool of one new process, which ends when this process is killed."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Child:
    """The parent's end of such a process; the process is ready when this returns.

    Args:
        contender: name in ``CONTENDERS``.
        model, dataset: model and dataset to measure.

    Raises:
        RunError: the process could not start.
    """

    def __init__(self, contender: str, model: str, dataset: str) -> None:
        entrant = CONTENDERS[contender]
        self.name = f"{entrant.title} {model} on {dataset}"
        self._pool = single_process()
        # ``harness/__init__.py`` lowers it for its own kernels; peers get the default of GCC's
        # libgomp back, which documents 300,000. OpenMP reads it when the process imports torch.
        peer = entrant.package and "OMP_WAIT_POLICY" not in os.environ
        with patch.dict(os.environ, {"GOMP_SPINCOUNT": "300000"} if peer else {}):
            self.rankings = self._call(_start, contender, model, dataset)

    def train(self, seconds: float) -> Trained:
        """Train for about this long."""
        return self._call(_train, seconds)

    def rank(self, kind: str) -> tuple[Ranked, int]:
        """Rank; also return the peak bytes over those at the process's start."""
        return self._call(_rank, kind)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self._pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            self.close()
            text = "its process was killed; it may need more memory than is free"
            raise RunError(f"{self.name}: {text}") from None
        except Exception as error:
            self.close()
            raise RunError(f"{self.name}: {error}") from error


# --- in the process ---------------------------------------------------------------------------

_state: dict[str, Any] = {}


def _start(name: str, model: str, dataset: str) -> list[str]:
    """Build the contender; return its kinds of ranking."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libraries print and log
        os.dup2(null, stream)
    build = CONTENDERS[name].load()
    start = psutil.Process().memory_info().rss
    contender = build(model, load_graph(dataset))
    _state.update(contender=contender, start=start, triples=CONTENDERS[name].triples)
    return list(contender.rankings)


def _train(seconds: float) -> Trained:
    contender: Contender = _state["contender"]
    return contender.train(seconds)


def _rank(kind: str) -> tuple[Ranked, int]:
    contender: Contender = _state["contender"]
    forget_peak()
    ranked = contender.rankings[kind](_state["triples"])
    return ranked, peak() - _state["start"]
