"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import ConfigError

__all__ = [
    "MOST_SEED",
    "AllowNames",
    "AsJson",
    "Detach",
    "Device",
    "Devices",
    "Engine",
    "Executor",
    "Home",
    "Ids",
    "Log",
    "Models",
    "OnInterrupt",
    "Only",
    "Probe",
    "SetValues",
    "Threads",
    "Workers",
    "chosen_seeds",
    "counted_seeds",
    "numbers",
]

MOST_SEED = 2**63 - 1
"""Greatest seed: databases have no greater integer."""
MOST_SEEDS = 10_000
"""Longest range of --seeds; a slip of the finger must not fill the memory."""


class InterruptChoice(StrEnum):
    """Fate of runs in Slurm when their command is stopped."""

    leave = "leave"
    cancel = "cancel"


AllowNames = Annotated[
    str,
    typer.Option(
        "--allow-names",
        metavar="KIND,...",
        help="Accepted kinds of easily confused identifiers: blanks, invisible, unicode, case, "
        "header, order.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps")]
Devices = Annotated[
    str,
    typer.Option(
        help="Spread the runs over several GPUs, instead of --device: cuda:0,cuda:1, or auto for "
        "all.",
        metavar="DEVICES",
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Submit the runs to Slurm and exit.")]
Engine = Annotated[
    Path | None,
    typer.Option(
        "--engine", help="File of cluster settings: partition, resources.", metavar="FILE"
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        help="inline, processes, slurm or ray. Default: processes if --workers > 1, else inline.",
        show_default=False,
    ),
]
OnInterrupt = Annotated[
    InterruptChoice | None,
    typer.Option(help="What Ctrl-C does to runs in Slurm.", show_default=False),
]
Home = Annotated[Path | None, typer.Option("--home", help="Results folder.")]
Ids = Annotated[
    str, typer.Option(help="Entities and relations of the file by name (identifier, label) or id.")
]
Log = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Log the runs: tensorboard, mlflow, wandb, or a logger of a plug-in.",
        show_default=False,
    ),
]
Models = Annotated[
    list[Path] | None, typer.Option("--models", help="Folder with models of your own.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(help="Only a part: --only model=rotate,dataset=atlas", metavar="K=V"),
]
Probe = Annotated[
    bool,
    typer.Option("--probe", help="Dry run that first trains rows of unknown time for two epochs."),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a value: --set training.epochs=20", metavar="K=V"),
]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads per run; 0: all.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of runs at the same time.")]


def chosen_seeds(text: str) -> frozenset[int] | None:
    """Read ``0,1,2`` or ``0-2``; None for no restriction.

    Raises:
        ConfigError: it is neither, or repeats a seed.
    """
    if not text.strip():
        return None
    seeds: set[int] = set()
    for item in text.split(","):
        first, _, last = item.partition("-")
        try:
            among = range(int(first), int(last or first) + 1)
        except ValueError:
            raise ConfigError(f"--seeds: '{item}' is not a seed; write 0,1,2 or 0-2") from None
        if not 0 < len(among) <= MOST_SEEDS:
            raise ConfigError(f"--seeds: '{item}' is no range of at most {MOST_SEEDS} seeds")
        if not seeds.isdisjoint(among):
            raise ConfigError(f"--seeds {text}: repeats seed {min(seeds.intersection(among))}")
        seeds.update(among)
    return frozenset(seeds)


def numbers(text: str, option: str) -> list[float]:
    """Read numbers separated by commas.

    Raises:
        ConfigError: one is no number.
    """
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} {text}: need numbers separated by commas") from None


def counted_seeds(text: str) -> tuple[int, ...]:
    """Read a number of seeds, ``3`` for 0, 1 and 2, or seeds as ``chosen_seeds`` (``4-4`` for one);
    seed 0 for "".

    Raises:
        ConfigError: it is neither.
    """
    if text.strip().isdecimal():
        if not 0 < int(text) <= MOST_SEEDS:
            raise ConfigError(f"--seeds {text}: a number of seeds, 1 to {MOST_SEEDS}; 1 is seed 0")
        return tuple(range(int(text)))
    return tuple(sorted(chosen_seeds(text) or {0}))
