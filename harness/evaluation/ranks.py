"""Counts of better and tied competitors, and the ranks they mean; no models, no SQL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.index import Side

__all__ = ["Ranks", "SideCounts", "Ties", "rank_of"]

Ties = Literal["realistic", "optimistic", "pessimistic"]
Counts = NDArray[np.int32]


def rank_of(better: NDArray[Any], tied: NDArray[Any], ties: Ties) -> NDArray[np.float64]:
    """Return ranks from counts.

    Args:
        better: competitors with a higher score.
        tied: competitors with the same score.
        ties: "optimistic" 1 + better, "pessimistic" 1 + better + tied, "realistic" their mean,
            the expected rank when ties are broken at random.
    """
    share = {"optimistic": 0.0, "realistic": 0.5, "pessimistic": 1.0}[ties]
    return np.asarray(1.0 + better + share * tied, dtype=np.float64)


@dataclass(frozen=True)
class SideCounts:
    """Outcome of the queries that predict one side; position = triple.

    Attributes:
        better, tied: [n] competitors that beat and that tie the true answer.
        candidates: [n] entities ranked, the true answer included, known answers left out.
    """

    better: Counts
    tied: Counts
    candidates: Counts


@dataclass(frozen=True)
class Ranks:
    """The outcome of every query of a split.

    Attributes:
        triples: [n, 3] int64 (head, relation, tail).
        sides: counts per predicted side.
    """

    triples: NDArray[np.int64]
    sides: Mapping[Side, SideCounts]

    def ranks(
        self, ties: Ties, side: Side | Literal["both"] = "both", where: Any = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ranks and candidate counts of the queries of one side, or of both pooled.

        Args:
            ties: rule for equal scores.
            side: "head", "tail" or "both".
            where: [n] boolean selection of triples.
        """
        chosen = list(self.sides.values()) if side == "both" else [self.sides[side]]
        ranks = [rank_of(c.better, c.tied, ties) for c in chosen]
        candidates = [c.candidates.astype(np.float64) for c in chosen]
        if where is not None:
            ranks = [r[where] for r in ranks]
            candidates = [c[where] for c in candidates]
        return np.concatenate(ranks), np.concatenate(candidates)

    def save(self, path: Path) -> None:
        """Write a compressed npz, atomically."""
        arrays: dict[str, NDArray[Any]] = {"triples": self.triples.astype(np.int32)}
        for side, counts in self.sides.items():
            arrays[f"{side}_better"] = counts.better
            arrays[f"{side}_tied"] = counts.tied
            arrays[f"{side}_candidates"] = counts.candidates
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Ranks:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is not a rank file.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                sides: dict[Side, SideCounts] = {}
                for side in ("head", "tail"):
                    if f"{side}_better" in arrays:
                        parts = [arrays[f"{side}_{k}"] for k in ("better", "tied", "candidates")]
                        sides[side] = SideCounts(*parts)
                return cls(arrays["triples"].astype(np.int64), sides)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path}: not a rank file ({error})") from error
