"""Test ranks of every validation of a run, sealed: what other ways to choose would have reported.

``audit.shadow_test`` makes training leave them in the run's folder. Training only writes them, and
writes each epoch anew without looking at what is there. Nothing reads them but the table
``protocols`` and the check of records that are exported or imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.evaluation.ranks import Ranks

__all__ = ["FOLDER", "Shadow", "by_epoch", "files", "place_of", "read", "write"]

FOLDER = "shadow"
"""Name of the folder in that of a run."""
_NAME = re.compile(r"(\d{1,9})\.(filtered|raw)\.npz")


@dataclass(frozen=True)
class Shadow:
    """Test ranks after one epoch.

    Attributes:
        filtered: as the run's protocol filters.
        raw: with every other entity as a competitor.
    """

    filtered: Ranks
    raw: Ranks


def write(folder: Path, epoch: int, filtered: Ranks, raw: Ranks) -> None:
    """Write the ranks of an epoch, each file whole or not at all.

    Args:
        folder: ``shadow`` in the run's own; made if it is not there.
        epoch: from 1.
        filtered, raw: of the test split.
    """
    folder.mkdir(exist_ok=True)
    for name, ranks in (("filtered", filtered), ("raw", raw)):
        ranks.save(folder / f"{epoch}.{name}.npz")


def files(folder: Path) -> list[Path]:
    """Return the sealed files of a folder, sorted by name; none where it is not there."""
    return sorted(path for path in folder.glob("*.npz") if place_of(path.name) is not None)


def place_of(name: str) -> tuple[int, str] | None:
    """Return the epoch and the kind of a file, None when its name is of no such file."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def read(folder: Path) -> Mapping[int, Shadow]:
    """Return the sealed ranks of a folder by epoch, ascending; {} where there are none.

    An epoch of which only one file was written (the process died) is left out.

    Raises:
        DataError: a file is damaged; the message names it.
    """
    return by_epoch({path.name: partial(Ranks.load, path) for path in files(folder)})


def by_epoch(loaders: Mapping[str, Callable[[], Ranks]]) -> Mapping[int, Shadow]:
    """Return the sealed ranks by epoch, ascending, without epochs that lack one of the two files.

    Args:
        loaders: file name -> function that loads its ranks.

    Raises:
        DataError: the ranks are damaged.
    """
    held = {place_of(name): load for name, load in loaders.items()}
    epochs = sorted({place[0] for place in held if place})
    return {
        epoch: Shadow(held[epoch, "filtered"](), held[epoch, "raw"]())
        for epoch in epochs
        if (epoch, "filtered") in held and (epoch, "raw") in held
    }
