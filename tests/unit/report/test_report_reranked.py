"""Tables made from stored ranks: parts of the test split, and the same runs under other rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.analysis.query import ALL, Results, Selection
from harness.cli.main import app
from harness.data.load import load_graph
from harness.errors import ConfigError, DataError
from harness.evaluation import shadow
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks, SideCounts
from harness.plan.spec import Protocol
from harness.report.render import render
from harness.report.table import Table, TableCell
from harness.report.tables.breakdown import breakdown
from harness.report.tables.protocols import protocols
from harness.store import open_store
from harness.store.base import ResultStore
from harness.store.memory import MemoryStore
from harness.store.records import Cell, MetricValue, RunRecord
from tests.toys import SMALL

TITLE = "Synthetic"
HISTORY = tuple({"epoch": e, "valid_mrr": m} for e, m in ((2.0, 0.1), (4.0, 0.3), (6.0, 0.2)))
MakeRecord = Callable[..., RunRecord]


def ranks_of(better: int, tied: int = 0, candidates: int = 40, **sides: int) -> Ranks:
    """Every query has these counts; ``head`` or ``tail`` gives another number of better ones."""
    triples = load_graph(SMALL).splits["test"].numpy()
    n = len(triples)

    def side(count: int) -> SideCounts:
        numbers = (count, tied, candidates)
        return SideCounts(*(np.full(n, number, np.int32) for number in numbers))

    of = {name: side(sides.get(name, better)) for name in ("head", "tail")}
    return Ranks(triples, of)  # type: ignore[arg-type]


class Desk:
    """A store and run folders with made-up runs of one suite."""

    def __init__(self, store: ResultStore, runs: Path, make_record: MakeRecord) -> None:
        self.store, self.runs, self.make_record = store, runs, make_record
        self.cells: list[Cell] = []

    def add(
        self,
        label: str,
        seed: int,
        ranks: Ranks | None,
        *,
        sealed: Mapping[int, tuple[Ranks, Ranks]] | None = None,
        said: Ranks | None = None,
        features: str = "none",
        suite: str = "toy",
        trained: bool = True,
    ) -> str:
        run_id = f"r{len(self.cells):03d}"
        measured = measure(said or ranks or ranks_of(1), Protocol())
        self.store.add(
            self.make_record(
                run_id,
                dataset=SMALL,
                dataset_digest=load_graph(SMALL).digest,
                features=features,
                feature_digest="" if features == "none" else "f",
                seed=seed,
                metrics=tuple(MetricValue(split="test", **m._asdict()) for m in measured),
                history=HISTORY if trained else (),
                diagnostics={"best_epoch": 4.0 if trained else 0.0},
                notes=(),
            )
        )
        folder = self.runs / run_id
        folder.mkdir(parents=True)
        if ranks is not None:
            ranks.save(folder / "ranks.npz")
        for epoch, (filtered, raw) in (sealed or {}).items():
            shadow.write(folder / "shadow", epoch, filtered, raw)
        place: dict[str, Any] = {"suite": suite, "label": label, "dataset": SMALL}
        self.cells.append(
            Cell(**place, position=len(self.cells), features=features, seed=seed, run_id=run_id)
        )
        self.store.plan(suite, "", [c for c in self.cells if c.suite == suite])
        return run_id

    def breakdown(self, by: str, selection: Selection = ALL, **options: Any) -> Table:
        return breakdown(Results(self.store, selection), self.runs, by, **options)

    def protocols(self, **options: Any) -> Table:
        return protocols(Results(self.store), self.runs, **options)


@pytest.fixture
def desk(tmp_path: Path, make_record: MakeRecord) -> Desk:
    return Desk(MemoryStore(), tmp_path / "runs", make_record)


def cells(table: Table, row: str, metric: str = "") -> dict[str, TableCell]:
    """Cells of a row by the title of the column, or of a metric by rule in a group."""
    if metric:
        (place,) = [i for i, c in enumerate(table.columns) if c.metric == metric]
        return {r.label: r.cells[place] for r in table.rows if r.group == row}
    (found,) = [r for r in table.rows if r.label == row]
    return {c.title: cell for c, cell in zip(table.columns, found.cells, strict=True)}


# --- breakdown ------------------------------------------------------------------------------


def test_a_breakdown_has_a_column_per_bucket_with_its_questions(desk: Desk) -> None:
    desk.add("A", 0, ranks_of(0, head=3))
    desk.add("A", 1, ranks_of(0, head=1))
    found = cells(desk.breakdown("side"), "A")
    assert list(found) == ["head (20)", "tail (20)"]
    assert (found["tail (20)"].value, found["tail (20)"].n) == (100.0, 2)
    assert found["head (20)"].value == pytest.approx((25 + 50) / 2)
    assert found["head (20)"].sd == pytest.approx(25 / 2**0.5)
    assert found["head (20)"].runs == ("r000", "r001")


@pytest.mark.parametrize("by", ["relation", "cardinality", "degree", "seen", "leak"])
def test_the_buckets_of_a_graph_hold_all_its_questions(desk: Desk, by: str) -> None:
    desk.add("A", 0, ranks_of(4))
    found = cells(desk.breakdown(by, metric="mr"), "A")
    assert sum(int(title.rpartition("(")[2][:-1]) for title in found) == 40
    assert {cell.value for cell in found.values()} == {5.0}


def test_modalities_are_those_of_the_runs_features(desk: Desk) -> None:
    """A row without features stands in the same columns."""
    desk.add("A", 0, ranks_of(4), features="all")
    desk.add("S", 0, ranks_of(4))
    table = desk.breakdown("modality")
    assert "feature set 'all'" in "".join(table.notes)
    assert {c.value for row in ("A", "S") for c in cells(table, row).values()} == {20.0}
    assert sum(int(title.rpartition("(")[2][:-1]) for title in cells(table, "A")) == 40


def test_too_many_buckets_share_the_last_column(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.tables.breakdown.MOST", 3)
    desk.add("A", 0, ranks_of(4))
    found = cells(desk.breakdown("relation"), "A")
    assert len(found) == 3
    assert list(found)[2].startswith("2 others (")
    assert sum(int(title.rpartition("(")[2][:-1]) for title in found) == 40


def test_a_run_without_ranks_is_named(desk: Desk) -> None:
    desk.add("A", 0, ranks_of(1))
    gone = desk.add("A", 1, None)
    lost = desk.add("B", 0, None)
    other = desk.add("C", 0, ranks_of(1), said=ranks_of(2))
    table = desk.breakdown("side")
    (row,) = [row for row in table.rows if row.label == "A"]
    assert row.notes == (f"no ranks here: run {gone}",)
    assert [c.n for c in row.cells] == [1, 1]
    assert {c.reason for c in cells(table, "B").values()} == {f"no ranks here: run {lost}"}
    assert {c.reason for c in cells(table, "C").values()} == {
        f"ranks of another execution: run {other}"
    }
    (desk.runs / "r000" / "ranks.npz").write_bytes(b"x")
    assert "damaged ranks: run r000" in cells(desk.breakdown("side"), "A")["head (20)"].reason


def test_ranks_of_another_graph_are_not_divided(desk: Desk) -> None:
    ranks = ranks_of(1)
    desk.add("A", 0, Ranks(ranks.triples[::-1].copy(), ranks.sides))
    assert cells(desk.breakdown("side"), "A")["head (20)"].reason.startswith("ranks of other tri")


def test_a_graph_that_is_not_here_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add("A", 0, ranks_of(1))
    record = desk.store.get("r000").model_copy(update={"dataset_digest": "other"})
    desk.store.remove("r000")
    desk.store.add(record)
    with pytest.raises(ConfigError, match="the graph here is not the one of the runs"):
        desk.breakdown("side")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "relations"}, "no buckets by 'relations'; did you mean 'relation'"),
        ({"by": "side", "metric": "easy"}, "--metric easy: is not made of ranks; choose from"),
        ({"by": "side", "suite": "yot"}, "--suite yot: no runs of it here"),
        ({"by": "side", "selection": Selection(datasets=("x",))}, "has no dataset 'x'"),
        ({"by": "side"}, "give one of the suites with tested runs, --suite NAME: other, toy"),
    ],
)
def test_what_cannot_be_shown_is_refused(desk: Desk, options: dict[str, Any], message: str) -> None:
    desk.add("A", 0, ranks_of(1))
    desk.add("A", 0, ranks_of(1), suite="other")
    options = {"suite": "toy", **options} if len(options) > 1 else options
    with pytest.raises(ConfigError, match=message):
        desk.breakdown(**options)


# --- protocols ------------------------------------------------------------------------------


def test_ties_are_worth_what_the_counts_say(desk: Desk) -> None:
    """One better and two tied: ranks 2, 3 or 4, with the same probability."""
    desk.add("A", 0, ranks_of(1, tied=2))
    found = cells(desk.protocols(), "A", "mrr")
    assert found["as reported"].value == pytest.approx(100 / 3)
    assert found["ties optimistic"].value == pytest.approx(50)
    assert found["ties optimistic"].change == pytest.approx(50 - 100 / 3)
    assert found["ties pessimistic"].value == pytest.approx(25)
    assert found["ties random"].value == pytest.approx(100 * (1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert "ties realistic" not in found  # the run's own
    hits = cells(desk.protocols(), "A", "hits@10")
    assert {cell.value for cell in hits.values() if cell.value is not None} == {100.0}


def test_a_constant_model_owes_everything_to_optimistic_ties(desk: Desk) -> None:
    desk.add("A", 0, ranks_of(0, tied=39))
    found = cells(desk.protocols(), "A", "mrr")
    assert found["ties optimistic"].value == 100.0
    assert found["as reported"].value < 5
    assert found["ties pessimistic"].value == pytest.approx(100 / 40)
    assert found["ties random"].value == pytest.approx(100 * sum(1 / r for r in range(1, 41)) / 40)


def test_sides_alone(desk: Desk) -> None:
    desk.add("A", 0, ranks_of(0, head=3))
    found = cells(desk.protocols(), "A", "mrr")
    assert found["tail queries alone"].value == 100.0
    assert found["head queries alone"].change == pytest.approx(25 - 62.5)


def test_what_the_choice_of_the_epoch_is_worth(desk: Desk) -> None:
    """Epoch 4 is best on validation, 2 has the best test MRR, 6 the best Hit@10."""
    tested, raw = ranks_of(3), ranks_of(9)
    desk.add(
        "A", 0, tested, sealed={2: (ranks_of(19, head=0), raw), 4: (tested, raw),
                                6: (ranks_of(8), raw)},
    )  # fmt: skip
    mrr, hits = (cells(desk.protocols(), "A", metric) for metric in ("mrr", "hits@10"))
    assert mrr["as reported"].value == pytest.approx(25)
    assert mrr["raw ranks"].value == pytest.approx(10)
    assert mrr["last epoch"].value == pytest.approx(100 / 9)
    assert mrr["best epoch on test"].value == pytest.approx(52.5)
    assert mrr["best epoch on test"].change == pytest.approx(27.5)
    assert hits["best epoch on test"].value == 50.0
    assert hits["best epoch per metric"].value == 100.0


def test_what_was_not_stored_is_never_guessed(desk: Desk) -> None:
    desk.add("A", 0, ranks_of(3))
    desk.add("Counts", 0, ranks_of(3), trained=False)
    desk.add("Half", 0, ranks_of(3), sealed={4: (ranks_of(3), ranks_of(3))})
    table = desk.protocols()
    choosing = ("last epoch", "best epoch on test", "best epoch per metric")
    needs = "needs audit.shadow_test: true when the run is trained"
    for rule in choosing:
        assert cells(table, "A", "mrr")[rule].reason == needs
        assert "not trained" in cells(table, "Counts", "mrr")[rule].reason
        assert cells(table, "Half", "mrr")[rule].reason.startswith("2 of 3 validations have")
    assert cells(table, "A", "mrr")["raw ranks"].reason.endswith(needs)
    assert cells(table, "Half", "mrr")["raw ranks"].value == pytest.approx(25)
    assert all(cells(table, "A", "mrr")[rule].value is None for rule in (*choosing, "raw ranks"))


def test_sealed_ranks_of_other_triples_are_an_error(desk: Desk) -> None:
    ranks = ranks_of(3)
    other = Ranks(ranks.triples[::-1].copy(), ranks.sides)
    desk.add("A", 0, ranks, sealed={4: (other, other)})
    with pytest.raises(DataError, match="run r000: epoch 4"):
        desk.protocols()


@pytest.mark.parametrize("format_", ["text", "markdown", "latex", "html", "csv", "json"])
def test_both_tables_have_every_format(desk: Desk, format_: str) -> None:
    desk.add("A", 0, ranks_of(3))
    desk.add("A", 1, ranks_of(4))
    for table in (desk.breakdown("seen"), desk.protocols()):
        text = render(table, format_)
        assert text.endswith("\n")
        if format_ == "text":
            assert max(map(len, text.splitlines())) <= 80


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def harness(tmp_path: Path, make_record: MakeRecord) -> Callable[..., Any]:
    home = tmp_path / "home"
    store = open_store(home / "harness.db")
    Desk(store, home / "runs", make_record).add("A", 0, ranks_of(0, head=3))
    store.close()
    return lambda *words: CliRunner().invoke(app, ["report", *words, "--home", str(home)])


def test_the_command_prints_both(harness: Callable[..., Any]) -> None:
    shown = harness("--table", "breakdown", "--by", "side", "--metric", "hits@1")
    assert shown.exit_code == 0, shown.output
    assert "Hit@1 by side: suite toy" in shown.stdout
    assert "head (20)" in shown.stdout
    shown = harness("--table", "protocols", "--suite", "toy")
    assert shown.exit_code == 0, shown.output
    assert "best epoch per metric" in shown.stdout
    listed = harness("--list").stdout
    assert "breakdown" in listed
    assert "protocols" in listed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--table", "breakdown"], "needs --by; choose from leak, side"),
        (["--table", "protocols", "--by", "side"], "--by and --metric go with --table breakdown"),
        (["--suite", "toy"], "--suite goes with --table breakdown or protocols"),
        (["--table", "protocols", "--html"], "the page has no table 'protocols'"),
    ],
)
def test_options_without_their_table_are_refused(
    harness: Callable[..., Any], words: list[str], message: str
) -> None:
    done = harness(*words)
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)
