"""A suite's results by the settings it varies, instead of by the labels of its rows; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.analysis.results import RowResult, SeedRun, SuiteResults
from harness.errors import StoreError
from harness.report.definition import Axis, AxisValue, Definition, FigureDefinition, RowSpec

__all__ = ["ABSENT", "Point", "Sweep", "sweep", "value_at", "value_text"]

ABSENT = object()

Point = tuple[AxisValue, AxisValue | None]
"""Values of x and y; y is None in figures without it."""


@dataclass(frozen=True)
class Sweep:
    """A table with a row per point, and the results that fill it.

    Attributes:
        definition: the table.
        results: labelled by the points.
        points: by the labels of the rows.
        continuous: points of a heat map stand at their values, not in the cells of a grid.
    """

    definition: Definition
    results: SuiteResults
    points: dict[str, Point]
    continuous: bool = False


def sweep(figure: FigureDefinition, results: SuiteResults) -> Sweep:
    """Return a figure's data as a table, and what fills it.

    Raises:
        StoreError: two runs with one seed have the same point, so one more setting is varied; or a
            run is at a point that the definition calls invalid.
    """
    placed, unplaced = _points_of(figure, results)
    for (point, *_), runs in placed.items():
        if point[1] is not None and figure.invalid(point[0], point[1]):
            run_id = next(iter(runs.values())).run_id
            raise StoreError(
                f"figure '{figure.name}': run {run_id} is at {_label(point)}, where x is not below "
                "y; leave out ascending, or that row of the suite"
            )
    run_points = list(dict.fromkeys(point for point, _, _ in placed))
    continuous = _is_continuous(figure, run_points)
    ordered = sorted(run_points) if continuous else _order(figure, run_points)
    points = {_label(point): point for point in ordered}
    labelled = [
        RowResult(_label(point), dataset, features, tuple(runs[seed] for seed in sorted(runs)))
        for (point, dataset, features), runs in placed.items()
    ]
    return Sweep(
        _definition(figure, points),
        replace(results, results=tuple(labelled), unplaced=unplaced),
        points,
        continuous,
    )


def _is_continuous(figure: FigureDefinition, points: Sequence[Point]) -> bool:
    """Tell whether the points of a heat map stand at their values instead of in a grid of cells.

    They do where an axis has a ``scale``, and where both axes have numbers of which most pairs were
    not run: those of a study that draws its points.

    Raises:
        StoreError: an axis with a ``scale`` has words.
    """
    if figure.y is None:
        return False
    words = [value for point in points for value in point if isinstance(value, str)]
    if figure.has_scale and words:
        raise StoreError(
            f"figure '{figure.name}': scale: '{words[0]}' is no number; leave out scale, and the "
            "values stand side by side"
        )
    pairs = len({x for x, _ in points}) * len({y for _, y in points})
    return figure.has_scale or (not words and 2 * len(points) < pairs)


def value_text(value: AxisValue) -> str:
    """Return a value of an axis as it is printed."""
    return value if isinstance(value, str) else f"{value:g}"


def _points_of(
    figure: FigureDefinition, results: SuiteResults
) -> tuple[dict[tuple[Point, str, str], dict[int, SeedRun]], dict[str, str]]:
    """Return the runs by point, dataset, features and seed; and why others have no point.

    A run without a record has no settings: it stands where the other runs of its row do.
    """
    points = {
        result.label: point
        for result in results.results
        for run in result.runs
        if (point := _point(figure, run)) is not None
    }
    placed: dict[tuple[Point, str, str], dict[int, SeedRun]] = defaultdict(dict)
    unplaced: dict[str, str] = {}
    for result, dataset in zip(results.results, _datasets(results.results), strict=True):
        for run in result.runs:
            point = _point(figure, run) or points.get(result.label)
            if point is None:
                unplaced.setdefault(dataset, f"not run: {run.reason or f'`{results.command}`'}")
                continue
            first_run = placed[point, dataset, result.features].setdefault(run.seed, run)
            if first_run is not run:
                raise StoreError(
                    f"figure '{figure.name}': runs {first_run.run_id} and {run.run_id} are both at "
                    f"{_label(point)} on {dataset} with seed {run.seed}; the suite varies more "
                    "than the figure shows"
                )
    return placed, unplaced


def _datasets(results: Sequence[RowResult]) -> Iterator[str]:
    """Yield each result's dataset, with the feature set where a dataset has several."""
    features: dict[str, set[str]] = defaultdict(set)
    for result in results:
        features[result.dataset].add(result.features)
    for result in results:
        several = len(features[result.dataset]) > 1
        yield f"{result.dataset} [{result.features}]" if several else result.dataset


def _point(figure: FigureDefinition, run: SeedRun) -> Point | None:
    """Return where a run stands, None when it has no record or lacks a setting."""
    if run.record is None:
        return None
    x = _setting(run.record.written_spec, figure.x)
    y = _setting(run.record.written_spec, figure.y) if figure.y else None
    return None if x is None or (figure.y and y is None) else (x, y)


def _setting(spec: Any, axis: Axis) -> AxisValue | None:
    value = value_at(spec, axis.key)
    if value is ABSENT:
        return axis.default
    return value if isinstance(value, str) else float(value)


def value_at(spec: Any, dotted_key: str) -> Any:
    """Return a value of a specification, ``ABSENT`` where it has no such key or item."""
    value = spec
    for key in dotted_key.split("."):
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return ABSENT
    return value


def _order(figure: FigureDefinition, points: Sequence[Point]) -> list[Point]:
    """Return the figure's points and those held, ordered along x, then y."""
    xs = _along(figure.x, (x for x, _ in points))
    if figure.y is None:
        return [(x, None) for x in xs]
    ys = _along(figure.y, (y for _, y in points if y is not None))
    return [(x, y) for x in xs for y in ys if not figure.invalid(x, y)]


def _along(axis: Axis, run: Iterable[AxisValue]) -> list[AxisValue]:
    """Return an axis's values in order: numbers by size, words as given and met."""
    values = list(dict.fromkeys((*axis.values, *run)))
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [*numbers, *(value for value in values if isinstance(value, str))]


def _label(point: Point) -> str:
    return " / ".join(value_text(value) for value in point if value is not None)


def _definition(figure: FigureDefinition, points: Iterable[str]) -> Definition:
    axes = [figure.x, figure.y] if figure.y else [figure.x]
    return Definition(
        name=figure.name,
        title=figure.title,
        suite=figure.suite,
        published=figure.published,
        metrics=figure.metrics,
        datasets=figure.datasets,
        rows=tuple(
            RowSpec(label=label, published=label if figure.published else "", model=figure.model)
            for label in points
        ),
        footnotes=figure.footnotes,
        row_title=" / ".join(axis.label for axis in axes),
    )
