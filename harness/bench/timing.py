"""Times of things that are measured side by side, so that whatever disturbs one disturbs all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Spread", "Tell", "interleaved"]

Tell = Callable[[int, int, str], None]
"""Progress: steps done, steps in all, what is being done."""


@dataclass(frozen=True)
class Spread:
    """Least, middle and largest of repeated measurements, in one unit."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(min(values), statistics.median(values), max(values))

    def rate(self, amount: float) -> Spread:
        """Return the spread of ``amount`` per second, of times in seconds."""
        return Spread(amount / self.high, amount / self.median, amount / self.low)


def interleaved(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    tell: Tell = lambda done, total, text: None,
    *,
    again: bool = False,
) -> dict[str, Spread]:
    """Return the seconds of each work; every round does each once, after one to warm up.

    Args:
        works: name -> what to time.
        rounds: measured goes of each.
        tell: told of the progress.
        again: in each round do each once untimed first, so that none finds the caches as another
            one left them; for works of milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    steps = (rounds + 1) * len(works)
    for number in range(rounds + 1):
        for place, (name, work) in enumerate(works.items()):
            tell(number * len(works) + place, steps, name)
            if again and number:
                work()
            began = time.perf_counter()
            work()
            took = time.perf_counter() - began
            if number:
                seconds[name].append(took)
    tell(steps, steps, "")
    return {name: Spread.of(values) for name, values in seconds.items()}
