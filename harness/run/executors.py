"""Settings of an execution, and the executor that they name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypedDict

from pydantic import Field

from harness.config.base import Config
from harness.errors import ConfigError, MachineError, suggest
from harness.run.inline import InlineExecutor
from harness.run.jobs import Executor
from harness.run.processes import ProcessExecutor

__all__ = ["EXECUTORS", "Execution", "ExecutionOptions", "devices_of", "make_executor"]


class Execution(Config):
    """How runs are executed; nothing in it changes a result."""

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

    @property
    def at_once(self) -> int:
        """Number of runs at the same time."""
        return max(self.workers, len(self.devices))

    @property
    def per_device(self) -> int:
        """Greatest number of runs at the same time on one device."""
        return math.ceil(self.at_once / max(1, len(self.devices)))

    @property
    def first_device(self) -> str:
        """Device of the first run."""
        return self.devices[0] if self.devices else self.device


class ExecutionOptions(TypedDict, total=False):
    """Fields of :class:`Execution` as keyword arguments."""

    executor: str
    workers: int
    threads: int
    device: str
    devices: tuple[str, ...]
    model_folders: tuple[Path, ...]


def devices_of(text: str) -> tuple[str, ...]:
    """Read "cuda:0,cuda:1", or "auto" for all GPUs of this machine.

    Raises:
        ConfigError: a device is named twice, or is no device.
        MachineError: this machine lacks a device, or has no GPU for "auto".
    """
    import torch

    from harness.pipeline import resolve_device

    if text.strip() == "auto":
        if not torch.cuda.is_available():
            raise MachineError("devices 'auto': this machine has no GPU; leave the option out")
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    for name in names:
        resolve_device(name)
    if len(set(names)) < len(names):
        raise ConfigError(f"devices '{text}': a device is named twice; --workers sets the number")
    return names


EXECUTORS: Mapping[str, Callable[[Execution], Executor]] = {
    "inline": lambda settings: InlineExecutor(),
    "processes": lambda settings: ProcessExecutor(
        settings.at_once, settings.threads, settings.devices
    ),
}
"""Name -> the executor with given settings."""


def make_executor(name: str, settings: Execution) -> Executor:
    """Return an executor.

    Args:
        name: one of ``EXECUTORS``; "" for processes if several runs are executed at once, or on
            devices of their own, else inline.
        settings: workers, threads and devices.

    Raises:
        ConfigError: an unknown name, or several workers of an executor that has one.
    """
    several = settings.at_once > 1 or bool(settings.devices)
    name = name or ("processes" if several else "inline")
    if name not in EXECUTORS:
        raise ConfigError(f"unknown executor '{name}'{suggest(name, EXECUTORS)}")
    if name == "inline" and several:
        raise ConfigError("executor 'inline' runs one after the other on one device")
    return EXECUTORS[name](settings)
