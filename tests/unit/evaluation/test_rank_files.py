"""Files of ranks: what was written is read, what no ranking leaves is refused with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.evaluation.ranks import Ranks

Arrays = dict[str, Any]


@pytest.fixture
def arrays() -> Arrays:
    """Two queries of each side: the true answers have ranks 1 and 3 to 5."""
    counts = {"better": [0, 2], "tied": [0, 2], "candidates": [9, 5]}
    named = {
        f"{side}_{name}": values for side in ("head", "tail") for name, values in counts.items()
    }
    found: Arrays = {name: np.array(values, np.int32) for name, values in named.items()}
    return {"triples": np.array([[0, 0, 1], [2, 1, 3]], np.int32), **found}


def written(path: Path, arrays: Arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_ranks_are_read_as_they_were_saved(tmp_path: Path, arrays: Arrays) -> None:
    ranks = Ranks.load(written(tmp_path / "a.npz", arrays))
    ranks.save(tmp_path / "b.npz")
    again = Ranks.load(tmp_path / "b.npz")
    assert np.array_equal(again.triples, arrays["triples"])
    for side in again.sides:
        for name in ("better", "tied", "candidates"):
            assert np.array_equal(getattr(again.sides[side], name), arrays[f"{side}_{name}"])
    values, candidates = again.ranks("realistic")
    assert values.tolist() == [1, 4, 1, 4]
    assert candidates.tolist() == [9, 5, 9, 5]


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, arrays: Arrays) -> None:
    path = written(tmp_path / "a.npz", arrays)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.npz: not a complete rank file"):
            Ranks.load(path)


def test_a_file_with_a_changed_byte_is_refused_or_read_as_it_was(
    tmp_path: Path, arrays: Arrays
) -> None:
    path = written(tmp_path / "a.npz", arrays)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = Ranks.load(path)
        except DataError:
            refused += 1
            continue
        for side, counts in found.sides.items():  # a side that is lost is told by the protocol
            assert np.array_equal(counts.better, arrays[f"{side}_better"])
            assert np.array_equal(counts.candidates, arrays[f"{side}_candidates"])
    assert refused > len(whole) / 2  # dates and sizes that are told twice are not looked at


@pytest.mark.parametrize("content", [b"", b"ranks", b"PK\x05\x06" + bytes(18), b"\x80\x04N."])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: "):
        Ranks.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.npz: .*No such file"):
        Ranks.load(tmp_path / "a.npz")


def changed(name: str, values: Any, kind: Any = np.int32) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: np.array(values, kind)}


def without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: values for key, values in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed("tail_better", [0, 3]), "tail query 1: 3 better and 2 tied of 5 candidates are"),
        (changed("head_better", [-1, 2]), "head query 0: -1 better"),
        (changed("head_tied", [0, -2]), "head query 1: 2 better and -2 tied"),
        (changed("tail_candidates", [0, 5]), "tail query 0: 0 better and 0 tied of 0 candidates"),
        (changed("tail_better", [2**63 - 1, 2], np.int64), "tail query 0: 9223372036854775807"),
        (changed("tail_better", [0, 2, 4]), r"tail_better: 2 triples need as many .*\(3,\)"),
        (changed("tail_better", [0.5, 2], np.float32), "tail_better: needs integers, found float"),
        (changed("triples", [0, 0, 1]), "triples: needs rows of three ids from 0"),
        (changed("triples", [[0, 0, -1], [2, 1, 3]]), "triples: needs rows of three ids from 0"),
        (changed("both_better", [0, 2]), "holds both_better, which is no part of ranks"),
        (without("triples"), "triples is missing"),
        (without("head_tied"), "head_tied is missing"),
        (lambda arrays: {"triples": arrays["triples"]}, "holds the counts of no side"),
    ],
)
def test_counts_that_no_ranking_leaves_are_refused(
    tmp_path: Path, arrays: Arrays, change: Callable[[Arrays], Arrays], problem: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.npz: {problem}"):
        Ranks.load(written(tmp_path / "a.npz", change(arrays)))
