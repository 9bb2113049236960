"""Figures of rows: Pareto fronts, learning curves and critical-difference diagrams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path
from matplotlib.text import Text

from harness.analysis.query import Results, Selection
from harness.errors import ConfigError, StoreError
from harness.report import files
from harness.report.build import build
from harness.report.pictures import draw, picture
from harness.report.render import FORMATS, render, render_picture
from harness.report.row_definitions import (
    CriticalDifferenceDefinition,
    LearningDefinition,
    ParetoDefinition,
)
from harness.report.tables.critical import CriticalDifference
from harness.report.tables.learning import Learning
from harness.report.tables.pareto import Pareto, front
from harness.store.memory import MemoryStore
from tests.unit.report.conftest import Filler

Fill = Callable[..., Any]

TOY = {"name": "toy", "title": "Toy", "suite": "toy"}
SPEED = {"RotatE": 1.0, "MoCME": 50.0, "TransE": 2.0, "NativE": 60.0}
QUALITY = {"RotatE": 0.30, "MoCME": 0.35, "TransE": 0.25, "NativE": 0.34}


def trained(epoch_seconds: float, mrr: float, epochs: int = 4) -> dict[str, Any]:
    """Return the record options of a run that validates after every second epoch."""
    history = [{"epoch": e, "seconds": epoch_seconds, "loss": 1.0} for e in range(1, epochs + 1)]
    for row in history[1::2]:
        row |= {"valid_mrr": mrr * row["epoch"] / epochs, "valid_seconds": 0.5}
    return {"history": history, "diagnostics": {"best_epoch": float(epochs)}}


@pytest.fixture
def rows(store: MemoryStore, fill: Fill) -> MemoryStore:
    filler = fill()
    for label, mrr in QUALITY.items():
        filler.row(label, [mrr, mrr + 0.01], **trained(SPEED[label], mrr))
    filler.row("Lookup", [0.1])
    return store


def pareto(store: MemoryStore, **fields: Any) -> Pareto:
    definition = ParetoDefinition.model_validate({**TOY, "figure": "pareto", **fields})
    figure = build(definition, Results(store))
    assert isinstance(figure, Pareto)
    return figure


def learning(store: MemoryStore, **fields: Any) -> Learning:
    definition = LearningDefinition.model_validate({**TOY, "figure": "learning", **fields})
    figure = build(definition, Results(store))
    assert isinstance(figure, Learning)
    return figure


# --- Pareto ---------------------------------------------------------------------------------


def test_a_point_is_on_the_front_when_no_other_is_cheaper_and_better() -> None:
    points = [(1.0, 30.0), (50.0, 35.0), (2.0, 25.0), (60.0, 34.0)]
    assert front(points) == [True, True, False, False]


def test_equal_points_are_both_on_the_front_and_a_tie_in_one_is_beaten() -> None:
    assert front([(1.0, 2.0), (1.0, 2.0), (2.0, 2.0), (1.0, 1.0)]) == [True, True, False, False]


def test_rows_stand_at_their_hours_and_quality(rows: MemoryStore) -> None:
    figure = pareto(rows)
    points = {p.label: p for p in figure.panels["atlas"]}
    assert points["RotatE"].cost == pytest.approx((4 * 1.0 + 2 * 0.5) / 3600)
    assert points["MoCME"].quality == pytest.approx(35.5)
    assert {label for label, p in points.items() if p.on_front} == {"RotatE", "MoCME"}
    assert "Not drawn, without CPU h to best: Lookup." in figure.legend
    assert "Means over 2 seeds." in figure.legend


def test_the_front_is_filled_and_named(rows: MemoryStore) -> None:
    axes = draw(pareto(rows)).axes[0]
    marks = [ln for ln in axes.lines if ln.get_marker() == "o" and np.size(ln.get_ydata()) == 1]
    faces = {round(np.asarray(m.get_ydata()).item(), 1): m.get_markerfacecolor() for m in marks}
    assert {y for y, face in faces.items() if face != "white"} == {30.5, 35.5}
    assert {"RotatE", "MoCME"} <= {text.get_text() for text in axes.texts}
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "Processor hours to the best epoch"


def test_no_name_touches_the_steps_of_the_front(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    # The name of the last does not fit on its right, and on its left is the step of the front.
    for label, cost, mrr in (("A", 1.0, 0.2), ("B", 16.0, 0.6), ("RotatE + features", 17.0, 0.4)):
        filler.row(label, [mrr], **trained(cost, mrr))
    picture = draw(pareto(store))
    picture.draw_without_rendering()  # moves names to their places
    axes = picture.axes[0]
    steps = Path(axes.transData.transform(axes.lines[0].get_path().vertices))
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) == 3
    assert not any(steps.intersects_bbox(box, filled=False) for box in boxes)


@pytest.mark.parametrize(("count", "inches"), [(12, 3.3), (13, 7.0)])
def test_many_names_make_a_picture_as_wide_as_a_page(
    store: MemoryStore, fill: Fill, count: int, inches: float
) -> None:
    filler = fill()
    for i in range(count):
        filler.row(f"row {i}", [0.2 + i / 100], **trained(i + 1, 0.2))
    figure = pareto(store)
    assert len(figure.panels["atlas"]) == count
    assert draw(figure).get_figwidth() == inches


def test_the_front_has_a_footnote_in_the_data(rows: MemoryStore) -> None:
    noted = [row.label for row in pareto(rows).table.rows
             if "no other row is better and cheaper" in row.cells[0].notes]  # fmt: skip
    assert sorted(noted) == ["MoCME", "RotatE"]


def test_lower_is_better_for_mean_ranks(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for label, rank in (("A", 10.0), ("B", 20.0), ("C", 30.0)):
        filler.row(label, [0.2], extra={"mr": 5 * rank}, **trained(rank, 0.2))
    points = pareto(store, metric="mr").panels["atlas"]
    assert [p.on_front for p in points] == [True, False, False]


def test_two_rows_make_no_front(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], **trained(1, 0.2)).row("B", [0.3], **trained(2, 0.2))
    with pytest.raises(StoreError, match=r"no 3 rows of suite 'toy' have mrr and cost\.best"):
        render_picture(pareto(store), "png")


def test_titles_and_groups_are_those_of_a_table(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for position, label in enumerate(("TransE", "RotatE", "MoCME")):
        filler.row(label, [0.2], model=label.lower(), **trained(1 + position, 0.2))
    groups = {p.label: p.group for p in pareto(store, rows_from="main_own").panels["atlas"]}
    assert groups == {"TransE": "Uni-modal methods", "RotatE": "Uni-modal methods",
                      "MoCME": "Proposed"}  # fmt: skip
    with pytest.raises(ConfigError, match="rows_from: 'complexity' is no table of results"):
        pareto(store, rows_from="complexity")


@pytest.mark.parametrize("make", [pareto, learning])
def test_a_row_that_does_not_exist_is_refused(rows: MemoryStore, make: Any) -> None:
    with pytest.raises(ConfigError, match="figure 'toy': rows: no row 'RotaE'; did you mean"):
        assert make(rows, rows=["RotaE"]).panels


@pytest.mark.parametrize("metric", ["easy", "parameters"])
def test_a_quality_has_a_direction(metric: str) -> None:
    with pytest.raises(ValueError, match="neither good nor bad"):
        ParetoDefinition.model_validate({**TOY, "figure": "pareto", "metric": metric})


# --- learning curves --------------------------------------------------------------------------


def test_validations_stand_at_their_epoch_and_second(rows: MemoryStore) -> None:
    row = {r.label: r for r in learning(rows).panels["atlas"]}["TransE"]
    assert [(p.epoch, p.seconds) for p in row.points] == [(2, 4.5), (4, 9.0)]
    assert row.points[1].mrr == pytest.approx((25.0, 25.0))
    axes = draw(learning(rows, rows=["TransE"])).axes
    assert [a.get_xlabel() for a in axes] == ["Epochs", "Wall time (s)"]
    assert axes[0].lines[0].get_xydata() == pytest.approx(np.array([[2, 12.5], [4, 25]]))
    assert axes[1].lines[0].get_xydata() == pytest.approx(np.array([[4.5, 12.5], [9, 25]]))


def test_a_band_reaches_from_the_least_to_the_greatest_seed(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2, 0.2], **trained(1, 0.2))
    record = store.get("toy001")
    assert record is not None
    store.remove("toy001")
    higher = [{k: 2 * v if k == "valid_mrr" else v for k, v in h.items()} for h in record.history]
    store.add(record.model_copy(update={"history": tuple(higher)}))
    figure = learning(store)
    assert figure.panels["atlas"][0].points[1].mrr == pytest.approx((20.0, 40.0))
    axes = draw(figure).axes[0]
    assert axes.lines[0].get_ydata()[1] == pytest.approx(30.0)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((10.0, 40.0))
    assert "Bands: least to greatest of the seeds." in figure.legend


def test_only_epochs_that_all_seeds_reached_are_drawn(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    filler.row("A", [0.2, 0.2], **trained(1, 0.2, epochs=4))
    short = store.get("toy001")
    assert short is not None
    store.remove("toy001")
    store.add(short.model_copy(update={"history": short.history[:2]}))
    filler.row("B", [0.2], **trained(1, 0.2))
    figure = learning(store)
    assert [row.label for row in figure.panels["atlas"]] == ["B"]
    assert "Not drawn, with fewer than two validations: A." in figure.legend


def test_rows_that_cannot_be_told_apart_are_refused(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for i in range(8):
        filler.row(f"row {i}", [0.2], **trained(1, 0.2))
    with pytest.raises(ConfigError, match="8 rows, and 7 lines can be told apart; name some"):
        assert learning(store).panels


def test_a_suite_without_validations_says_so(store: MemoryStore, fill: Fill) -> None:
    fill().row("Lookup", [0.2])
    with pytest.raises(StoreError, match="no row has two validations: `harness run SUITE`"):
        render_picture(learning(store), "svg")
    text = "No picture: no row has two validations: `harness run SUITE` makes some."
    assert text in render(learning(store))
    assert text in str(learning(store))
    assert "No picture: no 3 rows of suite 'toy' have mrr and cost.best" in render(pareto(store))


def test_datasets_are_titled_as_in_a_table(store: MemoryStore, fill: Fill) -> None:
    fill().row("A", [0.2], dataset="mkg-w", **trained(1, 0.2))
    assert learning(store, rows_from="main_own").legend.startswith("MKG-W. Validation MRR")


@pytest.mark.parametrize("kind", [LearningDefinition, ParetoDefinition])
def test_a_selected_dataset_that_is_not_listed_has_its_title_too(
    store: MemoryStore, fill: Fill, kind: type[LearningDefinition | ParetoDefinition]
) -> None:
    filler = fill()
    for label, mrr in QUALITY.items():
        options = trained(SPEED[label], mrr)
        filler.row(label, [mrr], dataset="mkg-y", model=label.lower(), **options)
    figure = kind.model_fields["figure"].annotation.__args__[0]  # type: ignore[union-attr]
    fields = {**TOY, "figure": figure, "rows_from": "main_own", "datasets": [{"name": "mkg-w"}]}
    selected = Results(store, Selection(datasets=("mkg-y",)))
    built = build(kind.model_validate(fields), selected)
    assert isinstance(built, Learning | Pareto)
    assert {column.dataset_title for column in built.table.columns} == {"MKG-Y"}


def test_datasets_are_chosen(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for dataset in ("atlas", "tiva"):
        filler.row("A", [0.2], dataset=dataset, **trained(1, 0.2))
    assert list(learning(store).panels) == ["atlas", "tiva"]
    assert list(learning(store, datasets=[{"name": "tiva"}]).panels) == ["tiva"]
    for listed in ([], [{"name": "tiva"}]):
        fields = {**TOY, "figure": "learning", "datasets": listed}
        definition = LearningDefinition.model_validate(fields)
        chosen = build(definition, Results(store, Selection(datasets=("atlas",))))
        assert isinstance(chosen, Learning)
        assert list(chosen.panels) == ["atlas"]


@pytest.mark.parametrize("kind", [LearningDefinition, ParetoDefinition])
def test_the_datasets_on_offer_are_those_of_stored_runs(
    store: MemoryStore, fill: Fill, kind: type[LearningDefinition | ParetoDefinition]
) -> None:
    figure = kind.model_fields["figure"].annotation.__args__[0]  # type: ignore[union-attr]
    fields = {**TOY, "figure": figure, "datasets": [{"name": "mkg-w"}]}
    definition, selected = kind.model_validate(fields), Selection(datasets=("kvc16k",))
    with pytest.raises(ConfigError, match="has no dataset 'kvc16k'; no run of its suites is st"):
        build(definition, Results(store, selected))
    filler = fill()
    for dataset in ("atlas", "tiva"):
        filler.row("A", [0.2], dataset=dataset, **trained(1, 0.2))
    with pytest.raises(ConfigError, match=r"has no dataset 'kvc16k'; choose from atlas, tiva$"):
        build(definition, Results(store, selected))


# --- critical differences ---------------------------------------------------------------------


def ranked(store: MemoryStore, datasets: int, **fields: Any) -> CriticalDifference:
    filler = Filler(store)
    for i in range(datasets):
        for position, label in enumerate("ABCD"):
            swapped = i == 0 and label in "CD"
            value = 0.2 + position / 20 + (0.051 * (1 if label == "C" else -1) if swapped else 0)
            filler.row(label, [value, value + 0.01], dataset=f"set{i}")
        filler.row("E", [0.5] if i else [None], dataset=f"set{i}")
    document = {**TOY, "figure": "critical_difference", **fields}
    definition = CriticalDifferenceDefinition.model_validate(document)
    figure = build(definition, Results(store))
    assert isinstance(figure, CriticalDifference)
    return figure


def test_rows_are_ranked_on_each_dataset(store: MemoryStore, fill: Fill) -> None:
    figure = ranked(store, 10)
    ranks = dict(zip(figure.labels, figure.comparison.mean_ranks, strict=True))
    assert ranks == pytest.approx({"A": 4, "B": 3, "C": 1.9, "D": 1.1})
    assert "Not ranked, without a value on some dataset: E." in figure.legend
    assert "values are means over 2 seeds" in figure.legend
    last = {row.label: row.cells[-1].value for row in figure.table.rows}
    assert last == {**{k: pytest.approx(v) for k, v in ranks.items()}, "E": None}


def test_bars_join_what_is_not_told_apart(store: MemoryStore, fill: Fill) -> None:
    figure = ranked(store, 10)
    # q(0.05, 4) = 2.569 (Demsar 2006, table 5): 2.569 sqrt(4 * 5 / 60)
    assert figure.comparison.difference == pytest.approx(2.569 * (1 / 3) ** 0.5, abs=1e-3)
    groups = [[figure.labels[i] for i in group] for group in figure.comparison.groups]
    assert groups == [["D", "C"], ["C", "B"], ["B", "A"]]
    thick = [ln for ln in draw(figure).axes[0].lines if ln.get_linewidth() > 2]
    assert len(thick) == 3


def test_too_few_datasets_are_refused_with_what_is_needed(store: MemoryStore, fill: Fill) -> None:
    figure = ranked(store, 3)
    with pytest.raises(StoreError, match=r"3 datasets \(set0, .*too few for 4 rows: nemenyi needs"):
        render_picture(figure, "png")
    assert "needs at least 8" in ranked(store, 6, test="wilcoxon").why_empty


def test_too_few_rows_are_refused(store: MemoryStore, fill: Fill) -> None:
    figure = ranked(store, 6, rows=["A", "E"])
    assert figure.why_empty.startswith("1 rows of suite 'toy' have a value on all of 6 datasets")


@pytest.mark.parametrize("format_", FORMATS)
def test_every_figure_has_its_data_in_every_format(
    rows: MemoryStore, fill: Fill, format_: str
) -> None:
    for figure in (pareto(rows), learning(rows), ranked(MemoryStore(), 10)):
        assert "MRR" in render(figure, format_)


def test_files_are_the_same_each_time(rows: MemoryStore, fill: Fill) -> None:
    for figure in (pareto(rows), learning(rows)):
        assert picture(figure, "svg") == picture(figure, "svg")


def test_the_shipped_figures_of_rows_say_what_is_to_be_run() -> None:
    for name in ("pareto", "learning", "critical_difference"):
        figure = build(files.load_figure(name), Results(MemoryStore()))
        assert "harness run main_table" in figure.why_empty  # type: ignore[union-attr]
