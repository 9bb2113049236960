"""When to stop: patience on a number it is handed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stopper"]


@dataclass
class Stopper:
    """Remembers the best validation and how long ago it was.

    Attributes:
        patience: validations without improvement after which to stop; 0 never stops.
        best: best value so far (higher is better).
        best_epoch: epoch of ``best``; -1 before the first validation.
        waited: validations since.
    """

    patience: int
    best: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0

    def update(self, value: float, epoch: int) -> bool:
        """Take a validation; True when it is the best so far."""
        if value > self.best:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """True when patience has run out."""
        return bool(self.patience) and self.waited >= self.patience
