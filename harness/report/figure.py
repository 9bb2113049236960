"""A figure as a value: a picture, and its data as a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from harness.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from harness.report.latex import LatexKeywords

__all__ = ["Figure", "seeds_text", "sentences"]


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
        """The part of the caption that explains the picture: marks, seeds, intervals."""

    @property
    @abstractmethod
    def why_empty(self) -> str:
        """The reason why there is nothing to draw; "" when there is something."""

    @abstractmethod
    def draw(self) -> Picture:
        """Draw the picture; it takes matplotlib, which is imported here."""

    @property
    def captioned_table(self) -> Table:
        """The data with the caption of the picture, or why there is none, among its notes."""
        if not self.why_empty:
            return replace(self.table, notes=(f"Picture: {self.legend}", *self.table.notes))
        cells = [cell for row in self.table.rows for cell in row.cells]
        if cells and all(cell.value is None for cell in cells):  # their footnotes say why
            return self.table
        return replace(self.table, notes=(f"No picture: {self.why_empty}.", *self.table.notes))

    def render(
        self,
        format: str = "svg",  # noqa: A002 - as in ``harness report``
        **latex: Unpack[LatexKeywords],
    ) -> bytes | str:
        """Return the picture as png, pdf or svg, or its data in a format of tables.

        Args:
            format: name of the format.
            latex: options of the float, as for ``Table.render``.

        Raises:
            ConfigError: an unknown format or value, or options of LaTeX for another format.
            StoreError: there is nothing to draw; the message says why.
        """
        from harness.report.render import PICTURES, render_picture, render_with

        if format in PICTURES and not latex:
            return render_picture(self, format)
        return render_with(self, format, latex)

    def __str__(self) -> str:
        return str(self.captioned_table if self.why_empty else self.table)

    def _repr_html_(self) -> str:
        from harness.report.render import render_picture

        if self.why_empty:
            return self.captioned_table._repr_html_()
        return render_picture(self, "svg").decode()


def seeds_text(counts: Collection[int]) -> str:
    """Return the number of seeds behind values: "3 seeds", "1 to 3 seeds"."""
    least, most = min(counts), max(counts)
    text = f"{least}" if least == most else f"{least} to {most}"
    return f"{text} seed{'s' * (most > 1)}"


def sentences(texts: Iterable[str]) -> str:
    """Return texts as sentences, without those that are empty."""
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts if text)
