"""The options that say how runs are executed, as one parameter of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, get_type_hints

from harness.cli.options import (
    Detach,
    Device,
    Devices,
    Engine,
    Executor,
    Log,
    Models,
    OnInterrupt,
    Threads,
    Workers,
)
from harness.config.listing import names_in
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.run.executors import ExecutionOptions

__all__ = ["DetachableOptions", "RunOptions", "with_option_groups"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Values of the options of commands that execute runs."""

    workers: Workers = 1
    threads: Threads = 0
    device: Device = "auto"
    devices: Devices = ""
    executor: Executor = ""
    engine_file: Engine = None
    on_interrupt: OnInterrupt = None
    log: Log = ""
    models: Models = None

    def keywords(self) -> ExecutionOptions:
        """Return the options as arguments of ``harness.run.run_suite``.

        Raises:
            ConfigError, MachineError: as ``harness.run.devices_of``; both --device and --devices.
        """
        from harness.run.executors import devices_of

        if self.devices and self.device != "auto":
            raise ConfigError("--device and --devices: give one of the two")
        return {
            "device": self.device,
            "devices": devices_of(self.devices, self.executor) if self.devices else (),
            "threads": self.threads,
            "workers": self.workers,
            "model_folders": tuple(self.models or ()),
            "executor": self.executor,
            "engine": self.engine_file,
            "log": names_in(self.log, "--log"),
            "on_interrupt": self.on_interrupt.value if self.on_interrupt else "",
        }


@dataclass(frozen=True, kw_only=True)
class DetachableOptions(RunOptions):
    """Values of the options of a command that may leave its runs to a cluster."""

    detach: Detach = False

    def keywords(self) -> ExecutionOptions:
        """Return the options as arguments of ``harness.run.run_suite``; errors as above."""
        return {**super().keywords(), "detach": self.detach}


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its parameters that are dataclasses."""
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in signature.parameters.items():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter)
            continue
        assert isinstance(group, type)
        groups[name] = group
        hints = get_type_hints(group, include_extras=True)
        parameters += [
            inspect.Parameter(f.name, parameter.kind, default=f.default, annotation=hints[f.name])
            for f in fields(group)
        ]

    @wraps(command)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    # What Typer reads; without them it would follow `wraps` to the parameters of the command.
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
