"""Fixtures shared by all tests."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks, SideCounts
from harness.plan.spec import DataSpec, ModelSpec, Protocol, RunSpec
from harness.store.base import ResultStore
from harness.store.records import Cell, MetricValue, RunRecord, TimingSample
from tests import postgresql as postgresql_server
from tests.cluster.engines import Slurm, missing_ray, missing_slurm, slurm_cluster

if TYPE_CHECKING:
    from harness.index import Side

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
    return _record


@pytest.fixture
def make_measured() -> Callable[..., RunRecord]:
    """Return ``make_measured("aaaa", path, seed=1)``: a record; its ranks are written to the path.

    Six test triples, two of which are cold; both sides are predicted.
    """
    return _measured


@pytest.fixture(scope="session")
def make_row() -> Callable[..., list[str]]:
    """Return ``make_row(store, home, "RotatE", 4.0)``: adds a row of a suite, returns its run ids.

    Its runs have records in the store and ranks in the folder ``home/runs``; 60 test triples, a
    third of which are cold, whose ranks have the mean that is given.
    """
    return _row


def _row(
    store: ResultStore,
    home: Path,
    label: str,
    typical: float,
    *,
    suite: str = "toy",
    variant: str = "",
    seeds: Sequence[int] = (0, 1, 2),
    triples: int = 60,
    **changes: Any,
) -> list[str]:
    values = {"model": label.lower(), "dataset": "atlas", "features": "none", **changes}
    ids = []
    for seed in seeds:
        name = f"{label}{suite}{variant}{values['dataset']}{seed}"
        run_id = hashlib.sha256(name.encode()).hexdigest()[:12]
        rng = np.random.default_rng([seed, *map(ord, label)])
        sides: dict[Side, SideCounts] = {}
        both: tuple[Side, Side] = ("head", "tail")
        for side in both:
            better = rng.geometric(1 / typical, triples).astype(np.int32) - 1
            nothing, many = np.zeros(triples, np.int32), np.full(triples, 1000, np.int32)
            sides[side] = SideCounts(better, nothing, many)
        warm = np.arange(triples) % 3 > 0
        ranks = Ranks(np.arange(3 * triples).reshape(triples, 3), sides, warm)
        (home / "runs" / run_id).mkdir(parents=True, exist_ok=True)
        ranks.save(home / "runs" / run_id / "ranks.npz")
        metrics = [
            MetricValue(split="test", **m._asdict())
            for m in measure(ranks, Protocol(), ranks.buckets)
        ]
        store.add(_record(run_id, **{"seed": seed, "metrics": tuple(metrics), **values}))
        ids.append(run_id)
    held = list(store.cells(suite, variant))
    held += [
        Cell(
            suite=suite,
            variant=variant,
            position=len(held),
            label=label,
            dataset=values["dataset"],
            features=values["features"],
            seed=seed,
            run_id=run_id,
        )
        for seed, run_id in zip(seeds, ids, strict=True)
    ]
    store.plan(suite, variant, held)
    return ids


def _measured(run_id: str, path: Path, **changes: Any) -> RunRecord:
    numbers = np.random.default_rng(changes.get("seed", 0))
    sides: dict[Side, SideCounts] = {}
    side: Side
    for side in ("head", "tail"):
        better, tied = numbers.integers(0, 30, 6), numbers.integers(0, 3, 6)
        candidates = numbers.integers(40, 50, 6)
        sides[side] = SideCounts(*(c.astype(np.int32) for c in (better, tied, candidates)))
    ranks = Ranks(numbers.integers(0, 50, (6, 3)), sides)
    path.parent.mkdir(parents=True, exist_ok=True)
    ranks.save(path)
    warm = np.array([True, True, False, True, True, False])
    metrics = tuple(
        MetricValue(split=split, **m._asdict())
        for split in ("valid", "test")
        for m in measure(ranks, Protocol(), {"warm": warm, "cold": ~warm})
    )
    return _record(run_id, **{"metrics": metrics, **changes})


def _record(run_id: str, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "status": "ok",
        "model": "rotate",
        "dataset": "atlas",
        "dataset_digest": "d1",
        "features": "names",
        "feature_digest": "f1",
        "modalities": ("text", "image"),
        "seed": 0,
        "protocol": Protocol().key,
        "metrics": tuple(
            MetricValue(split=split, side=side, bucket=bucket, metric=metric, value=v, queries=8)
            for split in ("valid", "test")
            for side, bucket in (("both", "all"), ("head", "all"), ("both", "cold"))
            for metric, v in (("mrr", 0.3367), ("hits@1", 0.25), ("mr", 12.5))
        ),
        "history": (
            {"epoch": 1.0, "loss": 0.7, "seconds": 0.5},
            {"epoch": 2.0, "loss": 0.1, "seconds": 0.5, "mrr": 0.3},
        ),
        "diagnostics": {"parameters": 1000.0, "best_epoch": 2.0},
        "timings": (
            TimingSample(name="train.epoch", value=0.5),
            TimingSample(name="train.epoch", value=0.25),
            TimingSample(name="memory.peak", value=2.0**30, unit="bytes"),
        ),
        "provenance": {"commit": "c0ffee", "dirty": False, "versions": {"torch": "2.6"}},
        "notes": ("the test split holds 2 rows of train",),
        **changes,
    }
    spec = RunSpec(
        model=ModelSpec(name=values["model"]),
        data=DataSpec(dataset=values["dataset"], features=values["features"]),
        seed=values["seed"],
    )
    return RunRecord(run_id=run_id, **{"spec": spec.model_dump(), **values})
