"""Make the golden database of the current schema version: ``python tests/golden/make_database.py``.

Run it once for each new schema version, from the repository root, and commit what it writes:
``harness_v<version>.db`` and, as files, the records it holds. Never make an old one again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from harness.plan.spec import DataSpec, ModelSpec, Protocol, RunSpec
from harness.store import migrations, open_store
from harness.store.files import write_record
from harness.store.records import Cell, MetricValue, RunRecord, StoredSuite, TimingSample

HERE = Path(__file__).parent


DATA = DataSpec(dataset="atlas", features="names")


SUITE = StoredSuite(suite="main", title="Rücken und Kanten", settings={"training.epochs": 20})
"""Title and settings that are stored; databases before version 5 have none."""


def record(run_id: str, status: str, seed: int) -> RunRecord:
    """Return a record that uses every field."""
    spec = RunSpec(model=ModelSpec(name="rotate"), data=DATA, seed=seed)
    return RunRecord.model_validate(
        {
            "run_id": run_id,
            "status": status,
            "spec": spec.model_dump(),
            "model": "rotate",
            "dataset": "atlas",
            "dataset_digest": "0123456789ab",
            "features": "names",
            "feature_digest": "ba9876543210",
            "modalities": ("text", "image"),
            "seed": seed,
            "protocol": Protocol().key,
            "metrics": [
                MetricValue(split=split, side=side, bucket=b, metric="mrr", value=1 / 3, queries=n)
                for split in ("valid", "test")
                for side, n in (("both", 14), ("head", 7), ("tail", 7))
                for b in ("all", "cold")
            ],
            "history": [{"epoch": float(e), "loss": 1 / e} for e in (1, 2, 3)],
            "diagnostics": {"parameters": 1234.0, "best_epoch": 2.0},
            "timings": [TimingSample(name="memory.peak", value=2.0**31, unit="bytes")],
            "provenance": {"commit": None, "versions": {"torch": "2.6.0"}, "threads": 2},
            "notes": ("a remark", "ein Vermerk: ü"),
            "error": None if status == "ok" else "NonFiniteError: the loss is NaN",
        }
    )


def main() -> None:
    """Write the database and its records beside this file."""
    name = f"harness_v{migrations.head()}"
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "harness.db"
        with contextlib.closing(open_store(database)) as store:
            store.add(record("aaaa00000000", "ok", 0))
            store.add(record("bbbb00000000", "failed", 1))
            cells = [
                Cell(
                    suite="main",
                    position=0,
                    label="RotatE",
                    dataset="atlas",
                    features="names",
                    seed=seed,
                    run_id=run_id,
                )
                for seed, run_id in enumerate(("aaaa00000000", "bbbb00000000", "cccc00000000"))
            ]
            none = {**cells[0].model_dump(), "dataset": "mkg-w", "run_id": ""}
            cells.append(Cell(**none | {"reason": "needs image: feature set 'names' has text"}))
            store.plan("main", "", cells)
            store.add_suite(SUITE)
            for one in store.find():
                placed = tuple(cell for cell in store.cells() if cell.run_id == one.run_id)
                path = HERE / name / f"{one.run_id}.json"
                write_record(path, one.model_copy(update={"cells": placed}))
        with contextlib.closing(sqlite3.connect(database)) as connection:
            # One file, without a log beside it, and small pages.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA page_size = 512")
            connection.execute("VACUUM")
        (HERE / f"{name}.db").write_bytes(database.read_bytes())


if __name__ == "__main__":
    main()
