"""When to stop, and which epoch is kept: patience on a number it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Stopper"]


@dataclass
class Stopper:
    """Remembers the validation that counts and how long ago it was.

    Attributes:
        patience: validations without improvement after which to stop; 0 never stops.
        select: "validation": the best value counts (higher is better); "last": the newest, and
            nothing stops early.
        best: value that counts so far.
        best_epoch: epoch of ``best``; -1 before the first validation.
        waited: validations since.
    """

    patience: int
    select: Literal["validation", "last"] = "validation"
    best: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0

    def update(self, value: float, epoch: int) -> bool:
        """Take a validation; True when it is the one that counts from now on."""
        if self.select == "last" or value > self.best:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """True when patience has run out."""
        return bool(self.patience) and self.waited >= self.patience
