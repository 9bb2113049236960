"""Files of ranks of a run, wherever their arrays are stored.

A run folder holds ``ranks.npz``, the ranks of the test, and with ``audit.shadow_test`` the test
ranks after each validated epoch, ``shadow/<epoch>.filtered.npz`` and ``shadow/<epoch>.raw.npz``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.evaluation import shadow
from harness.evaluation.ranks import Ranks, encode_arrays, read_arrays
from harness.store.files import RANKS

__all__ = ["Array", "RankFile", "RankFiles", "epoch_ranks", "rank_files", "run_files"]

Array = NDArray[Any]


@dataclass(frozen=True)
class RankFile:
    """A file of ranks.

    Attributes:
        source: file that holds the arrays, for messages.
        read: returns the arrays by name: all of them, or those with the names given. It raises
            DataError where one is missing or damaged.
    """

    source: str
    read: Callable[[Collection[str] | None], Mapping[str, Array]]

    def load(self) -> Ranks:
        """Load the ranks; errors as ``Ranks.load``."""
        return Ranks.from_arrays(self.read(None), self.source)

    def content(self) -> bytes:
        """Return the content of the file in a run folder."""
        return encode_arrays(self.read(None))


RankFiles = Mapping[str, RankFile]
"""Path in the run folder ("ranks.npz", "shadow/3.raw.npz") -> file."""


def rank_files(ranks: Path, epochs: Path | None = None) -> dict[str, RankFile]:
    """Return the files of ranks of a run that are there.

    Args:
        ranks: file of the test's ranks.
        epochs: folder of the test ranks after each epoch; left out when None.
    """
    paths = {RANKS: ranks} if ranks.is_file() else {}
    if epochs is not None:
        paths |= {f"{shadow.FOLDER}/{path.name}": path for path in shadow.files(epochs)}
    return {name: RankFile(str(path), partial(read_arrays, path)) for name, path in paths.items()}


def run_files(folder: Path) -> dict[str, RankFile]:
    """Return all files of ranks in a run folder."""
    return rank_files(folder / RANKS, folder / shadow.FOLDER)


def epoch_ranks(files: RankFiles) -> Mapping[int, shadow.Shadow]:
    """Load the test ranks after each epoch, by epoch; errors as ``Ranks.load``."""
    prefix = f"{shadow.FOLDER}/"
    return shadow.by_epoch(
        {
            name.removeprefix(prefix): file.load
            for name, file in files.items()
            if name.startswith(prefix)
        }
    )
