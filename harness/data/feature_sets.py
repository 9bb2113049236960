"""Feature sets of the published datasets, by the names that are printed with every result.

============ ===================================================================================
none         structure only
names        text: entity names through the sentence encoder (KVC16K: n-gram hashing)
hashed-names text: entity names through character n-gram hashing, on every dataset
use-names    text: entity names through the multilingual sentence encoder
name-tokens  text: entity names as the sentence encoder's tokens (not KVC16K)
published    the feature files of the papers, all modalities of the dataset's published statistics
tokens       image and text as tokens: the files of MyGO, in ``tokens/``
files        the user's own files ``features/<modality>.<ending>`` in the dataset's folder
============ ===================================================================================

``python -m harness.data.feature_sets`` prints, for every dataset at hand, how many entities have a
name and the share of tokens of the names that the sentence encoder does not know.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from harness.data.card import DatasetCard, unknown_feature_set
from harness.data.encoders import ENCODERS, Encoder
from harness.data.encoders.text import SentenceEncoder, word_pieces
from harness.data.feature_files import (
    COMPANIONS,
    SUFFIXES,
    check_readable,
    only_file,
    read_feature_file,
)
from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.data.modality_names import MODALITIES
from harness.data.token_files import find_token_files, read_token_files
from harness.errors import ConfigError, DataError, MissingDataError, suggest
from harness.plugins import load_plugins

__all__ = [
    "build",
    "check_own_files",
    "describe",
    "entity_texts",
    "is_published",
    "modalities",
    "name_texts",
    "unencoded",
]

_NAMES = ("names", "hashed-names", "use-names")

_PLUGINS = "harness.encoders"

_HASHED = frozenset({"kvc16k"})
"""Datasets whose names are outside the sentence encoder's vocabulary (74 % of the tokens)."""

_PUBLISHED_WORD = {"text": "textual", "image": "visual"}
"""Modality -> word in file names of NativE and AdaMF-MAT (``<D>-visual.pth``), if it differs."""

_MOMOK_STEM = {"image": "img_features", "text": "text_features", "numeric": "numeric_features"}
"""Modality -> stem of file names of MoMoK."""

_BARE_IDENTIFIER = re.compile(r"[QPL]\d+|/?[mg][/.][0-9a-z_]+|\d+")


def describe(card: DatasetCard) -> Mapping[str, str]:
    """Return name -> one-line description of the feature sets of a published dataset."""
    sentence = "sentence vectors (all-MiniLM-L6-v2, 384)"
    hashed = "hashed character n-grams (256)"
    modalities = ", ".join(_published_modalities(card)) or "all modalities"
    pieces = {"name-tokens": "text: entity names as tokens (WordPiece of all-MiniLM-L6-v2, 384)"}
    return {
        "none": "structure only",
        "names": f"text: entity names as {hashed if card.name in _HASHED else sentence}",
        "hashed-names": f"text: entity names as {hashed}",
        "use-names": "text: entity names as sentence vectors (USE multilingual v3, 512)",
        **({} if card.name in _HASHED else pieces),
        "tokens": "image, text: the tokens of MyGO, put into the folder tokens",
        "published": f"{modalities}: the files of the papers, put into the dataset's folder",
        "files": "your own files: features/<modality>.<ending> in the dataset's folder",
        **{name: f"text: entity names by the plug-in {name[:-6]}" for name in _plugin_sets()},
    }


def build(card: DatasetCard, name: str, graph: KnowledgeGraph, folder: Path) -> FeatureSet:
    """Build or read a feature set of a published dataset.

    Args:
        card: the dataset.
        name: one of ``describe(card)``.
        graph: its graph, whose entities give the order of the rows.
        folder: the dataset's folder, for "published" and "files".

    Raises:
        ConfigError: there is no such set.
        MissingDataError: its files, the names or the encoder's package are missing.
        DataError: a file is malformed, a modality has several, a file of the set "files" is named
            after no modality, or the encoder does not know the names.
    """
    _require(card, name)
    if name == "none":
        return FeatureSet()
    if name == "name-tokens":
        return FeatureSet(name, {"text": word_pieces(_texts(card, graph))})
    if name in _name_sets():
        return FeatureSet(name, {"text": _encoder(card, name).table(_texts(card, graph))})
    if name == "tokens":
        token_files = find_token_files(card, folder).items()
        return FeatureSet(
            name, {m: read_token_files(*f, m, graph.entities) for m, f in token_files}
        )
    tables = {
        modality: read_feature_file(path, modality, graph.n_entities, graph.entities)
        for modality, path in _files(card, name, folder).items()
    }
    if name == "published":
        tables = {modality: _with_count(table, card) for modality, table in tables.items()}
    return FeatureSet(name, tables)


def check_own_files(card: DatasetCard, graph: KnowledgeGraph, folder: Path) -> None:
    """Read every file of the set "files" in a folder, to check it.

    Args:
        card: the dataset.
        graph: its graph.
        folder: folder with a folder ``features``.

    Raises:
        MissingDataError: the package that reads a file is not installed.
        DataError: as ``build``.
    """
    for modality, path in _modality_files(card, folder).items():
        read_feature_file(path, modality, graph.n_entities, graph.entities)


def is_published(card: DatasetCard, path: Path) -> bool:
    """Tell whether a file bears a name of the published features, or of what belongs to one."""
    stems = (stem for modality in MODALITIES for stem in _published_stems(card, modality))
    return any(path.name.startswith(f"{stem}.") for stem in stems)


def modalities(card: DatasetCard, name: str, folder: Path) -> tuple[str, ...]:
    """Return the modalities of a feature set, in its order, without reading or encoding.

    Raises:
        ConfigError, MissingDataError: as ``build``.
        DataError: as ``build``, except for errors inside files.
    """
    _require(card, name)
    if name == "none":
        return ()
    if name in (*_name_sets(), "name-tokens"):
        (SentenceEncoder() if name == "name-tokens" else _encoder(card, name)).require()
        return ("text",)
    return tuple(find_token_files(card, folder) if name == "tokens" else _files(card, name, folder))


def unencoded(
    card: DatasetCard, name: str, graph: KnowledgeGraph
) -> Mapping[str, tuple[int, float, int]]:
    """Return the sizes of the modalities that ``build`` would have to encode.

    Returns:
        modality -> (width, share of entities with it, largest number of tokens or 0).

    Raises:
        MissingDataError: the encoder's package is missing, or no entity has a name.
    """
    if name not in _name_sets():
        return {}
    encoder = _encoder(card, name)
    encoder.require()
    texts = _texts(card, graph)
    if encoder.is_cached(texts):
        return {}
    share = sum(bool(text.strip()) for text in texts) / len(texts)
    return {encoder.modality: (encoder.width, share, 0)}


def name_texts(card: DatasetCard, name: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
    """Return the texts of a set made from entity names; {} for any other set."""
    _require(card, name)
    return {"text": _texts(card, graph)} if name in (*_name_sets(), "name-tokens") else {}


def entity_texts(graph: KnowledgeGraph) -> list[str]:
    """Return the name of each entity, "" for entities without one.

    A readable identifier replaces a missing name: the last part of a URI, with underscores as
    spaces. A bare identifier (Q42, /m/02mjmr, 17) is not a name.
    """
    names = graph.entity_names or ("",) * graph.n_entities
    return [
        _readable(identifier) if not name or _is_bare(name, identifier) else name
        for name, identifier in zip(names, graph.entities, strict=True)
    ]


def _is_bare(name: str, identifier: str) -> bool:
    """Return True if the name only repeats a bare identifier."""
    return name in identifier and _BARE_IDENTIFIER.fullmatch(name) is not None


def _readable(identifier: str) -> str:
    text = identifier.strip().removeprefix("<").removesuffix(">")
    if "://" in text:
        text = re.split(r"/resource/|/entity/", text)[-1].rsplit("#", 1)[-1]
    return "" if _BARE_IDENTIFIER.fullmatch(text) else text.replace("_", " ").strip()


def _plugin_sets() -> list[str]:
    """Return the feature set "<encoder>-names" of each text encoder of a plug-in."""
    names = load_plugins(_PLUGINS)
    return [f"{n}-names" for n in names if n in ENCODERS and ENCODERS.get(n).modality == "text"]


def _name_sets() -> tuple[str, ...]:
    return (*_NAMES, *_plugin_sets())


def _encoder(card: DatasetCard, name: str) -> Encoder[str]:
    if name in _plugin_sets():
        return ENCODERS.get(name.removesuffix("-names"))()
    if name == "use-names":
        return ENCODERS.get("use")()
    hashed = name == "hashed-names" or card.name in _HASHED
    return ENCODERS.get("hashed" if hashed else "minilm")()


def _texts(card: DatasetCard, graph: KnowledgeGraph) -> list[str]:
    texts = entity_texts(graph)
    if not any(texts):
        raise MissingDataError(
            f"dataset '{card.name}': no entity has a name, so there is nothing to encode; "
            f"get the names with 'harness data fetch {card.name}'",
            brief=f"no names of entities to encode: `harness data fetch {card.name}`",
        )
    return texts


def _files(card: DatasetCard, name: str, folder: Path) -> dict[str, Path]:
    """Return modality -> file of the set "published" or "files"."""
    return _published(card, folder) if name == "published" else _own_files(card, folder)


def _require(card: DatasetCard, name: str) -> None:
    offered = describe(card)
    if name not in offered:
        raise ConfigError(unknown_feature_set(card.name, name, offered))


def _published_modalities(card: DatasetCard) -> tuple[str, ...]:
    return tuple(m for m in MODALITIES if card.modality_counts.get(m))


def _published(card: DatasetCard, folder: Path) -> dict[str, Path]:
    """Return modality -> published file; a set with a missing modality is refused."""
    modalities = _published_modalities(card) or MODALITIES
    files = {m: only_file(m, _published_files(card, m, folder)) for m in modalities}
    absent = [m for m, path in files.items() if path is None]
    if absent:
        looked = "\n".join(f"  {m}: {', '.join(_published_stems(card, m))}" for m in absent)
        raise MissingDataError(
            f"dataset '{card.name}': no published features for {', '.join(absent)} in {folder} "
            f"or its folder 'features'; looked for\n{looked}\n"
            f"ending in {', '.join(SUFFIXES)}; the papers share them by hand, they cannot be "
            f"fetched. Features of your own go into features/<modality>.<ending> (feature set "
            f"'files'); 'names' needs no file",
            brief=f"no published features for {', '.join(absent)} on the machine; the papers "
            "share them by hand",
        )
    return {modality: path for modality, path in files.items() if path is not None}


def _published_files(card: DatasetCard, modality: str, folder: Path) -> Iterator[Path]:
    for directory in (folder / "features", folder):
        for stem in _published_stems(card, modality):
            yield from (directory / f"{stem}{suffix}" for suffix in SUFFIXES)


def _published_stems(card: DatasetCard, modality: str) -> list[str]:
    word = _PUBLISHED_WORD.get(modality, modality)
    stems = [f"{name}-{word}" for name in dict.fromkeys((card.folder, card.title))]
    return stems + ([_MOMOK_STEM[modality]] if modality in _MOMOK_STEM else [])


def _modality_of(stem: str) -> str | None:
    """Return the modality of a file named as published files of any dataset; None for others."""
    for modality in MODALITIES:
        word = _PUBLISHED_WORD.get(modality, modality)
        if stem.endswith(f"-{word}") or stem == _MOMOK_STEM.get(modality):
            return modality
    return None


def _own_files(card: DatasetCard, folder: Path) -> dict[str, Path]:
    directory = folder / "features"
    files = _modality_files(card, folder)
    if not files:
        raise MissingDataError(
            f"dataset '{card.name}': no feature file in {directory}; looked for "
            f"{', '.join(MODALITIES)} ending in {', '.join(SUFFIXES)}",
            brief="no feature file of one's own on the machine",
        )
    return files


def _modality_files(card: DatasetCard, folder: Path) -> dict[str, Path]:
    """Return modality -> file ``features/<modality>.<ending>`` of a folder."""
    directory = folder / "features"
    _refuse_unknown(card, directory)
    files = {
        m: only_file(m, (directory / f"{m}{suffix}" for suffix in SUFFIXES)) for m in MODALITIES
    }
    return {modality: path for modality, path in files.items() if path is not None}


def _refuse_unknown(card: DatasetCard, directory: Path) -> None:
    """Refuse a file that looks like a feature file or its mask but would be ignored.

    Files that the set "published" reads may be in the same folder; files with other endings are the
    user's.
    """
    published = (_published_stems(card, m) for m in _published_modalities(card))
    stems = {*MODALITIES, *itertools.chain.from_iterable(published)}
    for path in sorted(directory.glob("[!.]*")):
        companion = next((end for end in COMPANIONS if path.name.endswith(end)), "")
        stem = path.name.removesuffix(companion) if companion else path.stem
        if path.suffix in SUFFIXES and stem not in stems:
            modality = _modality_of(stem)
            ending = companion or path.suffix
            hint = f"; rename it to {modality}{ending}" if modality else suggest(stem, MODALITIES)
            raise DataError(
                f"{path}: '{stem}' is no modality, so the file would be passed over{hint}"
            )
        if companion and not any((directory / f"{stem}{suffix}").exists() for suffix in SUFFIXES):
            raise DataError(
                f"{path}: lies beside no feature file {stem}.<ending>, so it would be passed over; "
                "put the file there, or take this one away"
            )
        check_readable(path, MODALITIES)


def _with_count(table: FeatureTable, card: DatasetCard) -> FeatureTable:
    """Record the published number of entities and the number in the file."""
    counts = {
        "present": int(table.present.sum()),
        "published_present": card.modality_counts.get(table.name),
    }
    return replace(table, provenance={**table.provenance, **counts})


def _print_unknown_shares() -> None:
    from harness.data.load import load_dataset

    encoder = SentenceEncoder()
    print(encoder.fingerprint)
    for name in ("mkg-w", "mkg-y", "db15k", "tiva", "kvc16k"):
        try:
            graph = load_dataset(name).graph
        except MissingDataError as error:
            print(f"{name:8} {error}")
            continue
        texts = [text for text in entity_texts(graph) if text]
        share = encoder.unknown_share(texts)
        print(f"{name:8} {len(texts):6} of {graph.n_entities} named, {share:6.1%} unknown tokens")


if __name__ == "__main__":
    try:
        _print_unknown_shares()
    except MissingDataError as error:
        raise SystemExit(str(error)) from None
