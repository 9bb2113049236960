"""Code, versions and machine behind a number."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import harness

__all__ = ["describe", "git_state", "machine"]

PACKAGES = ("torch", "numpy", "numba", "scipy", "safetensors")


@cache
def git_state(folder: Path | None = None) -> tuple[str, bool] | None:
    """Return (commit, has uncommitted changes) of the code's checkout, None outside one.

    Args:
        folder: by default the one that holds the package.
    """
    root = folder or Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit, bool(changes)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    return process.stdout.strip()


@cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "harness": harness.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _load() -> float | None:
    """Return how many processes were busy in the last minute, None where that is not known."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # not on Windows
        return None


def machine() -> dict[str, Any]:
    """Return the processor, its number of cores, and the operating system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }


def describe(*, device: str, threads: int, kernels: str) -> dict[str, Any]:
    """Return plain values that name the code, the versions and the machine.

    Args:
        device: name of the device the run computed on.
        threads: CPU threads it used.
        kernels: implementation of the kernels it used.
    """
    git = git_state()
    load = _load()
    return {
        "commit": git[0] if git else None,
        "dirty": git[1] if git else None,
        "versions": _versions(),
        "machine": machine(),
        "device": device,
        "threads": threads,
        "kernels": kernels,
        **({} if load is None else {"load": load}),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
