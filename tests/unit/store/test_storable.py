"""Records hold what every store can hold, and their columns are as wide as their fields."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from sqlalchemy import BigInteger, Integer, String

from harness.config.base import Config
from harness.plan.spec import RunSpec
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample
from harness.store.records import Cell, MetricValue, RunRecord, TimingSample
from harness.store.tables import Base

TABLES: dict[str, type[Config]] = {
    "runs": RunRecord,
    "metrics": MetricValue,
    "timings": TimingSample,
    "cells": Cell,
    "benchmarks": BenchmarkRecord,
    "benchmark_samples": BenchmarkSample,
}
COLUMNS = [
    pytest.param(column, TABLES[table.name].model_fields[column.name], id=str(column))
    for table in Base.metadata.tables.values()
    if table.name in TABLES
    for column in table.columns
    if column.name in TABLES[table.name].model_fields
]


@pytest.mark.parametrize(("column", "field"), COLUMNS)
def test_a_field_refuses_what_its_column_cannot_hold(column: Any, field: FieldInfo) -> None:
    kind: Any = Annotated.__class_getitem__((field.annotation, *field.metadata, field))  # type: ignore[attr-defined]
    value: TypeAdapter[Any] = TypeAdapter(kind)
    if isinstance(column.type, String) and column.type.length:
        with pytest.raises(ValidationError):
            value.validate_python("x" * (column.type.length + 1))
    if isinstance(column.type, Integer):
        bits = 63 if isinstance(column.type, BigInteger) else 31
        with pytest.raises(ValidationError):
            value.validate_python(2**bits)


def test_settings_hold_integers_of_64_bits() -> None:
    spec = {"model": {"name": "rotate"}, "data": {"dataset": "atlas"}}
    with pytest.raises(ValidationError, match=r"training\.epochs is an integer of more than 64 bi"):
        RunSpec.model_validate({**spec, "training": {"epochs": 2**63}})
    assert RunSpec.model_validate({**spec, "training": {"epochs": 2**40}})
