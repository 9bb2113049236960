"""A suite from the command line: models, datasets, a number of seeds, and values to try."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.config.base import KeyPath, check_suite_name, show_path, suite_name_like
from harness.config.listing import names_in
from harness.config.override import parse_overrides
from harness.data.card import base_of
from harness.errors import ConfigError
from harness.plan.suite import Suite

__all__ = ["default_name", "line_suite", "split_values"]

MOST_ROWS = 1000
"""Rows of a line; more values are a slip, or a study (``harness study run``)."""
_LONGEST_NAME = 64

_OPTIONS = {"datasets": "--dataset", "seeds": "--seeds", "name": "--name"}


class _LineSuite(Suite):
    """A suite whose messages name the options of the line."""

    def origin(self, path: KeyPath) -> str:
        """Return the option that a value is from, of a setting with its key."""
        if path[0] == "rows":
            key = path[path.index("set") + 1 :] if "set" in path else ()
            return f"--set {show_path(key)}" if key else "--model"
        return _OPTIONS.get(str(path[0]), super().origin(path))


def line_suite(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    settings: Sequence[str] = (),
    name: str = "",
) -> Suite:
    """Return a suite with a row for each model and each combination of values.

    Args:
        models: names of models.
        datasets: names of datasets.
        seeds: random seeds.
        settings: ``["optimiser.lr=1e-3,1e-2", "training.epochs=20"]``; a list of values gives a row
            for each, in a label such as "RotatE, lr=1e-3".
        name: name of the suite; ``default_name`` when empty.

    Raises:
        ConfigError: no model or dataset, several in one text, a setting that is not KEY=VALUE or
            lacks a value, or too many rows.
    """
    if not models or not datasets:
        raise ConfigError(
            "give --model and --dataset: harness run --model rotate --dataset atlas --seeds 3"
        )
    _refuse_lists("--model", {model: model for model in models})
    # Options of a dataset ("synthetic:entities=60,train=300") hold commas.
    _refuse_lists("--dataset", {dataset: base_of(dataset) for dataset in datasets})
    choices = [_choices(setting) for setting in settings]
    points = list(itertools.product(*choices))
    if len(points) * len(models) > MOST_ROWS:
        raise ConfigError(
            f"--set: {len(points) * len(models)} rows, more than {MOST_ROWS}; "
            "`harness study run` searches many values"
        )
    varied = [i for i, values in enumerate(choices) if len(values) > 1]
    short = _shortener([choices[i][0].partition("=")[0] for i in varied])
    rows: list[dict[str, Any]] = []
    for model in models:
        for point in points:
            row: dict[str, Any] = {"model": model, "set": parse_overrides(point)}
            if varied:
                row["label"] = ", ".join([_title(model), *(short(point[i]) for i in varied)])
            rows.append(row)
    content = {
        "name": name or default_name(models, datasets),
        "title": f"{', '.join(_title(m) for m in models)} on {', '.join(datasets)}",
        "datasets": list(datasets),
        "seeds": list(seeds),
        "rows": rows,
    }
    try:
        check_suite_name(str(content["name"]))
    except ValueError as error:
        raise ConfigError(f"--name: {error}") from error
    return _LineSuite.model_validate(content)


def _refuse_lists(option: str, names: Mapping[str, str]) -> None:
    """Refuse several names in one text.

    Args:
        option: the option of the names.
        names: text -> its name without options.
    """
    for text, name in names.items():
        if "," in name:
            repeated = " ".join(f"{option} {single}" for single in names_in(name, option))
            raise ConfigError(f"{option} {text}: repeat the option for several: {repeated}")


def default_name(models: Sequence[str], datasets: Sequence[str]) -> str:
    """Return models and datasets as the name of a suite: "rotate-atlas"."""
    return suite_name_like("-".join([*models, *datasets]), _LONGEST_NAME) or "runs"


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds as ``--seeds`` reads them: "3" for 0, 1 and 2, "4-4" for 4, "2,5"."""
    first, last = min(seeds), max(seeds)
    if len(seeds) != last - first + 1:
        return ",".join(map(str, seeds))
    return f"{first}-{last}" if first else str(last + 1)


def _shortener(keys: Sequence[str]) -> Callable[[str], str]:
    """Return a function that writes ``optimiser.lr=1`` as ``lr=1``, if no other key ends so."""
    ends = [key.rpartition(".")[2] for key in keys]

    def short(setting: str) -> str:
        key, _, value = setting.partition("=")
        end = key.rpartition(".")[2]
        return f"{end if ends.count(end) == 1 else key}={value}"

    return short


def _choices(setting: str) -> list[str]:
    """Return ``KEY=VALUE`` for each value of a setting."""
    key, equals, values = setting.partition("=")
    if not equals:
        return [setting]  # refused when it is read
    choices = split_values(values)
    if len(choices) > 1 and "" in choices:
        raise ConfigError(f"--set {setting}: a value is missing at a comma (null is a value)")
    return [f"{key.strip()}={value}" for value in choices]


def split_values(text: str) -> list[str]:
    """Split values at commas outside of brackets and quotes: "1e-3,[1,2]" is two values."""
    values, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 0:
            values.append("")
            continue
        values[-1] += sign
    return [value.strip() for value in values]


def _title(model: str) -> str:
    """Return the title of a model, its name where there is no such model (reported later)."""
    from harness.model import MODELS

    return MODELS.get(model).capabilities.title if model in MODELS else model
