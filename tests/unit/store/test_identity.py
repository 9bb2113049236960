"""A record's id is that of its settings and data, or the record is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.catalog import load_models
from harness.cli.main import app
from harness.errors import StoreError
from harness.model import MODELS
from harness.plan.identity import past_ids, run_id_of
from harness.plan.spec import ModelSpec
from harness.store import open_store
from harness.store.archive import audit, export, import_records, merge
from harness.store.files import write_record
from harness.store.memory import MemoryStore
from harness.store.records import EXTERNAL, RunRecord, external_id

Make = Callable[..., RunRecord]


@pytest.fixture
def make(make_record: Make) -> Make:
    """Return a function that makes a record with the id of its settings."""
    load_models()

    def record(**values: Any) -> RunRecord:
        made = make_record("x", **values)
        run_id = run_id_of(made.spec, made.dataset_digest, made.feature_digest)
        return made.model_copy(update={"run_id": run_id})

    return record


def renamed(record: RunRecord, run_id: str = "0" * 12) -> RunRecord:
    return record.model_copy(update={"run_id": run_id})


def test_a_record_with_the_id_of_its_settings_is_true(make: Make) -> None:
    assert audit.problems(make(model="mocme", seed=3)) == []


@pytest.mark.parametrize(
    "change", [{"dataset_digest": "d2"}, {"feature_digest": "f2"}, {"run_id": "0" * 12}]
)
def test_a_record_of_other_data_or_another_name_is_not(make: Make, change: dict[str, str]) -> None:
    record = make()
    edited = record.model_copy(update=change)
    (problem,) = audit.problems(edited)
    assert problem.startswith(f"run {edited.run_id}: its settings and data are those of run ")


def test_an_edited_setting_is_not(make: Make) -> None:
    record = make()
    optimiser = record.spec.optimiser.model_copy(update={"lr": 0.5})
    spec = record.spec.model_copy(update={"optimiser": optimiser})
    assert len(audit.problems(record.model_copy(update={"spec": spec}))) == 1


def test_ids_of_earlier_numerics_are_still_ids(make: Make) -> None:
    record = make(model="mocme")
    data = record.dataset_digest, record.feature_digest
    now, *earlier = past_ids(record.spec, *data)
    assert now == record.run_id
    assert len(earlier) == MODELS.get("mocme").capabilities.numerics - 1
    assert [audit.problems(renamed(record, run_id)) for run_id in earlier] == [[]]


@pytest.mark.parametrize(
    ("options", "precision", "version"),
    [
        ({"name": "mocme"}, "fp32", 2),
        ({"name": "mocme"}, "bf16", 2),
        ({"name": "mocme", "fusion": {"kind": "attention"}}, "fp32", 2),
        ({"name": "mocme", "fusion": {"kind": "attention"}}, "bf16", 3),
        ({"name": "momok"}, "fp32", 1),
        ({"name": "momok"}, "bf16", 2),
        ({"name": "mygo"}, "bf16", 2),
    ],
)
def test_only_bf16_runs_with_attention_gates_or_contrast_have_the_version_of_their_logits(
    make: Make, options: dict[str, Any], precision: str, version: int
) -> None:
    record = make(model=options["name"])
    spec = record.spec.model_copy(
        update={
            "model": ModelSpec.model_validate(options),
            "training": record.spec.training.model_copy(update={"precision": precision}),
        }
    )
    ids = [
        spec.run_id(dataset_digest="d1", feature_digest="f1", model_numerics=number)
        for number in range(version, 0, -1)
    ]
    assert run_id_of(spec, "d1", "f1") == ids[0]
    assert list(past_ids(spec, "d1", "f1")) == ids


def test_a_record_of_a_model_that_is_not_here_is_looked_at_with_its_recorded_code(
    make_record: Make,
) -> None:
    record = make_record("x", model="theirs", provenance={"code": "abcd"})
    run_id = record.spec.run_id(
        dataset_digest="d1", feature_digest="f1", model_numerics=2, code="abcd"
    )
    assert audit.problems(renamed(record, run_id)) == []
    other = record.model_copy(update={"run_id": run_id, "provenance": {"code": "beef"}})
    assert len(audit.problems(other)) == 1


def test_a_run_that_failed_before_data_were_read_has_no_digest_to_check(make: Make) -> None:
    failed = {"status": "failed", "metrics": (), "error": "no", "dataset_digest": ""}
    assert audit.problems(renamed(make(**failed))) == []


def test_an_external_run_has_the_id_of_its_name(make_record: Make) -> None:
    record = make_record("x", model=EXTERNAL)
    options = {"name": EXTERNAL, "label": "theirs", "kind": "ranks"}
    spec = record.spec.model_copy(update={"model": ModelSpec.model_validate(options)})
    run_id = external_id("theirs", 0, "d1", record.protocol)
    record = record.model_copy(update={"spec": spec, "run_id": run_id})
    assert audit.problems(record) == []
    assert len(audit.problems(renamed(record, f"ext-{'0' * 12}"))) == 1


# --- where records come in ----------------------------------------------------------------


def test_a_renamed_record_is_not_imported_nor_is_any_beside_it(make: Make, tmp_path: Path) -> None:
    store = MemoryStore()
    write_record(tmp_path / "good.json", make(seed=1))
    write_record(tmp_path / "renamed.json", renamed(make()))
    with pytest.raises(StoreError, match=r"renamed\.json: run 000000000000: its settings and data"):
        import_records(store, tmp_path, runs=tmp_path / "runs")
    assert list(store.ids()) == []


def test_a_renamed_record_is_not_exported(make: Make, tmp_path: Path) -> None:
    store = MemoryStore()
    store.add(renamed(make()))
    with pytest.raises(StoreError, match="run 000000000000: its settings and data"):
        export(store, store.ids(), tmp_path / "out", runs=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_renamed_record_is_not_merged_nor_is_any_beside_it(make: Make) -> None:
    mine, theirs = MemoryStore(), MemoryStore()
    theirs.add(make(seed=1))
    theirs.add(renamed(make()))
    with pytest.raises(StoreError, match="run 000000000000: its settings and data"):
        merge(mine, theirs)
    assert list(mine.ids()) == []


def test_db_check_names_a_renamed_record(make: Make) -> None:
    with contextlib.closing(open_store()) as store:
        store.add(make(seed=1))
        store.add(renamed(make()))
    checked = CliRunner().invoke(app, ["db", "check"])
    assert isinstance(checked.exception, StoreError)
    (problem,) = checked.stdout.splitlines()
    assert problem.startswith("run 000000000000: its settings and data are those of run ")
