"""Features of entities, with their provenance."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import ConfigError, DataError, suggest
from harness.index import Modality, Tokens

__all__ = ["FeatureSet", "FeatureTable", "combined_digest"]

RESERVED = frozenset({"structure", "fused", *dir(nn.ModuleDict()), *dir(nn.ParameterDict())})
"""Names of the models' own embeddings, and those that no module or parameter can have."""


def combined_digest(digests: Mapping[str, str]) -> str:
    """Return the digest of a feature set, 16 hex digits; "" without modalities.

    Args:
        digests: modality -> digest of its table.
    """
    if not digests:
        return ""
    text = "".join(f"{modality}:{digests[modality]};" for modality in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FeatureTable:
    """One modality of a dataset.

    Attributes:
        name: modality ("text", "image", "numeric", "audio", "video"), or another lower-case
            identifier.
        matrix: float16, bfloat16 or float32 [N, d], finite; zero rows where absent.
        present: bool [N], True for entities with the modality.
        provenance: plain JSON values such as file sha256, encoder and pooling. ``identity``, if
            set, identifies the origin of the values and replaces them in the digest, because the
            same encoder gives other last digits on another processor.
        tokens: tokens whose means are the rows of ``matrix`` and which replace them in the digest;
            None if each entity is one vector. Each entity with the modality has a token.
    """

    name: str
    matrix: Tensor
    present: Tensor
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.matrix.ndim != 2 or not self.matrix.is_floating_point():
            raise DataError(f"modality '{self.name}': need a floating point matrix [N, d]")
        if self.present.shape != self.matrix.shape[:1] or self.present.dtype != torch.bool:
            raise DataError(f"modality '{self.name}': the mask must be boolean [N]")
        if not bool(torch.isfinite(self.matrix).all()):
            row = int((~torch.isfinite(self.matrix).all(1)).nonzero()[0])
            raise DataError(f"modality '{self.name}': row {row} holds NaN or infinity")
        if bool(self.matrix[~self.present].any()):
            raise DataError(f"modality '{self.name}': rows of absent entities must be zero")
        if self.tokens is not None:
            _check_tokens(self.name, self.tokens, self.present)

    @cached_property
    def digest(self) -> str:
        """sha256 over values (or their identity or tokens) and mask, 16 hex digits."""
        h = hashlib.sha256(f"{self.name}{self.matrix.dtype}{tuple(self.matrix.shape)}".encode())
        if "identity" in self.provenance:
            h.update(str(self.provenance["identity"]).encode())
        elif self.tokens is not None:
            h.update(_bytes_of(self.tokens.codebook) + _bytes_of(self.tokens.ids))
        else:
            h.update(_bytes_of(self.matrix))
        h.update(self.present.numpy().tobytes())
        return h.hexdigest()[:16]

    @property
    def coverage(self) -> float:
        """Share of entities that have the modality."""
        return float(self.present.float().mean())


@dataclass(frozen=True)
class FeatureSet:
    """The modalities of a run, with the name that is printed with every result.

    Attributes:
        name: "none", "names", "published", ...
        tables: modality -> table.
    """

    name: str = "none"
    tables: Mapping[str, FeatureTable] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """sha256 over the tables' digests, 16 hex digits; "" without tables."""
        return combined_digest({name: table.digest for name, table in self.tables.items()})

    def select(self, names: Iterable[str] | None) -> FeatureSet:
        """Return the set with only the named modalities (all for None), in the given order.

        Raises:
            ConfigError: the set has no modality of that name.
        """
        if names is None:
            return self
        tables: dict[str, FeatureTable] = {}
        for name in names:
            if name not in self.tables:
                raise ConfigError(
                    f"feature set '{self.name}' has no modality '{name}'"
                    f"{suggest(name, self.tables)}"
                )
            tables[name] = self.tables[name]
        return FeatureSet(self.name, tables)

    def modalities(self) -> dict[str, Modality]:
        """Return the matrices, masks and tokens, as models take them."""
        return {k: Modality(k, t.matrix, t.present, t.tokens) for k, t in self.tables.items()}


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def _check_tokens(name: str, tokens: Tokens, present: Tensor) -> None:
    codebook, ids = tokens.codebook, tokens.ids
    if codebook.ndim != 2 or not codebook.is_floating_point():
        raise DataError(f"modality '{name}': need a floating point codebook [V, c]")
    if not bool(torch.isfinite(codebook).all()):
        raise DataError(f"modality '{name}': the codebook holds NaN or infinity")
    if ids.ndim != 2 or len(ids) != len(present) or ids.is_floating_point():
        raise DataError(f"modality '{name}': tokens must be integers [N, m]")
    if ids.numel() and int(ids.max()) >= len(codebook):
        raise DataError(
            f"modality '{name}': token {int(ids.max())} is none of the codebook's {len(codebook)}"
        )
    wrong = ((ids >= 0).any(1) != present).nonzero()
    if len(wrong):
        raise DataError(
            f"modality '{name}': row {int(wrong[0])} must have tokens where it is present, and "
            "there alone"
        )


def _check_name(name: str) -> None:
    if re.fullmatch("[a-z][a-z0-9_]*", name) is None:
        words = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
        valid = words if words[:1].isalpha() else f"modality_{words}".rstrip("_")
        problem = "has lower-case letters, digits and _, and starts with a letter"
    elif name in RESERVED:
        valid, problem = f"{name}_features", "is not one that models use themselves"
    else:
        return
    raise DataError(f"modality '{name}': a name {problem}; for example '{valid}'")
