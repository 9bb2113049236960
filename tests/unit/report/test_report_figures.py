"""Figures: which point a run stands at, and what the picture shows of it."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Picture
from matplotlib.patches import Rectangle

from harness.analysis.query import Selection
from harness.errors import ConfigError, StoreError
from harness.report.definition import FigureDefinition, Published
from harness.report.pictures import draw, picture
from harness.report.pictures.heatmap import BEST, INVALID, LANDMARK, _tick_texts
from harness.report.pictures.style import legend_columns
from harness.report.render import check_format, render, render_picture
from harness.report.tables.sweep_figure import SweepFigure
from harness.store.memory import MemoryStore
from tests.unit.report.conftest import report_figure

Fill = Callable[..., Any]

PUBLISHED = Published.model_validate(
    {
        "source": "a paper",
        "units": "percent",
        "statistics": {"caption": "Table 1", "rows": {}},
        "tables": {
            "toy": {"caption": "T", "metrics": ["mrr"], "rows": {"2": {"atlas": [21.0]}}},
        },
    }
)


TOY = {"name": "toy", "title": "Toy", "suite": "toy", "model": "mocme"}


def lines(**fields: Any) -> FigureDefinition:
    return FigureDefinition.model_validate(
        {
            **TOY,
            "figure": "lines",
            "x": {"key": "model.experts.K", "title": "K", "default": 3, "values": [1, 2, 3]},
            "metrics": ["mrr", "hits@1"],
            **fields,
        }
    )


def heatmap(**fields: Any) -> FigureDefinition:
    return FigureDefinition.model_validate(
        {
            **TOY,
            "figure": "heatmap",
            "x": {"key": "objective.egns.delta.0", "title": "d1", "values": [0.1, 0.5]},
            "y": {"key": "objective.egns.delta.1", "title": "d2", "values": [0.5, 0.9]},
            "ascending": True,
            "metrics": ["valid:mrr", "easy"],
            "landmarks": [{"x": 0.1, "y": 0.9, "title": "elsewhere"}],
            **fields,
        }
    )


def experts(k: int) -> dict[str, Any]:
    return {"settings": {"model": {"experts": {"K": k}}}}


def thresholds(low: float, high: float, easy: float) -> dict[str, Any]:
    return {
        "settings": {"objective": {"egns": {"delta": [low, high]}}},
        "history": [{"easy": 0.0}, {"easy": easy}],
        "extra": {"valid:mrr": 1.1},
    }


def labels(store: MemoryStore, definition: FigureDefinition) -> list[str]:
    return [row.label for row in report_figure(store, definition, PUBLISHED).table.rows]


# --- points -------------------------------------------------------------------------------


def test_runs_stand_at_the_value_of_their_setting(store: MemoryStore, fill: Fill) -> None:
    fill().row("two", [0.20, 0.22], **experts(2)).row("default", [0.30, 0.32])
    figure = report_figure(store, lines())
    assert figure.points == ((1, None), (2, None), (3, None))
    values = {row.label: row.cells[0].value for row in figure.table.rows}
    assert values == {"1": None, "2": pytest.approx(21.0), "3": pytest.approx(31.0)}


def test_a_figure_shows_the_runs_of_its_model_alone(store: MemoryStore, fill: Fill) -> None:
    fill().row("RotatE", [0.4], model="rotate").row("MoCME", [0.3]).row("two", [0.2], **experts(2))
    values = [row.cells[0].value for row in report_figure(store, lines()).table.rows]
    assert values == [None, pytest.approx(20.0), pytest.approx(30.0)]
    other = lines(model="rotate", x={"key": "model.dim", "default": 64})
    (row,) = report_figure(store, other).table.rows
    assert row.cells[0].value == pytest.approx(40.0)


def test_a_model_that_was_not_run_has_an_empty_figure(store: MemoryStore, fill: Fill) -> None:
    fill().row("RotatE", [0.4], model="rotate")
    figure = report_figure(store, lines(datasets=[{"name": "atlas"}]))
    assert figure.why_empty == "not run: `harness run SUITE`"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "mocem"}, "model: unknown model 'mocem'; did you mean 'mocme'?"),
        (
            {"x": {"key": "model.expert.K", "default": 3}},
            "'model.expert.K' is no setting of a run; did you mean 'model.experts.K'?",
        ),
        ({"x": {"key": "training.epoch", "default": 3}}, "did you mean 'training.epochs'?"),
    ],
)
def test_names_that_do_not_exist_are_refused(
    store: MemoryStore, fill: Fill, fields: Any, message: str
) -> None:
    fill().row("MoCME", [0.3])
    with pytest.raises(ConfigError, match=re.escape(message)):
        report_figure(store, lines(**fields))


@pytest.mark.parametrize(
    "key", ["model.experts.K", "objective.egns.delta.0", "seed", "negatives.strategy.beta"]
)
def test_settings_that_all_runs_leave_at_the_default_are_known(
    store: MemoryStore, fill: Fill, key: str
) -> None:
    fill().row("MoCME", [0.3])
    assert labels(store, lines(x={"key": key, "default": 3})) == ["3"]


def test_a_landmark_stands_at_a_point(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.9, 0.2))
    mark = {"x": 0.2, "y": 0.9, "title": "best"}
    with pytest.raises(ConfigError, match=r"landmark 'best' is at no point .*: x 0\.2, y 0\.9"):
        report_figure(store, heatmap(landmarks=[mark]))


def test_a_run_at_an_invalid_pair_is_named(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.5, 0.5, 0.2))
    with pytest.raises(StoreError, match=r"run toy000 is at 0\.5 / 0\.5, where x is not below y"):
        report_figure(store, heatmap(landmarks=[]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ascending": True}, "ascending: only a heatmap shows it"),
        ({"landmarks": [{"x": 1, "y": 2, "title": "t"}]}, "landmarks: only a heatmap shows it"),
        ({"datasets": [{"name": "a"}, {"name": "b", "against": "a"}]}, "tables alone show changes"),
    ],
)
def test_keys_that_lines_do_not_show_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lines(**fields)


def test_values_that_were_run_join_in_order(store: MemoryStore, fill: Fill) -> None:
    fill().row("ten", [0.2], **experts(10)).row("zero", [0.2], **experts(0))
    assert labels(store, lines()) == ["0", "1", "2", "3", "10"]


def test_a_run_without_a_record_stands_where_its_row_does(store: MemoryStore, fill: Fill) -> None:
    fill().row("two", [0.2, None], **experts(2))
    row = report_figure(store, lines()).table.rows[1]
    assert (row.cells[0].n, row.cells[0].planned) == (1, 2)
    assert row.notes == ("1 of 2 seeds",)


def test_points_that_were_not_run_say_why(store: MemoryStore, fill: Fill) -> None:
    fill().row("two", [0.2], **experts(2)).row("one", [None])
    reason = report_figure(store, lines()).table.rows[0].cells[0].reason
    assert reason == "not run: `harness run SUITE`"


def test_a_failed_run_says_so_at_its_point(store: MemoryStore, fill: Fill) -> None:
    fill().row("two", ["out of luck"], **experts(2))
    reason = report_figure(store, lines()).table.rows[1].cells[0].reason
    assert reason == "failed: run toy000: out of luck"


def test_two_runs_at_one_point_are_refused(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **experts(2)).row("b", [0.3], **experts(2))
    with pytest.raises(StoreError, match="runs toy000 and toy001 are both at 2 on atlas with seed"):
        report_figure(store, lines())


def test_feature_sets_of_a_dataset_stand_apart(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], features="x", **experts(2)).row("a", [0.3], features="y", **experts(2))
    columns = report_figure(store, lines()).table.columns
    assert list(dict.fromkeys(c.dataset_title for c in columns)) == ["atlas [x]", "atlas [y]"]


def test_items_of_lists_validation_and_shares(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    table = report_figure(store, heatmap()).table
    assert [row.label for row in table.rows] == ["0.1 / 0.5", "0.1 / 0.9", "0.5 / 0.9"]
    assert table.rows[0].cells[0].value == pytest.approx(22.0)
    assert table.rows[0].cells[1].value == pytest.approx(70.0)
    assert table.notes[0] == "Validation split; one seed (0)."


def validate_only(store: MemoryStore, *run_ids: str) -> None:
    """Leave of runs what a study leaves: no figure of the test split."""
    for run_id in run_ids:
        record = store.get(run_id)
        metrics = tuple(m for m in record.metrics if m.split == "valid")
        store.remove(run_id)
        store.add(record.model_copy(update={"status": "validated", "metrics": metrics}))


def test_trials_that_were_only_validated_are_drawn_and_the_caption_says_so(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    validate_only(store, "toy000", "toy001")
    figure = report_figure(store, heatmap())
    assert [row.cells[0].value for row in figure.table.rows[:2]] == pytest.approx([22.0, 33.0])
    assert [row.cells[1].value for row in figure.table.rows[:2]] == pytest.approx([70.0, 60.0])
    said = ("Validation split; one seed (0).", "None of the 2 runs was tested.")
    assert figure.table.notes[:2] == said
    assert all(sentence in render(figure, "latex") for sentence in said)
    assert panel(draw(figure)).get_title() == "Validation MRR (%)"


def test_a_caption_says_how_many_of_a_study_s_runs_were_tested(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    validate_only(store, "toy001")
    notes = report_figure(store, heatmap()).table.notes
    assert notes[1] == "1 of the 2 runs were tested too."


def test_a_figure_of_the_test_split_has_no_value_of_what_was_only_validated(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7))
    validate_only(store, "toy000")
    (cell,) = report_figure(store, heatmap(metrics=["mrr"])).table.rows[0].cells
    assert cell.value is None
    assert cell.reason == "validated and not tested: `harness run SUITE` tests it"


def test_published_values_stand_at_their_point(store: MemoryStore) -> None:
    definition = lines(published="toy", datasets=[{"name": "atlas"}])
    rows = report_figure(store, definition, PUBLISHED).table.rows
    assert [row.cells[0].published for row in rows] == [None, 21.0, None]


def test_datasets_can_be_chosen(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **experts(2)).row("a", [0.2], dataset="tiva", **experts(2))
    chosen = report_figure(store, lines(), selection=Selection(datasets=("tiva",))).table
    assert {column.dataset for column in chosen.columns} == {"tiva"}


# --- definitions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: heatmap(y=None), "a heatmap needs y"),
        (lambda: lines(y={"key": "seed"}), "only a heatmap has y"),
        (lambda: lines(metrics=["hit@1"]), "unknown metric 'hit@1'; did you mean 'hits@1'"),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match="error") as error:
        make()
    assert message in str(error.value)


# --- pictures -----------------------------------------------------------------------------


def drawn(store: MemoryStore, definition: FigureDefinition) -> Picture:
    return draw(report_figure(store, definition, PUBLISHED))


def panel(shown: Picture, number: int = 0) -> Axes:
    return shown.axes[number]


def heights(axes: Axes) -> np.ndarray:
    """Return the ends [n, 2] of the error bars of a panel."""
    (ends,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    return np.array([segment[:, 1] for segment in ends.get_segments() if len(segment)])


def test_a_line_shows_means_and_its_bars_the_interval(store: MemoryStore, fill: Fill) -> None:
    fill().row("one", [0.20, 0.22], **experts(1)).row("two", [0.30, 0.30], **experts(2))
    axes = panel(drawn(store, lines()))
    assert axes.lines[0].get_xydata() == pytest.approx(np.array([[1, 21.0], [2, 30.0]]))
    # t(1) = 12.706 at 0.975; sd of 20 and 22 is sqrt 2, over sqrt 2 seeds: 1
    low, high = heights(axes)[0]
    assert (low, high) == pytest.approx((21 - 12.706, 21 + 12.706), abs=1e-3)


def test_there_is_a_panel_per_metric_and_measured_dataset(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **experts(1)).row("a", [0.3], dataset="tiva", **experts(1))
    shown = drawn(store, lines(datasets=[{"name": "atlas"}, {"name": "db15k"}, {"name": "tiva"}]))
    assert [axes.get_title() for axes in shown.axes[:2]] == ["atlas", "tiva"]
    assert [axes.get_ylabel() for axes in shown.axes[::2]] == ["MRR (%)", "Hit@1 (%)"]
    assert [len(axes.containers) for axes in shown.axes] == [1, 1, 1, 1]


def test_panels_of_a_metric_span_the_same_number_of_points(store: MemoryStore, fill: Fill) -> None:
    filler = fill().row("a", [0.20], **experts(1)).row("b", [0.30], **experts(2))
    filler.row("a", [0.61], dataset="tiva", **experts(1))
    filler.row("b", [0.60], dataset="tiva", **experts(2))
    first, second = drawn(store, lines(metrics=["mrr"])).axes
    spans = [np.ptp(axes.get_ylim()) for axes in (first, second)]
    assert spans[0] == pytest.approx(spans[1])
    assert np.mean(second.get_ylim()) == pytest.approx(60.5)
    steps = [np.diff(axes.get_yticks())[0] for axes in (first, second)]
    assert steps[0] == steps[1]


def test_published_values_are_hollow_where_something_was_measured(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("a", [0.2], **experts(1))
    published = panel(drawn(store, lines(published="toy"))).lines[-1]
    assert published.get_xydata() == pytest.approx(np.array([[2, 21.0]]))
    assert published.get_markerfacecolor() == "white"


def test_published_values_of_other_datasets_stand_in_the_caption(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("a", [0.2, 0.3], dataset="tiva", **experts(1))
    definition = lines(published="toy", datasets=[{"name": "tiva"}, {"name": "atlas"}])
    figure = report_figure(store, definition, PUBLISHED)
    assert len(draw(figure).axes) == 2
    assert figure.legend.startswith("Means over 2 seeds; error bars: 95 % intervals")
    assert "Atlas: nothing measured; published at K = 2: MRR 21.00." in figure.legend
    assert f"Picture: {figure.legend}" in " ".join(render(figure).split())


def test_words_stand_one_after_another(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for kind in ("mean", "gate"):
        filler.row(kind, [0.2], settings={"model": {"fusion": {"kind": kind}}})
    axes = panel(drawn(store, lines(x={"key": "model.fusion.kind"})), -1)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["mean", "gate"]


def rectangles(axes: Axes, style: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the middles of the rectangles of an axes that look like ``style``."""
    wanted = Rectangle((0, 0), 1, 1, **style)

    def look(patch: Any) -> tuple[Any, ...]:
        return patch.get_edgecolor(), patch.get_linewidth(), patch.get_hatch(), patch.get_fill()

    return [
        (p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2)
        for p in axes.patches
        if isinstance(p, Rectangle) and look(p) == look(wanted)
    ]


def test_a_heat_map_prints_values_and_boxes_the_best(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.20, 0.201], **thresholds(0.1, 0.5, 0.7)).row(
        "b", [0.30, 0.301], **thresholds(0.1, 0.9, 0.6)
    )
    figure = report_figure(store, heatmap())
    first, second = draw(figure).axes[:2]
    assert [text.get_text() for text in first.texts] == ["22.1", "33.1", "\N{EN DASH}"]
    assert [text.get_text() for text in second.texts] == ["70", "60", "\N{EN DASH}"]
    assert rectangles(first, BEST) == [pytest.approx((0, 1))]
    assert rectangles(second, BEST) == []
    assert rectangles(first, LANDMARK) == [pytest.approx((0, 1))]
    assert rectangles(first, INVALID) == [(1, 0)]
    assert first.get_title() == "Validation MRR (%)"
    assert "Boxed: ahead of every other cell by more than the noise." in figure.legend


def test_nothing_is_best_within_the_noise(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.20, 0.24], **thresholds(0.1, 0.5, 0.7)).row(
        "b", [0.21, 0.25], **thresholds(0.1, 0.9, 0.6)
    )
    figure = report_figure(store, heatmap())
    assert rectangles(panel(draw(figure)), BEST) == []
    assert "No cell is ahead of all others by more than the noise." in figure.legend


def test_the_noise_is_the_interval_of_a_difference_with_pooled_deviations(
    store: MemoryStore, fill: Fill
) -> None:
    fill().row("a", [0.20, 0.24], **thresholds(0.1, 0.5, 0.7)).row(
        "b", [0.21, 0.21], **thresholds(0.1, 0.9, 0.6)
    )
    figure = report_figure(store, heatmap(metrics=["mrr"]))
    # variances 8 and 0 of one degree of freedom each: 4; t(2) = 4.3027; n = 2
    assert figure.noise(0) == pytest.approx(4.3027 * 2, abs=1e-3)
    colours = draw(figure).axes[-1]  # the colour bar
    assert np.ptp(colours.get_ylim()) == pytest.approx(figure.noise(0))
    assert np.mean(colours.get_ylim()) == pytest.approx(21.5)


def test_one_seed_has_no_noise_and_no_best(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    figure = report_figure(store, heatmap())
    assert rectangles(panel(draw(figure)), BEST) == []
    assert "One seed: the noise is unknown, so nothing is marked as best." in figure.legend


def test_shares_have_one_scale(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    shown = drawn(store, heatmap(metrics=["easy"]))
    assert shown.axes[-1].get_ylim() == (0, 100)


def test_a_mean_over_some_of_the_seeds_has_no_colour_and_is_not_the_best(
    store: MemoryStore, fill: Fill
) -> None:
    filler = fill().row("a", [0.2, 0.3], **thresholds(0.1, 0.5, 0.7))
    filler.row("b", [0.5, None], **thresholds(0.1, 0.9, 0.6))
    figure = report_figure(store, heatmap())
    axes = panel(draw(figure))
    assert [text.get_text() for text in axes.texts] == ["27.5", "55.0", "\N{EN DASH}"]
    filled = [p for p in axes.patches if p.get_fill() and not p.get_hatch()]
    assert len(filled) == 1
    end = "Without colour: not all seeds. Without a value: \N{EN DASH} not run."
    assert figure.legend.endswith(end)


def change(store: MemoryStore, run_id: str, **fields: Any) -> None:
    record = store.get(run_id)
    assert record is not None
    store.remove(run_id)
    store.add(record.model_copy(update=fields))


def test_a_cell_without_a_value_says_by_a_sign_whether_it_was_tried(
    store: MemoryStore, fill: Fill
) -> None:
    filler = fill().row("a", [0.2, 0.3], **thresholds(0.1, 0.5, 0.7))
    filler.row("b", [0.5, 0.4], **thresholds(0.1, 0.9, 0.6))
    filler.row("c", ["broken"], **thresholds(0.2, 0.9, 0.6))
    filler.row("d", [0.3], **thresholds(0.3, 0.9, 0.6))
    (last,) = (cell.run_id for cell in filler.cells if cell.label == "d")
    valid = tuple(m.model_copy(update={"split": "valid"}) for m in store.get(last).metrics)
    change(store, last, status="validated", metrics=valid)
    for run_id in (cell.run_id for cell in filler.cells if cell.label == "b"):
        change(store, run_id, status="pruned", metrics=())
    figure = report_figure(store, heatmap(metrics=["mrr"]))
    shown = draw(figure)
    signs = Counter(text.get_text() for text in panel(shown).texts)
    times, dash = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
    assert {sign: signs[sign] for sign in (times, "!", "o")} == {times: 1, "!": 1, "o": 1}
    assert signs[dash] == 3  # (0.2, 0.5), (0.3, 0.5) and the landmark (0.5, 0.9)
    labels = [text.get_text() for text in shown.legends[0].get_texts()]
    assert labels[-4:] == ["pruned", "failed", "not tested", "not run"]
    assert figure.legend.endswith(
        f"Without a value: {times} pruned, ! failed, o not tested, {dash} not run."
    )


# --- continuous axes ------------------------------------------------------------------------


def study(store: MemoryStore, fill: Fill, **axes: Any) -> SweepFigure:
    """Return the heat map of a study that drew learning rates and margins."""
    filler = fill()
    for number, (rate, margin) in enumerate([(1e-4, 3.0), (1e-2, 5.5), (3e-2, 7.1), (5e-4, 9.0)]):
        settings = {"optimiser": {"lr": rate}, "model": {"margin": margin}}
        filler.row(f"trial {number}", [0.1 * number, 0.1 * number], settings=settings)
    x = {"key": "optimiser.lr", "title": "Rate", **axes}
    y = {"key": "model.margin", "title": "Margin"}
    fields = {"ascending": False, "landmarks": [], "metrics": ["mrr"]}
    return report_figure(store, heatmap(x=x, y=y, **fields))


def test_points_that_a_study_drew_stand_at_their_values(store: MemoryStore, fill: Fill) -> None:
    figure = study(store, fill)
    assert len(figure.table.rows) == 4  # no row for each pair that was never run
    axes = panel(draw(figure))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    placed = axes.collections[0].get_offsets()
    assert {tuple(p) for p in np.asarray(placed)} == {
        (1e-4, 3),
        (1e-2, 5.5),
        (3e-2, 7.1),
        (5e-4, 9),
    }


def test_pruned_trials_have_a_sign_where_they_were_tried(store: MemoryStore, fill: Fill) -> None:
    study(store, fill)
    for seed in (0, 1):
        change(store, f"toy{6 + seed:03d}", status="pruned", metrics=())
    axes = {"x": {"key": "optimiser.lr"}, "y": {"key": "model.margin"}}
    fields = {"ascending": False, "landmarks": [], "metrics": ["mrr"]}
    shown = drawn(store, heatmap(**axes, **fields))
    (line,) = panel(shown).lines
    assert np.array_equal(line.get_xydata(), [[5e-4, 9.0]])
    assert [text.get_text() for text in shown.legends[0].get_texts()][-1] == "pruned"


def test_a_scale_is_as_defined(store: MemoryStore, fill: Fill) -> None:
    assert panel(draw(study(store, fill, scale="linear"))).get_xscale() == "linear"


def test_a_grid_with_a_scale_stands_at_its_values(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    x = {"key": "objective.egns.delta.0", "scale": "linear"}
    axes = panel(drawn(store, heatmap(x=x)))
    assert {tuple(p) for p in np.asarray(axes.collections[0].get_offsets())} == {
        (0.1, 0.5),
        (0.1, 0.9),
    }


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.00174399, 0.0158675], ["0.00174", "0.0159"]),
        ([0.034101, 0.034102], ["0.034101", "0.034102"]),  # alike with three digits
        ([1000.0, 1024.0], ["1000", "1024"]),
        (["mean", 2.0], ["mean", "2"]),
    ],
)
def test_labels_of_drawn_values_are_short_and_distinct(
    values: list[float | str], texts: list[str]
) -> None:
    assert _tick_texts(values) == texts


def test_words_stand_in_cells_and_have_no_scale(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for kind, rate in (("mean", 0.1), ("gate", 0.2)):
        settings = {"model": {"fusion": {"kind": kind}}, "optimiser": {"lr": rate}}
        filler.row(kind, [0.2], settings=settings)
    y = {"key": "optimiser.lr"}
    fields: dict[str, Any] = {"ascending": False, "landmarks": [], "metrics": ["mrr"], "y": y}
    x = {"key": "model.fusion.kind"}
    axes = panel(drawn(store, heatmap(x=x, **fields)))
    assert "gate" in [tick.get_text() for tick in axes.get_xticklabels()]
    with pytest.raises(StoreError, match=r"scale: '.*' is no number"):
        report_figure(store, heatmap(x={**x, "scale": "log"}, **fields))


def test_a_heat_map_whose_every_mean_lacks_seeds_is_drawn(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2, None], **thresholds(0.1, 0.5, 0.7))
    axes = panel(draw(report_figure(store, heatmap())))
    assert axes.texts[0].get_text() == "22.00"  # the noise is unknown: as in the table
    assert rectangles(axes, BEST) == []


def test_no_label_of_a_legend_stands_alone_on_the_last_line() -> None:
    def lengths(n: int, inches: float) -> list[int]:
        count = legend_columns([f"method {i}" for i in range(n)], inches, 2.4)
        columns = np.array_split(range(n), count)  # as matplotlib does
        return [sum(len(column) > line for column in columns) for line in range(len(columns[0]))]

    assert lengths(5, 3.9) == [3, 2]
    assert lengths(6, 3.9) == [3, 3]
    assert lengths(10, 2.7) == [2, 2, 2, 2, 2]  # not 3, 3, 3, 1
    assert lengths(2, 0.5) == [1, 1]


def test_values_can_be_read_on_their_colour(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **thresholds(0.1, 0.5, 0.7)).row("b", [0.3], **thresholds(0.1, 0.9, 0.6))
    axes = panel(drawn(store, heatmap()))
    faces = [p.get_facecolor() for p in axes.patches if p.get_fill() and not p.get_hatch()]
    for text, face in zip(axes.texts[:2], faces, strict=True):
        assert _contrast(mpl.colors.to_rgb(text.get_color()), face[:3]) >= 4.5


def _contrast(a: Any, b: Any) -> float:
    """Contrast of two colours as WCAG 2.2 defines it (1 to 21)."""

    def lightness(colour: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    dark, light = sorted((lightness(a), lightness(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("format_", ["png", "pdf", "svg"])
def test_files_are_the_same_each_time(store: MemoryStore, fill: Fill, format_: str) -> None:
    fill().row("a", [0.2, 0.3], **experts(1))
    figure = report_figure(store, lines())
    assert picture(figure, format_) == picture(figure, format_)


def test_a_column_is_3_3_inches_wide(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2, 0.3], **experts(1))
    image = mpl.image.imread(io.BytesIO(picture(report_figure(store, lines()), "png")))
    assert image.shape[1] == 990  # 300 dots per inch


def test_an_empty_figure_says_why(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [None])
    with pytest.raises(StoreError, match="figure 'toy' has nothing to draw: not run: `harness run"):
        render_picture(report_figure(store, lines()), "png")


def test_the_data_of_a_figure_are_a_table(store: MemoryStore, fill: Fill) -> None:
    fill().row("a", [0.2], **experts(2))
    rendered = render(report_figure(store, lines()).table, "csv")
    assert rendered.splitlines()[2].startswith(",2,20.0,")
    with pytest.raises(ConfigError, match="a table has no format 'png'; --figure NAME draws"):
        check_format("png")


def test_shipped_figures_say_what_is_to_be_run() -> None:
    from harness.report import files

    for name in files.available():
        definition = files.load_any(name)
        if isinstance(definition, FigureDefinition):
            assert report_figure(MemoryStore(), definition, files.load_published()).why_empty
