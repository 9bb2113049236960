"""Held-out test ranks of every validation of a run, for studying other rules of selection.

``audit.shadow_test`` makes training write them to the run's folder. Training never reads them; only
the table
``protocols`` and the checks of exported and imported records do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.evaluation.ranks import Ranks

__all__ = ["FOLDER", "Shadow", "by_epoch", "files", "parse_name", "read", "write"]

FOLDER = "shadow"
"""Name of the folder in a run's folder."""
_NAME = re.compile(r"(\d{1,9})\.(filtered|raw)\.npz")


@dataclass(frozen=True)
class Shadow:
    """Test ranks after one epoch.

    Attributes:
        filtered: ranks under the filter of the run's protocol.
        raw: ranks against all other entities.
    """

    filtered: Ranks
    raw: Ranks


def write(folder: Path, epoch: int, filtered: Ranks, raw: Ranks) -> None:
    """Write the ranks of an epoch, each file atomically.

    Args:
        folder: folder ``shadow`` of the run, created if missing.
        epoch: from 1.
        filtered, raw: ranks of the test split.
    """
    folder.mkdir(exist_ok=True)
    for name, ranks in (("filtered", filtered), ("raw", raw)):
        ranks.save(folder / f"{epoch}.{name}.npz")


def files(folder: Path) -> list[Path]:
    """Return the rank files of a folder, sorted by name; [] without a folder."""
    return sorted(path for path in folder.glob("*.npz") if parse_name(path.name) is not None)


def parse_name(name: str) -> tuple[int, str] | None:
    """Return epoch and kind from the name of a rank file, None for other names."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def read(folder: Path) -> Mapping[int, Shadow]:
    """Return epoch -> ranks in a folder, ascending; {} without any.

    An epoch with only one of its two files (the process died) is omitted.

    Raises:
        DataError: a file is damaged; the message names it.
    """
    return by_epoch({path.name: partial(Ranks.load, path) for path in files(folder)})


def by_epoch(loaders: Mapping[str, Callable[[], Ranks]]) -> Mapping[int, Shadow]:
    """Return epoch -> ranks, ascending, without epochs that lack one of the two files.

    Args:
        loaders: file name -> function that loads its ranks.

    Raises:
        DataError: the ranks are damaged.
    """
    loader_of = {parse_name(name): load for name, load in loaders.items()}
    epochs = sorted({parsed[0] for parsed in loader_of if parsed})
    return {
        epoch: Shadow(loader_of[epoch, "filtered"](), loader_of[epoch, "raw"]())
        for epoch in epochs
        if (epoch, "filtered") in loader_of and (epoch, "raw") in loader_of
    }
