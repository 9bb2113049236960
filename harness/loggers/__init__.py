"""Loggers: copies of what the store keeps of a run, in TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from harness.errors import ConfigError, suggest
from harness.loggers.base import LoggedRun, Logger, epoch_values, record_texts, record_values

__all__ = [
    "GROUP",
    "LOGGERS",
    "LoggedRun",
    "Logger",
    "check_logger",
    "epoch_values",
    "logger_names",
    "make_logger",
    "record_texts",
    "record_values",
]

GROUP = "harness.loggers"
"""Group of entry points: name -> callable that takes a folder and returns a ``Logger``."""


class _Shipped(NamedTuple):
    module: str
    """Module of the package that has the class."""
    name: str
    """The class."""
    package: str
    """Module that the extra of the logger's name installs."""


LOGGERS: Mapping[str, _Shipped] = {
    "mlflow": _Shipped("harness.loggers.mlflow", "MLflowLogger", "mlflow"),
    "tensorboard": _Shipped("harness.loggers.tensorboard", "TensorBoardLogger", "tensorboard"),
    "wandb": _Shipped("harness.loggers.wandb", "WandbLogger", "wandb"),
}
"""Name -> logger of the package."""


def logger_names() -> Sequence[str]:
    """Return the names of all loggers, those of installed plug-ins included."""
    return sorted({*LOGGERS, *(point.name for point in entry_points(group=GROUP))})


def check_logger(name: str) -> None:
    """Refuse a logger that is unknown or whose package is missing; nothing is imported.

    Raises:
        ConfigError: names the nearest logger, the extra, or two plug-ins of one name.
    """
    if name in LOGGERS and find_spec(LOGGERS[name].package) is None:
        raise ConfigError(
            f"logger '{name}': package {LOGGERS[name].package} is not installed; "
            f"pip install -e '.[{name}]'"
        )
    _plugin(name)


def make_logger(name: str, folder: Path) -> Logger:
    """Return a logger.

    Args:
        name: one of ``logger_names()``.
        folder: the logger's folder on this machine; it need not exist.

    Raises:
        ConfigError: see ``check_logger``.
        Exception: whatever a logger raises, such as a server that cannot be reached.
    """
    check_logger(name)
    if (plugin := _plugin(name)) is not None:
        logger: Logger = plugin.load()(folder)
    else:
        shipped = LOGGERS[name]
        logger = getattr(importlib.import_module(shipped.module), shipped.name)(folder)
    return logger


def _plugin(name: str) -> EntryPoint | None:
    """Return the entry point of a plug-in, None for a logger of the package."""
    points = list(entry_points(group=GROUP, name=name))
    origins = [f"{point.value} ({point.dist.name if point.dist else '?'})" for point in points]
    if name in LOGGERS:
        origins.insert(0, f"{LOGGERS[name].module} (mmkgc-harness)")
    if len(origins) > 1:
        raise ConfigError(f"logger '{name}' is registered twice: {' and '.join(origins)}")
    if not origins:
        raise ConfigError(f"--log: unknown logger '{name}'{suggest(name, logger_names())}")
    return points[0] if points else None
