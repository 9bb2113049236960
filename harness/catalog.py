"""Finds and loads the models; the only code that knows where they live.

In a checkout the folder ``models/`` stands beside ``harness/`` and is the package ``models``; in an
installed wheel it is the package ``harness.models``. Both are bound by location, so a folder called
``models`` in the working directory is never taken for ours. A user's own folder is loaded the same
way (``--models DIR``), and an installed package may offer models through an entry point in the
group ``harness.models``.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import ValidationError

from harness.errors import ConfigError, suggest
from harness.index import GraphIndex, Modality
from harness.model import MODELS, Model, ModelConfig
from harness.seeding import seed_for

__all__ = ["create_model", "load_all", "load_folder", "load_models", "model_config", "origin"]

_USERS = "harness_user_models_"
"""How the names of packages begin that users' folders are loaded as."""


@cache
def load_models() -> None:
    """Register every model of the package and of installed plug-ins; later calls do nothing.

    Raises:
        ConfigError: another package called ``models`` has been imported (both paths are named).
    """
    sibling = Path(__file__).resolve().parent.parent / "models"
    if (sibling / "__init__.py").is_file():
        _import_folder(sibling, "models")
    else:
        _import_modules(importlib.import_module("harness.models"))
    for entry_point in entry_points(group="harness.models"):
        entry_point.load()


def load_all(folders: Iterable[Path] = ()) -> None:
    """Do ``load_models``, then ``load_folder`` for each of a user's folders; errors as these."""
    load_models()
    for folder in folders:
        load_folder(folder)


@cache
def load_folder(folder: Path) -> None:
    """Register the models of a user's folder (every ``*.py`` without a leading underscore).

    Raises:
        ConfigError: the folder is not there, or a file in it cannot be imported (file and line are
            named).
    """
    load_models()
    if not folder.is_dir():
        raise ConfigError(f"--models {folder}: no such folder")
    _import_folder(folder.resolve(), f"{_USERS}{abs(hash(str(folder.resolve())))}")


def origin(name: str) -> dict[str, str]:
    """Return ``{"models": folder}`` of a model from a user's folder, {} of any other.

    What a record keeps of it, so that the run can be repeated: the option ``--models``.
    """
    package = MODELS.get(name).__module__.partition(".")[0] if name in MODELS else ""
    return {"models": sys.modules[package].__path__[0]} if package.startswith(_USERS) else {}


def _import_folder(folder: Path, name: str) -> None:
    known = sys.modules.get(name)
    if known is not None:
        where = Path(getattr(known, "__file__", None) or "?").resolve()
        if where.parent != folder:
            raise ConfigError(f"a package '{name}' is already loaded from {where}, not {folder}")
        _import_modules(known)
        return
    init = folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        name, init if init.is_file() else None, submodule_search_locations=[str(folder)]
    )
    if spec is None:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    if spec.loader is not None:
        try:
            spec.loader.exec_module(package)
        except Exception as error:
            del sys.modules[name]
            raise _unloadable(error, folder, init) from error
    _import_modules(package)


def _import_modules(package: ModuleType) -> None:
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            folder = Path(next(iter(package.__path__)))
            try:
                importlib.import_module(f"{package.__name__}.{module.name}")
            except Exception as error:
                raise _unloadable(error, folder, folder / f"{module.name}.py") from error


def _unloadable(error: Exception, folder: Path, file: Path) -> ConfigError:
    """Return what is said of a model file that raises when it is imported.

    Args:
        error: what it raised.
        folder: folder of the models; the innermost line of a file in it is named.
        file: the file, for an error that comes from nowhere in the folder.
    """
    if isinstance(error, ConfigError):  # a name that is taken: says where
        return error
    where = str(file)
    if isinstance(error, SyntaxError) and error.filename:
        said = f"{error.msg}"
        where = f"{error.filename}:{error.lineno}"
    else:
        said = f"{type(error).__name__}: {error}"
        for frame in traceback.extract_tb(error.__traceback__):
            if Path(frame.filename).is_relative_to(folder):
                where = f"{frame.filename}:{frame.lineno}"
    return ConfigError(f"{where}: the model file cannot be loaded: {said}")


def model_config(name: str, options: Mapping[str, Any]) -> ModelConfig:
    """Return the validated options of a model.

    Raises:
        ConfigError: unknown model or option (with the nearest valid one), or a value out of range.
    """
    load_models()
    config_class = MODELS.get(name).Config
    try:
        return config_class.model_validate(dict(options))
    except ValidationError as error:
        parts = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            hint = (
                suggest(str(item["loc"][-1]), config_class.model_fields)
                if item["type"] == "extra_forbidden"
                else ""
            )
            parts.append(f"model.{key}: {item['msg']}{hint}")
        raise ConfigError(f"model '{name}': " + "; ".join(parts)) from error


def create_model(
    name: str,
    options: Mapping[str, Any],
    index: GraphIndex,
    modalities: Mapping[str, Modality] | None = None,
    *,
    seed: int = 0,
) -> Model:
    """Build a model on the CPU, its initial values drawn from the stream "init" of ``seed``.

    The seed depends on seed and dataset only: variants of a model start from the same entity table.

    Raises:
        ConfigError: unknown model or option, or a required modality is not offered.
    """
    config = model_config(name, options)
    model_class = MODELS.get(name)
    offered = dict(modalities or {})
    lacking = model_class.capabilities.lacking(offered)
    if lacking:
        raise ConfigError(
            f"model '{name}' needs {lacking}; "
            f"the feature set offers {', '.join(offered) or 'nothing'}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, index.dataset, "init"))
        return model_class(config, index, offered)
