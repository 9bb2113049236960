"""Settings of feature corruption; :mod:`harness.data.corrupt` applies them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.config.base import Config

__all__ = ["Corruption", "in_training", "when_tested"]

_OF = {"drop": "share", "noise": "scale", "shuffle": "share", "duplicate": "copies"}
"""Kind -> setting with its amount."""
_ALLOWED = {kind: {value} for kind, value in _OF.items()} | {"duplicate": {"copies", "scale"}}
MOST_DROPPED = 0.95
"""Largest share of the entities that may lose a modality, so that some keep it."""


class Corruption(Config):
    """One corruption of a modality, or of each modality independently."""

    kind: Literal["drop", "noise", "shuffle", "duplicate"]
    """drop: a share of the entities with the modality lose it, and the mask says so; noise:
    Gaussian, relative to the standard deviation of each component; shuffle: a share of the entities
    have each other's features; duplicate: copies of the modality are added under other names."""
    modality: str | None = None
    """Name of the modality; by default every modality, each with its own random draws."""
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the entities with the modality, for drop (at most 0.95) and shuffle. The entities of
    a smaller share are a subset of the entities of a larger one."""
    scale: Annotated[float, Field(ge=0)] | None = None
    """Standard deviation of the noise relative to the component's among the entities with the
    modality, for noise and for the copies of duplicate. Noise of one scale is a multiple of the
    noise of another."""
    copies: Annotated[int, Field(ge=0, le=8)] | None = None
    """Number of copies for duplicate, called ``text_2``, ``text_3``, ..."""
    at: Literal["both", "train", "test"] = "both"
    """both: always; train: trained and selected with it, tested on intact features; test: trained
    and selected on intact features, tested with it."""

    @model_validator(mode="after")
    def _consistent(self) -> Corruption:
        for value in ("share", "scale", "copies"):
            if getattr(self, value) is not None and value not in _ALLOWED[self.kind]:
                raise ValueError(f"{value} has no meaning for kind '{self.kind}'")
        if getattr(self, _OF[self.kind]) is None:
            raise ValueError(f"kind '{self.kind}' needs {_OF[self.kind]}")
        if self.kind == "drop" and self.amount > MOST_DROPPED:
            raise ValueError(f"share of 'drop' is at most {MOST_DROPPED}, got {self.share}")
        if self.kind == "duplicate" and self.at != "both":
            raise ValueError(
                f"at '{self.at}' does not go with 'duplicate': a model has the modalities that it "
                "was trained with; use both"
            )
        return self

    @property
    def amount(self) -> float:
        """Amount (share, scale or copies); 0 changes nothing."""
        return float(getattr(self, _OF[self.kind]))

    def names_of(self, modality: str) -> tuple[str, ...]:
        """Return the names of a modality's copies."""
        return tuple(f"{modality}_{i + 2}" for i in range(self.copies or 0))


def in_training(corruptions: Iterable[Corruption]) -> tuple[Corruption, ...]:
    """Return the corruptions of the features for training and selection."""
    return tuple(c for c in corruptions if c.at != "test")


def when_tested(corruptions: Iterable[Corruption]) -> tuple[Corruption, ...]:
    """Return the corruptions of the features for the test."""
    return tuple(c for c in corruptions if c.at != "train")
