"""Base class of encoders, and the cache of encoded features."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from harness import environment
from harness.data.features import FeatureTable
from harness.errors import DataError, MachineError
from harness.events import report_step
from harness.registry import Registry
from harness.writing import remove_abandoned, replacing

__all__ = [
    "ENCODERS",
    "Encoded",
    "Encoder",
    "cache_folder",
    "check_known",
    "inputs_sha256",
]

Raw = TypeVar("Raw")

_TEMPORARY = ".writing-"
"""Prefix of the names of files that are being written."""

UNKNOWN_LIMIT = 0.2
"""Largest share of unknown tokens with which an encoder is usable."""


@dataclass(frozen=True)
class Encoded:
    """Vectors of an encoder's inputs.

    Attributes:
        matrix: float32 [n, d]; zero rows where absent.
        present: bool [n], False for empty inputs.
        unknown_share: share of tokens outside the encoder's vocabulary, 0 to 1.
    """

    matrix: Tensor
    present: Tensor
    unknown_share: float


class Encoder(ABC, Generic[Raw]):
    """Turns raw inputs into vectors.

    Inputs are plain JSON values (names, mappings of numbers), one per entity; an empty input marks
    an entity without the modality.
    """

    name: ClassVar[str]
    modality: ClassVar[str] = "text"
    """Modality of the vectors."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Name, version, options and weights: all that determines vectors but the inputs."""

    @property
    def width(self) -> int:
        """Components of a vector; 0 (the default) when they depend on the inputs."""
        return 0

    @abstractmethod
    def compute(self, inputs: Sequence[Raw]) -> Encoded:
        """Encode without the cache."""

    def require(self) -> None:
        """Check that the encoder's package is installed, without loading it.

        Raises:
            MissingDataError: it is not; the message says how to install it.
        """

    def encode(self, inputs: Sequence[Raw]) -> Encoded:
        """Encode the inputs, or read their vectors from the cache.

        Raises:
            DataError: more than 20 % of the tokens are unknown to the encoder.
            MissingDataError: the encoder's package is not installed.
            MachineError: the cache folder cannot be written.
        """
        file = self._file(inputs)
        encoded = _read(file, len(inputs))
        if encoded is None:
            self.report(0, len(inputs))
            encoded = self.compute(inputs)
            self.report(len(inputs), len(inputs))
            _write(file, encoded, self.fingerprint)
        check_known(self.name, encoded.unknown_share)
        return encoded

    def report(self, encoded: int, total: int) -> None:
        """Report how many inputs are encoded (:mod:`harness.events`)."""
        report_step(f"encoding with '{self.name}'", encoded, total)

    def table(self, inputs: Sequence[Raw]) -> FeatureTable:
        """Encode one input per entity into a feature table.

        The table is identified by fingerprint and inputs instead of values: matrix products differ
        between processors in the last digits.
        """
        encoded = self.encode(inputs)
        provenance = {
            "encoder": self.name,
            "fingerprint": self.fingerprint,
            "inputs_sha256": inputs_sha256(inputs),
            "unknown_share": round(encoded.unknown_share, 6),
            "identity": self._key(inputs),
        }
        return FeatureTable(self.modality, encoded.matrix, encoded.present, provenance)

    def is_cached(self, inputs: Sequence[Raw]) -> bool:
        """Return True if the cache has a file for these inputs (``encode`` checks its content)."""
        return self._file(inputs).is_file()

    def _file(self, inputs: Sequence[Raw]) -> Path:
        return cache_folder() / f"{self._key(inputs)}.safetensors"

    def _key(self, inputs: Sequence[Raw]) -> str:
        text = f"{self.fingerprint}\n{inputs_sha256(inputs)}"
        return hashlib.sha256(text.encode()).hexdigest()


def check_known(encoder: str, unknown_share: float) -> None:
    """Refuse an encoding with too many unknown tokens.

    Raises:
        DataError: more than 20 % of the tokens are unknown.
    """
    if unknown_share > UNKNOWN_LIMIT:
        raise DataError(
            f"encoder '{encoder}' does not know {unknown_share:.0%} of the tokens "
            f"(limit {UNKNOWN_LIMIT:.0%}); use the feature set 'hashed-names', which needs "
            f"no vocabulary"
        )


ENCODERS: Registry[type[Encoder[Any]]] = Registry("encoder", "harness.encoders")


def cache_folder() -> Path:
    """Return the folder of encoded features (it need not exist)."""
    return environment.cache_folder() / "features"


def inputs_sha256(inputs: Sequence[Any]) -> str:
    """Return the sha256 of an encoder's inputs, written as JSON."""
    text = json.dumps(list(inputs), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(file: Path, n: int) -> Encoded | None:
    """Return the cached result, None when it is missing or damaged, so that it is remade."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as stored:
            unknown = float((stored.metadata() or {})["unknown_share"])
            matrix, present = stored.get_tensor("features"), stored.get_tensor("present")
            checksum = (stored.metadata() or {})["checksum"]
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    if present.shape != (n,) or checksum != _checksum(matrix, present):
        return None
    return Encoded(matrix, present, unknown)


def _write(file: Path, encoded: Encoded, fingerprint: str) -> None:
    from safetensors.torch import save

    matrix = encoded.matrix.contiguous()
    content = save(
        {"features": matrix, "present": encoded.present},
        {
            "fingerprint": fingerprint,
            "unknown_share": repr(encoded.unknown_share),
            "checksum": _checksum(matrix, encoded.present),
        },
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(file.parent, rf"{re.escape(_TEMPORARY)}\w+")  # of earlier versions
        with replacing(file, prefix=_TEMPORARY) as stream:
            stream.write(content)
    except OSError as error:
        raise MachineError(
            f"cannot write the feature cache {file.parent} ({error.strerror or error}); set "
            f"HARNESS_CACHE to a folder with room"
        ) from error


def _checksum(matrix: Tensor, present: Tensor) -> str:
    h = hashlib.sha256(matrix.contiguous().view(torch.uint8).numpy().tobytes())
    h.update(present.numpy().tobytes())
    return h.hexdigest()
