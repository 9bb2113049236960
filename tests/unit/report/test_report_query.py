from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from harness.analysis.comparisons import Comparison
from harness.analysis.hypotheses import Hypothesis, PairedTests
from harness.analysis.query import Results, Selection
from harness.errors import ConfigError, StoreError
from harness.plan.spec import Protocol
from harness.report.build import build, plain_table
from harness.report.definition import (
    Definition,
    Published,
)
from harness.report.figure import Figure
from harness.report.layout import lay_out
from harness.report.query import all_tables, named_table, suite_table
from harness.report.render import render
from harness.report.table import Mark, Quantity, Sign, Table, TableCell, TableRow
from harness.store.memory import MemoryStore
from harness.store.records import EXTERNAL, StoredSuite
from harness.training.state_file import STATE
from tests.unit.report.conftest import Filler, report_table

Fill = Callable[..., Any]


def define(**fields: Any) -> Definition:
    return Definition.model_validate(
        {"name": "toy", "title": "Toy", "suite": "toy", "metrics": ["mrr"], **fields}
    )


PUBLISHED = Published.model_validate(
    {
        "source": "a paper",
        "units": "percent",
        "statistics": {"caption": "Table 1", "rows": {}},
        "tables": {
            "toy": {
                "caption": "Table 9",
                "metrics": ["mrr"],
                "rows": {"A": {"atlas": [20.0]}, "B": {"atlas": [None]}},
            }
        },
    }
)


def row(table: Table, label: str) -> TableRow:
    return next(r for r in table.rows if r.label == label)


def cell(table: Table, label: str, column: int = 0) -> TableCell:
    return row(table, label).cells[column]


# --- values -----------------------------------------------------------------------------


def test_values_are_percent_over_seeds(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.20, 0.22, 0.24])
    found = cell(report_table(store, define()), "A")
    assert found.value == pytest.approx(22.0)
    assert found.sd == pytest.approx(2.0)
    assert (found.n, found.planned) == (3, 3)
    assert found.runs == ("toy000", "toy001", "toy002")


def test_ranks_are_not_percent(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2], extra={"mr": 100})
    assert cell(report_table(store, define(metrics=["mr"])), "A").value == pytest.approx(20.0)


# --- marks ------------------------------------------------------------------------------


class Oracle(PairedTests):
    """Gives every hypothesis the same p-value, and remembers all of them."""

    def __init__(self, p: float) -> None:
        self.p = p
        self.tested: list[tuple[str, str, Hypothesis]] = []

    def test(
        self, table: str, protocol: str, hypotheses: Sequence[Hypothesis]
    ) -> list[Comparison | None]:
        self.tested += [(table, protocol, hypothesis) for hypothesis in hypotheses]
        return list(map(self._compared, hypotheses))

    def _compared(self, hypothesis: Hypothesis) -> Comparison:
        first, second = (
            tuple(run_id for run_id, _ in runs.values())
            for runs in (hypothesis.leader, hypothesis.rivals[0])
        )
        numbers = {"difference": 0.1, "low": 0.05, "high": 0.15}
        return Comparison(
            first,
            second,
            hypothesis.metric,
            hypothesis.bucket,
            triples=10,
            **numbers,
            p=self.p,
            adjusted=self.p,
        )


def test_marks_come_from_the_ranks_of_the_rows_runs(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2]).row("B", [0.3, 0.3]).row("C", [0.1, 0.1])
    oracle = Oracle(0.01)
    table = report_table(store, define(metrics=["mrr"]), tests=oracle)
    assert [cell(table, name).mark for name in "ABC"] == [Mark.SECOND, Mark.BEST, None]
    assert table.tests == 2
    name, protocol, hypothesis = oracle.tested[0]
    assert (name, protocol) == ("toy", Protocol().key)
    assert hypothesis.leader == {0: ("toy002", 0.3), 1: ("toy003", 0.3)}
    assert [rival[0][0] for rival in hypothesis.rivals] == ["toy000", "toy004"]


def test_a_selection_is_a_table_of_its_own(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2, 0.2]).row("B", [0.3, 0.3, 0.3])
    oracle = Oracle(0.01)
    selection = Selection(seeds={0, 1}, datasets=("atlas",))
    report_table(store, define(metrics=["mrr"]), selection=selection, tests=oracle)
    ((name, _, hypothesis),) = oracle.tested
    assert name == "toy seeds=0,1 datasets=atlas"
    assert list(hypothesis.leader) == [0, 1]


def test_a_proposed_row_is_compared_with_the_best_baseline(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2]).row("B", [0.3, 0.3]).row("Ours", [0.4, 0.4])
    definition = define(metrics=["mrr"], proposed=["ours"])
    table = report_table(store, definition, tests=Oracle(0.01))
    ours = cell(table, "Ours")
    assert (ours.sign, ours.against.rival) == (Sign.BETTER, "B")
    assert ours.against.difference == pytest.approx(10.0)
    assert [cell(table, name).sign for name in "AB"] == [None, None]
    assert table.signs_against == "the best baseline"


def test_rows_are_compared_with_the_baseline(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2]).row("full", [0.3, 0.3])
    definition = define(metrics=["mrr"], baseline="full")
    table = report_table(store, definition, tests=Oracle(0.01))
    assert (cell(table, "A").sign, cell(table, "full").sign) == (Sign.WORSE, None)
    assert table.signs_against == "'full'"


def test_the_table_says_why_nothing_is_marked(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2]).row("B", [0.3])
    table = report_table(store, define(metrics=["mrr"]), tests=Oracle(0.0))
    assert any("the noise is unknown" in note for note in table.notes)

    fill().row("A", [0.2, 0.2]).row("B", [0.3, 0.3])
    table = report_table(store, define(metrics=["mrr"]), tests=Oracle(0.5))
    assert any("(p < 0.05, Holm over 1 test)" in note for note in table.notes)

    absent = PairedTests(Path("nowhere"))
    table = report_table(store, define(metrics=["mrr"]), tests=absent)
    assert any("ranks of runs are not there" in note for note in table.notes)


def test_published_measured_difference(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.22])
    rows = [{"label": "A", "published": "A"}, {"label": "B", "published": "B"}]
    table = report_table(store, define(published="toy", rows=rows), PUBLISHED)
    assert cell(table, "A").published == 20.0
    assert cell(table, "A").difference == pytest.approx(2.0)
    assert cell(table, "B").published is None
    assert lay_out(table).quantities == {Quantity.PUBLISHED, Quantity.MEASURED, Quantity.DIFFERENCE}
    assert table.source == "Table 9 of a paper"


def test_buckets_stand_apart(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2], extra={"mrr/warm": 1.5, "mrr/cold": 0.5})
    table = report_table(store, define(metrics=["mrr", "mrr/warm", "mrr/cold"]))
    assert [column.title for column in table.columns] == ["MRR", "MRR warm", "MRR cold"]
    assert [c.value for c in table.rows[0].cells] == pytest.approx([20.0, 30.0, 10.0])


def test_change_is_against_the_baseline_row(store: MemoryStore, fill: Fill) -> None:
    fill().row("full", [0.30, 0.40]).row("less", [0.29, 0.37])
    table = report_table(store, define(baseline="full"))
    # differences -1 and -3: sd sqrt(2), t(1) = 12.706, over sqrt(2) seeds
    assert cell(table, "less").change == pytest.approx(-2.0)
    assert cell(table, "less").change_half == pytest.approx(12.706, abs=1e-3)
    assert cell(table, "full").change is None
    assert lay_out(table).quantities == {Quantity.MEASURED, Quantity.CHANGE}


BESIDE = {
    "metrics": ["mrr", "hits@10"],
    "datasets": [
        {"name": "atlas", "title": "Atlas"},
        {"name": "atlas@clean", "title": "clean", "against": "atlas"},
    ],
}


def test_a_dataset_stands_beside_the_one_it_is_compared_with(
    store: MemoryStore, fill: Fill
) -> None:
    rows = fill().row("A", [0.30, 0.40]).row("B", [0.2, 0.2])
    clean = {"dataset": "atlas@clean", "dataset_digest": "d1"}
    rows.row("A", [0.20, 0.28], notes=("atlas: rows went",), **clean)
    table = report_table(store, define(**BESIDE))
    assert [column.title for column in table.columns] == [
        "MRR",
        "MRR clean",
        "Hit@10",
        "Hit@10 clean",
    ]
    assert [span.title for span in lay_out(table).datasets] == ["Atlas"]
    official, cleaned = table.rows[0].cells[:2]
    assert official.change is None
    assert cleaned.change == pytest.approx(-11.0)
    welch = stats.ttest_ind([20.0, 28.0], [30.0, 40.0], equal_var=False).confidence_interval()
    assert cleaned.change_half == pytest.approx((welch.high - welch.low) / 2)
    assert table.rows[1].cells[1].change is None
    assert "Atlas clean: atlas: rows went" in table.notes
    printed = render(table, "text")
    assert "change: against the same row on the dataset that the column stands beside" in printed
    assert "between means over seeds that are not paired" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    first, second = printed.split("Method")[1:]
    assert ("MRR clean" in first, "Hit@10" in first) == (True, False)
    assert "Hit@10 clean" in second


def test_a_change_between_two_names_of_the_same_splits_is_taken_seed_by_seed(
    store: MemoryStore, fill: Fill
) -> None:
    """Nothing had to be cleaned: the digest is the same, and so are the random streams."""
    fill().row("A", [0.30, 0.40]).row("A", [0.20, 0.28], dataset="atlas@clean")
    table = report_table(store, define(**BESIDE))
    # differences -10 and -12: sd sqrt(2), t(1) = 12.706, over sqrt(2) seeds
    assert table.rows[0].cells[1].change_half == pytest.approx(12.706, abs=1e-3)
    assert "seed by seed; ± half" in " ".join(render(table, "text").split())


def test_runs_of_another_code_base_are_not_paired_with_the_baseline(
    store: MemoryStore, fill: Fill
) -> None:
    scored = {"model": EXTERNAL, "settings": {"model": {"kind": "scores"}}}
    fill().row("full", [0.30, 0.40]).row("less", [0.29, 0.37]).row("other", [0.29, 0.37], **scored)
    table = report_table(store, define(baseline="full"))
    welch = stats.ttest_ind([29.0, 37.0], [30.0, 40.0], equal_var=False).confidence_interval()
    assert cell(table, "other").change_half == pytest.approx((welch.high - welch.low) / 2)
    assert cell(table, "less").change_half == pytest.approx(12.706, abs=1e-3)
    assert "seed by seed where both share their random numbers" in render(table, "markdown")


def test_a_dataset_alone_goes_by_its_name(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3, 0.4]).row("A", [0.2, 0.28], dataset="atlas@clean")
    table = report_table(store, define(**BESIDE), selection=Selection(datasets=("atlas@clean",)))
    assert [(c.dataset_title, c.title) for c in table.columns] == [
        ("atlas@clean", "MRR"),
        ("atlas@clean", "Hit@10"),
    ]
    assert table.rows[0].cells[0].change == pytest.approx(-11.0)


def test_rows_keep_the_order_of_the_definition_then_of_the_suite(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("c", [0.1]).row("b", [0.1]).row("a", [0.1])
    table = report_table(store, define(rows=[{"label": "B", "title": "Bee"}], others="Others"))
    assert [r.label for r in table.rows] == ["Bee", "c", "a"]
    assert [r.group for r in table.rows] == ["", "Others", "Others"]


def test_seeds_can_be_chosen(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.3, 0.4])
    found = cell(report_table(store, define(), selection=Selection(seeds={1, 2})), "A")
    assert found.value == pytest.approx(35.0)
    assert found.planned == 2


def test_datasets_can_be_chosen_by_name_or_title(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2]).row("A", [0.3], dataset="mkg-w")
    definition = define(datasets=[{"name": "mkg-w", "title": "Wiki"}])
    both = report_table(store, definition)
    assert [column.dataset for column in both.columns] == ["mkg-w", "atlas"]
    one = report_table(store, definition, selection=Selection(datasets=("WIKI",)))
    assert [column.dataset for column in one.columns] == ["mkg-w"]
    with pytest.raises(ConfigError, match=r"^'.*' has no dataset 'atlass'; did you mean 'atlas'"):
        report_table(store, definition, selection=Selection(datasets=("atlass",)))


def test_a_misspelt_dataset_of_a_table_without_runs_gets_the_nearest(store: MemoryStore) -> None:
    definition, selected = define(datasets=[{"name": "mkg-w"}]), Selection(datasets=("mkgw",))
    with pytest.raises(ConfigError, match=r"has no dataset 'mkgw'; did you mean 'mkg-w'\?$"):
        report_table(store, definition, selection=selected)


def test_a_variant_is_another_table(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2])
    fill(variant="beef").row("A", [0.4])
    assert cell(suite_table(store, "toy"), "A").value == pytest.approx(20.0)
    other = suite_table(store, "toy", "beef")
    assert other.title == "Suite toy, variant beef"
    assert cell(other, "A").value == pytest.approx(40.0)


def test_a_plain_table_has_the_title_and_the_settings_of_its_suite(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A", [0.2])
    fill(variant="beef").row("A", [None, 0.3]).row("B", [None])
    store.add_suite(StoredSuite(suite="toy", title="Of my own"))
    settings = {"data.features": "my texts", "training.epochs": 2}
    store.add_suite(StoredSuite(suite="toy", variant="beef", title="Of my own", settings=settings))
    assert suite_table(store, "toy").title == "Of my own"
    fill("settings").row("A", [0.2])  # shipped; stored before titles were
    assert suite_table(store, "settings").title == "Settings tried on MKG-W"
    with_set = suite_table(store, "toy", "beef")
    assert with_set.title == "Of my own, with data.features=my texts, training.epochs=2"
    command = "harness run SUITE --set 'data.features=my texts' --set training.epochs=2"
    assert command in cell(with_set, "B").reason


def test_a_part_of_a_suite_is_a_table_of_its_runs(store: MemoryStore, fill: Fill) -> None:
    filler = fill().row("A", [0.2, 0.4]).row("B", [0.3, 0.3])
    wanted = {c.run_id for c in filler.cells if c.label == "A" and c.seed == 1}
    table = plain_table(Results(store), "toy", run_ids=wanted)
    assert [row.label for row in table.rows] == ["A"]
    assert table.rows[0].cells[0].value == pytest.approx(40.0)
    assert "Test split; one seed (1)." in table.notes


def test_a_suite_with_published_figures_shows_them_without_a_definition(
    store: MemoryStore, fill: Fill
) -> None:
    fill(suite="main_table").row("RotatE", [0.35], dataset="mkg-w").row(
        "Mine", [0.4], dataset="mkg-w"
    )
    table = plain_table(Results(store), "main_table")
    rotate, mine = table.rows
    assert rotate.cells[0].published == pytest.approx(33.67)
    assert mine.cells[0].published is None
    assert "+1.33" in render(table, "text")


# --- why a cell is empty ----------------------------------------------------------------


def test_not_implemented(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2])
    table = report_table(store, define(rows=[{"label": "B"}]))
    assert cell(table, "B").reason == "not implemented"


def test_excluded_by_the_suite(store: MemoryStore, fill: Fill) -> None:
    filler = fill().row("A", [0.2])
    none = filler.cells[0].model_copy(
        update={"label": "B", "run_id": "", "reason": "needs image: feature set 'names' has text"}
    )
    store.plan("toy", "", [*filler.cells, none])
    table = suite_table(store, "toy")
    missing = cell(table, "B")
    assert missing.reason == "not run: needs image: feature set 'names' has text"
    assert missing.planned == 0


def test_a_seed_that_is_excluded_is_said_with_the_mean(store: MemoryStore, fill: Fill) -> None:
    filler = fill().row("A", [0.2, 0.3])
    none = filler.cells[0].model_copy(update={"seed": 2, "run_id": "", "reason": "takes days"})
    store.plan("toy", "", [*filler.cells, none])
    found = cell(suite_table(store, "toy"), "A")
    assert found.value == pytest.approx(25.0)
    assert (found.n, found.planned) == (2, 2)
    assert "2 of 3 seeds; takes days" in suite_table(store, "toy").rows[0].notes


def test_a_remark_that_names_its_dataset_does_not_get_the_name_twice(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A", [0.2], notes=("atlas: 3 of 10 rows are new", "as published: twice"))
    notes = suite_table(store, "toy").notes
    assert {"atlas: 3 of 10 rows are new", "atlas: as published: twice"} <= set(notes)


def test_seeds_that_agree_exactly_are_said_to(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2, 0.2]).row("B", [0.2, 0.2, 0.3])
    rows = {row.label: row for row in suite_table(store, "toy").rows}
    assert rows["A"].notes == ("the same value with every seed",)
    assert rows["B"].notes == ()
    assert rows["A"].cells[0].sd == 0.0


def test_not_in_the_suite(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2])
    table = report_table(store, define(rows=[{"label": "B", "model": "rotate"}]))
    assert cell(table, "B").reason == "not in suite 'toy'"


@pytest.fixture
def in_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the suite, with a row that was not run."""
    monkeypatch.chdir(tmp_path)
    text = "name: toy\ndatasets: [{dataset: atlas, features: all}]\nrows: [rotate, transe_text]\n"
    (tmp_path / "toy.yaml").write_text(text)


@pytest.mark.usefixtures("in_file")
def test_a_row_of_the_file_that_the_stored_plan_does_not_have(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("RotatE", [0.2], model="rotate")
    rows = [
        {"label": "TransE + text", "model": "transe"},
        {"label": "TransE + text [names]", "model": "transe"},
        {"label": "TransE", "model": "transe"},
    ]
    table = report_table(store, define(rows=rows))
    assert cell(table, "TransE + text").reason == "not run: `harness run toy`"
    assert cell(table, "TransE + text [names]").reason == "not in suite 'toy'"
    assert cell(table, "TransE").reason == "not in suite 'toy'"


@pytest.mark.usefixtures("in_file")
def test_a_row_to_compare_with_that_was_not_run_is_said_to_be_of_the_suite(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("RotatE", [0.2], model="rotate")
    definition = Definition(title="T", suite="toy", proposed=("TransE + text",))
    assert report_table(store, definition).notes[-1] == (
        "Nothing is compared with proposed 'TransE + text': it was not run: `harness run toy`."
    )


def test_a_table_of_other_seeds_than_those_that_were_run(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.3])
    reason = "no run has seed 7, only seeds 0, 1"
    selection = Selection(seeds={7})
    assert suite_table(store, "toy").rows
    plain = plain_table(Results(store, selection), "toy")
    assert plain.notes == (f"Nothing is shown: {reason}.",)
    definition = define(rows=[{"label": "A", "model": "rotate"}], datasets=[{"name": "atlas"}])
    table = report_table(store, definition, selection=selection)
    assert cell(table, "A").reason == f"not shown: {reason}"


def test_a_table_of_a_suite_that_was_run_with_set_alone(store: MemoryStore) -> None:
    Filler(store, "toy", variant="beef").row("A", [0.2])
    settings = StoredSuite(suite="toy", variant="beef", settings={"training.epochs": 5})
    store.add_suite(settings)
    (note,) = plain_table(Results(store), "toy").notes
    assert note == (
        "Nothing is shown: all runs are with --set; --variant beef shows those with --set "
        "training.epochs=5."
    )


def test_a_run_with_a_checkpoint_and_no_record_is_not_said_to_be_not_run(
    store: MemoryStore, fill: Fill, tmp_path: Path
) -> None:
    fill().row("A", [None]).row("B", [None])
    (tmp_path / "toy000").mkdir()
    (tmp_path / "toy000" / STATE).touch()
    table = plain_table(Results(store, runs=tmp_path), "toy")
    assert cell(table, "A").reason == (
        "interrupted, or still running: `harness run SUITE` resumes it"
    )
    assert cell(table, "B").reason == "not run: `harness run SUITE`"


def test_not_in_the_suite_for_a_reason(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2])
    table = report_table(store, define(datasets=[{"name": "db15k", "missing": "needs images"}]))
    assert cell(table, "A").reason == "not run: needs images"


def test_not_run_names_the_command(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], model="rotate").row("A", [None], dataset="db15k")
    table = report_table(store, define())
    assert cell(table, "A", 1).reason == "not run: `harness run SUITE --only model=rotate`"


def test_a_suite_that_never_ran_names_its_command(store: MemoryStore) -> None:
    rows = [{"label": "A", "model": "rotate"}, {"label": "B"}]
    table = report_table(store, define(rows=rows, datasets=[{"name": "atlas"}]))
    assert cell(table, "A").reason == "not run: `harness run SUITE`"
    assert cell(table, "B").reason == "not implemented"


def test_an_empty_table_names_its_command(store: MemoryStore) -> None:
    table = report_table(store, define(datasets=[{"name": "atlas"}]))
    assert table.rows == ()
    assert "`harness run SUITE`" in table.notes[0]


def test_a_suite_is_called_what_the_user_calls_it(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], model="rotate").row("A", [None], dataset="db15k")
    table = suite_table(store, "toy", source="my suites/first.yaml")
    said = "not run: `harness run 'my suites/first.yaml' --only model=rotate`"
    assert [c.reason for c in table.rows[0].cells if c.reason] == [said] * 3


def test_failed_names_run_and_first_line(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", ["loss is NaN in epoch 3\nTraceback ...", None])
    assert cell(report_table(store, define()), "A").reason == (
        "failed: run toy000: loss is NaN in epoch 3"
    )


def test_a_suite_without_a_definition_has_its_plain_table_by_name(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A", [0.2])
    assert cell(named_table(Results(store), "toy"), "A").value == pytest.approx(20.0)
    with pytest.raises(ConfigError, match="unknown table, figure or suite 'tyo'; did you mean 'to"):
        named_table(Results(store), "tyo")


def test_the_note_of_a_dataset_stands_below_tables_that_show_it(
    store: MemoryStore, fill: Fill
) -> None:
    noted = define(datasets=[{"name": "atlas", "title": "Atlas", "note": "At half the width."}])
    assert "Atlas: At half the width." not in report_table(store, noted).notes
    fill().row("A", [0.2])
    assert "Atlas: At half the width." in report_table(store, noted).notes


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("validated", "validated and not tested: `harness run SUITE` tests it"),
        ("pruned", "pruned: it fell behind, see `harness study show`"),
    ],
)
def test_what_a_study_left_untested_says_so(
    store: MemoryStore, fill: Fill, status: str, reason: str
) -> None:
    fill().row("A", [0.2]).row("B", [0.3])
    untested = store.get("toy001").model_copy(update={"status": status, "metrics": ()})
    store.remove("toy001")
    store.add(untested)
    table = report_table(store, define())
    assert cell(table, "B").reason == reason
    assert cell(table, "A").value == pytest.approx(20.0)


def test_a_study_without_tests_is_shown_by_its_name_as_it_was_validated(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A trial 0", [0.2]).row("A trial 1", [0.3])
    for run_id in ("toy000", "toy001"):
        record = store.get(run_id)
        store.remove(run_id)
        kept = tuple(m for m in record.metrics if m.split == "valid")
        store.add(record.model_copy(update={"status": "validated", "metrics": kept}))
    table = named_table(Results(store), "toy")
    assert table.title.endswith("trials on validation, none was tested")
    assert [row.label for row in table.rows] == ["A trial 0", "A trial 1"]
    assert "None of the 2 runs was tested." in table.notes


def test_partly_done_says_how_much_and_why(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, "no memory", 0.3]).row("B", [0.2, 0.3, 0.4])
    table = report_table(store, define())
    assert cell(table, "A").value == pytest.approx(25.0)
    assert row(table, "A").notes == ("2 of 3 seeds; run toy001 failed: no memory",)
    assert row(table, "B").notes == ()


def test_a_metric_that_the_runs_do_not_hold(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2])
    table = report_table(store, define(metrics=["mrr", "hits@3"]))
    assert cell(table, "A", 1).reason == "not measured: the runs hold no Hit@3"
    table = report_table(store, define(metrics=["mrr", "hits@3/cold"]))
    assert cell(table, "A", 1).reason == "not measured: the runs hold no Hit@3 cold"


@pytest.mark.parametrize("bucket", ["warm", "cold"])
def test_where_every_entity_is_seen_warm_equals_all(
    store: MemoryStore, fill: Fill, bucket: str
) -> None:
    fill().row("A", [0.2])
    table = report_table(store, define(metrics=["mrr", f"mrr/{bucket}"]))
    reason = "the test split has no unseen entity, so warm equals all"
    assert cell(table, "A", 1).reason == reason


def test_where_no_triple_is_warm_cold_equals_all(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], extra={"mrr/cold": 1.0})
    table = report_table(store, define(metrics=["mrr", "mrr/warm", "mrr/cold"]))
    reason = "every triple of the test split has an unseen entity, so cold equals all"
    assert [cell(table, "A", i).reason for i in range(3)] == ["", reason, ""]


def test_every_empty_cell_of_the_shipped_tables_says_why(store: MemoryStore) -> None:
    from harness.report import files

    for name in files.available():
        built = build(files.load_any(name), Results(store))
        table = built.table if isinstance(built, Figure) else built
        for r in table.rows:
            for c in r.cells:
                assert c.value is not None or c.reason


# --- footnotes --------------------------------------------------------------------------


def test_protocol_and_seeds_are_printed(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.3]).row("B", [0.2])
    table = report_table(store, define(footnotes=["Mine."]))
    assert "Test split; mean ± standard deviation over 2 seeds (0, 1)." in table.notes
    assert f"Protocol: {Protocol().describe()}." in table.notes
    assert table.notes[-1] == "Mine."
    assert row(table, "B").notes == ("seed 0 alone",)


def test_features_of_all_rows(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], features="names", modalities=("text",))
    table = report_table(store, define())
    assert "Measured with features 'names' (text)." in table.notes
    assert table.rows[0].notes == ()


def test_differing_features_are_printed_with_the_row(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2]).row("B", [0.3], features="names", modalities=("text",))
    table = report_table(store, define())
    assert row(table, "B").notes == ("measured with features 'names' (text)",)
    assert row(table, "A").notes == ()
    assert any("structure only" in note for note in table.notes)


def test_one_label_with_two_feature_sets_is_two_rows(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2]).row("A", [0.4], features="names")
    table = report_table(store, define(rows=[{"label": "A", "title": "Ah"}]))
    assert [r.label for r in table.rows] == ["Ah [none]", "Ah [names]"]
    assert [r.cells[0].value for r in table.rows] == pytest.approx([20.0, 40.0])


def test_features_that_differ_by_dataset_stay_with_the_cell(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], features="names").row("A", [0.4], dataset="tiva", features="hashed")
    found = report_table(store, define()).rows[0]
    assert found.notes == ()
    assert [c.notes for c in found.cells] == [
        ("measured with features 'names'",),
        ("measured with features 'hashed'",),
    ]


def test_remarks_on_the_data_are_printed_once(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.3], notes=("30 test triples are in train",))
    table = report_table(store, define())
    assert [n for n in table.notes if "in train" in n] == ["atlas: 30 test triples are in train"]


# --- what is refused --------------------------------------------------------------------


def test_protocols_never_mix(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2]).row("B", [0.3], protocol=Protocol(ties="optimistic"))
    with pytest.raises(StoreError, match="different protocols") as error:
        suite_table(store, "toy")
    assert "optimistic/train+valid+test/head+tail/all (run toy001)" in str(error.value)
    assert "realistic/train+valid+test/head+tail/all (run toy000)" in str(error.value)


def test_versions_of_a_dataset_never_mix(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2]).row("B", [0.3], dataset_digest="d1")
    with pytest.raises(StoreError, match="two versions of 'atlas'"):
        suite_table(store, "toy")


def test_versions_of_features_never_mix(store: MemoryStore, fill: Fill) -> None:
    filler = fill().row("A", [0.2, None], features="names", feature_digest="f0")
    other = filler.cells[1].run_id
    from harness.store.records import RunRecord

    first = store.get(filler.cells[0].run_id)
    assert first is not None
    store.add(
        RunRecord.model_validate(
            {**first.model_dump(), "run_id": other, "seed": 1, "feature_digest": "f1"}
        )
    )
    with pytest.raises(StoreError, match="row 'A' has runs with two versions of the features"):
        suite_table(store, "toy")


# --- without a definition ---------------------------------------------------------------


def test_suite_table_shows_warm_and_cold_where_they_exist(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], extra={"mrr/warm": 1.2, "mrr/cold": 0.1}).row("A", [0.3], dataset="tiva")
    table = suite_table(store, "toy")
    assert [(c.dataset, c.title) for c in table.columns] == [
        ("atlas", "MRR"),
        ("atlas", "Hit@1"),
        ("atlas", "Hit@10"),
        ("atlas", "MRR warm"),
        ("atlas", "MRR cold"),
        ("tiva", "MRR"),
        ("tiva", "Hit@1"),
        ("tiva", "Hit@10"),
    ]


def test_all_tables_of_a_store(store: MemoryStore, fill: Fill) -> None:
    assert all_tables(Results(store)) == []
    fill("quickstart").row("A", [0.2], extra={"mrr/warm": 1.2, "mrr/cold": 0.1})
    fill("mine").row("A", [0.2], dataset="tiva")
    assert {t.title for t in all_tables(Results(store))} == {"Quickstart on atlas", "Suite mine"}
    assert [t.name for t in all_tables(Results(store, Selection(datasets=("TIVA",))))] == ["mine"]
    with pytest.raises(ConfigError, match="no results on dataset 'tva'; did you mean 'tiva'"):
        all_tables(Results(store, Selection(datasets=("tva",))))


def test_a_row_of_another_model_than_was_run_is_refused(store: MemoryStore, fill: Fill) -> None:
    fill().row("RotatE", [0.3], model="rotate")
    definition = Definition.model_validate(
        {
            "name": "t",
            "title": "T",
            "suite": "toy",
            "rows": [{"label": "rotate", "model": "transe"}],
        }
    )
    with pytest.raises(
        ConfigError, match=r"row 'rotate': model 'transe', but run toy000 .*'rotate'"
    ):
        report_table(store, definition)


@pytest.mark.parametrize(
    ("key", "value"), [("baseline", "RotatEE"), ("proposed", ["RotatEE"]), ("floors", ["RotatEE"])]
)
def test_a_row_to_compare_with_that_does_not_exist_is_noted(
    store: MemoryStore, fill: Fill, key: str, value: Any
) -> None:
    fill().row("RotatE", [0.3])
    fields = {"name": "t", "title": "T", "suite": "toy", key: value}
    table = report_table(store, Definition.model_validate(fields))
    note = f"Nothing is compared with {key} 'RotatEE': there is no such row; did you mean 'RotatE'?"
    assert table.notes[-1] == note
    assert "no such row" not in str(report_table(store, Definition(title="T", suite="toy")).notes)
