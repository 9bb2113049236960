"""What the measurements look like: tables of 80 columns, notes, and a file for machines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store.files import write_whole

if TYPE_CHECKING:
    from harness.bench.timing import Spread

__all__ = ["WIDTH", "between", "machine", "machine_text", "note", "short", "table", "write_json"]

WIDTH = 80


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table of texts.

    Args:
        headers: of the columns.
        rows: one text per column.
        left: this many leading columns are aligned to the left, the others to the right.
    """
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(len(text) for text in column) for column in columns]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(texts, widths, left) for texts in (headers, rule, *rows))


def _line(texts: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = [
        text.ljust(width) if column < left else text.rjust(width)
        for column, (text, width) in enumerate(zip(texts, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def short(value: float) -> str:
    """Return three significant digits, without an exponent: 0.0123, 1.23, 12.3, 123, 1,234."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    for limit, digits in ((9.995, 1), (0.9995, 2), (0.09995, 3)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}" if value else "0"


def between(spread: Spread, unit: float = 1.0) -> str:
    """Return "range" in ``unit``s."""
    return f"{short(spread.low / unit)}-{short(spread.high / unit)}"


def note(text: str) -> str:
    """Return a paragraph wrapped to the width."""
    return textwrap.fill(" ".join(text.split()), WIDTH)


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a number was measured on: code, versions, processor, threads, kernels.

    Args:
        packages: versions of these are added, where they are installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from harness import kernels, provenance

    found = provenance.describe(
        device="cpu", threads=torch.get_num_threads(), kernels=kernels.backend_name("cpu")
    )
    versions = dict(found["versions"])
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "versions": versions}


def machine_text(found: Mapping[str, Any]) -> str:
    """Return the machine in a line or two for people."""
    box, versions = found["machine"], found["versions"]
    named = ", ".join(f"{name} {value}" for name, value in versions.items())
    threads = found["threads"]
    return note(
        f"{box['processor']}, {box['cores']} cores, {threads} "
        f"{'thread' if threads == 1 else 'threads'}; {named}; kernels: {found['kernels']}"
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result for machines.

    Raises:
        MachineError: the file cannot be written.
    """
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
