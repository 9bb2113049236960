"""Tables of values as pandas data frames (extra ``[pandas]``), and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from harness.visible import visible

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["dataframe", "html_table"]


def dataframe(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    numbers: Iterable[str] = (),
) -> pd.DataFrame:
    """Return rows as a data frame; None and absent values are missing.

    Args:
        rows: column -> value.
        columns: columns in order; those of the rows, as they appear, when None.
        numbers: columns that are float64, also if every value is missing.

    Raises:
        ImportError: pandas is not installed; names the extra.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "data frames need pandas, which is not installed: pip install -e '.[pandas]'"
        ) from error
    listed = list(rows)
    names = list(dict.fromkeys(name for row in listed for name in row))
    frame = pd.DataFrame.from_records(listed, columns=names if columns is None else list(columns))
    return frame.astype(dict.fromkeys(numbers, "float64"))


def html_table(rows: Iterable[Sequence[str]], columns: Sequence[str]) -> str:
    """Return rows as an HTML table for a notebook; control characters are visible.

    Args:
        rows: cells.
        columns: headings.
    """
    lines = [_html_row("th", columns), *(_html_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _html_row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(visible(cell))}</{tag}>' for cell in cells)}</tr>"
