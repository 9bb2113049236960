"""What a table asks of its results before it marks them, and what the answers mark; pure.

A column asks: is the best row ahead of every other? Is the second ahead of all but the best? Is a
row ahead of the row it is compared with, or that one of it? Each question is one hypothesis: "ahead
of every other" is decided by the rival it is hardest to tell from (an intersection-union test), so
the best and the second cost one each, however many rows there are. Holm's correction is over the
table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from harness.evaluation.metrics import METRICS
from harness.report.results import Entry
from harness.report.table import Column, Lead, Mark, Sign, TableCell
from harness.store.records import Comparison

__all__ = [
    "ALPHA",
    "Answer",
    "Ask",
    "Asked",
    "Opponents",
    "Question",
    "common_seeds",
    "mark",
]

ALPHA = 0.05
"""Level of all marks."""


@dataclass(frozen=True)
class Question:
    """Is a row ahead of every rival on one metric?

    Attributes:
        metric, bucket: on the test split.
        first: the row that is ahead by its mean.
        rivals: the others, nearest first.
    """

    metric: str
    bucket: str
    first: Entry
    rivals: tuple[Entry, ...]


class Answer(NamedTuple):
    """The comparison that decides a question, and which rival it is with."""

    comparison: Comparison
    rival: int


Ask = Callable[[Sequence[Question]], Sequence[Answer | None]]
"""Answers the questions of one table; None where the ranks of a run are not there."""


def common_seeds(first: Entry, second: Entry) -> list[int]:
    """Return the seeds that both rows have, in order: those that are compared."""
    return sorted(first.keys() & second.keys())


@dataclass(frozen=True)
class Opponents:
    """Which rows are compared with which, beside best and second.

    Attributes:
        proposed: rows that are compared with the best of the others (the best baseline) in each
            column.
        baseline: the row that all others are compared with, where none is proposed.
    """

    proposed: frozenset[int] = frozenset()
    baseline: int | None = None

    def pairs(self, order: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield the rows of a column, the best first, with the rows they are compared with."""
        if self.proposed:
            best = next((row for row in order if row not in self.proposed), None)
            ours = [row for row in order if row in self.proposed]
        else:
            best = self.baseline
            ours = [row for row in order if row != best]
        if best is not None:
            yield from ((row, best) for row in ours)


class Asked(NamedTuple):
    """What came of the questions of a table.

    Attributes:
        grid: the cells with their marks.
        answered: number of hypotheses that Holm's correction was over.
        single: some comparison had fewer than two seeds in common.
        unknown: some question was not answered.
    """

    grid: list[list[TableCell]]
    answered: int = 0
    single: bool = False
    unknown: bool = False


class _Place(NamedTuple):
    """Which cell a question is about, and which rows its rivals are."""

    role: Mark | Sign
    row: int
    column: int
    ahead: int
    rivals: tuple[int, ...]


def mark(
    columns: Sequence[Column],
    labels: Sequence[str],
    grid: Sequence[Sequence[TableCell]],
    entries: Sequence[Sequence[Entry]],
    opponents: Opponents,
    ask: Ask | None,
) -> Asked:
    """Mark what is best, second, and distinguishable from the row it is compared with.

    Args:
        columns, labels: of the table.
        grid: cells [rows][columns].
        entries: the runs behind each cell.
        opponents: which rows are compared with which.
        ask: answers the questions of the table, all at once; nothing is marked without.
    """
    if ask is None:
        return Asked([list(row) for row in grid])
    places = [
        place
        for i, column in enumerate(columns)
        if column.higher_is_better is not None and column.split == "test"
        for place in _places(i, _order(column, [row[i] for row in grid]), opponents)
    ]
    testable = [p for p in places if _testable(p, entries)]
    questions = [_question(columns[p.column], p, entries) for p in testable]
    answers = dict(zip(testable, ask(questions) if questions else (), strict=True))
    known = {place: answer for place, answer in answers.items() if answer is not None}
    marked = [list(row) for row in grid]
    for place in places:
        if answer := known.get(place):
            _write(marked, place, answer, columns[place.column], labels)
    for column in range(len(columns)):
        _gate([row[column] for row in marked], marked, column)
    return Asked(
        marked,
        len(known),
        single=len(testable) < len(places),
        unknown=len(known) < len(answers),
    )


def _order(column: Column, cells: Sequence[TableCell]) -> list[int]:
    """Return the rows that have a value, the best first."""
    measured = [(cell.value, i) for i, cell in enumerate(cells) if cell.value is not None]
    sign = -1 if column.higher_is_better else 1
    return [i for _, i in sorted(measured, key=lambda pair: (sign * pair[0], pair[1]))]


def _places(column: int, order: list[int], opponents: Opponents) -> list[_Place]:
    places = []
    if len(order) > 1:
        places.append(_Place(Mark.BEST, order[0], column, order[0], tuple(order[1:])))
    if len(order) > 2:
        places.append(_Place(Mark.SECOND, order[1], column, order[1], tuple(order[2:])))
    for row, other in opponents.pairs(order):
        if other in order:
            ahead, behind = sorted((row, other), key=order.index)
            role = Sign.BETTER if ahead == row else Sign.WORSE
            places.append(_Place(role, row, column, ahead, (behind,)))
    return places


def _testable(place: _Place, entries: Sequence[Sequence[Entry]]) -> bool:
    """Return whether every rival has two seeds in common with the row that is ahead."""
    first = entries[place.ahead][place.column]
    return all(len(common_seeds(first, entries[r][place.column])) > 1 for r in place.rivals)


def _question(column: Column, place: _Place, entries: Sequence[Sequence[Entry]]) -> Question:
    rivals = tuple(entries[row][place.column] for row in place.rivals)
    return Question(column.metric, column.bucket, entries[place.ahead][place.column], rivals)


def _write(
    grid: list[list[TableCell]],
    place: _Place,
    answer: Answer,
    column: Column,
    labels: Sequence[str],
) -> None:
    """Put an answer into its cell, and the mark that it allows."""
    cell = grid[place.row][place.column]
    rival = place.rivals[answer.rival] if place.row == place.ahead else place.ahead
    lead = _lead(answer.comparison, column, labels[rival], turned=place.row != place.ahead)
    significant = lead.adjusted <= ALPHA
    if isinstance(place.role, Mark):
        cell = replace(cell, lead=lead, mark=place.role if significant else None)
    else:
        cell = replace(cell, against=lead, sign=place.role if significant else None)
    grid[place.row][place.column] = cell


def _gate(cells: Sequence[TableCell], grid: list[list[TableCell]], column: int) -> None:
    """Leave a second only below a best; of two rows the other one is the second."""
    best = [i for i, cell in enumerate(cells) if cell.mark is Mark.BEST]
    others = [i for i, cell in enumerate(cells) if cell.value is not None and i not in best]
    if best and len(others) == 1:
        grid[others[0]][column] = replace(cells[others[0]], mark=Mark.SECOND)
    if not best:
        for i in others:
            grid[i][column] = replace(cells[i], mark=None)


def _lead(comparison: Comparison, column: Column, rival: str, *, turned: bool) -> Lead:
    """Return a comparison in the printed unit, from the side of the cell."""
    factor = METRICS[column.metric].factor * (-1 if turned else 1)
    low, high = sorted((factor * comparison.low, factor * comparison.high))
    return Lead(
        rival=rival,
        difference=factor * comparison.difference,
        low=low,
        high=high,
        p=comparison.p,
        adjusted=comparison.adjusted,
        seeds=len(comparison.first),
    )
