"""A figure as a value: a picture, and its data as a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from harness.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["Figure"]


class Figure(ABC):
    """A picture with its data."""

    @property
    @abstractmethod
    def table(self) -> Table:
        """The data of the picture."""

    @property
    @abstractmethod
    def wide(self) -> bool:
        """True for a picture as wide as a page, False for one as wide as a column."""

    @property
    @abstractmethod
    def legend(self) -> str:
        """The meaning of the marks of the picture."""

    @property
    @abstractmethod
    def why_empty(self) -> str:
        """The reason why there is nothing to draw; "" when there is something."""

    @abstractmethod
    def draw(self) -> Picture:
        """Draw the picture; it takes matplotlib, which is imported here."""
