"""How the time of a training step and of ranking grows with each size while the others are held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness import catalog, kernels
from harness.bench import growth_cases as cases
from harness.bench.exponents import Exponent, fit, upper_half
from harness.bench.growth_cases import Factor, factors
from harness.bench.memory import require
from harness.bench.text import note, short, table
from harness.bench.timing import Spread, Tell
from harness.errors import ConfigError, suggest
from harness.peak import forget_peak, peak

__all__ = ["LARGEST", "Growth", "growth_text", "measure"]

LARGEST = 1_000_000
"""Entities that the factors "entities" and "candidates" end at."""
BYTES_PER_ENTITY = 5 * 2**30 // 10**6
"""Of a graph, its table and what Adam keeps of it: a million entities take 5 GiB, measured."""


@dataclass(frozen=True)
class Growth:
    """What was measured of one factor.

    Attributes:
        factor, what: its name, and "step" or "ranking".
        seconds: size -> time in each round.
        exponent: fitted on the upper half of the sizes.
        peak: most bytes the process took.
    """

    factor: str
    what: str
    seconds: dict[int, list[float]]
    exponent: Exponent
    peak: int


def measure(
    names: Sequence[str],
    *,
    minutes: float,
    largest: int = LARGEST,
    tell: Tell = lambda done, total, text: None,
) -> Iterator[Growth]:
    """Yield the growth with each factor.

    Every round takes the sizes in turn, so that what disturbs one disturbs all; one size at a time
    is in memory.

    Args:
        names: of ``factors``; all when empty.
        minutes: in all; every factor has an equal part, and two rounds at least.
        largest: number of entities that is reached.
        tell: told of the progress.

    Raises:
        ConfigError: there is no such factor.
        MachineError: the largest graph does not fit into memory.
    """
    known = factors(largest)
    for name in names:
        if name not in known:
            raise ConfigError(f"--only {name}: no such factor{suggest(name, known)}")
    require(BYTES_PER_ENTITY * largest, f"graphs of {largest:,} entities")
    catalog.load_models()
    kernels.prepare("cpu")
    chosen = list(names) or list(known)
    for place, name in enumerate(chosen):

        def say(text: str, place: int = place) -> None:
            tell(place, len(chosen), text)

        yield _measure(name, known[name], 60 * minutes / len(chosen), say)
    tell(len(chosen), len(chosen), "")


def _measure(name: str, factor: Factor, seconds: float, say: Callable[[str], None]) -> Growth:
    forget_peak()
    times: dict[int, list[float]] = {size: [] for size in factor.sizes}
    began, rounds, took = time.monotonic(), 0, 0.0
    while rounds < 2 or time.monotonic() - began + took < seconds:
        started = time.monotonic()
        for size in factor.sizes:
            say(f"{factor.what}, {name}: {size:,}")
            times[size].append(_time(factor.build(size)))
        rounds, took = rounds + 1, time.monotonic() - started
    exponent = fit({float(size): values for size, values in times.items()})
    return Growth(name, factor.what, times, exponent, peak())


def _time(work: Callable[[], object]) -> float:
    """Return the shorter of two goes, after one to warm up."""
    work()
    goes = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        goes.append(time.perf_counter() - began)
    return min(goes)


def growth_text(found: Sequence[Growth]) -> str:
    """Return a line per factor."""
    headers = ["of", "with", "fitted on", "ms there", "exponent", "95 % interval", "GiB"]
    return f"{table(headers, [_row(one) for one in found], left=2)}\n\n{_about()}"


def _row(one: Growth) -> list[str]:
    fitted = [int(size) for size in upper_half(list(one.seconds))]
    times = [1000 * Spread.of(one.seconds[size]).median for size in (fitted[0], fitted[-1])]
    fit_ = one.exponent
    return [
        one.what,
        one.factor,
        f"{_count(fitted[0])}-{_count(fitted[-1])}",
        "-".join(short(value) for value in times),
        f"{fit_.value:.2f}",
        f"{fit_.low:.2f} to {fit_.high:.2f}",
        f"{one.peak / 2**30:.1f}",
    ]


def _count(size: int) -> str:
    return f"{size / 1e6:g}M" if size >= 10**6 else f"{size:,}"


def _about() -> str:
    return note(
        "Exponent of a power law fitted on the larger half of the sizes; 1 is linear, less means "
        "that something is paid whatever the size. GiB: the most the process took. Held, but for "
        f"the factor: RotatE, {cases.POSITIVES} positives, {cases.NEGATIVES} negatives of each, "
        f"{cases.DIM} complex components, {cases.ENTITIES:,} entities; where entities or "
        f"candidates grow, {cases.SMALL_DIM} components and {2 * cases.TRIPLES_RANKED} queries. "
        f"Modalities: MoCME, the structure counted as one, {cases.OWNERS:,} entities, features "
        f"of {cases.FEATURES} numbers, {cases.FUSED_DIM} complex components."
    )
