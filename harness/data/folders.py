"""Folders of datasets on this machine.

Datasets are searched in ``$HARNESS_DATA``, then in ``$HARNESS_CACHE/datasets`` (the user's cache
folder when that is not set), under the dataset's published folder name, its name or an alias, in
any case.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.data.card import DatasetCard
from harness.data.modality_names import MODALITIES
from harness.data.parsing import check_regular
from harness.environment import cache_folder, expanded
from harness.errors import ConfigError, DataError, MissingDataError

__all__ = [
    "check_inside",
    "data_files",
    "datasets_folder",
    "find",
    "left_out",
    "locate",
    "missing_files",
    "names_of",
    "roots",
]

_FEATURE_WORD = re.compile(r"text|image|img|visual|numeric|audio|video|feat|emb|vec", re.IGNORECASE)
"""Words in names of feature files; folders of datasets often have pickles of other names."""


def datasets_folder() -> Path:
    """Return the folder of fetched and imported datasets (it need not exist)."""
    return cache_folder() / "datasets"


def roots() -> tuple[Path, ...]:
    """Return the folders that are searched for datasets, in order.

    Raises:
        ConfigError: $HARNESS_DATA is not a folder.
    """
    value = os.environ.get("HARNESS_DATA")
    if not value:
        return (datasets_folder(),)
    folder = expanded(value, "HARNESS_DATA")
    if not folder.is_dir():
        raise ConfigError(f"HARNESS_DATA={value}: no such folder; unset it, or name the folder")
    return folder, datasets_folder()


def names_of(card: DatasetCard) -> set[str]:
    """Return the accepted names of a dataset's folder, in lower case."""
    return {name.lower() for name in (card.folder, card.name, *card.aliases)}


def find(card: DatasetCard) -> Path | None:
    """Return the folder with the dataset's required files, None without one."""
    return next((folder for folder in _candidates(card) if not missing_files(card, folder)), None)


def locate(card: DatasetCard) -> Path:
    """Return the folder with the dataset's required files.

    Raises:
        MissingDataError: no folder has them; the message names the command that gets them.
    """
    folder = find(card)
    if folder is not None:
        return folder
    incomplete = [
        f"{folder} lacks {', '.join(missing_files(card, folder))}" for folder in _candidates(card)
    ]
    problem = "; ".join(incomplete) or f"searched {', '.join(map(str, roots()))}"
    raise MissingDataError(
        f"{card.title} is not on this machine ({problem}); get it with "
        f"`harness data fetch {card.name}`, or `harness data import DIR` for a local copy, "
        "or set HARNESS_DATA to the folder that holds it",
        brief=f"{card.title} was not on the machine: `harness data fetch {card.name}`",
    )


def data_files(folder: Path) -> list[Path]:
    """Return the text files, tables of names and feature files of a folder, sorted.

    Raises:
        DataError: one of them is a pipe, a device, a folder or a broken link, or a file that looks
            like features has an unread format.
    """
    from harness.data.feature_files import ARRAY_SUFFIXES, SUFFIXES, check_readable
    from harness.data.readers import split_files

    endings = {*SUFFIXES, ".txt"}
    records = set(split_files(folder))
    inside = [*folder.glob("[!.]*"), *(folder / "features").glob("[!.]*")]
    inside = [path for path in inside if path not in records]
    tokens = [*(folder / "tokens").glob("[!.]*")]
    for path in (*inside, *tokens):
        if path.parent != folder or (not path.is_dir() and _FEATURE_WORD.search(path.stem)):
            check_readable(path, () if path.parent.name == "tokens" else MODALITIES)
    files = [path for path in inside if path.suffix in endings]
    files += [path for path in tokens if path.suffix in {*ARRAY_SUFFIXES, ".json"}]
    files += [*(folder / "audits").glob("[!.]*.json"), *records]
    for path in files:
        check_regular(path)
    return sorted(files)


def check_inside(folder: Path, files: Iterable[Path]) -> None:
    """Check that files lie inside a folder and are not links to elsewhere.

    Raises:
        DataError: a file, or its folder, is a link that leads out of ``folder``.
    """
    for path in files:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"{path}: leads out of the folder, to {path.resolve()}; put a copy in its place, "
                "or take it away"
            )


def left_out(folder: Path, target: Path) -> tuple[list[str], list[str]]:
    """Return the visible entries of an imported folder that were not copied to ``target``.

    Returns:
        Files that hold arrays, at any depth; other files and folders.
    """
    from harness.data.feature_files import holds_arrays

    below = [path.relative_to(folder) for path in folder.rglob("[!.]*")]
    below.sort(key=lambda name: (len(name.parts), name))
    visible = (name for name in below if not any(p.startswith(".") for p in name.parts))
    absent = {name: (folder / name).is_dir() for name in visible if not (target / name).exists()}
    arrays = [str(name) for name, is_folder in absent.items() if holds_arrays(name)]
    remaining = [
        f"{name}{'/' * is_folder}"
        for name, is_folder in absent.items()
        if not holds_arrays(name) and name.parent not in absent
    ]
    return arrays, remaining


def _candidates(card: DatasetCard) -> Iterator[Path]:
    for root in roots():
        if root.is_dir():
            for folder in sorted(root.iterdir()):
                if folder.name.lower() in names_of(card) and folder.is_dir():
                    yield folder


def missing_files(card: DatasetCard, folder: Path) -> list[str]:
    """Return the required files of a dataset that a folder lacks."""
    return [
        file.path for file in card.files if not file.optional and not (folder / file.path).is_file()
    ]
