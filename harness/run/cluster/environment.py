"""Environment variables of a command that its runs on nodes get."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

__all__ = ["for_nodes", "hidden_from_nodes"]

SECRET = frozenset({"HARNESS_STORE", "PGPASSWORD"})
"""Only the command opens the database, whose address may hold a password. An engine keeps the
environment of its jobs, and shows it to administrators and accounting."""
OF_THE_SITE = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})
"""Variables of Slurm that are not those of a job."""
OVERRULING = frozenset(
    f"SBATCH_{name}"
    for name in (
        *("ARRAY_INX", "CPUS_PER_TASK", "ERROR", "JOB_NAME", "MEM_PER_CPU", "MEM_PER_GPU"),
        *("MEM_PER_NODE", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "REQUEUE", "SIGNAL", "WAIT"),
    )
)
"""Defaults of a user for sbatch that would overrule what the harness sets itself."""


def for_nodes(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that nodes may see.

    Those of a Slurm job that the command itself runs in are left out: the jobs that it submits
    would take its array, or its memory, for theirs.
    """
    return {
        name: value
        for name, value in variables.items()
        if name not in SECRET | OVERRULING
        and (not name.startswith("SLURM_") or name in OF_THE_SITE)
    }


@contextlib.contextmanager
def hidden_from_nodes() -> Iterator[None]:
    """Start processes in the block without the variables that nodes must not see."""
    visible = for_nodes(os.environ)
    hidden = {name: value for name, value in os.environ.items() if name not in visible}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
