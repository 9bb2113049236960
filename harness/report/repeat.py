"""The commands that execute a stored run again."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Mapping
from typing import Any

from harness.plan.spec import RunSpec, changed_values
from harness.store.records import EXTERNAL, RunRecord

__all__ = ["checkout_commands", "repeat_commands"]

WIDTH = 78
"""Columns of the lines that a long command is broken into."""


def repeat_commands(record: RunRecord) -> list[str]:
    """Return the commands that execute a run again, whatever suite it came from.

    A command may go over several lines, which a shell takes as they are.
    """
    spec = record.spec
    if record.model == EXTERNAL:
        file, name = record.provenance.get("file", "FILE"), spec.model.options.get("label", "")
        again = f"harness score {shlex.quote(str(file))} --dataset {shlex.quote(record.dataset)}"
        again += f" --name {shlex.quote(str(name))} --seed {record.seed}"
        return [f"harness runs rm {record.run_id}", again]
    checkout = checkout_commands(record.provenance)
    again = _run_command(spec, str(record.provenance.get("models", "")))
    return [*checkout, f"harness runs rm {record.run_id}", again]


def checkout_commands(provenance: Mapping[str, Any]) -> list[str]:
    """Return the command that brings back the code of a record; none where it names no commit."""
    commit = str(provenance.get("commit") or "")
    if not re.fullmatch("[0-9a-f]{4,64}", commit):
        return []
    return [
        f"git checkout {commit}" + "  # had uncommitted changes" * bool(provenance.get("dirty"))
    ]


def _run_command(spec: RunSpec, models: str) -> str:
    settings = json.dumps(changed_values(spec), ensure_ascii=False)
    # Lines are broken at spaces, which only those between two values bear.
    safe = re.sub(r'"(?:[^"\\]|\\.)*"', lambda text: text[0].replace(" ", "\\u0020"), settings)
    folder = f" --models {shlex.quote(models)}" if models else ""
    lines = textwrap.wrap(
        shlex.quote(safe),
        WIDTH,
        initial_indent=f"harness run{folder} --spec ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
