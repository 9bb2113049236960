"""Curves over the amount of corruption: which run stands where, and what is said of a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from harness.analysis.query import Results, Selection
from harness.errors import StoreError
from harness.report.build import robustness_figure
from harness.report.definition import RobustnessDefinition
from harness.report.pictures import draw
from harness.report.pictures.style import label_ticks
from harness.report.render import FORMATS, render, render_picture
from harness.report.table import TableCell
from harness.report.tables.robustness import Robustness, area
from harness.store.memory import MemoryStore

Fill = Callable[..., Any]

TOY = RobustnessDefinition.model_validate(
    {
        "name": "toy",
        "title": "Toy",
        "suite": "toy",
        "conditions": [
            {"title": "always", "kind": "drop", "amount": "share"},
            {"title": "in the test", "kind": "drop", "at": "test", "amount": "share"},
        ],
        "weights": ["text", "image"],
    }
)


def drop(share: float, at: str = "both") -> dict[str, Any]:
    return {"data": {"corrupt": [{"kind": "drop", "share": share, "at": at}]}}


def row(filler: Any, label: str, mrr: list[Any], settings: Any = None, weight: float = 0.5) -> None:
    diagnostics = {"omega_b/text": weight}
    filler.row(label, mrr, features="all", settings=settings or {}, diagnostics=diagnostics)


@pytest.fixture
def shown(store: MemoryStore, fill: Fill) -> Robustness:
    """Two seeds: 0.4, 0.3, 0.1 and 0.4, 0.2, 0.2 at shares 0, 0.5, 0.9; 0.4, 0.4 in the test."""
    filler = fill()
    filler.row("RotatE", [0.2, 0.2])
    row(filler, "gate, intact", [0.4, 0.4])
    row(filler, "gate, 0.5", [0.3, 0.2], drop(0.5), 0.4)
    row(filler, "gate, 0.9", [0.1, 0.2], drop(0.9), 0.1)
    row(filler, "gate, 0.5 in test", [0.4, 0.4], drop(0.5, "test"))
    row(filler, "mean, intact", [0.3, 0.3])
    row(filler, "mean, 0.5", [0.2, None], drop(0.5))
    return robustness_figure(TOY, Results(store))


def cell(shown: Robustness, label: str, part: str, column: str) -> TableCell:
    table = shown.table
    (found,) = [r for r in table.rows if r.label == label]
    places = {(c.dataset_title, c.title): i for i, c in enumerate(table.columns)}
    return found.cells[places[f"atlas: {part}", column]]


def test_runs_stand_at_their_amount_under_their_condition(shown: Robustness) -> None:
    titles = [(c.dataset_title, c.title) for c in shown.table.columns]
    ends = ["mean", "kept", "change"]
    assert titles == [
        *(("atlas: always", t) for t in ["intact", "0.5", "0.9", *ends]),
        *(("atlas: in the test", t) for t in ["intact", "0.5", *ends]),
    ]
    assert cell(shown, "gate", "always", "0.5").value == pytest.approx(25)
    assert cell(shown, "gate", "in the test", "0.5").value == pytest.approx(40)
    assert cell(shown, "gate", "in the test", "intact").value == pytest.approx(40)


def test_the_area_is_that_of_trapezoids_over_the_width() -> None:
    assert area({0.0: 4.0, 0.5: 2.0, 1.0: 2.0}) == pytest.approx(2.5)
    assert area({0.0: 3.0, 4.0: 3.0}) == 3.0
    assert area({0.0: 4.0, 0.9: 0.0}) == pytest.approx(2.0)


def test_a_curve_is_summarised_seed_by_seed(shown: Robustness) -> None:
    first = (0.5 * 35 + 0.4 * 20) / 0.9
    second = (0.5 * 30 + 0.4 * 20) / 0.9
    found = cell(shown, "gate", "always", "mean")
    assert found.value == pytest.approx((first + second) / 2)
    assert found.sd == pytest.approx((first - second) / 2**0.5)
    assert cell(shown, "gate", "always", "kept").value == pytest.approx((first + second) / 0.8)
    assert cell(shown, "gate", "always", "change").value == pytest.approx(-25)
    assert len(found.runs) == 6


def test_a_model_without_features_is_the_same_at_all_amounts(shown: Robustness) -> None:
    values = [cell(shown, "RotatE", "always", c).value for c in ("intact", "0.9", "mean", "change")]
    assert values == pytest.approx([20, 20, 20, 0])


def test_curves_that_lack_runs_say_so(shown: Robustness) -> None:
    assert cell(shown, "mean", "always", "0.5").notes == ("1 of 2 seeds",)
    assert cell(shown, "mean", "always", "0.9").reason == "not run: `harness run SUITE`"
    assert cell(shown, "mean", "always", "mean").value is None


def test_weights_stand_beside_the_amounts(shown: Robustness) -> None:
    shares = [cell(shown, "gate: text", "always", c).value for c in ("intact", "0.5", "0.9")]
    assert shares == pytest.approx([50, 40, 10])
    assert not any(r.label == "gate: image" for r in shown.table.rows)  # has no such weight


def test_every_empty_cell_has_a_reason(shown: Robustness) -> None:
    cells = [c for r in shown.table.rows for c in r.cells]
    assert all(c.value is not None or c.reason for c in cells)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_table_is_printed_in_every_format(shown: Robustness, format_: str) -> None:
    said = render(shown.table, format_)
    assert "gate" in said
    if format_ == "text":
        assert max(map(len, said.splitlines())) <= 80


def error_bars(axis: Axes) -> list[Any]:
    return list(axis.containers)


def lines(axis: Axes) -> dict[str, np.ndarray]:
    """Return the points [n, 2] of the labelled lines of a panel."""
    plain = {str(line.get_label()): line for line in axis.lines}
    barred = {str(bars.get_label()): bars.lines[0] for bars in error_bars(axis)}
    return {
        label: np.asarray(line.get_xydata())
        for label, line in (plain | barred).items()
        if not label.startswith("_")
    }


def test_a_panel_per_condition_a_line_per_row(shown: Robustness) -> None:
    panels = [axis for axis in draw(shown).axes if axis.get_title()]
    assert [p.get_title() for p in panels] == ["Always", "In the test"]
    drawn = lines(panels[0])
    assert drawn["gate"] == pytest.approx(np.array([[0, 40], [0.5, 25], [0.9, 15]]))
    assert drawn["RotatE"][:, 1].tolist() == pytest.approx([20, 20, 20])
    assert render_picture(shown, "png") == render_picture(shown, "png")


def test_panels_share_a_scale_and_rows_of_one_amount_are_left_out(shown: Robustness) -> None:
    first, second = (axis for axis in draw(shown).axes if axis.get_title())
    assert first.get_ylim() == second.get_ylim()
    assert "mean" in lines(first)
    assert "mean" not in lines(second)  # measured intact alone


def test_the_caption_names_seeds_intervals_and_what_is_left_out(
    store: MemoryStore, fill: Fill
) -> None:
    filler = fill()
    row(filler, "gate, intact", [0.4, 0.4])
    row(filler, "gate, 0.5", [0.3, None], drop(0.5))
    row(filler, "mean, intact", [0.3, 0.3])
    legend = robustness_figure(TOY, Results(store)).legend
    assert legend == (
        "Atlas. Means over 1 to 2 seeds; bars: 95 % intervals of the means (Student's t). Not "
        "drawn, since measured at one amount only: mean."
    )


def test_equal_amounts_have_one_label_per_column(store: MemoryStore, fill: Fill) -> None:
    filler = fill()
    for dataset in ("atlas", "tiva"):
        for label, settings in (("intact", None), ("0.5", drop(0.5)), ("t", drop(0.5, "test"))):
            filler.row(f"gate, {label}", [0.4], dataset=dataset, features="all", settings=settings)
    axes = draw(robustness_figure(TOY, Results(store))).axes
    assert [axis.get_xlabel() for axis in axes] == ["", "", "Share", "Share"]


def test_labels_of_ticks_do_not_touch() -> None:
    panel = Picture().add_subplot()
    label_ticks(panel, [0, 0.2, 0.4, 0.6, 0.8, 0.95], 1.2)
    assert [t.get_text() for t in panel.get_xticklabels()] == ["0", "0.2", "0.4", "0.6", "", "0.95"]


def test_rows_are_told_apart_without_colours(shown: Robustness) -> None:
    axis = draw(shown).axes[0]
    drawn = [*(bars.lines[0] for bars in error_bars(axis)), axis.lines[0]]
    assert len({(line.get_marker(), line.get_linestyle()) for line in drawn}) == len(drawn)


def test_nothing_to_draw_is_said(store: MemoryStore) -> None:
    empty = robustness_figure(TOY, Results(store))
    with pytest.raises(StoreError, match="nothing to draw: not run: `harness run SUITE`"):
        render_picture(empty, "png")
    assert "No picture: not run: `harness run SUITE`." in render(empty)


def test_datasets_are_chosen(store: MemoryStore, fill: Fill, shown: Robustness) -> None:
    chosen = robustness_figure(TOY, Results(store, Selection(datasets=("atlas",))))
    assert chosen.table == shown.table
