"""Several suites and studies in one table: whose numbers stand where, and which trial is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.analysis.hypotheses import Hypothesis, HypothesisTest
from harness.analysis.query import Results, Selection
from harness.analysis.results import SuiteResults
from harness.analysis.trials import best_trials
from harness.errors import StoreError
from harness.plan.spec import Protocol
from harness.plan.study import trial_label, trial_of
from harness.report.definition import Definition
from harness.report.files import load_definition, load_published
from harness.report.layout import lay_out
from harness.report.render import FORMATS, render
from harness.report.table import Quantity, Table, TableCell
from harness.report.tables.sources import Source, side_by_side
from harness.store.memory import MemoryStore
from harness.store.records import StoredSuite
from tests.unit.report.conftest import report_table

Fill = Callable[..., Any]
SOURCES = [
    {"suite": "toy", "title": "own", "note": "Own settings"},
    {"study": "quest", "title": "budget", "note": "Three trials each"},
]


def define(**options: Any) -> Definition:
    given = {"title": "T", "suite": "toy", "metrics": ["mrr", "hits@10"], "sources": SOURCES}
    return Definition.model_validate({**given, "name": "both", **options})


def cell(table: Table, label: str, source: str, metric: str = "mrr") -> TableCell:
    (row,) = [row for row in table.rows if row.label == label]
    places = [(column.source, column.metric) for column in table.columns]
    return row.cells[places.index((source, metric))]


def study(fill: Fill, *trials: tuple[Sequence[float | str | None], float], row: str = "A") -> None:
    """Fill a study: per trial the test MRR by seed, and validation MRR as a multiple of it."""
    filler = fill("quest")
    for number, (mrr, factor) in enumerate(trials):
        filler.row(trial_label(row, number), mrr, extra={"valid:mrr": factor})


def untested(store: MemoryStore, run_id: str, status: str = "validated") -> None:
    """Take the test from a run, as a study leaves it."""
    record = store.get(run_id)
    kept = tuple(metric for metric in record.metrics if metric.split == "valid")
    store.remove(run_id)
    store.add(record.model_copy(update={"status": status, "metrics": kept}))


def chosen(store: MemoryStore, seeds: Sequence[int] | None = None) -> SuiteResults:
    read = Results(store).suite("quest", ("mrr", "valid:mrr"))
    return best_trials(read, seeds)


def test_a_label_tells_row_and_number_of_a_trial() -> None:
    assert trial_of(trial_label("NativE", 12)) == ("NativE", 12)
    assert trial_of("A trial 3 trial 4 [names]") == ("A trial 3 [names]", 4)
    assert trial_of("NativE") is None
    assert trial_of("a trial") is None


def test_the_best_trial_is_that_of_validation_whatever_the_test_says(
    store: MemoryStore, fill: Fill
) -> None:
    study(fill, ([0.6, 0.6], 0.1), ([0.2, 0.4], 1.0), ([0.5, 0.5], 0.3))
    (best,) = chosen(store).results
    assert (best.label, best.tried) == ("A", 3)
    assert list(best.values("mrr").values()) == pytest.approx([20.0, 40.0])


def test_of_equal_trials_the_earliest_is_the_best(store: MemoryStore, fill: Fill) -> None:
    study(fill, ([0.1, 0.1], 3.0), ([0.3, 0.3], 1.0))
    assert list(chosen(store).results[0].values("mrr").values()) == pytest.approx([10.0, 10.0])


def test_a_trial_without_all_its_seeds_is_not_chosen(store: MemoryStore, fill: Fill) -> None:
    study(fill, ([0.2, 0.2], 1.0), ([0.6], 1.0), ([0.5, None], 1.0), ([0.4, "loss is NaN"], 1.0))
    (best,) = chosen(store).results
    assert list(best.values("mrr").values()) == pytest.approx([20.0, 20.0])
    assert best.tried == 4


def test_a_trial_that_was_pruned_is_not_chosen(store: MemoryStore, fill: Fill) -> None:
    study(fill, ([0.2], 1.0), ([0.6], 1.0))
    untested(store, "que001", "pruned")
    assert list(chosen(store).results[0].values("mrr").values()) == pytest.approx([20.0])


def test_seeds_are_left_out_after_the_choice(store: MemoryStore, fill: Fill) -> None:
    study(fill, ([0.6, 0.1], 1.0), ([0.4, 0.4], 1.0))
    (best,) = chosen(store, seeds=[0]).results
    assert best.values("mrr") == pytest.approx({0: 40.0})


def test_the_best_trial_untested_is_not_replaced_by_one_that_was(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A", [0.3])
    study(fill, ([0.2], 1.0), ([0.4], 1.0))
    untested(store, "que001")
    found = cell(report_table(store, define()), "A", "budget")
    assert found.value is None
    assert found.reason == "validated and not tested: `harness study promote quest` tests it"


def test_a_variant_shows_the_sources_that_have_it(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3])
    study(fill, ([0.2], 1.0))
    fill(variant="beef").row("A", [0.4])
    stored = StoredSuite(suite="toy", variant="beef", settings={"training.epochs": 2})
    store.add_suite(stored)
    table = report_table(store, define(), selection=Selection("beef"))
    assert table.title == "T, with training.epochs=2"
    assert {column.source for column in table.columns} == {"own"}
    assert cell(table, "A", "own").value == pytest.approx(40.0)
    assert not [note for note in table.notes if "budget" in note]


def test_a_study_without_a_complete_trial_says_so(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3])
    study(fill, (["loss is NaN"], 1.0), (["loss is NaN"], 1.0))
    found = cell(report_table(store, define()), "A", "budget")
    assert found.reason == "not run: none of 2 trials is complete"


def test_a_row_that_a_study_leaves_out_says_why(store: MemoryStore, fill: Fill) -> None:
    fill().row("B", [0.3])
    filler = fill("quest")
    filler.row("A trial 0", [0.2], extra={"valid:mrr": 1.0})
    needs = {"label": "B", "run_id": "", "reason": "needs image", "position": 1}
    store.plan("quest", "", [*filler.cells, filler.cells[0].model_copy(update=needs)])
    for seeds in (None, [0]):
        table = report_table(store, define(), None, Selection(seeds=seeds))
        assert cell(table, "B", "budget").reason == "not run: needs image"


def test_a_source_of_which_no_run_was_asked_for_is_a_footnote(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A", [0.3])
    table = report_table(store, define())
    assert {column.source for column in table.columns} == {"own"}
    assert any(note.startswith("budget: ") and "Nothing run" in note for note in table.notes)


def test_each_source_has_a_column_of_each_metric(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3, 0.5])
    study(fill, ([0.2, 0.2], 1.0))
    table = report_table(store, define())
    assert [(c.title, c.source) for c in table.columns] == [
        *(("MRR", "own"), ("MRR", "budget")),
        *(("Hit@10", "own"), ("Hit@10", "budget")),
    ]
    assert cell(table, "A", "own").value == pytest.approx(40.0)
    assert cell(table, "A", "budget").value == pytest.approx(20.0)
    assert cell(table, "A", "budget", "hits@10").value == pytest.approx(30.0)


def test_rows_of_one_source_stand_in_the_table_and_say_what_the_other_lacks(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("A", [0.3]).row("Lookup", [0.1])
    study(fill, ([0.2], 1.0), row="B")
    table = report_table(store, define())
    assert [row.label for row in table.rows] == ["A", "Lookup", "B"]
    assert cell(table, "B", "own").reason == "not in suite 'toy'"
    assert cell(table, "B", "budget").value == pytest.approx(20.0)
    assert not cell(table, "A", "budget").runs


def test_what_holds_for_one_source_is_said_of_it(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3, 0.4], features="names", modalities=("text",))
    study(fill, ([0.2], 1.0), ([0.1], 1.0))
    notes = report_table(store, define(footnotes=["Printed once."])).notes
    assert notes[0].startswith(
        "own: Own settings (suite toy). Test split; mean ± standard deviation over 2 seeds (0, 1)."
    )
    assert "Measured with features 'names' (text)." in notes[0]
    assert "Best by validation of 2 trials." in notes[1]
    assert notes.count("Printed once.") == 1
    assert sum(note.startswith("Protocol: ") for note in notes) == 1


def test_where_one_source_has_numbers_their_notes_are_its_own(
    store: MemoryStore, fill: Fill
) -> None:
    study(fill, ([0.2], 1.0))
    own, budget = report_table(store, define()).notes
    assert own == "own: Own settings (suite toy). Nothing run: `harness run SUITE`."
    assert "Best by validation of 1 trial. Protocol: " in budget


def test_what_is_said_of_a_dataset_is_said_once(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3], notes=("a leak",))
    notes = report_table(store, define(datasets=[{"name": "atlas", "title": "Atlas"}])).notes
    study(fill, ([0.2], 1.0))  # has no such remark
    again = report_table(store, define(datasets=[{"name": "atlas", "title": "Atlas"}])).notes
    assert notes.count("Atlas: a leak") == again.count("Atlas: a leak") == 1


def test_a_row_with_another_number_of_trials_says_so(store: MemoryStore, fill: Fill) -> None:
    filler = fill("quest")
    for label, trials in (("A", 2), ("B", 2), ("C", 1)):
        for number in range(trials):
            filler.row(trial_label(label, number), [0.2], extra={"valid:mrr": 1.0})
    table = report_table(store, define())
    noted = {row.label: row.notes for row in table.rows}
    assert noted == {"A": (), "B": (), "C": ("best by validation of 1 trial",)}


def test_a_source_without_runs_says_what_would_fill_it(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3])
    notes = report_table(store, define()).notes
    assert (
        notes[1]
        == "budget: Three trials each (study quest). Nothing run: `harness study run SUITE`."
    )


def test_a_floor_of_one_source_is_one_of_all(store: MemoryStore, fill: Fill) -> None:
    fill().row("Lookup", [0.3]).row("A", [0.4])
    study(fill, ([0.2], 1.0))
    table = report_table(store, define())
    assert "worse than Lookup, which learns nothing" in cell(table, "A", "budget").notes
    assert not cell(table, "A", "own").notes


def test_marks_compare_rows_of_one_source(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3, 0.4]).row("B", [0.5, 0.6])
    fill("other").row("A", [0.4, 0.5]).row("B", [0.1, 0.2])
    sources = [{"suite": "toy", "title": "own"}, {"suite": "other", "title": "else"}]
    definition = define(sources=sources, datasets=[{"name": "atlas"}])
    tested: dict[str, set[str]] = {}

    def test_of(source: str) -> HypothesisTest:
        def test(hypotheses: Sequence[Hypothesis]) -> Sequence[None]:
            rows = [row for h in hypotheses for row in (h.leader, *h.rivals)]
            tested[source] = {run_id for row in rows for run_id, _ in row.values()}
            return [None] * len(hypotheses)

        return test

    given = [
        Source(spec, Results(store).suite(spec.suite, definition.all_metrics), test_of(spec.title))
        for spec in definition.sources
    ]
    side_by_side(definition, None, given)
    assert tested == {
        "own": {"toy000", "toy001", "toy002", "toy003"},
        "else": {"oth000", "oth001", "oth002", "oth003"},
    }


def test_sources_under_different_protocols_are_refused(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3])
    fill("quest").row(
        "A trial 0", [0.3], extra={"valid:mrr": 1.0}, protocol=Protocol(ties="optimistic")
    )
    with pytest.raises(StoreError, match=r"table 'both': ranks under different protocols: .*quest"):
        report_table(store, define())


def test_sources_on_different_data_are_refused(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.3])
    fill("quest").row("A trial 0", [0.3], extra={"valid:mrr": 1.0}, dataset_digest="d1")
    with pytest.raises(StoreError, match="two versions of 'atlas': d0"):
        report_table(store, define())


@pytest.fixture
def printed(store: MemoryStore, fill: Fill) -> Table:
    fill().row("RotatE", [0.3, 0.4], dataset="mkg-w")
    filler = fill("quest")
    filler.row("RotatE trial 0", [0.2, 0.2], dataset="mkg-w", extra={"valid:mrr": 1.0})
    rows = [{"label": "RotatE", "published": "RotatE"}]
    return report_table(store, define(published="main", rows=rows), load_published())


def test_published_figures_stand_once_for_all_sources(printed: Table) -> None:
    assert [(column.position, column.quantity) for column in lay_out(printed).columns] == [
        *((0, Quantity.PUBLISHED), (0, Quantity.MEASURED), (1, Quantity.MEASURED)),
        *((2, Quantity.MEASURED), (3, Quantity.MEASURED)),  # the paper has no Hit@10 on MKG-W
    ]
    assert cell(printed, "RotatE", "budget").difference == pytest.approx(20.0 - 33.67)


def test_text_names_the_sources_below_the_metric(printed: Table) -> None:
    lines = render(printed).splitlines()
    metrics = next(i for i, line in enumerate(lines) if "MRR" in line)
    assert lines[metrics].split() == ["Method", "MRR", "Hit@10"]
    assert lines[metrics + 1].split() == ["paper", "own", "budget", "own", "budget"]


HEADS = {
    "markdown": "| MRR published |    MRR own | MRR budget |".replace(" ", ""),
    "html": '<th scope="col">published</th><th scope="col">own</th><th scope="col">budget</th>',
    "latex": r" & published & own & budget & own & budget \\",
    "csv": "mkg-w MRR published,mkg-w MRR own measured",
    "json": '"source": "budget"',
}


@pytest.mark.parametrize("format_", HEADS)
def test_every_format_tells_the_sources_apart(printed: Table, format_: str) -> None:
    text = render(printed, format_)
    assert HEADS[format_] in (text.replace(" ", "") if format_ == "markdown" else text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": [{"title": "x"}]}, "source 'x': needs a suite or a study, one of both"),
        (
            {"sources": [{"title": "x", "suite": "toy", "study": "quest"}]},
            "source 'x': needs a suite or a study, one of both",
        ),
        ({"suite": "tyo"}, "sources: suite 'tyo' is not among them; did you mean 'toy'?"),
        ({"sources": [SOURCES[0], {**SOURCES[1], "title": "own"}]}, "source 'own' is listed twice"),
        ({"baseline": "A"}, "sources stand side by side without changes"),
    ],
)
def test_mistakes_in_sources_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="error") as error:
        define(**change)
    assert message in str(error.value)


def test_the_main_table_has_the_published_settings_and_the_budget_side_by_side() -> None:
    main = load_definition("main")
    assert isinstance(main, Definition)
    assert main.published == "main"
    assert [(s.suite, s.study) for s in main.sources] == [
        *(("main_table_native", ""), ("", "tuning"), ("main_table", "")),
    ]


def test_a_float_keeps_the_sources_of_a_metric_together(full_store: MemoryStore) -> None:
    main = load_definition("main")
    assert isinstance(main, Definition)
    lines = render(report_table(full_store, main, load_published()), "latex").splitlines()
    heads = [line.split(" & ")[2:] for line in lines if line.startswith("Method & Modality & ")]
    assert len(heads) > 1
    for head in heads:
        sources = [title.removesuffix(r" \\") for title in head if title != "published"]
        # The store has no run of the budget: it is a footnote.
        assert sources == ["released", "own"] * (len(sources) // 2)


def test_every_row_of_the_main_table_fits_eighty_columns(full_store: MemoryStore) -> None:
    main = load_definition("main")
    assert isinstance(main, Definition)
    text = render(report_table(full_store, main, load_published()))
    assert max(map(len, text.splitlines())) <= 80
    assert set(FORMATS) >= HEADS.keys()
