"""``harness doctor``: the state of an installation."""

from __future__ import annotations

from dataclasses import asdict

import typer

from harness.cli.console import print_json, wrapped
from harness.cli.options import AsJson, Home

_MARKS = {"ok": "ok", "missing": "-", "problem": "!"}
_INDENT = 17


def doctor(results: Home = None, as_json: AsJson = False) -> None:
    """Show versions, devices, folders, store, data and extras, and the command for what is missing.

    Exit code 4 if something would stop runs or hide results (marked with !).
    """
    from harness.run.doctor import diagnose

    findings = []
    for finding in diagnose(results):
        findings.append(finding)
        if not as_json:
            line = f"{_MARKS[finding.status]:3s}{finding.topic:14s}{finding.text}"
            typer.echo("\n".join(wrapped(line, _INDENT)))
            if finding.remedy:
                typer.echo(f"{'':{_INDENT}s}-> {finding.remedy}")  # a command stays on one line
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(4)
