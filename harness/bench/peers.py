"""This harness beside its peers, in processes of their own that take turns."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.bench.child import Child
from harness.bench.contenders import CONTENDERS, MODELS
from harness.bench.timing import Tell
from harness.errors import ConfigError, suggest

__all__ = ["Comparison", "compare", "missing", "present"]

Rates = dict[str, list[float]]
"""Name -> its rate in each round."""


@dataclass
class Comparison:
    """One model on one dataset.

    Attributes:
        model, dataset: which.
        training: contender -> positives per second, per round.
        ranking: contender -> way of ranking -> queries per second, per round; empty when it was not
            measured.
        peaks: contender -> bytes at the peak of its first ranking over those of the process's
            start.
    """

    model: str
    dataset: str
    training: Rates = field(default_factory=dict)
    ranking: dict[str, Rates] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)


def present() -> list[str]:
    """Return the names of the contenders that are installed; this harness comes first."""
    return [name for name, entrant in CONTENDERS.items() if entrant.installed]


def missing() -> list[str]:
    """Return a line for each peer that is not installed."""
    titles = {e.package: e.title for e in reversed(CONTENDERS.values()) if not e.installed}
    return [
        f"{title} is not installed: pip install 'mmkgc-harness[peers]', in a checkout "
        "pip install -e '.[peers]'"
        for title in titles.values()
    ]


def compare(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    tell: Tell = lambda done, total, text: None,
) -> list[Comparison]:
    """Measure training on all datasets and ranking on the first.

    Args:
        models: of ``MODELS``.
        datasets: names of datasets.
        rounds: how often each contender has its turn.
        seconds: of training per turn.
        tell: told of the progress.

    Raises:
        ConfigError: a model that is not compared.
        MissingDataError: a dataset is not here.
        RunError: a contender failed.
    """
    from harness.data.load import load_graph, source

    for model in models:
        if model not in MODELS:
            raise ConfigError(f"--models {model}: is not compared{suggest(model, MODELS)}")
    names = [source(dataset).card.name for dataset in datasets]
    for name in names:
        load_graph(name)  # before minutes are spent on another
    cells = [Comparison(model, name) for name in names for model in models]
    ranked = [cell for cell in cells if cell.dataset == names[0]]
    turns = rounds * sum(
        len(_taking_part(cell)) + len(_taking_part(cell, ranks=True)) * (cell in ranked)
        for cell in cells
    )
    done = itertools.count()

    def say(text: str) -> None:
        tell(next(done), turns, text)

    for cell in cells:
        _measure(cell, rounds, seconds, ranking=cell in ranked, say=say)
    return cells


def _taking_part(cell: Comparison, *, ranks: bool = False) -> list[str]:
    """Return who has the model (with ``ranks``, who ranks with it)."""
    return [
        name
        for name in present()
        if cell.model in CONTENDERS[name].models and (CONTENDERS[name].ranks or not ranks)
    ]


def _measure(
    cell: Comparison, rounds: int, seconds: float, *, ranking: bool, say: Callable[[str], None]
) -> None:
    with contextlib.ExitStack() as stack:
        children = {
            name: stack.enter_context(Child(name, cell.model, cell.dataset))
            for name in _taking_part(cell)
        }
        for _ in range(rounds if ranking else 0):
            for name in _taking_part(cell, ranks=True):
                say(f"{children[name].name}: ranking")
                _rank(cell, name, children[name])
        for _ in range(rounds):
            for name, child in children.items():
                say(f"{child.name}: training")
                cell.training.setdefault(name, []).append(child.train(seconds))


def _rank(cell: Comparison, name: str, child: Child) -> None:
    for way in child.rankings:
        rate, peak = child.rank(way)
        cell.ranking.setdefault(name, {}).setdefault(way, []).append(rate)
        cell.peaks.setdefault(name, peak)  # before training has taken any
