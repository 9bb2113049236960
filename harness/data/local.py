"""Datasets of the user's own: a folder in the data folder, in any layout of the readers.

A folder whose name no dataset may have (``card.NAME_RULE``) is none, whatever it holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data import acquire, folders
from harness.data.audit import count_splits, facts_of, rules_of, sentences
from harness.data.card import (
    DatasetCard,
    DatasetSource,
    check_name,
    is_name,
    unknown_feature_set,
)
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.data.modality_names import MODALITIES
from harness.data.names import NameKind, advice, audit_names, excess_names
from harness.data.readers import detect_layout, read_folder, split_files
from harness.errors import ConfigError, DataError

__all__ = [
    "LocalSource",
    "find_local",
    "folder_of",
    "holds_a_graph",
    "import_local",
    "local_sources",
    "misnamed",
]


class LocalSource(DatasetSource):
    """A folder with a graph; its card holds what is known, which is little.

    Args:
        folder: the folder; its name, in lower case, is the dataset's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = DatasetCard(
            name=folder.name.lower(),
            title=folder.name,
            folder=folder.name,
            description="a folder of your own",
            licence="not recorded",
            citation="",
            source=str(folder),
        )

    def graph(self) -> KnowledgeGraph:
        """Read the graph and audit it; see :class:`DatasetSource`."""
        graph = read_folder(self.folder, self.card.name)
        facts = facts_of(graph)
        return replace(graph, notes=sentences(count_splits(facts, rules_of(facts))))

    @property
    def feature_sets(self) -> Mapping[str, str]:
        """Name -> description; see :class:`DatasetSource`."""
        from harness.data import feature_sets
        from harness.data.token_files import has_token_lists

        absent = {"published"}
        if not has_token_lists(self.card, self.folder):
            absent.add("tokens")
        described = feature_sets.describe(self.card)
        return {name: text for name, text in described.items() if name not in absent}

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        """Build or read a feature set; see :class:`DatasetSource`."""
        self._require(name)
        from harness.data import feature_sets

        return feature_sets.build(self.card, name, graph, self.folder)

    def modalities(self, features: str) -> tuple[str, ...]:
        """Return the modalities of a set without reading it; see :class:`DatasetSource`."""
        self._require(features)
        from harness.data import feature_sets

        return feature_sets.modalities(self.card, features, self.folder)

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the raw texts of a set; see :class:`DatasetSource`."""
        self._require(features)
        from harness.data import feature_sets

        return feature_sets.name_texts(self.card, features, graph)

    def unencoded(
        self, features: str, graph: KnowledgeGraph
    ) -> Mapping[str, tuple[int, float, int]]:
        """Return the texts and images to encode first; see :class:`DatasetSource`."""
        from harness.data import feature_sets

        return feature_sets.unencoded(self.card, features, graph)

    def _require(self, features: str) -> None:
        from harness.data.token_files import find_token_files

        if features not in self.feature_sets:
            if features == "tokens":
                find_token_files(self.card, self.folder)  # says which files are missing
            raise ConfigError(unknown_feature_set(self.card.name, features, self.feature_sets))


def find_local(name: str) -> LocalSource | None:
    """Return the dataset whose folder bears ``name`` (in any case), None when there is none."""
    return next((s for s in local_sources() if s.card.name == name.lower()), None)


def folder_of(source: DatasetSource) -> Path | None:
    """Return the folder of a dataset's files; None for built-in ones, and those not here."""
    if isinstance(source, LocalSource):
        return source.folder
    return folders.find(source.card) if source.card.files else None


def local_sources(reserved: Collection[str] = ()) -> list[LocalSource]:
    """Return the datasets in the data folders whose names are not in ``reserved`` (lower case)."""
    sources: dict[str, LocalSource] = {}
    for folder in filter(lambda folder: is_name(folder.name), _graph_folders()):
        name = folder.name.lower()
        if name not in reserved and name not in sources:
            sources[name] = LocalSource(folder)
    return list(sources.values())


def misnamed() -> list[Path]:
    """Return the folders in the data folders that hold a graph under a name no dataset may have."""
    return [folder for folder in _graph_folders() if not is_name(folder.name)]


def import_local(folder: Path, name: str, allowed: Sequence[NameKind] = ()) -> Path:
    """Copy a folder of the user's own to the data folder, after reading its graph and features.

    Its text files and files of features are copied; to the same graph under the same name, feature
    files that it lacks.

    Args:
        folder: the folder.
        name: what the dataset will be called.
        allowed: kinds of confusable identifiers that are meant.

    Returns:
        The dataset's folder.

    Raises:
        ConfigError: ``name`` is none that a dataset may have.
        MissingDataError: the package that reads one of its feature files is not installed.
        DataError: the folder cannot be read as a dataset (with file and line), a feature file is
            one that the set "files" refuses or nobody reads, a file is a link that leads out of
            the folder, its identifiers are easily confused, or another dataset or other features
            of that name are there.
        MachineError: the disk is full or the folder cannot be written to.
    """
    from harness.data import feature_sets

    check_name(name, "--name")
    files = folders.data_files(folder)
    folders.check_inside(folder, files)
    _refuse_unread(folder, files)
    graph = read_folder(folder, name)
    if findings := excess_names(audit_names(graph), {}, allowed):
        text = "\n".join(map(str, findings))
        raise DataError(f"{folder}: not imported; {advice(findings)}\n{text}")
    target = folders.datasets_folder() / name
    feature_sets.check_own_files(LocalSource(target).card, graph, folder)
    source = find_local(name)
    if source is not None:
        if read_folder(source.folder, source.card.name).digest == graph.digest:
            _add_features(folder, files, source.folder)
            return source.folder
        raise DataError(
            f"{source.folder}: holds another dataset; choose another --name, or remove that folder"
        )
    with acquire.staging(target) as staged:
        _copy(folder, [path.relative_to(folder) for path in files], staged)
        acquire.install(staged, target)
    return target


def _refuse_unread(folder: Path, files: Iterable[Path]) -> None:
    """Refuse features that lie beside the splits, where nobody reads those of an own dataset."""
    from harness.data.feature_files import holds_arrays
    from harness.data.feature_tables import TABLE_SUFFIXES

    splits = split_files(folder)
    for path in files:
        of_modality = path.name.partition(".")[0].lower() in MODALITIES
        features = holds_arrays(path) or (of_modality and path.suffix in TABLE_SUFFIXES)
        if path.parent == folder and features and path not in splits:
            raise DataError(
                f"{path}: features are read from features/<modality>.<ending>; move it there, or "
                "take it away"
            )


def _add_features(folder: Path, files: Iterable[Path], dataset: Path) -> None:
    """Copy feature files that a dataset lacks to its folder.

    Raises:
        DataError: it has others of the same name, or is not in the folder of imported datasets.
        MachineError: the disk is full or the folder cannot be written to.
    """
    names = [path.relative_to(folder) for path in files]
    names = [name for name in names if name.parts[0] in ("features", "tokens")]
    missing = [name for name in names if not (dataset / name).exists()]
    for name in set(names) - set(missing):
        if acquire.sha256_of(dataset / name) != acquire.sha256_of(folder / name):
            raise DataError(
                f"{dataset / name}: differs from {folder / name}; take it away to have the other "
                "one, or choose another --name"
            )
    _refuse_second_files(folder, missing, dataset)
    if missing and dataset.parent != folders.datasets_folder():
        absent_files = ", ".join(map(str, missing))
        raise DataError(
            f"{dataset}: lacks {absent_files} of {folder}; copy it there, or choose another --name"
        )
    if missing:
        with acquire.staging(dataset) as staged:
            _copy(folder, missing, staged)
            acquire.install(staged, dataset)


def _refuse_second_files(folder: Path, names: Iterable[Path], dataset: Path) -> None:
    """Refuse a feature file of a modality that the dataset has another file of."""
    from harness.data.feature_files import SUFFIXES, only_file

    for name in names:
        if name.parts[0] == "features" and name.suffix in SUFFIXES:
            same_stem = (dataset / name.with_suffix(suffix) for suffix in SUFFIXES)
            only_file(name.stem, (folder / name, *same_stem))


def _copy(folder: Path, names: Iterable[Path], staged: Path) -> None:
    for name in names:
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, staged / name)


def _graph_folders() -> Iterator[Path]:
    for root in folders.roots():
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if not folder.name.startswith(".") and folder.is_dir() and holds_a_graph(folder):
                yield folder


def holds_a_graph(folder: Path) -> bool:
    """Tell whether a folder holds splits in a layout that is read."""
    try:
        detect_layout(folder)
    except DataError:
        return False
    return True
