"""Times of tasks measured side by side, so that a disturbance reaches all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["OnProgress", "Spread", "Task", "interleaved", "silent"]

Task = Callable[[], object]
"""A piece of work to be timed."""
OnProgress = Callable[[int, int, str], None]
"""Progress callback: steps done, steps in all, description of the step that starts."""


def silent(done: int, total: int, text: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of repeated measurements, in one unit."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(min(values), statistics.median(values), max(values))

    def rate(self, amount: float) -> Spread:
        """Convert times in seconds to rates of ``amount`` per second."""
        return Spread(amount / self.high, amount / self.median, amount / self.low)


def interleaved(
    tasks: Mapping[str, Task],
    rounds: int,
    on_progress: OnProgress = silent,
    *,
    again: bool = False,
) -> dict[str, Spread]:
    """Time each task once per round, after one round of warm-up; return seconds by task.

    Args:
        tasks: name -> task.
        rounds: measured repeats of each task.
        on_progress: progress callback.
        again: run each task once untimed before its timed run, so that no measurement inherits
            another's cache state; for tasks of milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    steps = (rounds + 1) * len(tasks)
    for number in range(rounds + 1):
        for position, (name, task) in enumerate(tasks.items()):
            on_progress(number * len(tasks) + position, steps, name)
            if again and number:
                task()
            start = time.perf_counter()
            task()
            elapsed = time.perf_counter() - start
            if number:
                seconds[name].append(elapsed)
    on_progress(steps, steps, "")
    return {name: Spread.of(times) for name, times in seconds.items()}
