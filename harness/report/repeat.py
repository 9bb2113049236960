"""The commands that execute a stored run again."""

from __future__ import annotations

import shlex

from harness.store.records import RunRecord

__all__ = ["repeat_commands"]


def repeat_commands(record: RunRecord) -> list[str]:
    """Return the commands that execute a run again, one way for each suite it is in.

    Args:
        record: the run, its ``cells`` filled.
    """
    commands = []
    for cell in record.cells:
        only = (
            f"label={cell.label},dataset={cell.dataset},features={cell.features},seed={cell.seed}"
        )
        overrides = " --set ... (as then)" if cell.variant else ""
        commands.append(f"harness run {cell.suite} --only {shlex.quote(only)}{overrides}")
    if not commands:
        return ["it is in no suite: put its settings into one"]
    commit = record.provenance.get("commit")
    changed = "  # had uncommitted changes" if record.provenance.get("dirty") else ""
    checkout = [f"git checkout {commit}{changed}"] if commit else []
    return [*checkout, f"harness runs rm {record.run_id}", *commands]
