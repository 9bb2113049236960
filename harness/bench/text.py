"""Output of measurements: tables of 80 columns, notes, progress, and JSON files."""

from __future__ import annotations

import contextlib
import json
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store.files import write_whole

if TYPE_CHECKING:
    import torch

    from harness.bench.timing import OnProgress, Spread

__all__ = [
    "WIDTH",
    "between",
    "machine",
    "machine_text",
    "note",
    "progress",
    "short",
    "table",
    "write_json",
]

WIDTH = 80


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], left_columns: int = 1) -> str:
    """Format a table of texts.

    Args:
        headers: one text per column.
        rows: one text per column.
        left_columns: number of leading columns that are aligned to the left, others to the right.
    """
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(len(text) for text in column) for column in columns]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(texts, widths, left_columns) for texts in (headers, rule, *rows))


def _line(texts: Sequence[str], widths: Sequence[int], left_columns: int) -> str:
    cells = [
        text.ljust(width) if column < left_columns else text.rjust(width)
        for column, (text, width) in enumerate(zip(texts, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def short(value: float) -> str:
    """Format three significant digits without an exponent: 0.0123, 1.23, 12.3, 123, 1,234."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    for limit, digits in ((9.995, 1), (0.9995, 2), (0.09995, 3)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}" if value else "0"


def between(spread: Spread, unit: float = 1.0) -> str:
    """Format minimum and maximum as "low-high", divided by ``unit``."""
    return f"{short(spread.low / unit)}-{short(spread.high / unit)}"


def note(text: str) -> str:
    """Wrap a paragraph."""
    return textwrap.fill(" ".join(text.split()), WIDTH)


def machine(packages: Sequence[str] = (), *, device: torch.device | None = None) -> dict[str, Any]:
    """Describe code, versions, processor, device, threads and kernels.

    Args:
        packages: further packages whose versions are added where they are installed.
        device: device of the measurements; None is the CPU.
    """
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from harness import kernels, provenance

    device = device or torch.device("cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    description = provenance.describe(
        device=name, threads=torch.get_num_threads(), kernels=kernels.backend_name(device.type)
    )
    versions = dict(description["versions"])
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {**description, "versions": versions}


def machine_text(description: Mapping[str, Any]) -> str:
    """Format the description of a machine in a line or two."""
    box, threads = description["machine"], description["threads"]
    versions = ", ".join(f"{name} {value}" for name, value in description["versions"].items())
    return note(
        f"{box['processor']}, {box['cores']} cores, {threads} "
        f"{'thread' if threads == 1 else 'threads'}; {versions}; kernels: {description['kernels']}"
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result as JSON.

    Raises:
        MachineError: the file cannot be written.
    """
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Show progress on stderr: a bar on a terminal, otherwise a line every 20 seconds."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from harness.screen import SafeConsole

    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        yield _progress_lines()
        return
    columns = (
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda completed, total, text: bar.update(
            task, completed=completed, total=total, description=text
        )


def _progress_lines(interval: float = 20.0) -> OnProgress:
    import typer

    printed = time.monotonic()

    def on_progress(completed: int, total: int, text: str) -> None:
        nonlocal printed
        if time.monotonic() - printed > interval:
            printed = time.monotonic()
            typer.echo(f"{completed}/{total} {text}", err=True)

    return on_progress
