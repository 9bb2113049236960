"""Character n-gram hashing of names: no vocabulary, no weights, any script.

Names are normalised (Unicode NFKC, case folding, single spaces), framed by word marks, cut into
n-grams of 1 to 4 characters, and each n-gram is added with a sign to one of d components (signed
feature hashing, Weinberger et al. 2009, arXiv:0902.2206: the signs make collisions cancel in
expectation). Counts are sublinear (1 + ln tf) and weighted by inverse document frequency, so that
n-grams shared by all names count little; rows have unit length.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import torch

from harness.data.encoders.base import ENCODERS, Encoded, Encoder

__all__ = ["HashedNgrams", "normalise"]


def normalise(text: str) -> str:
    """Return the text in Unicode NFKC, case-folded, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@ENCODERS.register("hashed")
class HashedNgrams(Encoder[str]):
    """Signed hashing of character n-grams.

    Args:
        dim: d, the number of components.
        shortest, longest: lengths of the n-grams; single characters carry meaning in Chinese.
        idf: weigh n-grams by ln((1 + n) / (1 + df)) + 1 over the given names.
    """

    name = "hashed"
    version = 1

    def __init__(
        self, dim: int = 256, shortest: int = 1, longest: int = 4, idf: bool = True
    ) -> None:
        self.dim, self.shortest, self.longest, self.idf = dim, shortest, longest, idf

    @property
    def fingerprint(self) -> str:
        """Version of the algorithm, and its options.

        The version of Unicode is not part of it: normalisation of assigned characters is stable.
        """
        return (
            f"hashed-v{self.version} dim={self.dim} ngrams={self.shortest}-{self.longest} "
            f"idf={self.idf}"
        )

    @property
    def width(self) -> int:
        """Number of components, d."""
        return self.dim

    def compute(self, inputs: Sequence[str]) -> Encoded:
        """Encode names; empty names are absent."""
        index: dict[str, int] = {}
        names: list[int] = []
        grams: list[int] = []
        for row, text in enumerate(inputs):
            row_grams = [index.setdefault(gram, len(index)) for gram in self._ngrams(text)]
            grams += row_grams
            names += [row] * len(row_grams)
        matrix = self._add_up(np.array(names), np.array(grams), list(index), len(inputs))
        present = torch.zeros(len(inputs), dtype=torch.bool)
        present[torch.tensor(sorted(set(names)), dtype=torch.long)] = True
        return Encoded(torch.from_numpy(matrix), present, 0.0)

    def _ngrams(self, text: str) -> list[str]:
        plain = normalise(text)
        if not plain:
            return []
        framed = f" {plain} "
        return [
            gram
            for n in range(self.shortest, self.longest + 1)
            for gram in (framed[i : i + n] for i in range(len(framed) - n + 1))
            if gram != " "
        ]

    def _add_up(
        self,
        names: np.ndarray[tuple[int], np.dtype[np.int64]],
        grams: np.ndarray[tuple[int], np.dtype[np.int64]],
        vocabulary: list[str],
        n: int,
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Sum the signed weights of each name's n-grams; returns [n, d], rows of unit length."""
        if not len(names):
            return np.zeros((n, self.dim), dtype=np.float32)
        pairs, counts = np.unique(names * len(vocabulary) + grams, return_counts=True)
        row, gram = np.divmod(pairs, len(vocabulary))
        weight = 1 + np.log(counts)
        if self.idf:
            frequency = np.bincount(gram, minlength=len(vocabulary))
            weight = weight * (np.log((1 + n) / (1 + frequency)) + 1)[gram]
        component, sign = self._hash(vocabulary)
        flat = np.bincount(row * self.dim + component[gram], weight * sign[gram], n * self.dim)
        matrix = flat.reshape(n, self.dim)
        length = np.linalg.norm(matrix, axis=1, keepdims=True)
        return np.asarray(matrix / np.maximum(length, 1e-12), dtype=np.float32)

    def _hash(
        self, vocabulary: list[str]
    ) -> tuple[
        np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]
    ]:
        """Return component and sign of each n-gram, the same in every process."""
        raw = b"".join(
            hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            for gram in vocabulary
        )
        value = np.frombuffer(raw, dtype="<u8")
        component = (value % np.uint64(self.dim)).astype(np.int64)
        sign = np.where(value >> np.uint64(63), 1.0, -1.0)
        return component, sign
