"""Hypotheses of tables tested on rank files, and the results kept in the store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.analysis import hypotheses
from harness.analysis.hypotheses import Hypothesis, PairedTests, closest_rival
from harness.analysis.ranks import RankFiles
from harness.analysis.results import RunValues
from harness.analysis.significance import verdict
from harness.errors import DataError
from harness.evaluation.metrics import METRICS, RANK_METRICS
from harness.evaluation.ranks import Ranks, SideCounts
from harness.holm import holm
from harness.index import Side

PROTOCOL = "realistic/train+valid+test/head+tail/all"
TRIPLES = 60
Write = Callable[..., RunValues]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that leaves the ranks of a row's runs and returns their values."""

    def make(
        name: str,
        typical: float,
        metric: str = "mrr",
        bucket: str = "all",
        *,
        seeds: Sequence[int] = (0, 1, 2),
        warm: bool = True,
        triples: int = TRIPLES,
    ) -> RunValues:
        row = {}
        for seed in seeds:
            rng = np.random.default_rng([seed, sum(map(ord, name))])
            sides: dict[Side, SideCounts] = {}
            both: tuple[Side, Side] = ("head", "tail")
            for side in both:
                better = rng.geometric(1 / typical, triples).astype(np.int32) - 1
                many = np.full(triples, 1000, np.int32)
                sides[side] = SideCounts(better, np.zeros(triples, np.int32), many)
            numbered = np.arange(3 * triples).reshape(triples, 3)
            known = np.arange(triples) % 3 > 0 if warm else None
            ranks = Ranks(numbered, sides, known)
            folder = tmp_path / "runs" / f"{name}{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            ranks.save(folder / "ranks.npz")
            where = ranks.buckets.get(bucket)
            values = RANK_METRICS[metric](*ranks.ranks("realistic", subset=where))
            row[seed] = (folder.name, float(values.mean()))
        return row

    return make


@pytest.fixture
def files(tmp_path: Path) -> RankFiles:
    return RankFiles(tmp_path / "runs", "realistic")


@pytest.mark.parametrize("metric", [m for m in METRICS if METRICS[m].source == "metrics"])
@pytest.mark.parametrize("bucket", ["all", "warm", "cold"])
def test_values_per_triple_average_to_the_record(
    write: Write, files: RankFiles, metric: str, bucket: str
) -> None:
    first, second = (write(name, 5.0, metric, bucket) for name in "ab")
    pair = files.triples(first, second, metric, bucket)
    expected = {"all": TRIPLES, "warm": TRIPLES * 2 // 3, "cold": TRIPLES // 3}[bucket]
    assert pair[0].shape == pair[1].shape == (3, expected)
    assert pair[0].mean(1) == pytest.approx([value for _, value in first.values()])


def test_the_two_queries_of_a_triple_are_one_value(write: Write, files: RankFiles) -> None:
    row = write("a", 5.0)
    ranks = Ranks.load(files.runs / "a0" / "ranks.npz")
    by_hand = [
        (1 / (1 + head) + 1 / (1 + tail)) / 2
        for head, tail in zip(ranks.sides["head"].better, ranks.sides["tail"].better, strict=True)
    ]
    assert files.triples(row, row, "mrr", "all")[0][0] == pytest.approx(by_hand)


def test_seeds_are_paired_and_only_those_that_both_have(write: Write, files: RankFiles) -> None:
    first, second = write("a", 5.0, seeds=(0, 1, 2)), write("b", 5.0, seeds=(1, 2, 3))
    pair = files.triples(first, second, "mrr", "all")
    assert pair[0].mean(1) == pytest.approx([first[1][1], first[2][1]])
    assert pair[1].mean(1) == pytest.approx([second[1][1], second[2][1]])


def test_files_that_do_not_know_warm_triples_cannot_be_compared_on_them(
    write: Write, files: RankFiles
) -> None:
    first = write("a", 5.0, "mrr", "cold")
    assert files.triples(first, write("b", 5.0, "mrr", "cold"), "mrr", "cold") is not None
    assert files.triples(first, write("c", 5.0, warm=False), "mrr", "cold") is None


def test_ranks_of_another_execution_are_refused(write: Write, files: RankFiles) -> None:
    first, second = write("a", 5.0), write("b", 5.0)
    edited = {**first, 1: (first[1][0], first[1][1] + 0.01)}
    with pytest.raises(DataError, match=r"a1.ranks\.npz: mrr of these ranks .* another execution"):
        files.triples(edited, second, "mrr", "all")


def test_ranks_of_other_triples_are_refused(write: Write, files: RankFiles) -> None:
    with pytest.raises(DataError, match=r"b0.ranks\.npz: ranks of other triples"):
        files.triples(write("a", 5.0), write("b", 5.0, triples=30), "mrr", "all")


def test_the_rival_that_is_hardest_to_tell_from_decides(write: Write, files: RankFiles) -> None:
    first, near, far = write("a", 2.0), write("b", 2.2), write("c", 50.0)
    found = closest_rival(files, Hypothesis("mrr", "all", first, (far, near)))
    assert found.second == ("b0", "b1", "b2")
    pair = files.triples(first, near, "mrr", "all")
    assert found.p == verdict(pair[0] - pair[1]).p
    assert found.triples == TRIPLES


def test_a_rival_that_is_ahead_on_the_common_seeds_is_not_beaten(
    write: Write, files: RankFiles
) -> None:
    worse, better = write("a", 50.0), write("b", 2.0)
    assert closest_rival(files, Hypothesis("mrr", "all", worse, (better,))).p == 1.0
    assert closest_rival(files, Hypothesis("mrr", "all", better, (worse,))).p < 0.05


def test_a_low_mean_rank_is_ahead(write: Write, files: RankFiles) -> None:
    worse, better = write("a", 50.0, "mr"), write("b", 2.0, "mr")
    assert closest_rival(files, Hypothesis("mr", "all", better, (worse,))).p < 0.05
    assert closest_rival(files, Hypothesis("mr", "all", worse, (better,))).p == 1.0


# --- the store --------------------------------------------------------------------------


def test_p_values_are_adjusted_over_the_table(write: Write, tmp_path: Path) -> None:
    rows = [write("a", 2.0), write("b", 2.4), write("c", 4.0)]
    tested = [
        Hypothesis("mrr", "all", rows[0], (rows[1], rows[2])),
        Hypothesis("mrr", "all", rows[1], (rows[2],)),
    ]
    comparisons = PairedTests(tmp_path / "runs").test("main", PROTOCOL, tested)
    raw = [c.p for c in comparisons]
    assert [c.adjusted for c in comparisons] == pytest.approx(holm(raw))
    rivals = [h.rival_of(c) for h, c in zip(tested, comparisons, strict=True)]
    assert rivals == [0, 0]


def test_a_second_reading_opens_no_rank_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = [Hypothesis("mrr", "all", write("a", 2.0), (write("b", 4.0),))]
    first = PairedTests(tmp_path / "runs").test("main", PROTOCOL, tested)
    monkeypatch.setattr(hypotheses, "closest_rival", None)
    assert PairedTests(tmp_path / "runs").test("main", PROTOCOL, tested) == first


def test_another_result_of_the_same_run_makes_the_cache_void(write: Write, tmp_path: Path) -> None:
    tests = PairedTests(tmp_path / "runs")
    second = write("b", 4.0)
    old = tests.test(
        "main", PROTOCOL, [Hypothesis("mrr", "all", write("a", 2.0, seeds=(0, 1)), (second,))]
    )
    # The run is repeated elsewhere: same id, other ranks, another value in its record.
    shutil.rmtree(tmp_path / "runs" / "a0")
    again = {**write("z", 2.0, seeds=(0,)), **write("a", 2.0, seeds=(1,))}
    shutil.move(tmp_path / "runs" / "z0", tmp_path / "runs" / "a0")
    again[0] = ("a0", again[0][1])
    new = PairedTests(tmp_path / "runs").test(
        "main", PROTOCOL, [Hypothesis("mrr", "all", dict(sorted(again.items())), (second,))]
    )
    assert new[0].first == old[0].first == ("a0", "a1")
    assert new[0].difference != old[0].difference


def test_where_ranks_are_missing_nothing_is_tested(write: Write, tmp_path: Path) -> None:
    first, second = write("a", 2.0), write("b", 4.0)
    (tmp_path / "runs" / "b1" / "ranks.npz").unlink()
    tests = PairedTests(tmp_path / "runs")
    tested = [Hypothesis("mrr", "all", first, (second,)), Hypothesis("mrr", "all", first, (first,))]
    missing, there = tests.test("main", PROTOCOL, tested)
    assert missing is None
    assert there is not None


def test_ranks_that_come_later_are_used(write: Write, tmp_path: Path) -> None:
    first, second = write("a", 2.0), write("b", 4.0)
    path = tmp_path / "runs" / "b1" / "ranks.npz"
    path.rename(tmp_path / "kept")
    tested = [Hypothesis("mrr", "all", first, (second,))]
    assert PairedTests(tmp_path / "runs").test("main", PROTOCOL, tested) == [None]
    (tmp_path / "kept").rename(path)
    assert PairedTests(tmp_path / "runs").test("main", PROTOCOL, tested) != [None]


def test_a_damaged_rank_file_is_named_and_what_lacks_it_is_not_kept(
    write: Write, tmp_path: Path
) -> None:
    first, second = write("a", 2.0), write("b", 4.0)
    (tmp_path / "runs" / "b1" / "ranks.npz").write_bytes(b"no archive")
    tests = PairedTests(tmp_path / "runs")
    assert tests.test("main", PROTOCOL, [Hypothesis("mrr", "all", first, (second,))]) == [None]
    (problem,) = tests.problems
    assert "b1" in problem
    assert not (tmp_path / "comparisons").exists()


def test_a_folder_that_cannot_be_written_still_gets_tests(write: Write, tmp_path: Path) -> None:
    (tmp_path / "comparisons").touch()
    tested = [Hypothesis("mrr", "all", write("a", 2.0), (write("b", 4.0),))]
    assert PairedTests(tmp_path / "runs").test("main", PROTOCOL, tested) != [None]


def test_progress_is_reported_only_when_something_is_compared(write: Write, tmp_path: Path) -> None:
    progress = []
    tested = [Hypothesis("mrr", "all", write("a", 2.0), (write("b", 4.0),))]

    def on_progress(table: str, done: int, total: int) -> None:
        progress.append((table, done, total))

    for _ in range(2):
        PairedTests(tmp_path / "runs", on_progress).test("main", PROTOCOL, tested)
    assert progress == [("main", 1, 1)]
