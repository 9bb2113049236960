"""Numbers, tables and files of the measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.bench.text import between, machine, machine_text, note, short, table, write_json
from harness.bench.timing import Spread
from harness.errors import MachineError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.012"),
        (0.1234, "0.123"),
        (0.99951, "1.00"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (12345.6, "12,346"),
        (-12.34, "-12.3"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert short(value) == text


def test_a_range_is_in_units() -> None:
    assert between(Spread(1e9, 2e9, 3e9), 1e9) == "1.00-3.00"


def test_a_tables_leading_columns_are_aligned_to_the_left() -> None:
    assert table(["a", "n"], [["long", "1"], ["b", "1,000"]]) == (
        "a         n\n----  -----\nlong      1\nb     1,000"
    )


def test_notes_are_wrapped() -> None:
    assert max(map(len, note("word " * 40).splitlines())) <= 80


def test_the_machine_is_named_with_versions_and_kernels() -> None:
    found = machine(("pytest", "there is no such package"))
    assert "pytest" in found["versions"]
    assert "there is no such package" not in found["versions"]
    text = machine_text(found)
    assert "kernels: numba" in text.replace("\n", " ")


def test_a_file_for_machines_is_json(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "found.json", {"a": 1})
    assert json.loads((tmp_path / "new" / "found.json").read_text()) == {"a": 1}


def test_a_file_that_cannot_be_written_is_an_error_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="file: is a file, not a folder"):
        write_json(tmp_path / "file" / "found.json", {})
