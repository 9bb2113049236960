"""This harness beside its peers, in processes of their own that alternate."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.bench.timing import OnProgress, silent
from harness.data.load import load_graph, source
from harness.errors import ConfigError, suggest
from tests.benchmarks.child import Child
from tests.benchmarks.contenders import CONTENDERS, MODELS, SAMPLED

Rates = dict[str, list[float]]
"""Name -> its rate in each round."""


@dataclass
class Comparison:
    """One model on one dataset.

    Attributes:
        model, dataset: their names.
        training: contender -> positives per second, per round.
        queries: contender -> queries per second of training, per round.
        ranking: contender -> kind of ranking -> queries per second, per round; empty when it was
            not measured.
        peaks: contender -> peak bytes of its first ranking over those at the process's start.
    """

    model: str
    dataset: str
    training: Rates = field(default_factory=dict)
    queries: Rates = field(default_factory=dict)
    ranking: dict[str, Rates] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)


def missing() -> list[str]:
    """Return a line for each library that is not installed."""
    titles = {e.package: e.title for e in reversed(CONTENDERS.values()) if not e.installed}
    return [f"{title} is not installed: pip install -e '.[peers]'" for title in titles.values()]


def compare(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    loss: str = SAMPLED,
    rounds: int,
    seconds: float,
    on_progress: OnProgress = silent,
) -> list[Comparison]:
    """Measure training on all datasets, and ranking on the first.

    Libraries that are not installed are skipped.

    Args:
        models: models that some contender has.
        datasets: names of datasets.
        loss: loss of the contenders.
        rounds: number of rounds; each measures every contender once.
        seconds: training time per round.
        on_progress: progress callback.

    Raises:
        ConfigError: a model is not compared.
        MissingDataError: a dataset is not on this machine.
        RunError: a contender failed.
    """
    entrants = [e for e in CONTENDERS.values() if e.loss == loss]
    compared = [model for model in MODELS if any(model in e.models for e in entrants)]
    for model in models:
        if model not in compared:
            raise ConfigError(f"--models {model}: is not compared{suggest(model, compared)}")
    names = [source(dataset).card.name for dataset in datasets]
    for name in names:
        load_graph(name)  # before minutes are spent on another
    comparisons = [Comparison(model, name) for name in names for model in models]
    first = [one for one in comparisons if one.dataset == names[0]]
    total = rounds * sum(
        len(_participants(one, loss)) + len(_participants(one, loss, ranks=True)) * (one in first)
        for one in comparisons
    )
    steps = itertools.count()

    def on_step(text: str) -> None:
        on_progress(next(steps), total, text)

    for one in comparisons:
        _measure(one, loss, rounds, seconds, ranks=one in first, on_step=on_step)
    return comparisons


def _participants(one: Comparison, loss: str, *, ranks: bool = False) -> list[str]:
    """Return the installed contenders with the model (with ``ranks``, those that rank)."""
    return [
        name
        for name, entrant in CONTENDERS.items()
        if entrant.installed
        and entrant.loss == loss
        and one.model in entrant.models
        and (entrant.ranks or not ranks)
    ]


def _measure(
    one: Comparison,
    loss: str,
    rounds: int,
    seconds: float,
    *,
    ranks: bool,
    on_step: Callable[[str], None],
) -> None:
    with contextlib.ExitStack() as stack:
        children = {
            name: stack.enter_context(contextlib.closing(Child(name, one.model, one.dataset)))
            for name in _participants(one, loss)
        }
        for _ in range(rounds if ranks else 0):
            for name in _participants(one, loss, ranks=True):
                on_step(f"{children[name].name}: ranking")
                _rank(one, name, children[name])
        for _ in range(rounds):
            for name, child in children.items():
                on_step(f"{child.name}: training")
                trained = child.train(seconds)
                one.training.setdefault(name, []).append(trained.positives / trained.seconds)
                one.queries.setdefault(name, []).append(trained.queries / trained.seconds)


def _rank(one: Comparison, name: str, child: Child) -> None:
    for kind in child.rankings:
        ranked, peak = child.rank(kind)
        rates = one.ranking.setdefault(name, {}).setdefault(kind, [])
        rates.append(ranked.queries / ranked.seconds)
        one.peaks.setdefault(name, peak)  # of the first ranking, before any training
