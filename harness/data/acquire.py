"""Brings datasets to this machine: from where they are published, or from a local copy.

What arrives is checked in a staging folder beside its place and then moved, so that a file is
either whole and right or absent. Nothing is fetched when a dataset is loaded; only
``harness data fetch`` uses the network.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from harness.data.card import DatasetCard, FeatureSource, FileCard
from harness.data.folders import check_inside, data_files, datasets_folder, missing_files, names_of
from harness.data.sources import is_verified, source_path, sources_folder
from harness.errors import ConfigError, DataError, MachineError, MissingDataError
from harness.writing import staging_folder, synchronise, use_umask

__all__ = [
    "dataset_of",
    "fetch",
    "fetch_sources",
    "identify",
    "import_folder",
    "import_sources",
    "install",
    "sha256_of",
    "staging",
    "store_source",
]

_TIMEOUT_S = 30.0
"""Longest silence of a server."""


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(
    card: DatasetCard,
    *,
    base_url: str | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Path:
    """Download a dataset's files, check them and put them in their place.

    Files that are already there with the right sha256 are not downloaded again.

    Args:
        card: the dataset.
        base_url: mirror that serves ``<base_url>/<owner>/<repository>/<commit>/<path>`` in place
            of the host of the card's URLs.
        announce: callback for messages, one line at a time.

    Returns:
        The dataset's folder.

    Raises:
        ConfigError: the dataset is not downloaded, or ``base_url`` is no http(s) address.
        MissingDataError: a server cannot be reached or does not have a required file; an optional
            one is announced and left out.
        DataError: a file arrived cut off or with another sha256.
        MachineError: the disk is full or the folder cannot be written to.
    """
    if not card.files:
        raise ConfigError(f"{card.title} needs no download: {card.source}")
    target = datasets_folder() / card.folder
    missing = [file for file in card.files if not _is_right(target / file.path, file)]
    if not missing:
        announce(f"{card.title}: all {len(card.files)} files are in {target}")
        return target
    with staging(target) as staged:
        for file in missing:
            url = _mirrored(file.url, base_url)
            announce(f"{card.title}: {url}")
            try:
                _download(url, file, staged)
            except MissingDataError as error:
                if not file.optional:
                    raise
                announce(f"{card.title}: goes without {file.path}: {error}")
        install(staged, target)
    return target


def fetch_sources(
    sources: Iterable[FeatureSource],
    *,
    base_url: str | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Download the original files of feature sets, each to its place as soon as it is checked.

    Files that are already there with the right sha256 are not downloaded again, so an interrupted
    call is continued by the next one. One that moved or changed does not keep the others from
    being downloaded.

    Args:
        sources: the originals; those that no repository serves are skipped.
        base_url: as in ``fetch``.
        announce: called with one line per download and per licence.

    Raises:
        ConfigError: ``base_url`` is no http(s) address.
        MissingDataError: a server cannot be reached or lacks a file.
        DataError: a file arrived cut off or with another sha256.
        MachineError: the disk is full or the folder cannot be written to.
    """
    remaining = [source for source in sources if source.fetched and not is_verified(source)]
    for licence in dict.fromkeys(f"{s.repository}: licence {s.licence}" for s in remaining):
        announce(licence)
    problems: list[str] = []
    kind: type[DataError] = MissingDataError
    for source in remaining:
        url = _mirrored(source.url, base_url)
        announce(f"{source.repository}: {url}")
        with staging(sources_folder()) as staged:
            file = FileCard(path=source.location, sha256=source.sha256, url=url)
            try:
                _download(url, file, staged)
            except UnreachableError:
                raise
            except DataError as error:
                # The text alone: the error would keep the connection open.
                problems.append(str(error))
                kind = kind if isinstance(error, MissingDataError) else DataError
            else:
                install(staged, sources_folder())
    if problems:
        raise kind(
            f"{len(problems)} of {len(remaining)} files of features did not arrive; the others are "
            f"in {sources_folder()}:\n" + "\n".join(problems)
        )


def import_sources(folder: Path, sources: Iterable[FeatureSource]) -> list[FeatureSource]:
    """Copy the original files of feature sets that a folder holds, at any depth.

    A file is recognised by the sha256 of its content, decompressed where its name ends in ``.gz``,
    whatever it is called.

    Returns:
        The originals that the folder holds.

    Raises:
        DataError: a compressed file is damaged.
        MachineError: the disk is full or the folder cannot be written to.
    """
    by_size: dict[int, list[FeatureSource]] = {}
    for source in sources:
        by_size.setdefault(source.bytes, []).append(source)
    recognised: dict[FeatureSource, None] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or _content_size(path) not in by_size:
            continue
        content = _content(path)
        sha256 = hashlib.sha256(content).hexdigest()
        for source in by_size[len(content)]:
            if source.sha256 == sha256 and source not in recognised:
                recognised[source] = None
                if not _is_right(source_path(source), source):
                    store_source(source, content)
    return list(recognised)


def store_source(source: FeatureSource, content: bytes) -> None:
    """Put the checked content of an original to its place in the cache.

    Raises:
        MachineError: the disk is full or the folder cannot be written to.
    """
    with staging(sources_folder()) as staged:
        (staged / source.location).parent.mkdir(parents=True)
        (staged / source.location).write_bytes(content)
        install(staged, sources_folder())


def identify(folder: Path, cards: Iterable[DatasetCard]) -> DatasetCard | None:
    """Return the dataset of a folder: recognised by its content, else by its name."""
    pinned = [card for card in cards if card.files]
    if card := dataset_of(folder, pinned):
        return card
    name = folder.resolve().name.lower()
    return next((card for card in pinned if name in names_of(card)), None)


def dataset_of(folder: Path, cards: Iterable[DatasetCard]) -> DatasetCard | None:
    """Return the dataset whose required files a folder holds, each with the right SHA-256."""
    for card in cards:
        required = [file for file in card.files if not file.optional]
        if required and all(_is_right(folder / file.path, file) for file in required):
            return card
    return None


def import_folder(folder: Path, card: DatasetCard) -> Path:
    """Copy a dataset's folder after checking its sha256, with its files of features and names.

    Returns:
        The dataset's folder.

    Raises:
        ConfigError: the dataset has no files.
        MissingDataError: a required file is not in ``folder``.
        DataError: a file has another sha256 (each is named), or is no regular file.
        MachineError: the disk is full or the folder cannot be written to.
    """
    from harness.data.feature_files import holds_arrays
    from harness.data.feature_sets import is_published

    if not card.files:
        raise ConfigError(f"{card.title} is not imported: {card.source}")
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder")
    readable = data_files(folder)
    absent = missing_files(card, folder)
    if absent:
        raise MissingDataError(f"{folder}: lacks {', '.join(absent)} of {card.title}")
    present = [file for file in card.files if (folder / file.path).is_file()]
    wrong = [
        f"{folder / file.path}: sha256 {sha256_of(folder / file.path)}, published {file.sha256}"
        for file in present
        if not _is_right(folder / file.path, file)
    ]
    if wrong:
        raise DataError(f"not the published {card.title}:\n" + "\n".join(wrong))
    card_paths = {file.path for file in card.files}
    extra = [
        str(path.relative_to(folder))
        for path in readable
        if path.suffix != ".txt" and str(path.relative_to(folder)) not in card_paths
        if path.parent != folder or not holds_arrays(path) or is_published(card, path)
    ]
    check_inside(folder, (folder / name for name in extra))
    target = datasets_folder() / card.folder
    if target.exists() and target.samefile(folder):
        return target
    with staging(target) as staged:
        for name in [*(file.path for file in present), *extra]:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, staged / name)
        for file in present:
            _check(staged / file.path, file, str(folder / file.path))
        install(staged, target)
    return target


class UnreachableError(MissingDataError):
    """A server cannot be reached."""


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target`` that is gone afterwards, whatever happens.

    Raises:
        MachineError: something below could not be written.
    """
    try:
        with staging_folder(target) as folder:
            yield folder
    except OSError as error:
        raise MachineError(
            f"{error.filename or target}: {error.strerror or error}; nothing was kept. Free some "
            "space, or set HARNESS_CACHE to a folder that can be written to"
        ) from error


def install(staged: Path, target: Path) -> None:
    """Move checked files to their place: a new folder by one rename, else each file by one.

    A process that is killed meanwhile leaves no part of a new folder, which could not be told from
    a dataset that somebody made. Other files of an old folder are kept.
    """
    names = [path.relative_to(staged) for path in sorted(staged.rglob("*")) if path.is_file()]
    complete = staged / ".complete"  # its permissions are those of any new folder
    _move(names, staged, complete)
    try:
        complete.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        _move(names, complete, target)


def _move(names: Iterable[Path], source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        synchronise(source / name)
        (source / name).replace(target / name)


def _content_size(path: Path) -> int:
    """Return the size of a file's content; that of a compressed one stands in its last bytes."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - 4, 0))
        return int.from_bytes(stream.read(4), "little")


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}); copy it again") from error


def _is_right(path: Path, file: FileCard | FeatureSource) -> bool:
    return path.is_file() and sha256_of(path) == file.sha256


def _check(path: Path, file: FileCard, origin: str) -> None:
    digest = sha256_of(path)
    if digest != file.sha256:
        raise DataError(
            f"{origin}: the {path.stat().st_size} bytes that arrived have sha256 {digest}, "
            f"published is {file.sha256}; nothing was kept"
        )


def _mirrored(url: str, base_url: str | None) -> str:
    if base_url is None:
        return url
    try:
        address = urlsplit(base_url)
        valid = address.scheme in ("http", "https") and address.hostname and (address.port or True)
    except ValueError as error:  # brackets that are not closed, a port that is no number
        raise ConfigError(f"--base-url {base_url}: is no address: {error}") from None
    if not valid:
        raise ConfigError(f"--base-url {base_url}: need an address with http:// or https://")
    return base_url.rstrip("/") + urlsplit(url).path


def _download(url: str, file: FileCard, folder: Path) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    staged = folder / file.path
    try:
        pooch.retrieve(
            url,
            known_hash=None,
            fname=staged.name,
            path=staged.parent,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
        )
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise MissingDataError(f"{url}: the server answers {status}; try --base-url") from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        raise DataError(f"{url}: the download was cut off; nothing was kept, try again") from None
    except requests.RequestException as error:
        host = urlsplit(url).netloc
        raise UnreachableError(
            f"{url}: {host} cannot be reached ({type(error).__name__}); without network copy the "
            "folder here and run `harness data import DIR`, behind a mirror use --base-url"
        ) from None
    _check(staged, file, url)
    # What pooch downloads can be read by its owner alone; a cache may be shared.
    use_umask(staged)
