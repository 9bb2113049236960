"""Figures as pictures; the only package that imports matplotlib."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from harness.report.figure import Figure
from harness.report.pictures.style import DPI, STYLE

__all__ = ["draw", "picture"]


def picture(figure: Figure, format: str) -> bytes:  # noqa: A002 - the option's name
    """Return the file of a figure: png (300 dots per inch), pdf or svg.

    Two calls return the same bytes; the file bears no date.
    """
    stream = io.BytesIO()
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[format]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        draw(figure).savefig(stream, format=format, dpi=DPI, metadata=metadata)
    return stream.getvalue()


def draw(figure: Figure) -> Picture:
    """Return the picture of a figure that has something to show."""
    assert not figure.why_empty
    return figure.draw()
