"""Checks of a definition against the runs that it shows: no key of it is without effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.results import RowResult, SuiteResults
from harness.errors import ConfigError, suggest
from harness.report.definition import Axis, Definition, FigureDefinition, RobustnessDefinition
from harness.report.tables.sweep import ABSENT, value_at
from harness.store.records import EXTERNAL

__all__ = ["absent_rows", "check_landmarks", "check_models", "check_weights", "of_model"]

Spec = dict[str, Any]


def check_models(definition: Definition, sources: Sequence[SuiteResults]) -> None:
    """Refuse a table whose rows name another model than was run.

    Args:
        definition: the table.
        sources: results of its suites.

    Raises:
        ConfigError: the message names row, run and models.
    """
    for row in filter(lambda row: row.model, definition.rows):
        label = row.label.lower()
        for results in sources:
            rows = (r for r in results.results if _is_row(r.label, label))
            for run_id, model in _models(rows):
                if model not in (row.model, EXTERNAL):
                    raise ConfigError(
                        f"table '{definition.name}': row '{row.label}': model '{row.model}', but "
                        f"run {run_id} of suite '{results.suite}' is of '{model}'"
                    )


def absent_rows(definition: Definition, sources: Sequence[SuiteResults]) -> Iterator[str]:
    """Yield a note on each row that a table compares with and that neither it nor a suite has.

    No note where nothing was run; a suite of which a part was run may lack such a row.
    """
    ran = [label for results in sources for label in results.labels]
    labels = {label.lower(): label for label in (*(row.label for row in definition.rows), *ran)}
    plain = {label.rpartition(" [")[0] for label in labels if label.endswith("]")}
    references = {"baseline": (definition.baseline,), "proposed": definition.proposed}
    if "floors" in definition.model_fields_set:
        references["floors"] = definition.floors
    for key, names in references.items():
        for name in filter(None, names):
            if ran and name.lower() not in labels.keys() | plain:
                reason = _why_absent(name, labels, sources)
                yield f"Nothing is compared with {key} '{name}': {reason}"


def _why_absent(name: str, labels: Mapping[str, str], sources: Sequence[SuiteResults]) -> str:
    """Return why a table has no row of a name: it was not run, or is in no suite."""
    if suite := next((results for results in sources if results.is_listed(name)), None):
        return f"it was not run: `{suite.command}`."
    near = suggest(name, labels.values())
    return f"there is no such row{near if near.startswith('; did') else '.'}"


def _is_row(label: str, row_label: str) -> bool:
    """Tell whether a label is a row's, with any feature set."""
    return label.lower() == row_label or label.lower().startswith(f"{row_label} [")


def _models(results: Iterable[RowResult]) -> Iterator[tuple[str, str]]:
    """Yield id and model of the runs that left a record."""
    for result in results:
        yield from ((run.run_id, run.record.model) for run in result.runs if run.record)


def of_model(figure: FigureDefinition, results: SuiteResults) -> SuiteResults:
    """Return the results of a figure's model; rows of which nothing was run may be its too.

    Raises:
        ConfigError: no such model is registered or was run, or the runs have no such setting.
    """
    models: dict[str, set[str]] = {}
    for result in results.results:
        models.setdefault(result.label, set()).update(model for _, model in _models([result]))
    ran = set[str]().union(*models.values())
    if figure.model not in ran:
        _check_registered(figure, ran)
    rows = tuple(
        _runs_of(figure.model, result)
        for result in results.results
        if not models[result.label] or figure.model in models[result.label]
    )
    for axis in filter(None, (figure.x, figure.y)):
        records = [run.record for row in rows for run in row.runs if run.record]
        _check_key(figure, axis, [record.written_spec for record in records])
    return replace(results, results=rows)


def _runs_of(model: str, result: RowResult) -> RowResult:
    """Return a row without the runs of other models."""
    runs = (run for run in result.runs if run.record is None or run.record.model == model)
    return replace(result, runs=tuple(runs))


def _check_registered(figure: FigureDefinition, ran: set[str]) -> None:
    from harness.catalog import load_models  # takes seconds; most models were run
    from harness.model import MODELS

    load_models()
    names = {*MODELS, *ran}
    if figure.model not in names:
        near = suggest(figure.model, names)
        raise ConfigError(f"figure '{figure.name}': model: unknown model '{figure.model}'{near}")


def _check_key(figure: FigureDefinition, axis: Axis, specs: Sequence[Spec]) -> None:
    """Refuse an axis that is no setting: all runs would stand at its default."""
    if not specs or any(value_at(spec, axis.key) is not ABSENT for spec in specs):
        return
    keys = _settings(figure.model)
    path = axis.key.split(".")
    starts = {".".join(path[:n]) for n in range(1, len(path) + 1)}
    groups = {key for key in keys if any(longer.startswith(f"{key}.") for longer in keys)}
    # Below a value that is no group there may be items of a list, or options of a strategy.
    if axis.key not in keys and not starts & ((keys - groups) | {"negatives.strategy"}):
        near = suggest(axis.key, keys)
        raise ConfigError(f"figure '{figure.name}': '{axis.key}' is no setting of a run{near}")


def _settings(model: str) -> set[str]:
    """Return the dotted keys of a run's settings, with the options of a registered model."""
    from harness.catalog import load_models
    from harness.model import MODELS
    from harness.plan.schema import keys_of
    from harness.plan.settings import AXES
    from harness.plan.spec import RunSpec

    load_models()
    options = keys_of(MODELS.get(model).Config) if model in MODELS else set()
    unregistered = (
        {"model"} if model not in MODELS else set()
    )  # of a folder that only its runs know
    return {*keys_of(RunSpec), *AXES, *unregistered, *(f"model.{key}" for key in options)} - {
        "model.name"
    }


def check_landmarks(figure: FigureDefinition, points: Iterable[object]) -> None:
    """Refuse landmarks that stand at no point of a figure.

    Raises:
        ConfigError: one does; the picture would not show it.
    """
    positions = set(points)
    for mark in figure.landmarks:
        if (mark.x, mark.y) not in positions:
            raise ConfigError(
                f"figure '{figure.name}': landmark '{mark.title}' is at no point of the figure: "
                f"x {mark.x}, y {mark.y}"
            )


def check_weights(definition: RobustnessDefinition, results: SuiteResults) -> None:
    """Refuse weights of modalities that no run has.

    Raises:
        ConfigError: the message offers the nearest.
    """
    modalities = {name for record in results.records for name in record.modalities}
    weighted = {key.partition("/")[2] for record in results.records for key in record.diagnostics}
    for name in definition.weights:
        if modalities and name not in modalities | weighted | {"structure"}:
            near = suggest(name, modalities)
            raise ConfigError(f"table '{definition.name}': weights: no modality '{name}'{near}")
