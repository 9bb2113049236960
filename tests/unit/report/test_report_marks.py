"""Marks: the hypotheses of a column, and the cells that their tests allow to be marked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.analysis.comparisons import Comparison
from harness.analysis.hypotheses import Hypothesis, HypothesisTest
from harness.analysis.results import RunValues
from harness.report.marks import MarkedCells, mark
from harness.report.table import Column, Mark, Sign, TableCell

MRR = Column("atlas", "atlas", "mrr", "all", "MRR")
RANK = Column("atlas", "atlas", "mr", "all", "MR", higher_is_better=False)


def run_values(row: int, value: float, seeds: int = 3) -> RunValues:
    return {seed: (f"r{row}s{seed}", value) for seed in range(seeds)}


def oracle(
    p: float | dict[tuple[int, int], float], tested: list[Hypothesis] | None = None
) -> HypothesisTest:
    """Return a made-up test: p-values by the rows compared (leader, rival), or one for all."""

    def compare(hypothesis: Hypothesis, rival: RunValues) -> Comparison:
        first, second = hypothesis.leader[0], rival[0]
        pair = (int(first[0][1]), int(second[0][1]))
        value = p if isinstance(p, float) else p[pair]
        numbers = {"difference": first[1] - second[1], "low": -0.5, "high": 0.25}
        return Comparison(
            tuple(i for i, _ in hypothesis.leader.values()),
            tuple(i for i, _ in rival.values()),
            hypothesis.metric,
            hypothesis.bucket,
            triples=10,
            **numbers,
            p=value,
            adjusted=value,
        )

    def test(hypotheses: Sequence[Hypothesis]) -> Sequence[Comparison]:
        if tested is not None:
            tested.extend(hypotheses)
        return [max((compare(h, r) for r in h.rivals), key=lambda c: c.p) for h in hypotheses]

    return test


def marked(
    values: Sequence[float | None],
    test: HypothesisTest | None,
    *,
    proposed: frozenset[int] = frozenset(),
    baseline: int | None = None,
    column: Column = MRR,
    seeds: Sequence[int] = (),
) -> MarkedCells:
    """Return the marks of one column; values in percent."""
    rows = range(len(values))
    many = dict(enumerate(seeds))
    return mark(
        [column],
        [f"row {i}" for i in rows],
        [[TableCell(value)] for value in values],
        [
            [{} if v is None else run_values(i, v / 100, many.get(i, 3))]
            for i, v in enumerate(values)
        ],
        test,
        proposed=proposed,
        baseline=baseline,
    )


def marks(cells: MarkedCells) -> list[Mark | None]:
    return [row[0].mark for row in cells.rows]


def signs(cells: MarkedCells) -> list[Sign | None]:
    return [row[0].sign for row in cells.rows]


def test_best_and_second_when_both_are_ahead_of_the_rest() -> None:
    found = marked([10.0, 30.0, 20.0], oracle(0.01))
    assert marks(found) == [None, Mark.BEST, Mark.SECOND]
    assert found.tests == 2


def test_lower_is_better_for_ranks() -> None:
    found = marked([10.0, 30.0, 20.0], oracle(0.01), column=RANK)
    assert marks(found) == [Mark.BEST, None, Mark.SECOND]


def test_best_is_ahead_of_every_other_row_not_only_of_the_next() -> None:
    # Row 2 is further behind than row 1, but noisier.
    found = marked([30.0, 29.0, 20.0], oracle({(0, 1): 0.01, (0, 2): 0.2, (1, 2): 0.01}))
    assert marks(found) == [None, None, None]
    assert found.rows[0][0].lead.rival == "row 2"


def test_no_second_below_a_best_that_is_not_marked() -> None:
    found = marked([30.0, 29.9, 10.0], oracle({(0, 1): 0.4, (0, 2): 0.01, (1, 2): 0.01}))
    assert marks(found) == [None, None, None]


def test_the_note_on_a_table_without_marks_says_no_more_than_was_tested() -> None:
    # Rows 0 and 1 are level, and both are clearly ahead of row 2.
    found = marked([30.0, 29.9, 10.0], oracle({(0, 1): 0.4, (0, 2): 0.01, (1, 2): 0.01}))
    assert found.notes == (
        "In no column is the best row ahead of all others, beyond the noise of seeds and of test "
        "triples (p < 0.05, Holm over 2 tests). Two rows may differ all the same: `harness "
        "compare` tests a pair.",
    )
    (note,) = marked([30.0, 10.0], oracle(0.2), baseline=1).notes
    assert "nor any row better or worse than the one it is compared with" in note


def test_no_second_among_equals() -> None:
    found = marked([30.0, 20.0, 19.9], oracle({(0, 1): 0.01, (0, 2): 0.01, (1, 2): 0.6}))
    assert marks(found) == [Mark.BEST, None, None]


def test_of_two_rows_the_other_is_the_second() -> None:
    assert marks(marked([30.0, 20.0], oracle(0.01))) == [Mark.BEST, Mark.SECOND]
    assert marks(marked([30.0, 20.0], oracle(0.06))) == [None, None]


def test_a_lone_measurement_is_neither_best_nor_second() -> None:
    tested: list[Hypothesis] = []
    assert marks(marked([None, 30.0], oracle(0.0, tested))) == [None, None]
    assert tested == []


def test_the_level_is_five_percent_after_the_correction() -> None:
    assert marks(marked([30.0, 20.0], oracle(0.05)))[0] is Mark.BEST
    assert marks(marked([30.0, 20.0], oracle(0.0501)))[0] is None


def test_one_seed_says_nothing_of_noise() -> None:
    tested: list[Hypothesis] = []
    found = marked([30.0, 20.0], oracle(0.0, tested), seeds=[1, 3])
    assert marks(found) == [None, None]
    assert "the noise is unknown" in found.notes[0]
    assert tested == []


def test_a_row_with_one_seed_keeps_others_from_being_best() -> None:
    # Nobody knows whether it is behind.
    found = marked([30.0, 20.0, 10.0], oracle(0.0), seeds=[3, 3, 1])
    assert marks(found) == [None, None, None]


def test_rows_whose_ranks_are_missing_are_not_marked() -> None:
    found = marked([30.0, 20.0], lambda hypotheses: [None] * len(hypotheses))
    assert marks(found) == [None, None]
    assert "ranks of runs are not there" in found.notes[0]
    assert found.tests == 0


def test_without_a_test_nothing_is_marked() -> None:
    found = marked([30.0, 20.0], None)
    assert marks(found) == [None, None]
    assert not found.notes


@pytest.mark.parametrize(
    "column",
    [
        Column("atlas", "atlas", "mrr", "all", "MRR", split="valid"),
        Column("atlas", "atlas", "hard", "all", "Hard", higher_is_better=None, split=""),
    ],
)
def test_only_what_is_better_or_worse_on_the_test_split_is_compared(column: Column) -> None:
    tested: list[Hypothesis] = []
    marked([30.0, 20.0], oracle(0.0, tested), column=column)
    assert tested == []


def test_proposed_rows_are_compared_with_the_best_baseline() -> None:
    # Row 3 is the best baseline of this column.
    p = {(0, 3): 0.01, (3, 1): 0.02, (0, 1): 0.01, (0, 2): 0.01, (3, 2): 0.3}
    found = marked([40.0, 10.0, 5.0, 30.0], oracle(p), proposed=frozenset({0, 1}), baseline=2)
    assert signs(found) == [Sign.BETTER, Sign.WORSE, None, None]
    assert [row[0].against.rival for row in found.rows[:2]] == ["row 3", "row 3"]


def test_all_rows_are_compared_with_the_baseline_where_none_is_proposed() -> None:
    found = marked([40.0, 10.0, 30.0], oracle(0.01), baseline=2)
    assert signs(found) == [Sign.BETTER, Sign.WORSE, None]
    better, worse = (found.rows[i][0].against for i in (0, 1))
    assert better.difference == pytest.approx(10.0)
    assert (better.low, better.high) == (-50.0, 25.0)
    # Seen from the row that is behind:
    assert worse.difference == pytest.approx(-20.0)
    assert (worse.low, worse.high) == (-25.0, 50.0)


def test_no_sign_without_significance() -> None:
    found = marked([40.0, 10.0], oracle(0.2), baseline=1)
    assert signs(found) == [None, None]
    assert found.rows[0][0].against.p == 0.2


def test_all_hypotheses_are_tested_at_once_for_the_correction_is_over_the_table() -> None:
    tested: list[Hypothesis] = []
    calls = []

    def test(hypotheses: Sequence[Hypothesis]) -> Sequence[Comparison | None]:
        calls.append(len(hypotheses))
        return oracle(0.01, tested)(hypotheses)

    values = [30.0, 20.0, 10.0]
    mark(
        [MRR, RANK],
        ["a", "b", "c"],
        [[TableCell(v), TableCell(v)] for v in values],
        [[run_values(i, v), run_values(i, v)] for i, v in enumerate(values)],
        test,
    )
    assert calls == [4]
    assert [q.metric for q in tested] == ["mrr", "mrr", "mr", "mr"]
