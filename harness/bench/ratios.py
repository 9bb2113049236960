"""How many times faster: ratios of rates, and what the project holds itself to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.bench.contenders import (
    COMPLEX,
    CONTENDERS,
    DIM,
    EVERY_QUERY,
    NEGATIVES,
    ONCE,
    POSITIVES,
)
from harness.bench.peers import Comparison
from harness.bench.text import between, note, short, table
from harness.bench.timing import Spread

__all__ = ["MEMORY_LIMIT", "TARGETS", "Ratio", "Target", "ratios", "ratios_text"]


@dataclass(frozen=True)
class Target:
    """A ratio that must be reached.

    Attributes:
        what: "training" or a way of ranking.
        model, peer: of the comparison.
        at_least: the ratio.
        datasets: where it must be.
    """

    what: str
    model: str
    peer: str
    at_least: float
    datasets: tuple[str, ...]


TRAINING_ON, RANKING_ON = ("mkg-w", "kvc16k"), ("mkg-w",)
TARGETS = (
    Target("training", "rotate", "pykeen", 25, TRAINING_ON),
    Target("training", "transe", "pykeen", 15, TRAINING_ON),
    Target("training", "distmult", "pykeen", 15, TRAINING_ON),
    Target("training", "pairre", "pykeen", 20, TRAINING_ON),
    Target("training", "complex", "pykeen", 50, TRAINING_ON),
    Target(EVERY_QUERY, "rotate", "pykeen", 120, RANKING_ON),
    Target(ONCE, "rotate", "pykeen", 160, RANKING_ON),
    Target(EVERY_QUERY, "transe", "torchkge", 20, RANKING_ON),
)
MEMORY_LIMIT = 2**30
"""Bytes that ranking may take over what the process took at its start."""
MIB = 2**20


@dataclass(frozen=True)
class Ratio:
    """One line of the table.

    Attributes:
        what: "training" or a way of ranking.
        dataset, model, peer: of the comparison; no peer ("") where none is installed.
        ours, theirs: rates per second.
        times: ours by theirs, of turns that followed each other.
        must: the least that the project asks of itself; None where it asks nothing.
    """

    what: str
    dataset: str
    model: str
    peer: str
    ours: Spread
    theirs: Spread | None = None
    times: Spread | None = None
    must: float | None = None

    @property
    def missed(self) -> bool:
        """Whether a target is not reached."""
        if self.must is None or self.times is None:
            return False
        return self.times.median < self.must


def ratios(comparisons: Sequence[Comparison]) -> list[Ratio]:
    """Return the ratios of training, then those of ranking, in the order they were measured."""
    training = [ratio for one in comparisons for ratio in _training(one)]
    return training + [ratio for one in comparisons for ratio in _ranking(one)]


def _training(one: Comparison) -> Iterator[Ratio]:
    theirs = {peer: rates for peer, rates in one.training.items() if peer != "ours"}
    yield from _against("training", one, one.training["ours"], theirs)


def _ranking(one: Comparison) -> Iterator[Ratio]:
    """Yield ratios of each way of ours by the one way of each peer."""
    theirs = {
        peer: rates
        for peer, ways in one.ranking.items()
        if peer != "ours"
        for rates in ways.values()
    }
    for way, rates in one.ranking.get("ours", {}).items():
        yield from _against(way, one, rates, theirs)


def _against(
    what: str, one: Comparison, ours: Sequence[float], theirs: Mapping[str, Sequence[float]]
) -> Iterator[Ratio]:
    if not theirs:
        yield Ratio(what, one.dataset, one.model, "", Spread.of(ours))
    for peer, rates in theirs.items():
        times = Spread.of([mine / other for mine, other in zip(ours, rates, strict=True)])
        must = _must(what, one, peer)
        spreads = Spread.of(ours), Spread.of(rates), times
        yield Ratio(what, one.dataset, one.model, peer, *spreads, must)


def _must(what: str, one: Comparison, peer: str) -> float | None:
    asked = (what, one.model, peer.removesuffix("+"))
    for target in TARGETS:
        if (target.what, target.model, target.peer) == asked and one.dataset in target.datasets:
            return target.at_least
    return None


def ratios_text(comparisons: Sequence[Comparison]) -> str:
    """Return the tables of training and ranking, and the memory that ranking took."""
    blocks = []
    found = ratios(comparisons)
    for what in dict.fromkeys(ratio.what for ratio in found):
        unit = "positive triples per second" if what == "training" else "queries per second"
        rows = [_row(ratio) for ratio in found if ratio.what == what]
        headers = ["dataset", "model", "peer", "ours/s", "peer/s", "ratio", "of rounds", "must", ""]
        blocks.append(f"{what.capitalize()}: {unit}\n\n{table(headers, rows, left=3)}")
    return "\n\n".join([*blocks, *_memory(comparisons), SEMANTICS])


def _row(ratio: Ratio) -> list[str]:
    about = [ratio.dataset, ratio.model]
    ours = short(ratio.ours.median)
    if ratio.theirs is None or ratio.times is None:
        return [*about, "none", ours, "-", "-", "-", "-", ""]
    return [
        *about,
        CONTENDERS[ratio.peer].title,
        ours,
        short(ratio.theirs.median),
        short(ratio.times.median),
        between(ratio.times),
        "-" if ratio.must is None else short(ratio.must),
        "missed" if ratio.missed else "",
    ]


def _memory(comparisons: Sequence[Comparison]) -> list[str]:
    rows = [
        [one.dataset, one.model, CONTENDERS[contender].title, short(size / MIB)]
        for one in comparisons
        for contender, size in one.peaks.items()
    ]
    if not rows:
        return []
    title = "Ranking, peak memory over that of the process's start"
    limit = f"Ours must stay below {MEMORY_LIMIT / MIB:,.0f} MiB."
    return [f"{title}\n\n{table(['dataset', 'model', 'by', 'MiB'], rows, 3)}\n\n{limit}"]


SEMANTICS = note(
    f"The same for all: {POSITIVES} positives per step, {NEGATIVES} independent negatives of each, "
    f"self-adversarial loss, Adam, fp32; vectors of {DIM} components, complex ones in "
    f"{' and '.join(COMPLEX)}. Whole steps after a warm-up, contenders in turn; ratio: middle of "
    "the rounds. Ranking is filtered and predicts both sides: ours all of test, peers its first "
    f"{CONTENDERS['pykeen'].triples} triples. Peers draw negatives without a filter, ours never "
    "draws a known triple. PyKEEN+ adds the penalty on vectors that PyKEEN has by default and the "
    "others have not. PyKEEN's RotatE has the Euclidean norm of the difference where ours "
    "adds up moduli."
)
