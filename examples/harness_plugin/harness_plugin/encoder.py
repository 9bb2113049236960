"""Texts as counts of letters: the feature set ``letters-names`` of every dataset."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, digits

import torch

from harness.data.encoders.base import ENCODERS, Encoded, Encoder

CHARACTERS = ascii_lowercase + digits


@ENCODERS.register("letters")
class Letters(Encoder[str]):
    """How often each letter and digit occurs in a text."""

    name = "letters"

    @property
    def fingerprint(self) -> str:
        """Everything that decides the vectors but the texts; features are cached under it."""
        return "letters 1"

    @property
    def width(self) -> int:
        """Components of a vector."""
        return len(CHARACTERS)

    def compute(self, inputs: Sequence[str]) -> Encoded:
        """Count the characters of each text; an empty text is an entity without it."""
        counts = [[text.lower().count(letter) for letter in CHARACTERS] for text in inputs]
        present = torch.tensor([bool(text.strip()) for text in inputs])
        return Encoded(torch.tensor(counts, dtype=torch.float32), present, 0.0)
