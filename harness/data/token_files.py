"""Reader of modalities as tokens, in the layout of MyGO.

A codebook ``[V, c]`` (in any format of a feature file) and one JSON object per dataset,
which maps entities to rows of the codebook::

    tokens/visual.pth   tokens/MKG-W-visual.json    {"http://www.wikidata.org/entity/Q1": [17, 4]}

Keys are identifiers of entities, or their numbers. Entities that are missing, or have an empty
list, lack the modality.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from harness.data.card import DatasetCard
from harness.data.feature_files import SUFFIXES, file_sha256, only_file, read_tensor
from harness.data.features import FeatureTable
from harness.data.parsing import read_lines
from harness.errors import DataError, MissingDataError
from harness.index import Tokens

__all__ = ["find_token_files", "has_token_lists", "read_token_files", "table_of"]

_CODEBOOKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "image": {"visual": ("visual",), "visual-vqgan": ("visual_vqgan",)},
    "text": {
        "textual": ("textual",),
        "textual-v2": ("textual",),
        "textual-roberta": ("textual_roberta", "textual-roberta"),
        "textual-llama": ("textual_llama", "textual-llama"),
    },
}
"""Modality -> word in ``<D>-<word>.json`` of MyGO's repository -> stems of its codebook."""


def has_token_lists(card: DatasetCard, folder: Path) -> bool:
    """Tell whether some file of lists is there; arguments as ``find_token_files``."""
    return any(
        (directory / f"{name}-{word}.json").is_file()
        for directory in _directories(folder)
        for name in (card.folder, card.title)
        for words in _CODEBOOKS.values()
        for word in words
    )


def _directories(folder: Path) -> tuple[Path, Path]:
    return folder / "tokens", folder.parent / "tokens"


def find_token_files(card: DatasetCard, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return modality -> file of token lists, file of their codebook.

    Args:
        card: the dataset.
        folder: its folder; the files are in ``tokens/`` inside it, or next to it.

    Raises:
        MissingDataError: a modality has no file of lists or no codebook.
        DataError: a modality has several.
    """
    directories = _directories(folder)
    names = dict.fromkeys((card.folder, card.title))
    files = {}
    for modality, words in _CODEBOOKS.items():
        of_lists = {
            directory / f"{name}-{word}.json": codebooks
            for directory in directories
            for name in names
            for word, codebooks in words.items()
        }
        lists = only_file(modality, of_lists)
        if lists is None:
            raise _missing(card, f"lists of tokens of {modality}", directories, of_lists)
        stems = [directory / stem for directory in directories for stem in of_lists[lists]]
        looked = [stem.with_name(stem.name + suffix) for stem in stems for suffix in SUFFIXES]
        codebook = only_file(f"{modality} (codebook)", looked)
        if codebook is None:
            raise _missing(card, f"codebook of {modality}", directories, looked)
        files[modality] = lists, codebook
    return files


def _missing(
    card: DatasetCard, noun: str, directories: Iterable[Path], looked: Iterable[Path]
) -> MissingDataError:
    return MissingDataError(
        f"dataset '{card.name}': no {noun} in {' or '.join(map(str, directories))}; looked for "
        f"{', '.join(dict.fromkeys(path.name for path in looked))}. The files are those of MyGO's "
        "repository, unzipped; 'name-tokens' needs none",
        brief=f"no {noun} on the machine",
    )


def read_token_files(
    lists: Path, codebook: Path, modality: str, entities: Sequence[str]
) -> FeatureTable:
    """Read one modality of a dataset.

    Args:
        lists: JSON file of token lists.
        codebook: file of the codebook.
        modality: "text" or "image".
        entities: identifier of each entity, in the order of their ids.

    Returns:
        table with all tokens, including repeated ones; its vectors are their means.

    Raises:
        DataError: a file is malformed, an entity is unknown or named twice, a token is not in the
            codebook, or no entity has any; the message names the file.
    """
    vectors = read_tensor(codebook)
    if vectors.ndim != 2 or not vectors.numel() or not vectors.is_floating_point():
        kind = str(vectors.dtype).removeprefix("torch.")
        raise DataError(
            f"{codebook}: holds {kind} {list(vectors.shape)}; need a floating point codebook [V, c]"
        )
    if not bool(torch.isfinite(vectors).all()):
        row = int((~torch.isfinite(vectors).all(1)).nonzero()[0])
        raise DataError(f"{codebook}: row {row} holds NaN or infinity")
    token_lists = _tokens_of(lists, _parsed(lists), entities)
    for entity, tokens in enumerate(token_lists):
        wrong = next((token for token in tokens if token not in range(len(vectors))), None)
        if wrong is not None:
            raise DataError(
                f"{lists}: '{entities[entity]}': token {wrong} is no row of {codebook.name}, "
                f"which has 0 to {len(vectors) - 1}; is it the codebook of these tokens?"
            )
    if not any(token_lists):
        raise DataError(f"{lists}: no entity has the modality '{modality}'")
    provenance = {
        "file": lists.name,
        "sha256": file_sha256(lists),
        "codebook": codebook.name,
        "codebook_sha256": file_sha256(codebook),
        "pooling": "mean over an entity's tokens",
    }
    return table_of(modality, token_lists, vectors, provenance)


def table_of(
    modality: str, lists: Sequence[Sequence[int]], codebook: Tensor, provenance: Mapping[str, Any]
) -> FeatureTable:
    """Return the table of a modality of tokens.

    Args:
        modality: name of the modality.
        lists: tokens of each entity; [] without the modality.
        codebook: vectors [V, c].
        provenance: provenance of the table.
    """
    counts = torch.tensor([len(tokens) for tokens in lists])
    flat = torch.tensor([token for tokens in lists for token in tokens], dtype=torch.long)
    position = torch.arange(int(counts.max()))
    ids = torch.full((len(lists), len(position)), -1, dtype=torch.int32)
    ids[position < counts[:, None]] = flat.int()
    # Empty bags become zero rows, as absent entities need.
    matrix = embedding_bag(flat, codebook.float(), counts.cumsum(0) - counts, mode="mean")
    return FeatureTable(modality, matrix, counts > 0, provenance, Tokens(codebook, ids))


def _parsed(path: Path) -> list[tuple[str, Any]]:
    """Return the key-value pairs of the object in a JSON file, including repeated keys."""
    text = "\n".join(read_lines(path))
    try:
        content = json.loads(text, object_pairs_hook=tuple)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise DataError(f"{path}:{line}: not JSON ({getattr(error, 'msg', error)})") from error
    if not isinstance(content, tuple):
        raise DataError(f"{path}: need an object that maps entities to lists of tokens")
    return list(content)


def _tokens_of(
    path: Path, pairs: Iterable[tuple[str, Any]], entities: Sequence[str]
) -> list[list[int]]:
    """Return each entity's tokens."""
    ids = {name: i for i, name in enumerate(entities)}
    tokens_of: dict[int, list[int]] = {}
    for key, tokens in pairs:
        entity = ids.get(key)
        if entity is None and key.isdecimal() and int(key) < len(entities):
            entity = int(key)
        if entity is None:
            near = difflib.get_close_matches(key, entities, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise DataError(f"{path}: '{key}' is no entity of the dataset{hint}")
        if entity in tokens_of:
            raise DataError(f"{path}: '{key}': the entity '{entities[entity]}' is there twice")
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise DataError(f"{path}: '{key}': need a list of integers, got {str(tokens)[:40]}")
        tokens_of[entity] = tokens
    return [tokens_of.get(entity, []) for entity in range(len(entities))]
