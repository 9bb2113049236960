"""Discovery and import of models.

In a checkout ``models/`` lies beside ``harness/`` and is the package ``models``; in a wheel it is
the package ``harness.models``. Both are found by location, so that a folder called ``models`` in
the working directory is never imported instead. A user's folder is loaded the same way
(``--models DIR``), and installed packages can register models through entry points of the group
``harness.models``.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import pkgutil
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import ValidationError

from harness.config.base import problems, show_path
from harness.data.load import Dataset
from harness.environment import Folders, folder_paths
from harness.errors import ConfigError, raised_at
from harness.index import GraphIndex, Modality
from harness.model import MODELS, Model, ModelConfig
from harness.plan.identity import code_of, registered
from harness.plan.spec import RunSpec
from harness.plugins import load_plugins
from harness.procedure import STRATEGIES
from harness.registry import Registry
from harness.seeding import seed_for, seed_torch

__all__ = [
    "build_model",
    "load_all",
    "load_folder",
    "load_models",
    "load_path",
    "model_config",
    "origin",
]

_USERS = "harness_user_models_"
"""Prefix of the package names that users' folders are loaded as."""


@cache
def load_models() -> None:
    """Register every model of the package and of installed plug-ins, once.

    Raises:
        ConfigError: another package called ``models`` has been imported; names both paths.
    """
    sibling = Path(__file__).resolve().parent.parent / "models"
    if (sibling / "__init__.py").is_file():
        _import_folder(sibling, "models")
    else:
        _import_modules(importlib.import_module("harness.models"))
    load_plugins("harness.models")


def load_all(folders: Folders = ()) -> None:
    """Call ``load_models``, then ``load_folder`` for each folder; with the same errors."""
    load_models()
    for folder in folder_paths(folders):
        load_folder(folder)


@cache
def load_folder(folder: Path) -> None:
    """Register the models of a user's folder (every ``*.py`` without a leading underscore), or of
    a single file.

    Raises:
        ConfigError: there is no such folder or Python file, or a file cannot be imported; names
            file and line.
    """
    load_models()
    MODELS.hint = ""  # on --models, which is in use
    if folder.is_dir():
        _import_folder(folder.resolve(), _users_package(folder.resolve()))
    elif folder.is_file():
        _import_file(folder.resolve())
    else:
        raise ConfigError(f"--models {folder}: no such folder or file")


def load_path(path: Path) -> list[str]:
    """Load a user's file, or all files of a folder, and return the names of its models.

    Raises:
        ConfigError: the path does not exist, cannot be imported (names file and line), or registers
            no model.
    """
    load_models()
    path = path.resolve()
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    before = set(MODELS)
    # Files of the package are loaded already and would not register again.
    if all(MODELS.get(name).__module__.startswith(_USERS) for name in _names_in(path, MODELS)):
        load_folder(path)
    models = sorted(set(MODELS) - before) or _names_in(path, MODELS)
    strategies = _names_in(path, STRATEGIES)
    if not models and strategies:
        raise ConfigError(
            f"{path}: registers no model to check; a strategy is checked in training: harness run "
            f"--model transe --dataset atlas --models {shlex.quote(str(path))} "
            f"--set negatives.strategy.name={strategies[0]} --set training.epochs=1"
        )
    if not models:
        raise ConfigError(
            f"{path}: registers no model; a model is a class below "
            '@register_model("its_name"), from harness.model'
        )
    return models


def _names_in(path: Path, registry: Registry[Any]) -> list[str]:
    """Return the registered names whose class is in a file, or in any file of a folder."""
    files = {name: getattr(sys.modules.get(registry.get(name).__module__), "__file__", None)
             for name in registry}  # fmt: skip
    return [
        name for name, file in files.items() if file and Path(file).resolve().is_relative_to(path)
    ]


def origin(spec: RunSpec) -> dict[str, str]:
    """Return the provenance of a user's own model and strategy, {} for those of the package.

    Returns:
        "models": folder for the option ``--models``, where one was used; "code": digest of the
        source, which is part of the run's id.
    """
    packages = (entry.__module__.partition(".")[0] for entry in registered(spec))
    folder = next((sys.modules[p].__path__[0] for p in packages if p.startswith(_USERS)), "")
    values = {"models": folder, "code": code_of(spec)}
    return {key: value for key, value in values.items() if value}


def _users_package(folder: Path) -> str:
    return f"{_USERS}{abs(hash(str(folder)))}"


def _import_file(file: Path) -> None:
    """Import one file as a module of its folder's package, for its relative imports.

    Raises:
        ConfigError: it is no Python file, or cannot be imported.
    """
    if file.suffix != ".py":
        raise ConfigError(f"{file}: a model is a Python file (*.py)")
    package = _package(file.parent, _users_package(file.parent))
    _import_module(package, file.stem)


def _import_folder(folder: Path, name: str) -> None:
    _import_modules(_package(folder, name))


def _package(folder: Path, name: str) -> ModuleType:
    """Import a folder as a package of the given name, without its modules."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        locations = [*getattr(loaded, "__path__", ()), getattr(loaded, "__file__", None) or "?"]
        location = Path(locations[-1])
        if Path(locations[0]).resolve() != folder:
            raise ConfigError(f"a package '{name}' is already loaded from {location}, not {folder}")
        return loaded
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
        except ConfigError:  # a duplicate name; the message has the location
            del sys.modules[name]
            raise
        except Exception as error:
            del sys.modules[name]
            raise _unloadable(error, folder, init) from error
    return package


def _import_modules(package: ModuleType) -> None:
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            _import_module(package, module.name)


def _import_module(package: ModuleType, name: str) -> None:
    folder = Path(next(iter(package.__path__)))
    try:
        importlib.import_module(f"{package.__name__}.{name}")
    except ConfigError:  # a duplicate name; the message has the location
        raise
    except (Exception, SystemExit) as error:  # scripts may call sys.exit()
        raise _unloadable(error, folder, folder / f"{name}.py") from error


def _unloadable(error: BaseException, folder: Path, file: Path) -> ConfigError:
    """Return the error for a model file that raises on import.

    Args:
        error: exception of the file.
        folder: folder of the models; the message names the innermost line in it.
        file: file to name where no line in ``folder`` raised.
    """
    location = str(file)
    if isinstance(error, SyntaxError) and error.filename:
        message = f"{error.msg}"
        location = f"{error.filename}:{error.lineno}"
    else:
        message = f"{type(error).__name__}: {error}"
        location = raised_at(error, folder) or location
    return ConfigError(f"{location}: the model file cannot be loaded: {message}")


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
        messages = [
            f"model.{show_path(problem.path)}: {problem.message}"
            for problem in problems(error, config_class)
        ]
        raise ConfigError(f"model '{name}': " + "; ".join(messages)) from error


def build_model(
    name: str,
    options: Mapping[str, Any],
    index: GraphIndex,
    modalities: Mapping[str, Modality] | None = None,
    *,
    seed: int = 0,
) -> Model:
    """Build a model on the CPU with initial values from the stream "init" of ``seed``.

    The stream depends on seed and dataset only, so that variants of a model start from the same
    entity table.

    Raises:
        ConfigError: unknown model or option, or a required modality is missing.
    """
    config = model_config(name, options)
    model_class = MODELS.get(name)
    offered = _Modalities(name, modalities or {})
    missing = model_class.capabilities_of(options).missing(offered)
    if missing:
        raise ConfigError(
            f"model '{name}' needs {missing}; "
            f"the feature set offers {', '.join(offered) or 'nothing'}"
        )
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed_for(seed, index.dataset, "init"))
        return model_class(config, index, offered)


class _Modalities(dict[str, Modality]):
    """Modalities of a model; one that it reads and does not receive is named with the remedy."""

    def __init__(self, model: str, modalities: Mapping[str, Modality]) -> None:
        super().__init__(modalities)
        self._model = model

    def __missing__(self, modality: str) -> Modality:
        raise ConfigError(
            f"model '{self._model}' reads modalities['{modality}'], but receives "
            f"{', '.join(self) or 'none'}; name '{modality}' in `requires` of its capabilities, or "
            "read it only where it is offered"
        )


def create_model(
    name: str,
    dataset: Dataset,
    *,
    seed: int = 0,
    model_folders: Folders = (),
    **options: Any,
) -> Model:
    """Build an untrained model for a dataset, on the CPU.

    Args:
        name: name of the model, see ``list_models``.
        dataset: graph and features.
        seed: random seed of the initial values.
        model_folders: folder or folders with models of the user's own.
        options: options of the model, ``dim=256``.

    Raises:
        ConfigError: unknown model or option, or a required modality is not offered.
    """
    load_all(model_folders)
    return build_model(name, options, dataset.graph.index, dataset.features.modalities(), seed=seed)
