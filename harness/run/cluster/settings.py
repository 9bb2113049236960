"""Engine files: the cluster that runs are sent to, and what they may use there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from harness.config.base import Config
from harness.config.yaml_source import load_yaml

__all__ = [
    "ClusterSettings",
    "DefaultNeeds",
    "RaySettings",
    "SlurmSettings",
    "engine_settings",
    "read_engine",
]

MIB = {"": 1, "M": 1, "G": 1024, "T": 1024**2}
OWN_OPTIONS = {
    "array": "arrays are made of runs with equal needs",
    "error": "logs lie in the results folder",
    "job-name": "runs are recognised by it",
    "output": "logs lie in the results folder",
    "signal": "write signal_seconds",
    "cpus-per-task": "write needs.cpus",
    "gpus-per-node": "write needs.gpus",
    "mem": "write needs.memory",
    **dict.fromkeys(
        ("nodes", "ntasks", "ntasks-per-node"), "a run is one task on one node: write needs.cpus"
    ),
    **dict.fromkeys(
        ("parsable", "test-only", "wait", "wrap"), "it reads what sbatch prints, and does not wait"
    ),
}
"""Option of sbatch that the harness sets itself -> why, or what to write."""
EARLY_S = 60
"""Slurm sends the signal before the time limit up to this many seconds early."""


def _mebibytes(value: object) -> object:
    """Read "8G" or "500M" as MiB."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*([MGT]?)i?B?", value)):
        return int(match[1]) * MIB[match[2]]
    if isinstance(value, str):
        raise ValueError(f"'{value}' is no size; write 8G or 500M")
    return value


class DefaultNeeds(Config):
    """Needs of runs whose time and memory are not known from earlier runs."""

    cpus: Annotated[int, Field(ge=1)] = 1
    """CPUs of every run; --threads in their place."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of every run; --device cpu: none."""
    memory: Annotated[int, BeforeValidator(_mebibytes), Field(ge=0)] = 0
    """"8G", "500M"; 0 for the cluster's default."""
    minutes: Annotated[int, Field(ge=0)] = 0
    """Time limit of runs of unknown length; 0 for the cluster's default."""
    max_minutes: Annotated[int, Field(ge=0)] = 0
    """Longest time limit; longer runs continue after it from their checkpoint. 0 for none."""


class ClusterSettings(Config):
    """Keys of every engine file."""

    needs: DefaultNeeds = DefaultNeeds()
    attempts: Annotated[int, Field(ge=1)] = 3
    """Attempts without a further epoch after which a run is given up."""


class SlurmSettings(ClusterSettings):
    """Engine file of ``--executor slurm``."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    """Time limit of every run, as Slurm writes it, in place of needs.minutes: "2:00:00"."""
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    """Further options of sbatch, passed on as they are: {constraint: a100, nice: 100}."""
    setup: tuple[str, ...] = ()
    """Shell commands on the node before a run: ["module load cuda"]."""
    on_interrupt: Literal["leave", "cancel"] = "leave"
    """Ctrl-C leaves the runs in Slurm, or ends them with a checkpoint; --on-interrupt."""
    poll: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two calls of squeue."""
    signal_seconds: Annotated[int, Field(ge=1)] = 120
    """Seconds before the time limit at which a run writes its checkpoint; longer than an epoch."""
    array: Annotated[int, Field(ge=1)] = 1000
    """Runs of one array at most (MaxArraySize of the cluster)."""

    @field_validator("time", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @field_validator("sbatch")
    @classmethod
    def _not_ours(cls, value: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        for key in value:
            if reason := OWN_OPTIONS.get(key.replace("_", "-")):
                raise ValueError(f"'{key}' is set by the harness: {reason}")
        return value

    @model_validator(mode="after")
    def _signal_before_the_end(self) -> SlurmSettings:
        limits = {"minutes": self.needs.minutes, "max_minutes": self.needs.max_minutes}
        for key, minutes in limits.items():
            if minutes and not self.time and minutes * 60 <= self.signal_seconds + EARLY_S:
                raise ValueError(
                    f"needs.{key}: {minutes} min leave no time before signal_seconds "
                    f"({self.signal_seconds}), which may come {EARLY_S} s early"
                )
        return self


class RaySettings(ClusterSettings):
    """Engine file of ``--executor ray``."""

    address: str = "local"
    """"HOST:PORT" of a cluster's head; "auto" for the one of this machine; "local" starts one here
    for the command."""
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Custom resources of every run: {a100: 1}."""
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    """Passed to ``ray.init``: {env_vars: {HARNESS_DATA: /data}}."""

    @field_validator("address")
    @classmethod
    def _of_a_head(cls, value: str) -> str:
        if value not in ("local", "auto") and not re.fullmatch(r"[^\s/]+:\d+", value):
            raise ValueError(f"'{value}' is no address; write HOST:PORT of the head, auto or local")
        return value


Settings = TypeVar("Settings", bound=ClusterSettings)


def read_engine(path: Path | None, kind: type[Settings]) -> Settings:
    """Return the settings of an engine file, the defaults without one.

    Args:
        path: YAML file.
        kind: settings of the executor.

    Raises:
        ConfigError: the file cannot be read or does not fit; file, line, key and nearest key are
            named.
    """
    return kind() if path is None else load_yaml(path, kind)


def engine_settings(executor: str, path: Path | None) -> ClusterSettings:
    """Return the settings of an executor's engine file; errors as ``read_engine``."""
    kinds: dict[str, type[ClusterSettings]] = {"slurm": SlurmSettings, "ray": RaySettings}
    return read_engine(path, kinds[executor])
