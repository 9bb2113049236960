"""Two sides compared: each figure is what the tests say of the runs' ranks."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.analysis import significance as tests
from harness.analysis.compare import SideComparison, compare_sides
from harness.analysis.ranks import RankFiles
from harness.analysis.sides import Side, StoredSuites, find_sides
from harness.errors import ConfigError, DataError, MissingDataError
from harness.evaluation.ranks import Ranks
from harness.store.memory import MemoryStore

Row = Callable[..., list[str]]
METRICS = ("mrr", "hits@1", "hits@10", "mr")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests, "RESAMPLES", 199)


@pytest.fixture
def row(store: MemoryStore, make_row: Row, tmp_path: Path) -> Row:
    return lambda label, typical, **options: make_row(store, tmp_path, label, typical, **options)


@pytest.fixture
def files(tmp_path: Path) -> RankFiles:
    return RankFiles(tmp_path / "runs", "realistic")


@pytest.fixture
def compare(store: MemoryStore, files: RankFiles) -> Callable[..., SideComparison]:
    def compare(*metrics: str, bucket: str = "all") -> SideComparison:
        return compare_sides(
            files, *find_sides(StoredSuites(store), "toy:A", "toy:B"), metrics or ("mrr",), bucket
        )

    return compare


def ranks_of(files: RankFiles, side: Side, where: str = "all") -> np.ndarray:
    """Return ranks [seeds, triples, queries of a triple]."""
    found = []
    for record in side.tested.values():
        ranks = Ranks.load(files.runs / record.run_id / "ranks.npz")
        both = np.stack([1.0 + ranks.sides[s].better for s in ("head", "tail")], axis=1)
        found.append(both if where == "all" else both[ranks.buckets[where]])
    return np.stack(found)


VALUES = {
    "mrr": lambda ranks: 100 / ranks,
    "hits@1": lambda ranks: 100.0 * (ranks <= 1),
    "hits@10": lambda ranks: 100.0 * (ranks <= 10),
    "mr": lambda ranks: ranks,
}


@pytest.mark.parametrize("bucket", ["all", "warm", "cold"])
@pytest.mark.parametrize("metric", METRICS)
def test_figures_are_those_of_the_ranks(
    row: Row, files: RankFiles, compare: Callable[..., SideComparison], metric: str, bucket: str
) -> None:
    row("A", 4.0)
    row("B", 6.0)
    found = compare(metric, bucket=bucket)
    (compared,) = found.metrics
    first, second = (
        VALUES[metric](ranks_of(files, side, bucket)) for side in (found.first, found.second)
    )
    d = (first - second).mean(2)
    assert compared.first == pytest.approx(first.mean())
    assert compared.second == pytest.approx(second.mean())
    for mine, expected in (
        (compared.finding, tests.verdict(d)),
        (compared.triples, tests.over_triples(d)),
        (compared.seeds, tests.over_seeds(d)),
        (compared.both, tests.over_both(d)),
    ):
        shown = [mine.difference, mine.low, mine.high, mine.p]
        wanted = [expected.difference, expected.low, expected.high, expected.p]
        assert shown == pytest.approx(wanted, abs=1e-9)
    assert compared.effect.dz == pytest.approx(tests.effect(d).dz)
    assert compared.seeds_swapped == tests.permuted_seeds(d)
    sign = -1 if metric == "mr" else 1
    assert compared.share.won == pytest.approx((sign * (first - second) > 0).mean())
    assert compared.share.lost == pytest.approx((sign * (first - second) < 0).mean())
    assert compared.share.won + compared.share.tied + compared.share.lost == pytest.approx(1)
    assert compared.outlook.seeds == tests.seeds_to_settle(d)
    assert (found.triples, found.queries) == (d.shape[1], 2 * d.shape[1])


@pytest.mark.parametrize("bucket", ["warm", "cold"])
def test_without_unseen_entities_there_are_no_parts_to_compare(
    row: Row, compare: Callable[..., SideComparison], bucket: str
) -> None:
    row("A", 4.0, unseen=False)
    row("B", 6.0, unseen=False)
    with pytest.raises(
        ConfigError, match=r"^atlas: the test split has no unseen entity, so warm equals all$"
    ):
        compare(bucket=bucket)


def test_a_notebook_shows_the_verdict_above_a_table(
    row: Row, compare: Callable[..., SideComparison]
) -> None:
    row("A", 4.0)
    row("B", 6.0)
    found = compare("mrr", "hits@10")
    shown = found._repr_html_()
    assert shown.startswith(f"<table><tr><th>{html.escape(str(found))}</th></tr></table>")
    assert shown.count("<tr>") == 1 + 1 + 2
    assert f"<td>MRR</td><td>{found.metrics[0].first:.2f}</td>" in shown


def test_seeds_that_both_have_are_paired(row: Row, compare: Callable[..., SideComparison]) -> None:
    row("A", 4.0, seeds=(0, 1, 2))
    row("B", 6.0, seeds=(2, 1, 5))
    assert compare().seeds == (1, 2)


@pytest.mark.parametrize("metric", ["mrr", "mr"])
def test_better_is_a_higher_value_or_a_lower_rank(
    row: Row, compare: Callable[..., SideComparison], metric: str
) -> None:
    row("A", 2.0)
    row("B", 40.0)
    assert compare(metric).metrics[0].answer == "better"


@pytest.mark.parametrize("metric", ["mrr", "mr"])
def test_worse_is_the_other_way_round(
    row: Row, compare: Callable[..., SideComparison], metric: str
) -> None:
    row("A", 40.0)
    row("B", 2.0)
    assert compare(metric).metrics[0].answer == "worse"


def test_a_difference_within_noise_is_open(
    row: Row, compare: Callable[..., SideComparison]
) -> None:
    row("A", 4.0)
    row("B", 4.1)
    (compared,) = compare().metrics
    assert compared.finding.p > 0.05
    assert compared.answer == "open"


def test_one_seed_is_compared_over_triples_alone(
    row: Row, compare: Callable[..., SideComparison]
) -> None:
    row("A", 2.0, seeds=(0,))
    row("B", 40.0, seeds=(0, 1))
    (compared,) = compare().metrics
    assert compared.finding == compared.triples
    assert (compared.seeds, compared.both, compared.outlook) == (None, None, None)
    assert compared.answer == "better"


# --- refused ------------------------------------------------------------------------------


def test_ranks_that_are_not_here_are_named_with_what_helps(
    row: Row, files: RankFiles, compare: Callable[..., SideComparison]
) -> None:
    row("A", 4.0)
    gone = row("B", 4.0)[1]
    (files.runs / gone / "ranks.npz").unlink()
    with pytest.raises(
        MissingDataError, match=f"{gone}.*: these ranks are not on this machine; `harness"
    ):
        compare()


def test_ranks_of_a_seed_that_is_not_compared_are_not_needed(
    row: Row, files: RankFiles, compare: Callable[..., SideComparison]
) -> None:
    row("A", 4.0, seeds=(0, 1))
    (files.runs / row("B", 4.0)[2] / "ranks.npz").unlink()
    assert compare().seeds == (0, 1)


def test_another_test_split_is_refused(row: Row, compare: Callable[..., SideComparison]) -> None:
    row("A", 4.0)
    row("B", 4.0, triples=30)
    with pytest.raises(DataError, match="ranks of other triples"):
        compare()


@pytest.mark.parametrize(
    ("metric", "bucket", "told"),
    [
        ("hit@10", "all", r"no metric 'hit@10' of ranks; did you mean 'hits@10'\?"),
        ("easy", "all", "no metric 'easy' of ranks"),
        ("mrr", "cool", r"no bucket 'cool'; did you mean 'cold'\?"),
    ],
)
def test_unknown_names_get_the_nearest(
    row: Row, compare: Callable[..., SideComparison], metric: str, bucket: str, told: str
) -> None:
    row("A", 4.0)
    row("B", 4.0)
    with pytest.raises(ConfigError, match=told):
        compare(metric, bucket=bucket)
