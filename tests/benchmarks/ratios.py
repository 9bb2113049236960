"""Ratios of rates: this harness by its peers, and every contender by its matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.bench.text import between, note, short, table
from harness.bench.timing import Spread
from tests.benchmarks.contenders import (
    BATCH,
    COMPLEX,
    CONTENDERS,
    DIM,
    EVERY_QUERY,
    FLOORS,
    NEGATIVES,
    ONCE,
    PENALTY,
    POSITIVES,
)
from tests.benchmarks.peers import Comparison

TARGETS = {
    ("training", "rotate", "pykeen"): 25.0,
    ("training", "transe", "pykeen"): 15.0,
    ("training", "distmult", "pykeen"): 15.0,
    ("training", "pairre", "pykeen"): 20.0,
    ("training", "complex", "pykeen"): 50.0,
    (EVERY_QUERY, "rotate", "pykeen"): 120.0,
    (ONCE, "rotate", "pykeen"): 160.0,
    (EVERY_QUERY, "transe", "torchkge"): 20.0,
}
"""("training" or a kind of ranking, model, peer) -> ratio to reach."""
TARGETS_ON = {"training": ("mkg-w", "kvc16k"), EVERY_QUERY: ("mkg-w",), ONCE: ("mkg-w",)}
"""Datasets of the targets."""
MEMORY_LIMIT = 2**30
"""Bytes that ranking may take over those at the process's start."""
MIB = 2**20


@dataclass(frozen=True)
class Ratio:
    """A line of the table of sampled negatives.

    Attributes:
        what: "training" or a kind of ranking.
        dataset, model, peer: the comparison; peer is "" where none is installed.
        ours, theirs: rates per second.
        times: ours by theirs, of the same round.
        must: target of the ratio, if any.
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
        """Whether the target is not reached."""
        if self.must is None or self.times is None:
            return False
        return self.times.median < self.must


def ratios(comparisons: Sequence[Comparison]) -> list[Ratio]:
    """Return the ratios of training, then those of ranking, in the order of measurement."""
    training = [ratio for one in comparisons for ratio in _training(one)]
    return training + [ratio for one in comparisons for ratio in _ranking(one)]


def _training(one: Comparison) -> Iterator[Ratio]:
    theirs = {peer: rates for peer, rates in one.training.items() if peer != "ours"}
    yield from _against("training", one, one.training["ours"], theirs)


def _ranking(one: Comparison) -> Iterator[Ratio]:
    """Yield the ratios of each of our kinds of ranking by the one of each peer."""
    theirs = {
        peer: rates
        for peer, kinds in one.ranking.items()
        if peer != "ours"
        for rates in kinds.values()
    }
    for kind, rates in one.ranking.get("ours", {}).items():
        yield from _against(kind, one, rates, theirs)


def _against(
    what: str, one: Comparison, ours: Sequence[float], theirs: Mapping[str, Sequence[float]]
) -> Iterator[Ratio]:
    if not theirs:
        yield Ratio(what, one.dataset, one.model, "", Spread.of(ours))
    for peer, rates in theirs.items():
        spreads = Spread.of(ours), Spread.of(rates), _by_round(ours, rates)
        yield Ratio(what, one.dataset, one.model, peer, *spreads, _target(what, one, peer))


def _by_round(rates: Sequence[float], others: Sequence[float]) -> Spread:
    return Spread.of([rate / other for rate, other in zip(rates, others, strict=True)])


def _target(what: str, one: Comparison, peer: str) -> float | None:
    if one.dataset not in TARGETS_ON[what]:
        return None
    return TARGETS.get((what, one.model, peer.removesuffix("+")))


def ratios_text(comparisons: Sequence[Comparison]) -> str:
    """Format the tables of training and ranking, and the memory of ranking."""
    blocks = []
    measured = ratios(comparisons)
    for what in dict.fromkeys(ratio.what for ratio in measured):
        unit = "positive triples per second" if what == "training" else "queries per second"
        rows = [_row(ratio) for ratio in measured if ratio.what == what]
        headers = ["dataset", "model", "peer", "ours/s", "peer/s", "ratio", "of rounds", "must", ""]
        blocks.append(f"{what.capitalize()}: {unit}\n\n{table(headers, rows, left_columns=3)}")
    return "\n\n".join([*blocks, *_memory(comparisons), SEMANTICS])


def _row(ratio: Ratio) -> list[str]:
    compared, ours = [ratio.dataset, ratio.model], short(ratio.ours.median)
    if ratio.theirs is None or ratio.times is None:
        return [*compared, "none", ours, "-", "-", "-", "-", ""]
    return [
        *compared,
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
    f"{' and '.join(COMPLEX)}. Whole steps after a warm-up, contenders interleaved; ratio: median "
    "over rounds. Ranking is filtered and predicts both sides: ours all of test, peers its first "
    f"{CONTENDERS['pykeen'].triples} triples. Peers draw negatives without a filter, ours never "
    "draws a known triple. PyKEEN+ adds the penalty on vectors that PyKEEN has by default and the "
    "others have not. PyKEEN's RotatE has the Euclidean norm of the difference where ours "
    "adds up moduli."
)


@dataclass(frozen=True)
class Share:
    """A line of the table against all entities.

    Attributes:
        contender, model, dataset: the contender, and what it was measured on.
        positives: positive triples per second.
        by_ours: its positives per second by those of ours in fp32, of the same round.
        of_products: its queries per second by those of the products alone at its precision.
    """

    contender: str
    model: str
    dataset: str
    positives: Spread
    by_ours: Spread
    of_products: Spread


def shares(comparisons: Sequence[Comparison]) -> list[Share]:
    """Return the rates against all entities, in the order of measurement."""
    return [
        Share(
            name,
            one.model,
            one.dataset,
            Spread.of(rates),
            _by_round(rates, one.training["ours-all"]),
            _by_round(one.queries[name], one.queries[FLOORS[CONTENDERS[name].precision]]),
        )
        for one in comparisons
        for name, rates in one.training.items()
    ]


def shares_text(comparisons: Sequence[Comparison]) -> str:
    """Format a line per contender."""
    headers = ["dataset", "by", "", "triples/s", "range", "by ours", "of products"]
    rows = [
        [
            one.dataset,
            CONTENDERS[one.contender].title,
            CONTENDERS[one.contender].precision,
            short(one.positives.median),
            between(one.positives),
            f"{one.by_ours.median:.2f}",
            f"{one.of_products.median:.2f}",
        ]
        for one in shares(comparisons)
    ]
    title = "Training against all entities: positive triples per second"
    return f"{title}\n\n{table(headers, rows, left_columns=3)}\n\n{SEMANTICS_AGAINST_ALL}"


SEMANTICS_AGAINST_ALL = note(
    f"The same for all: ComplEx with {DIM} complex components, softmax over all entities, "
    f"{2 * BATCH} queries per step (both sides of {BATCH} triples), cubes of moduli with "
    f"weight {PENALTY}, Adagrad. Whole steps after a warm-up, contenders interleaved. by ours: "
    "triples/s over those of this harness in fp32; of products: queries/s over those of the "
    "matrix products alone at the same precision (scores, and the gradients of both factors); "
    "medians over rounds. PyKEEN, LCWA: its queries are distinct, with all their answers, so that "
    "a query stands for more triples; its cubes are a mean over all entities, those of the others "
    "over the batch. as kbc: a plain PyTorch loop from the paper's description (Lacroix et al. "
    "2018)."
)
