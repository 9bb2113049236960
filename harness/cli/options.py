"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Device", "Home", "Models", "SetValues", "Threads", "Workers"]

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps")]
Home = Annotated[Path | None, typer.Option("--home", help="Results folder.")]
Models = Annotated[
    list[Path] | None, typer.Option("--models", help="Folder with models of your own.")
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a value: --set training.epochs=20", metavar="K=V"),
]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads per run; 0: all.")]
Workers = Annotated[int, typer.Option(min=1, help="Runs at the same time.")]
