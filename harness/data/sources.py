"""Original files of feature sets: where they are stored, and how they are looked up.

Several datasets share originals, so the cache holds each one once, at
``$HARNESS_CACHE/sources/<owner>/<repository>/<commit>/<path>``, the layout that a mirror serves.
A file is moved there only after its sha256 was checked (:mod:`harness.data.acquire`), and it is
checked again when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from harness.data.card import FeatureSource
from harness.data.folders import datasets_folder, roots
from harness.errors import DataError, MissingDataError

__all__ = ["missing_sources", "read_source", "require_sources", "source_path", "sources_folder"]


def sources_folder() -> Path:
    """Return the folder that fetched and imported originals are stored in (it need not exist)."""
    return datasets_folder().parent / "sources"


def source_path(source: FeatureSource) -> Path:
    """Return the path of an original in the cache, whether or not it is there."""
    return sources_folder() / source.place


def missing_sources(sources: Iterable[FeatureSource]) -> list[FeatureSource]:
    """Return the originals that are not on this machine, told by their size alone."""
    return [source for source in sources if _path(source) is None]


def read_source(source: FeatureSource) -> bytes:
    """Read an original, after checking that it is the published one.

    Raises:
        MissingDataError: it is not on this machine.
        DataError: its sha256 is not the published one.
    """
    path = _path(source)
    if path is None:
        raise MissingDataError(
            f"{source_path(source)}: missing, or not of {source.bytes} bytes; get it with "
            "`harness data fetch NAME`, or `harness data import DIR` for a local copy",
            brief=f"{source.repository}: {source.path} is not on the machine",
        )
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != source.sha256:
        raise DataError(
            f"{path}: sha256 {sha256}, published {source.sha256}; take it away and get it again "
            "with `harness data fetch NAME`"
        )
    return content


def require_sources(dataset: str, features: str, sources: Iterable[FeatureSource]) -> None:
    """Check that every original of a feature set is on this machine.

    Args:
        dataset: name of the dataset, for the message.
        features: name of the feature set.
        sources: its originals.

    Raises:
        MissingDataError: some are missing; the message names each and the command that gets them.
    """
    missing = missing_sources(sources)
    if missing:
        command = f"harness data fetch {dataset}"
        lines = "\n".join(f"  {source.repository}: {source.path}" for source in missing)
        raise MissingDataError(
            f"dataset '{dataset}': feature set '{features}' lacks {len(missing)} of its original "
            f"files in {sources_folder()}:\n{lines}\n"
            f"get them with `{command}`, or `harness data import DIR` for a local copy",
            brief=f"the originals of feature set '{features}' are not on the machine: `{command}`",
        )


def _path(source: FeatureSource) -> Path | None:
    """Return the file of an original: in the cache, else among the files of a dataset."""
    paths = [source_path(source)]
    if source.dataset_file:
        paths += [root / source.dataset_file for root in roots()]
    return next((p for p in paths if p.is_file() and p.stat().st_size == source.bytes), None)
