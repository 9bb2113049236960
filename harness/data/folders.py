"""Where datasets lie on this machine.

Folders are looked for in ``$HARNESS_DATA``, then in ``$HARNESS_CACHE/datasets`` (the user's cache
folder when that is not set), under the dataset's published folder name, its name or an alias, in
any case.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness.data.card import DatasetCard
from harness.data.parsing import check_regular
from harness.environment import cache_folder, expanded
from harness.errors import ConfigError, MissingDataError

__all__ = [
    "data_files",
    "datasets_folder",
    "find",
    "lacking",
    "left_out",
    "locate",
    "names_of",
    "roots",
]

_FEATURE_WORD = re.compile(r"text|image|img|visual|numeric|audio|video|feat|emb|vec", re.IGNORECASE)
"""What names of feature files hold; pickles of other names lie in many folders of datasets."""


def datasets_folder() -> Path:
    """Return the folder that fetched and imported datasets go to (it need not exist)."""
    return cache_folder() / "datasets"


def roots() -> tuple[Path, ...]:
    """Return the folders that are searched for datasets, first match wins.

    Raises:
        ConfigError: $HARNESS_DATA is no folder.
    """
    given = os.environ.get("HARNESS_DATA")
    if not given:
        return (datasets_folder(),)
    own = expanded(given, "HARNESS_DATA")
    if not own.is_dir():
        raise ConfigError(f"HARNESS_DATA={given}: no such folder; unset it, or name the folder")
    return own, datasets_folder()


def names_of(card: DatasetCard) -> set[str]:
    """Return the names of a dataset's folder that are looked for, in lower case."""
    return {name.lower() for name in (card.folder, card.name, *card.aliases)}


def find(card: DatasetCard) -> Path | None:
    """Return the folder that holds the dataset's required files, None when there is none."""
    return next((folder for folder in _candidates(card) if not lacking(card, folder)), None)


def locate(card: DatasetCard) -> Path:
    """Return the folder that holds the dataset's required files.

    Raises:
        MissingDataError: there is none; the message says which command gets it.
    """
    folder = find(card)
    if folder is not None:
        return folder
    incomplete = [
        f"{folder} lacks {', '.join(lacking(card, folder))}" for folder in _candidates(card)
    ]
    where = "; ".join(incomplete) or f"searched {', '.join(map(str, roots()))}"
    raise MissingDataError(
        f"{card.title} is not on this machine ({where}); get it with "
        f"`harness data fetch {card.name}`, or `harness data import DIR` for a local copy, "
        "or set HARNESS_DATA to the folder that holds it",
        brief=f"{card.title} was not on the machine: `harness data fetch {card.name}`",
    )


def data_files(folder: Path) -> list[Path]:
    """Return a folder's texts, tables of names and features, with ``features/`` and ``tokens/``.

    Raises:
        DataError: one of them is a pipe, a device, a folder or a link that leads nowhere, or a file
            that looks like features cannot be read.
    """
    from harness.data.feature_files import ARRAY_SUFFIXES, SUFFIXES, check_readable
    from harness.data.feature_sets import MODALITIES

    endings = {*SUFFIXES, ".txt"}
    inside = [*folder.glob("[!.]*"), *(folder / "features").glob("[!.]*")]
    tokens = [*(folder / "tokens").glob("[!.]*")]
    for path in (*inside, *tokens):
        if path.parent != folder or (not path.is_dir() and _FEATURE_WORD.search(path.stem)):
            check_readable(path, MODALITIES if path.parent.name == "features" else ())
    files = [path for path in inside if path.suffix in endings]
    files += [path for path in tokens if path.suffix in {*ARRAY_SUFFIXES, ".json"}]
    for path in files:
        check_regular(path)
    return sorted(files)


def left_out(folder: Path, target: Path) -> list[str]:
    """Return an imported folder's entries that the dataset's folder lacks, hidden files aside."""
    entries = [
        path
        for place in (folder, folder / "features", folder / "tokens")
        for path in sorted(place.glob("[!.]*"))
    ]
    names = {path.relative_to(folder): "/" if path.is_dir() else "" for path in entries}
    return [f"{name}{end}" for name, end in names.items() if not (target / name).exists()]


def _candidates(card: DatasetCard) -> Iterator[Path]:
    for root in roots():
        if root.is_dir():
            for folder in sorted(root.iterdir()):
                if folder.name.lower() in names_of(card) and folder.is_dir():
                    yield folder


def lacking(card: DatasetCard, folder: Path) -> list[str]:
    """Return the required files of a dataset that are not in ``folder``."""
    return [
        file.path for file in card.files if not file.optional and not (folder / file.path).is_file()
    ]
