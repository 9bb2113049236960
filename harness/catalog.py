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
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import ValidationError

from harness.data.load import Dataset
from harness.errors import ConfigError, raised_at, suggest
from harness.index import GraphIndex, Modality
from harness.model import MODELS, Model, ModelConfig
from harness.plan.identity import code_of, registered
from harness.plan.spec import RunSpec
from harness.seeding import seed_for

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
    _import_folder(folder.resolve(), _users_package(folder.resolve()))


def load_path(path: Path) -> list[str]:
    """Load a user's file, or every one of a folder; return the names of its models.

    Raises:
        ConfigError: it is not there or cannot be imported (file and line are named), or no model is
            registered in it.
    """
    load_models()
    path = path.resolve()
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    before = set(MODELS)
    # A file of the package itself registers nothing a second time.
    if all(MODELS.get(name).__module__.startswith(_USERS) for name in _models_of(path)):
        if path.is_dir():
            load_folder(path)
        elif path.suffix == ".py":
            _import_file(path)
        else:
            raise ConfigError(f"{path}: a model is a Python file (*.py)")
    found = sorted(set(MODELS) - before) or _models_of(path)
    if not found:
        raise ConfigError(
            f"{path}: registers no model; a model is a class below "
            '@register_model("its_name"), from harness.model'
        )
    return found


def _models_of(path: Path) -> list[str]:
    """Return the registered models whose class is in a file, or in any file of a folder."""
    files = {name: getattr(sys.modules.get(MODELS.get(name).__module__), "__file__", None)
             for name in MODELS}  # fmt: skip
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
    """Import one file of a folder, which its relative imports are from."""
    package = _package(file.parent, _users_package(file.parent))
    _import_module(package, file.stem)


def _import_folder(folder: Path, name: str) -> None:
    _import_modules(_package(folder, name))


def _package(folder: Path, name: str) -> ModuleType:
    """Return a folder as a package of that name."""
    known = sys.modules.get(name)
    if known is not None:
        places = [*getattr(known, "__path__", ()), getattr(known, "__file__", None) or "?"]
        where = Path(places[-1])
        if Path(places[0]).resolve() != folder:
            raise ConfigError(f"a package '{name}' is already loaded from {where}, not {folder}")
        return known
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
    return package


def _import_modules(package: ModuleType) -> None:
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            _import_module(package, module.name)


def _import_module(package: ModuleType, name: str) -> None:
    folder = Path(next(iter(package.__path__)))
    try:
        importlib.import_module(f"{package.__name__}.{name}")
    except (Exception, SystemExit) as error:  # a script may end the process
        raise _unloadable(error, folder, folder / f"{name}.py") from error


def _unloadable(error: BaseException, folder: Path, file: Path) -> ConfigError:
    """Return the error for a model file that raises when it is imported.

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
        where = raised_at(error, folder) or where
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


def build_model(
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
    lacking = model_class.capabilities_of(options).lacking(offered)
    if lacking:
        raise ConfigError(
            f"model '{name}' needs {lacking}; "
            f"the feature set offers {', '.join(offered) or 'nothing'}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, index.dataset, "init"))
        return model_class(config, index, offered)


def create_model(
    name: str,
    dataset: Dataset,
    *,
    seed: int = 0,
    model_folders: Iterable[Path] = (),
    **options: Any,
) -> Model:
    """Build an untrained model for a dataset, on the CPU.

    Args:
        name: name of the model, see ``list_models``.
        dataset: graph and features.
        seed: random seed of the initial values.
        model_folders: folders with models of the user's own.
        options: options of the model, ``dim=256``.

    Raises:
        ConfigError: unknown model or option, or a required modality is not offered.
    """
    load_all(model_folders)
    return build_model(name, options, dataset.graph.index, dataset.features.modalities(), seed=seed)
