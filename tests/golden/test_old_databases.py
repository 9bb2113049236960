"""Databases of every schema version are upgraded and read; ``make_database.py`` wrote them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from harness.store import migrations, open_store
from harness.store.base import suite_of
from harness.store.files import read_record
from harness.store.records import StoredSuite
from harness.store.sql import upgrade_database
from tests.golden.make_database import SUITE

HERE = Path(__file__).parent


def test_every_schema_version_has_its_database() -> None:
    assert {f"harness_v{v}.db" for v in migrations.known_versions()} == {
        path.name for path in HERE.glob("harness_v*.db")
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("harness_v*.db")))
def test_an_old_database_is_upgraded_and_read(name: str, tmp_path: Path) -> None:
    database = tmp_path / "harness.db"
    shutil.copy(HERE / f"{name}.db", database)
    before, after = upgrade_database(database)
    assert before == name.removeprefix("harness_v")
    assert after == migrations.head()
    expected = [read_record(path) for path in sorted((HERE / name).glob("????0*.json"))]
    with contextlib.closing(open_store(database)) as store:
        assert list(store.check()) == []
        assert store.find() == [record.model_copy(update={"cells": ()}) for record in expected]
        *planned, not_run = store.cells("main")
        assert not_run.run_id == ""
        assert not_run.reason.startswith("needs image")
        assert [cell for cell in planned if cell.run_id != "cccc00000000"] == [
            cell for record in expected for cell in record.cells
        ]
        assert [cell.run_id for cell in planned][-1] == "cccc00000000"
        assert suite_of(store, "main") == (SUITE if before >= "0005" else StoredSuite(suite="main"))
        store.remove("bbbb00000000")
        store.add(expected[1])
        assert store.get("bbbb") == expected[1].model_copy(update={"cells": ()})
