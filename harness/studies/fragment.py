"""Settings of trials as YAML for the ``overrides`` of a suite."""

from __future__ import annotations

import io
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import ConfigError
from harness.store.base import ResultStore
from harness.studies.results import SearchResult, TrialResult

__all__ = ["fragment"]


def fragment(
    promoted: Sequence[tuple[SearchResult, TrialResult]],
    searches: Sequence[SearchResult],
    store: ResultStore,
    *,
    onto: str = "",
) -> str:
    """Return trials as items for the ``overrides`` of a suite.

    Args:
        promoted: the trials.
        searches: all searches; where several have one model, a row is named by its label.
        store: has the runs, whose specifications hold the values.
        onto: dataset that the settings are for, with the number of epochs that validation chose;
            the dataset of the search when "".

    Raises:
        ConfigError: trials of several datasets are to be for one; an epoch was chosen before the
            end of a learning-rate schedule; a trial's run is not in the store.
    """
    datasets = dict.fromkeys(search.dataset for search, _ in promoted)
    if onto and len(datasets) > 1:
        raise ConfigError(
            f"--onto {onto}: the trials are of {', '.join(datasets)}; choose one with "
            f"--only dataset={next(iter(datasets))}"
        )
    from ruamel.yaml import YAML

    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 100
    for search, trial in promoted:
        models = {
            s.label for s in searches if (s.model, s.dataset) == (search.model, search.dataset)
        }
        condition: dict[str, Any] = {"dataset": onto or search.dataset, "model": search.model}
        if len(models) > 1:
            condition["label"] = search.label
        settings = _settings(trial, store)
        if onto:
            settings |= _last_epoch(search, trial, store)
        stream.write(_remark(search, trial))
        yaml.dump([{"when": condition, "set": settings}], stream)
    return stream.getvalue()


def _remark(search: SearchResult, trial: TrialResult) -> str:
    seeds = ", ".join(map(str, search.seeds))
    value = "" if trial.value is None else f", validation MRR {100 * trial.value:.2f}"
    text = f"{search.place}: trial {trial.number} of study '{search.suite}'{value} (seeds {seeds})"
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, 98))


def _settings(trial: TrialResult, store: ResultStore) -> dict[str, Any]:
    """Return the settings with which a suite repeats the runs of a trial."""
    record = next(iter(store.find(ids=trial.runs.values())), None)
    settings: dict[str, Any] = {}
    for key, value in trial.settings.items():
        parent, _, last = key.rpartition(".")
        if not last.isdecimal():
            settings[key] = value
        elif record is not None:  # an item of a list, which is written whole
            settings[parent] = _value(record.written_spec, parent)
    if record is not None and record.spec.protocol.valid_filter is not None:
        settings["protocol.valid_filter"] = list(record.spec.protocol.valid_filter)
    return settings


def _last_epoch(search: SearchResult, trial: TrialResult, store: ResultStore) -> dict[str, Any]:
    """Return settings that train for the number of epochs that validation chose, and no longer.

    Of several seeds it is the median of their best epochs, of two in the middle the lower.
    """
    records = {record.run_id: record for record in store.find(ids=trial.runs.values())}
    for run_id in trial.runs.values():
        if run_id not in records or "best_epoch" not in records[run_id].diagnostics:
            raise ConfigError(
                f"{search.place}: trial {trial.number}: run {run_id} is not in the database; "
                "`harness db import` it, or run the study again"
            )
    epochs = [round(record.diagnostics["best_epoch"]) for record in records.values()]
    for record in records.values():
        schedule = _value(record.written_spec, "optimiser.schedule")
        max_epochs = _value(record.written_spec, "training.epochs")
        if schedule != "constant" and any(epoch < max_epochs for epoch in epochs):
            raise ConfigError(
                f"{search.place}: trial {trial.number}: validation chose epoch {min(epochs)} of "
                f"{max_epochs} under optimiser.schedule={schedule}, which a training of so many "
                "epochs does not repeat; search training.epochs with training.select=last, or with "
                "optimiser.schedule=constant"
            )
    return {"training.epochs": statistics.median_low(epochs), "training.select": "last"}


def _value(spec: Mapping[str, Any], key: str) -> Any:
    node: Any = spec
    for name in key.split("."):
        node = node[name]
    return node
