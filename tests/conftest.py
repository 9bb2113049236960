"""Fixtures shared by all tests."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main
import typer.testing

from harness.report import files
from harness.store.records import RunRecord
from tests import postgresql as postgresql_server
from tests.cluster.engines import Slurm, missing_ray, missing_slurm, slurm_cluster
from tests.toys import add_row, measured_record, toy_record

REPOSITORY = Path(__file__).resolve().parent.parent


def _hide_folders_of_the_user() -> str | None:
    """Give all tests an empty cache, results folder and no datasets; return $HARNESS_DATA.

    Modules look at them when they are imported, to make a test for each dataset, and fixtures of a
    module or session do before the first test has folders of its own.
    """
    folder = tempfile.mkdtemp(prefix="harness-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["HARNESS_CACHE"] = f"{folder}/cache"
    os.environ["HARNESS_HOME"] = f"{folder}/results"
    os.environ.pop("HARNESS_STORE", None)
    return os.environ.pop("HARNESS_DATA", None)


DATA = _hide_folders_of_the_user()
"""Folder with the published datasets that the user named for the tests."""


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Kernels are compiled once, not in every test and process that has a cache of its own."""
    cache = getattr(pytestconfig, "cache", None)
    with pytest.MonkeyPatch.context() as patch:
        for name, variable in (("numba", "NUMBA_CACHE_DIR"), ("torch", "TORCHINDUCTOR_CACHE_DIR")):
            folder = cache.mkdir(name) if cache else tmp_path_factory.mktemp(name)
            patch.setenv(variable, os.environ.get(variable) or str(folder))
        yield


def pytest_collection_finish() -> None:
    """Collections of garbage look at what tests make, not at the modules and the tests again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _made_once() -> Iterator[None]:
    """What is the same in every command is made once, as in one process.

    That is the command line of ``invoke``, and the version of the tables of studies, for which
    Optuna reads its migrations whenever a study is opened.
    """
    from optuna.storages._rdb.storage import _VersionManager

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        read_version = _VersionManager.get_head_version
        versions: list[str] = []

        def head_version(manager: _VersionManager) -> str:
            if not versions:
                versions.append(read_version(manager))
            return versions[0]

        patch.setattr(_VersionManager, "get_head_version", head_version)
        yield


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a cache and a results folder of its own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "results"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm cluster of two nodes on loopback; skips where Slurm is not installed."""
    if reason := missing_slurm():
        pytest.skip(reason)
    with slurm_cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        yield cluster


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Ray on this machine, with two processors; skips where it is not installed."""
    if reason := missing_ray():
        pytest.skip(reason)
    from harness.run.cluster.ray import connect
    from harness.run.cluster.settings import RaySettings

    ray = connect(RaySettings(), at_once=2)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_server.Server]:
    """A PostgreSQL server; skips where there is none."""
    if reason := postgresql_server.missing():
        pytest.skip(reason)
    with postgresql_server.running() as server:
        yield server


@pytest.fixture
def server_store(postgresql: postgresql_server.Server) -> Iterator[str]:
    """Address of an empty store on the server."""
    url = postgresql.create_store()
    yield url
    postgresql.drop(url)


@pytest.fixture
def few_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of everything has one shipped table, one shipped figure and those of the folder."""
    others = {file.stem for file in files.shipped_folder().glob("*.yaml")} - {"main", "experts"}
    monkeypatch.setattr(
        "harness.report.everything.available",
        lambda: {name: file for name, file in files.available().items() if name not in others},
    )


@pytest.fixture
def readable_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records and jobs may have ids like "r1", which are not those of their settings."""
    monkeypatch.setattr("harness.store.archive.audit._other_id", lambda record, spec: iter(()))
    monkeypatch.setattr("harness.unchanged.check_before", lambda *_, **__: None)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the five published datasets; skips where there is none."""
    for folder in (DATA, REPOSITORY.parent / "shared" / "data"):
        if folder and (Path(folder) / "MKG-W").is_dir():
            monkeypatch.setenv("HARNESS_DATA", str(folder))
            return Path(folder)
    pytest.skip("the published datasets are not here (set HARNESS_DATA)")


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    """Return a function that makes a full run record: ``make_record("aaaa", model="transe")``."""
    return toy_record


@pytest.fixture
def make_measured() -> Callable[..., RunRecord]:
    """Return ``make_measured("aaaa", path, seed=1)``: a record; its ranks are written to the path.

    Six test triples, two of which are cold; both sides are predicted.
    """
    return measured_record


@pytest.fixture(scope="session")
def make_row() -> Callable[..., list[str]]:
    """Return ``make_row(store, home, "RotatE", 4.0)``: adds a row of a suite, returns its run ids.

    Its runs have records in the store and ranks in the folder ``home/runs``; 60 test triples, a
    third of which are cold, whose ranks have the mean that is given.
    """
    return add_row
