"""Comparisons of tables in files that may be deleted, damaged or outdated at any time."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.comparisons import Comparison, ComparisonCache

FILLED = Comparison(
    first=("aaaa", "bbbb"),
    second=("cccc", "dddd"),
    metric="mrr",
    bucket="all",
    triples=100,
    difference=1 / 3,
    low=-1 / 7,
    high=0.1 + 0.2,
    p=1e-300,
    adjusted=0.0,
)


@pytest.fixture
def cache(tmp_path: Path) -> ComparisonCache:
    return ComparisonCache(tmp_path / "comparisons")


def test_comparisons_are_read_back_equal_to_the_bit(cache: ComparisonCache) -> None:
    cache.write("main", "f0", {0: FILLED, 7: FILLED})
    assert cache.read("main", "f0") == {0: FILLED, 7: FILLED}


def test_comparisons_of_another_family_or_table_do_not_count(cache: ComparisonCache) -> None:
    cache.write("main", "f0", {0: FILLED})
    assert cache.read("main", "f1") == {}
    assert cache.read("other", "f0") == {}


def test_new_comparisons_replace_the_old_ones_of_their_table(cache: ComparisonCache) -> None:
    for table, family in (("main", "f0"), ("other", "f0"), ("main", "f1")):
        cache.write(table, family, {0: FILLED})
    assert cache.read("main", "f0") == {}
    assert cache.read("main", "f1") == cache.read("other", "f0") == {0: FILLED}
    assert len(list(cache.folder.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"family": "f0"}', b"\xff" * 9])
def test_a_damaged_file_counts_as_none_and_is_replaced(
    content: bytes, cache: ComparisonCache
) -> None:
    cache.write("main", "f0", {0: FILLED})
    (file,) = cache.folder.iterdir()
    file.write_bytes(content)
    assert cache.read("main", "f0") == {}
    cache.write("main", "f0", {0: FILLED})
    assert cache.read("main", "f0") == {0: FILLED}


def test_the_name_of_a_table_may_be_long_and_hold_any_character(cache: ComparisonCache) -> None:
    table = "main/../" + "seeds=1,2 " * 100
    cache.write(table, "f0", {0: FILLED})
    assert cache.read(table, "f0") == {0: FILLED}
    assert {path.parent for path in cache.folder.iterdir()} == {cache.folder}


def test_where_nothing_can_be_written_nothing_is_cached(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ComparisonCache(tmp_path / "file" / "comparisons")
    cache.write("main", "f0", {0: FILLED})
    assert cache.read("main", "f0") == {}
