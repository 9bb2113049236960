"""The contract, checked on the models of a user's file or folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.catalog import load_path
from harness.config.override import group_of
from harness.contract.core import examine
from harness.contract.declaring import declared
from harness.contract.subject import Subject
from harness.errors import ConfigError, suggest
from harness.model import MODELS

__all__ = ["load_subjects"]


def load_subjects(
    path: Path, model: str | None = None, overrides: Mapping[str, Any] | None = None
) -> list[Subject]:
    """Load a file or folder and return its models, for ``examine``.

    Args:
        path: the file or folder.
        model: name of the one model that is checked; all when None.
        overrides: nested settings, ``{"model": {"dim": 8}}``; an option is for models that have it.

    Raises:
        ConfigError: the path cannot be loaded or registers no (such) model; a setting is wrong.
    """
    names = load_path(path)
    if model is not None and model not in names:
        raise ConfigError(f"{path}: registers no model '{model}'{suggest(model, names)}")
    names = [model] if model is not None else names
    settings = overrides or {}
    options = group_of(settings, "model")
    fields = _option_names(names)
    _check_options(options, fields)
    other_groups = {group: values for group, values in settings.items() if group != "model"}
    subjects = []
    for name in names:
        own_options = {key: value for key, value in options.items() if key in fields[name]}
        subjects.append(
            Subject(name, {**settings, "model": own_options} if own_options else other_groups)
        )
    for subject in subjects:
        [result] = examine(subject, [declared])
        if settings and result.status == "ok":
            subject.spec()  # a wrong setting is no fault of the model
    return subjects


def _option_names(names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the options of models, {} of one without a Config."""
    configs = {name: getattr(MODELS.get(name), "Config", None) for name in names}
    return {name: getattr(config, "model_fields", {}) for name, config in configs.items()}


def _check_options(options: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> None:
    all_fields = {key for names in fields.values() for key in names}
    for key in options:
        if key not in all_fields:
            near = suggest(key, all_fields)
            raise ConfigError(f"--set model.{key}: {', '.join(fields)} has no such option{near}")
