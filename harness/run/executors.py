"""Settings of an execution, and the executor that they name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from pydantic import Field, ValidationError, field_validator

from harness.config.base import Config, problems, show_path
from harness.config.listing import names_in
from harness.environment import Folders
from harness.errors import ConfigError, MachineError, suggest
from harness.loggers import check_logger
from harness.run.inline import InlineExecutor
from harness.run.jobs import Executor
from harness.run.processes import ProcessExecutor

__all__ = [
    "EXECUTORS",
    "Execution",
    "ExecutionOptions",
    "devices_of",
    "executor_name",
    "make_executor",
    "read_execution",
]


class Execution(Config):
    """Settings of the execution of runs; none changes a result."""

    executor: str = ""
    """Name of ``EXECUTORS``; "" for processes if several runs are executed at once, else inline."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Runs at the same time; at least one per device of ``devices``."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of each run; 0 for all cores, divided between the workers."""
    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1", "mps"."""
    devices: tuple[str, ...] = ()
    """Devices that the runs are spread over, in place of ``device``."""
    model_folders: tuple[Path, ...] = ()
    """Folders with models of the user's own."""
    engine: Path | None = None
    """Engine file of a cluster."""
    detach: bool = False
    """Submit runs to a cluster and leave."""
    log: tuple[str, ...] = ()
    """Loggers that receive the runs, see ``harness.loggers``; also "tensorboard,mlflow"."""
    on_interrupt: Literal["", "leave", "cancel"] = ""
    """Whether a stop leaves runs in Slurm; "" for the engine file's choice."""

    @field_validator("model_folders", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, Path | str) else value

    @field_validator("log", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return names_in(value, "log") if isinstance(value, str) else value

    @field_validator("log")
    @classmethod
    def _available(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            check_logger(name)
        return names

    @property
    def on_cluster(self) -> bool:
        """True if an engine with a queue executes the runs on other machines."""
        return self.executor in CLUSTERS

    @property
    def at_once(self) -> int:
        """Number of runs at the same time."""
        return max(self.workers, len(self.devices))

    @property
    def per_device(self) -> int:
        """Greatest number of runs at the same time on one device."""
        return math.ceil(self.at_once / max(1, len(self.devices)))

    @property
    def most_at_once(self) -> int:
        """Most runs at the same time on a cluster; 0 for no limit but the cluster's own."""
        return self.workers if self.workers > 1 else 0

    @property
    def first_device(self) -> str:
        """Device of the first run."""
        return self.devices[0] if self.devices else self.device


def read_execution(options: ExecutionOptions) -> Execution:
    """Return settings of an execution.

    Raises:
        ConfigError: an unknown option, or a value out of its bounds.
    """
    try:
        return Execution(**options)
    except ValidationError as error:
        found = problems(error, Execution)
        raise ConfigError("\n".join(f"{show_path(p.path)}: {p.message}" for p in found)) from None


class ExecutionOptions(TypedDict, total=False):
    """Fields of :class:`Execution` as keyword arguments."""

    executor: str
    workers: int
    threads: int
    device: str
    devices: tuple[str, ...]
    model_folders: Folders
    engine: Path | None
    detach: bool
    log: Sequence[str]
    on_interrupt: Literal["", "leave", "cancel"]


def devices_of(text: str, executor: str = "") -> tuple[str, ...]:
    """Read "cuda:0,cuda:1", or "auto" for all GPUs of this machine.

    Args:
        text: value of ``--devices``.
        executor: name of the executor.

    Raises:
        ConfigError: a device is named twice, or is no device, or the executor is a cluster.
        MachineError: this machine lacks a device, or has no GPU for "auto".
    """
    import torch

    from harness.pipeline import resolve_device

    if executor in CLUSTERS:  # before this machine, perhaps a login node, is looked at
        raise ConfigError(_NO_DEVICES.format(executor))
    if text.strip() == "auto":
        if not torch.cuda.is_available():
            raise MachineError("devices 'auto': this machine has no GPU; leave the option out")
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    names = names_in(text, "devices")
    for name in names:
        resolve_device(name)
    if len(names) < len(text.split(",")):
        raise ConfigError(f"devices '{text}': a device is named twice; --workers sets the number")
    return names


def _slurm(settings: Execution, on_message: OnMessage) -> Executor:
    from harness.run.cluster.settings import SlurmSettings, read_engine
    from harness.run.cluster.slurm import SlurmExecutor

    engine = read_engine(settings.engine, SlurmSettings)
    if settings.on_interrupt:
        engine = engine.model_copy(update={"on_interrupt": settings.on_interrupt})
    return SlurmExecutor(
        engine, at_once=settings.most_at_once, detach=settings.detach, on_message=on_message
    )


def _ray(settings: Execution, on_message: OnMessage) -> Executor:
    from harness.run.cluster.ray import RayExecutor
    from harness.run.cluster.settings import RaySettings, read_engine

    if settings.detach or settings.on_interrupt:
        raise ConfigError(
            "--detach and --on-interrupt are for Slurm: Ray ends the runs of a command that is "
            "gone; `ray job submit -- harness run ...` runs the command itself on the cluster"
        )
    engine = read_engine(settings.engine, RaySettings)
    return RayExecutor(engine, at_once=settings.most_at_once, on_message=on_message)


OnMessage = Callable[[str], None]
EXECUTORS: Mapping[str, Callable[[Execution, OnMessage], Executor]] = {
    "inline": lambda settings, on_message: InlineExecutor(),
    "processes": lambda settings, on_message: ProcessExecutor(
        settings.at_once, settings.threads, settings.devices
    ),
    "slurm": _slurm,
    "ray": _ray,
}
"""Name -> the executor with given settings."""
CLUSTERS = ("slurm", "ray")
"""Executors that run jobs on other machines."""
_NO_DEVICES = (
    "--devices names GPUs of this machine; executor '{}' assigns them itself: "
    "`needs: {{gpus: 1}}` in the engine file"
)


def executor_name(name: str, settings: Execution) -> str:
    """Return the name of the executor that settings ask for; arguments as ``make_executor``.

    Raises:
        ConfigError: an unknown name, several workers of an executor that has one, or an option of
            another executor.
    """
    several = settings.at_once > 1 or bool(settings.devices)
    name = name or ("processes" if several else "inline")
    if name not in EXECUTORS:
        raise ConfigError(f"unknown executor '{name}'{suggest(name, EXECUTORS)}")
    if name == "inline" and several:
        raise ConfigError("executor 'inline' runs one after the other on one device")
    if name in CLUSTERS and settings.devices:
        raise ConfigError(_NO_DEVICES.format(name))
    if name not in CLUSTERS and (settings.engine or settings.detach or settings.on_interrupt):
        raise ConfigError(
            "--engine, --detach and --on-interrupt are for clusters: --executor slurm or ray"
        )
    return name


def make_executor(
    name: str, settings: Execution, on_message: OnMessage = lambda text: None
) -> Executor:
    """Return an executor.

    Args:
        name: one of ``EXECUTORS``; "" for processes if several runs are executed at once, or on
            devices of their own, else inline.
        settings: workers, threads, devices, engine file.
        on_message: receives lines of a cluster that a person should read.

    Raises:
        ConfigError: as ``executor_name``; a wrong engine file, or an extra that is not installed.
        MachineError: this machine does not reach the cluster.
    """
    return EXECUTORS[executor_name(name, settings)](settings, on_message)
