"""Counts of better and tied competitors, the ranks from them, and their files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.writing import replacing

if TYPE_CHECKING:
    from harness.index import Side  # imports torch, which stored ranks are read without

__all__ = [
    "UNREADABLE",
    "Ranks",
    "SideCounts",
    "Ties",
    "encode_arrays",
    "rank_of",
    "read_arrays",
]

Ties = Literal["realistic", "optimistic", "pessimistic"]
Counts = NDArray[np.int32]


def rank_of(better: NDArray[Any], tied: NDArray[Any], ties: Ties) -> NDArray[np.float64]:
    """Return ranks from counts of competitors.

    Args:
        better: competitors with a higher score.
        tied: competitors with the same score.
        ties: tie rule: "optimistic" 1 + better, "pessimistic" 1 + better + tied, "realistic" their
            mean, the expected rank when ties are broken at random.
    """
    share = {"optimistic": 0.0, "realistic": 0.5, "pessimistic": 1.0}[ties]
    return np.asarray(1.0 + better + share * tied, dtype=np.float64)


@dataclass(frozen=True)
class SideCounts:
    """Counts of the queries of one side, one per triple.

    Attributes:
        better, tied: number int32 [n] of competitors that beat and tie the target.
        candidates: number int32 [n] of ranked entities, with the target, without known answers.
    """

    better: Counts
    tied: Counts
    candidates: Counts


@dataclass(frozen=True)
class Ranks:
    """Counts of every query of a split.

    Attributes:
        triples: int64 [n, 3] (head, relation, tail).
        sides: predicted side -> counts.
        warm: bool [n], True if head and tail occur in train; None if unknown.
    """

    triples: NDArray[np.int64]
    sides: Mapping[Side, SideCounts]
    warm: NDArray[np.bool_] | None = None

    @property
    def buckets(self) -> dict[str, NDArray[np.bool_]]:
        """Masks of warm (both entities seen in train) and cold triples; {} if all are warm."""
        if self.warm is None or self.warm.all():
            return {}
        return {"warm": self.warm, "cold": ~self.warm}

    def ranks(
        self, ties: Ties, side: Side | Literal["both"] = "both", subset: Any = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ranks and candidate counts of the queries of one side, or of both sides pooled.

        Args:
            ties: rule for equal scores.
            side: "head", "tail" or "both".
            subset: mask bool [n] of triples; None for all.
        """
        sides = list(self.sides.values()) if side == "both" else [self.sides[side]]
        ranks = [rank_of(c.better, c.tied, ties) for c in sides]
        candidates = [c.candidates.astype(np.float64) for c in sides]
        if subset is not None:
            ranks = [r[subset] for r in ranks]
            candidates = [c[subset] for c in candidates]
        return np.concatenate(ranks), np.concatenate(candidates)

    def save(self, path: Path) -> None:
        """Write a compressed npz, atomically."""
        arrays: dict[str, NDArray[Any]] = {"triples": self.triples.astype(np.int32)}
        for side, counts in self.sides.items():
            arrays[f"{side}_better"] = counts.better
            arrays[f"{side}_tied"] = counts.tied
            arrays[f"{side}_candidates"] = counts.candidates
        if self.warm is not None:
            arrays["warm"] = self.warm
        with replacing(path) as file:
            _write_arrays(file, arrays)

    @classmethod
    def load(cls, path: Path) -> Ranks:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is damaged, its counts are impossible, or it or its folder is a
                link, which may have come with somebody else's results; the message names it.
        """
        if path.is_symlink() or path.parent.is_symlink():
            raise DataError(f"{path}: a symbolic link, which is not followed in run folders")
        return cls.from_arrays(read_arrays(path), str(path))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], source: str) -> Ranks:
        """Build ranks from the arrays of a rank file.

        Args:
            arrays: arrays by name.
            source: file of the arrays, for messages.

        Raises:
            DataError: an array is missing or of another shape, or its counts are impossible.
        """
        try:
            return _of_arrays(arrays)
        except ValueError as error:
            raise DataError(f"{source}: {error}") from None


_COUNTS = ("better", "tied", "candidates")
UNREADABLE = (Exception,)
"""Exceptions on reading a damaged file: numpy and zipfile have no common type."""


def read_arrays(path: Path, only: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read the arrays of a rank file, unchecked.

    Args:
        path: the file.
        only: names of the arrays to read; None for all.

    Raises:
        DataError: the file is damaged or cut off; the message names it.
    """
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile("no zip archive, or cut off")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files if only is None or name in only}
    except UNREADABLE as error:
        raise DataError(f"{path}: not a complete rank file ({error})") from error


def encode_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Encode arrays as the content of a rank file."""
    buffer = io.BytesIO()
    _write_arrays(buffer, arrays)
    return buffer.getvalue()


def _write_arrays(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _of_arrays(arrays: Mapping[str, NDArray[Any]]) -> Ranks:
    """Return the ranks in a file's arrays.

    Raises:
        ValueError: an array is missing or has another shape, or the counts are impossible.
    """
    names = {
        "triples",
        "warm",
        *(f"{side}_{count}" for side in ("head", "tail") for count in _COUNTS),
    }
    if strange := sorted(set(arrays) - names):
        raise ValueError(f"holds {', '.join(strange)}, which is no part of ranks")
    triples = _integers(arrays, "triples")
    if triples.ndim != 2 or triples.shape[1] != 3 or (triples < 0).any():
        raise ValueError("triples: needs rows of three ids from 0")
    sides: dict[Side, SideCounts] = {}
    side: Side
    for side in ("head", "tail"):
        if any(name.startswith(f"{side}_") for name in arrays):
            sides[side] = _side(arrays, side, len(triples))
    if not sides:
        raise ValueError("holds the counts of no side")
    warm = arrays.get("warm")
    if warm is not None and (warm.dtype != np.bool_ or warm.shape != (len(triples),)):
        raise ValueError(f"warm: {len(triples)} triples need as many truth values")
    return Ranks(triples.astype(np.int64), sides, warm)


def _side(arrays: Mapping[str, NDArray[Any]], side: Side, queries: int) -> SideCounts:
    better, tied, candidates = (_integers(arrays, f"{side}_{count}") for count in _COUNTS)
    for name, counts in zip(_COUNTS, (better, tied, candidates), strict=True):
        if counts.shape != (queries,):
            raise ValueError(
                f"{side}_{name}: {queries} triples need as many counts, found shape {counts.shape}"
            )
    # Subtraction instead of a sum, which could overflow int32 into the valid range.
    wrong = (better < 0) | (tied < 0) | (candidates < 1) | (tied > candidates - 1 - better)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{side} query {row}: {better[row]} better and {tied[row]} tied of "
            f"{candidates[row]} candidates are impossible"
        )
    return SideCounts(better, tied, candidates)


def _integers(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    if arrays[name].dtype.kind != "i":
        raise ValueError(f"{name}: needs integers, found {arrays[name].dtype}")
    return arrays[name]
