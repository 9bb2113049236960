"""Marks of a table: the hypotheses of each column, and the cells that their tests mark; pure.

Is the best row ahead of every other? Is the second ahead of all but the best? Is a row ahead of, or
behind, the row that it is compared with? Each is one hypothesis; Holm's correction is over the
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.analysis.comparisons import Comparison
from harness.analysis.hypotheses import ALPHA, Hypothesis, HypothesisTest
from harness.analysis.ranks import common_seeds
from harness.analysis.results import RunValues
from harness.evaluation.metrics import METRICS
from harness.report.table import Column, Mark, RivalTest, Sign, TableCell

__all__ = ["MarkedCells", "mark"]


class MarkedCells(NamedTuple):
    """Cells of a table with their marks.

    Attributes:
        rows: cells, row by row.
        tests: number of hypotheses that Holm's correction was over.
        notes: reasons why cells that might have been marked are not.
    """

    rows: list[list[TableCell]]
    tests: int = 0
    notes: tuple[str, ...] = ()


class _CellTest(NamedTuple):
    """The cell that a hypothesis may mark, and the rows that it compares."""

    role: Mark | Sign
    row: int
    column: int
    leader: int
    rivals: tuple[int, ...]


def mark(
    columns: Sequence[Column],
    labels: Sequence[str],
    cells: Sequence[Sequence[TableCell]],
    runs: Sequence[Sequence[RunValues]],
    test: HypothesisTest | None,
    *,
    proposed: frozenset[int] = frozenset(),
    baseline: int | None = None,
) -> MarkedCells:
    """Mark the cells of a table.

    Args:
        columns: columns of the table.
        labels: labels of the rows, as printed.
        cells: cells [rows, columns].
        runs: runs behind each cell.
        test: tests all hypotheses of the table together; nothing is marked without.
        proposed: rows that are compared with the best of the others in each column.
        baseline: the row that all others are compared with, where none is proposed.
    """
    if test is None:
        return MarkedCells([list(row) for row in cells])
    candidates = [
        candidate
        for i, column in enumerate(columns)
        if column.higher_is_better is not None and column.split == "test"
        for candidate in _cell_tests(
            i, _order(column, [row[i] for row in cells]), proposed, baseline
        )
    ]
    testable = [candidate for candidate in candidates if _testable(candidate, runs)]
    hypotheses = [_hypothesis(columns[c.column], c, runs) for c in testable]
    comparisons = test(hypotheses) if hypotheses else ()
    marked = [list(row) for row in cells]
    tests = 0
    for candidate, hypothesis, comparison in zip(testable, hypotheses, comparisons, strict=True):
        if comparison is not None:
            tests += 1
            rival = candidate.rivals[hypothesis.rival_of(comparison)]
            _write(marked, candidate, comparison, rival, columns[candidate.column], labels)
    for column_index in range(len(columns)):
        _second_needs_best(marked, column_index)
    has_signs = any(isinstance(candidate.role, Sign) for candidate in testable)
    notes = _notes(marked, tests, len(testable), len(candidates), has_signs=has_signs)
    return MarkedCells(marked, tests, tuple(notes))


def _order(column: Column, cells: Sequence[TableCell]) -> list[int]:
    """Return the rows that have a value, the best first."""
    measured = [(cell.value, i) for i, cell in enumerate(cells) if cell.value is not None]
    sign = -1 if column.higher_is_better else 1
    return [i for _, i in sorted(measured, key=lambda pair: (sign * pair[0], pair[1]))]


def _cell_tests(
    column: int, order: list[int], proposed: frozenset[int], baseline: int | None
) -> Iterator[_CellTest]:
    """Yield the tests of a column whose rows are ordered, the best first."""
    if len(order) > 1:
        yield _CellTest(Mark.BEST, order[0], column, order[0], tuple(order[1:]))
    if len(order) > 2:
        yield _CellTest(Mark.SECOND, order[1], column, order[1], tuple(order[2:]))
    opponent = next((row for row in order if row not in proposed), None) if proposed else baseline
    if opponent not in order:
        return
    for row in order:
        if row == opponent or (proposed and row not in proposed):
            continue
        leader, rival = sorted((row, opponent), key=order.index)
        sign = Sign.BETTER if leader == row else Sign.WORSE
        yield _CellTest(sign, row, column, leader, (rival,))


def _testable(candidate: _CellTest, runs: Sequence[Sequence[RunValues]]) -> bool:
    """Return whether every rival has two seeds in common with the leader."""
    leader = runs[candidate.leader][candidate.column]
    return all(
        len(common_seeds(leader, runs[row][candidate.column])) > 1 for row in candidate.rivals
    )


def _hypothesis(
    column: Column, candidate: _CellTest, runs: Sequence[Sequence[RunValues]]
) -> Hypothesis:
    rivals = tuple(runs[row][candidate.column] for row in candidate.rivals)
    return Hypothesis(
        column.metric, column.bucket, runs[candidate.leader][candidate.column], rivals
    )


def _write(
    rows: list[list[TableCell]],
    candidate: _CellTest,
    comparison: Comparison,
    rival: int,
    column: Column,
    labels: Sequence[str],
) -> None:
    """Put a comparison into its cell, and the mark that it allows."""
    cell = rows[candidate.row][candidate.column]
    ahead = candidate.row == candidate.leader
    label = labels[rival if ahead else candidate.leader]
    test = _rival_test(comparison, column, label, reversed_=not ahead)
    significant = test.adjusted <= ALPHA
    if isinstance(candidate.role, Mark):
        cell = replace(cell, lead=test, mark=candidate.role if significant else None)
    else:
        cell = replace(cell, against=test, sign=candidate.role if significant else None)
    rows[candidate.row][candidate.column] = cell


def _second_needs_best(rows: list[list[TableCell]], column: int) -> None:
    """Drop a second without a best; mark the other one of two rows as second."""
    cells = [row[column] for row in rows]
    best = [i for i, cell in enumerate(cells) if cell.mark is Mark.BEST]
    unmarked = [i for i, cell in enumerate(cells) if cell.value is not None and i not in best]
    if best and len(unmarked) == 1:
        rows[unmarked[0]][column] = replace(cells[unmarked[0]], mark=Mark.SECOND)
    if not best:
        for i in unmarked:
            rows[i][column] = replace(cells[i], mark=None)


def _rival_test(
    comparison: Comparison, column: Column, rival: str, *, reversed_: bool
) -> RivalTest:
    """Return a comparison in the printed unit, from the side of the cell."""
    factor = METRICS[column.metric].factor * (-1 if reversed_ else 1)
    low, high = sorted((factor * comparison.low, factor * comparison.high))
    return RivalTest(
        rival=rival,
        difference=factor * comparison.difference,
        low=low,
        high=high,
        p=comparison.p,
        adjusted=comparison.adjusted,
        seeds=len(comparison.first),
    )


def _notes(
    rows: Sequence[Sequence[TableCell]],
    tests: int,
    testable: int,
    candidates: int,
    *,
    has_signs: bool,
) -> Iterator[str]:
    """Yield why cells that might have been marked are not."""
    if testable < candidates:
        yield "No marks in columns where rows have no two seeds in common: the noise is unknown."
    if tests < testable:
        yield "No marks in columns where the ranks of runs are not there to be compared."
    if tests and not any(cell.mark or cell.sign for row in rows for cell in row):
        # Not "no difference is significant": a second that is ahead of the rest has no mark either.
        against = ", nor any row better or worse than the one it is compared with" * has_signs
        yield (
            f"In no column is the best row ahead of all others{against}, beyond the noise of seeds "
            f"and of test triples (p < {ALPHA:g}, Holm over {tests} test{'s' * (tests != 1)}). Two "
            "rows may differ all the same: `harness compare` tests a pair."
        )
