"""Interleaved timing of tasks, so that a disturbance reaches all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["OnProgress", "Spread", "Task", "interleaved", "silent"]

Task = Callable[[], object]
"""Work to be timed."""
OnProgress = Callable[[int, int, str], None]
"""Progress callback: number of completed steps, number of steps, description of the next step."""


def silent(completed: int, total: int, text: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of repeated measurements, in one unit."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one or more values."""
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
    """Time each task once per round, after one round of warm-up.

    Args:
        tasks: name -> task.
        rounds: number of measured rounds.
        on_progress: progress callback.
        again: run each task once untimed before its timed run, so that the previous task's cache
            contents do not matter; for tasks of milliseconds.

    Returns:
        name -> seconds.
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
