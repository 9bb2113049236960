"""A table or a figure of the page, as the template wants it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from harness.report.figure import Figure
from harness.report.layout import Layout, lay_out
from harness.report.render import render_picture
from harness.report.table import Table

__all__ = ["Section", "figure_section", "table_section"]


@dataclass(frozen=True)
class Section:
    """A table, or a figure with its data.

    Attributes:
        anchor: id of the element.
        layout: the table.
        blocks: its datasets one by one.
        picture: picture of a figure as a data URI; "" for a table.
        wide: whether the picture is as wide as a page.
        legend: meaning of the marks of the picture.
        why_empty: why a figure has no picture.
    """

    anchor: str
    layout: Layout
    blocks: tuple[Layout, ...]
    picture: str = ""
    wide: bool = False
    legend: str = ""
    why_empty: str = ""

    @property
    def title(self) -> str:
        """Printed above."""
        return self.layout.table.title


def table_section(kind: str, table: Table) -> Section:
    """Return a table; the id of its element begins with ``kind``."""
    layout = lay_out(table)
    return Section(f"{kind}-{layout.label}", layout, layout.blocks())


def figure_section(kind: str, figure: Figure) -> Section:
    """Return a figure with its data; the id of its element begins with ``kind``."""
    section = table_section(kind, figure.table)
    if figure.why_empty:
        return replace(section, why_empty=figure.why_empty)
    # An image, not a part of the document: ids inside it are its own.
    drawn = base64.b64encode(render_picture(figure, "svg")).decode()
    uri = f"data:image/svg+xml;base64,{drawn}"
    return replace(section, picture=uri, wide=figure.wide, legend=figure.legend)
