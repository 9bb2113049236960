"""Databases with damaged pages: one error that names the file and what makes it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from harness.errors import StoreError
from harness.store import open_store
from harness.store.records import RunRecord
from harness.studies.results import search_results, studies
from harness.studies.study import open_storage

SCHEMA = {
    "text": (b"CREATE TABLE", b"CREATE \xff\xfe\xfd\xfcLE"),
    "name": (b"run_id", b"run\xff\xfd\xfe"),
}


def damage(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.fixture
def database(tmp_path: Path, make_record: Callable[..., RunRecord]) -> Path:
    with closing(open_store(tmp_path / "harness.db")) as store:
        store.add(make_record("aaaa"))
    return tmp_path / "harness.db"


@pytest.mark.parametrize(("old", "new"), SCHEMA.values(), ids=SCHEMA)
@pytest.mark.parametrize("write", [True, False])
def test_a_damaged_schema_is_named(old: bytes, new: bytes, write: bool, database: Path) -> None:
    damage(database, old, new)
    with pytest.raises(StoreError, match=r"harness\.db: "):
        open_store(database, create=False, write=write).check()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A results folder with a study."""
    storage = open_storage(tmp_path)
    study = optuna.create_study(storage=storage, study_name="toy: RotatE")
    for key, value in {"suite": "toy", "title": "a title", "variant": "", "place": 0}.items():
        study.set_user_attr(key, value)
    storage.engine.dispose()
    return tmp_path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def damage_schema(path: Path) -> None:
    damage(path, b"CREATE TABLE studies", b"CREATE TABLE \xff\xfe\xfd\xfc\xfb\xfa\xf9")


def damage_value(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE study_user_attributes SET value_json = '{'")


@pytest.mark.parametrize("harm", [truncate, damage_schema, damage_value])
def test_studies_are_made_again_by_running_their_suite_not_by_importing_records(
    harm: Callable[[Path], None], home: Path
) -> None:
    harm(home / "studies.db")
    with pytest.raises(StoreError) as error:
        studies(home)
    message = str(error.value)
    assert f"{home}/studies.db: the database is damaged" in message
    assert "move it away and rebuild it with: harness study run SUITE" in message
    assert "db import" not in message


def test_a_study_without_what_every_study_has_is_damaged(home: Path) -> None:
    with pytest.raises(StoreError, match=r"studies\.db: the database is damaged .*'definition'"):
        search_results(home, "toy")
