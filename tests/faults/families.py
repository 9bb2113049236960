"""The kinds of faults of the campaign, and the table of docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- the table: pytest -m faults -->\n", "<!-- end -->\n"


class Family(NamedTuple):
    """A kind of fault.

    Attributes:
        title: its row in the table.
        least: cases that a whole campaign tries.
    """

    title: str
    least: int


FAMILIES = {
    "training": Family("killed while training, saving checkpoints and storing results", 55),
    "study": Family("killed while a study runs or a trial is promoted", 36),
    "report": Family("killed while tables, pages and exported records are written", 27),
    "exchange": Family("killed while records, scores and databases are imported", 44),
    "data": Family("killed while data are imported or fetched", 36),
    "cache": Family("killed while features are encoded or splits cleaned", 22),
    "removal": Family("killed while runs are removed", 9),
    "writers": Family("killed while a process writes records or makes the database", 40),
    "races": Family("one of 8 processes that do the same at once", 100),
    "disk": Family("full disk", 60),
    "read-only": Family("results on a read-only file system", 20),
    "descriptors": Family("no file descriptors left", 30),
    "memory": Family("little memory", 20),
    "suites": Family("mutated suites and studies", 300),
    "splits": Family("mutated files of triples and names", 200),
    "features": Family("mutated feature files", 220),
    "scores": Family("mutated files of scores and ranks", 100),
    "records": Family("mutated records, exports and run folders", 200),
    "databases": Family("mutated databases", 70),
}


def seeds(count: int, *, sample: int, size: int = 25) -> list[Any]:
    """Return parameters of a test: ranges of seeds, the first of which is tried by default."""
    starts = [0, *range(sample, count, size)]
    ranges = [range(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]
    return [
        pytest.param(
            part,
            id=f"{part.start}-{part.stop - 1}",
            marks=[pytest.mark.faults] + [pytest.mark.sample] * (part.start == 0),
        )
        for part in ranges
    ]


@dataclass
class Count:
    """Cases of one family."""

    tried: int = 0
    survived: int = 0


def table(counts: Mapping[str, Count]) -> str:
    """Return the table of the page."""
    lines = ["| fault | tried | survived |", "| --- | ---: | ---: |"]
    lines += [f"| {FAMILIES[k].title} | {c.tried} | {c.survived} |" for k, c in counts.items()]
    total = [sum(c.tried for c in counts.values()), sum(c.survived for c in counts.values())]
    return "\n".join([*lines, f"| all | {total[0]} | {total[1]} |"]) + "\n"


def read_table(page: str) -> dict[str, Count]:
    """Return the counts of a page by the titles of its rows, "all" included."""
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", _parts(page)[1], re.MULTILINE)
    return {title: Count(int(tried), int(survived)) for title, tried, survived in rows}


def write_table(counts: Mapping[str, Count], path: Path = PAGE) -> None:
    """Replace the table of the page."""
    before, _, after = _parts(path.read_text())
    path.write_text(f"{before}{BEGIN}\n{table(counts)}\n{END}{after}")


def _parts(page: str) -> tuple[str, str, str]:
    before, _, rest = page.partition(BEGIN)
    middle, _, after = rest.partition(END)
    return before, middle, after


def is_whole(counts: Mapping[str, Count]) -> bool:
    """Return whether every family was tried as often as a whole campaign does."""
    return all(counts[name].tried >= family.least for name, family in FAMILIES.items())


class Cases:
    """Cases of a family, each with what is wrong with its end ("" for nothing)."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.tried = 0
        self.problems: list[str] = []

    def add(self, case: str, problems: Iterable[str], tried: int = 1) -> None:
        """Count a case, or several that end in one way."""
        wrong = [problem for problem in problems if problem]
        self.tried += max(tried, len(wrong) > 0)
        if wrong:
            self.problems.append(f"{self.family}, {case}: " + "; ".join(wrong))

    @property
    def survived(self) -> int:
        return max(0, self.tried - len(self.problems))
