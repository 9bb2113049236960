"""``harness claims``: whether the results support what is said of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.compare import Format
from harness.cli.console import print_json
from harness.cli.options import Home

if TYPE_CHECKING:
    from harness.analysis.claims import Checked

app = typer.Typer(no_args_is_help=True)

FILE = "claims.yaml"
"""In the results folder: what is checked when no file is named."""
UNSUPPORTED = 5
"""Exit code."""


@app.callback()
def _claims() -> None:
    """Check sentences about results against the results."""


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help=f"File of claims; {FILE} of the results folder by default."),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.text,
    results: Home = None,
) -> None:
    """Check that the results support each claim; exit code 5 if one is not supported."""
    from harness.report.comparing import check_claims

    path, claims, checked = check_claims(file, results)
    if format_ is Format.json:
        print_json(
            {"correction": claims.correction, "claims": [_values(claim) for claim in checked]}
        )
    else:
        typer.echo("\n".join(_words(path, claim) for claim in checked))
    counts = Counter(claim.status for claim in checked)
    counted = ", ".join(f"{n} {status}" for status, n in counts.items())
    corrected = ", p after Holm's correction over all" * (claims.correction == "holm")
    typer.echo(f"{path}: {counted}{corrected}", err=True)
    if counts.keys() != {"supported"}:
        raise typer.Exit(UNSUPPORTED)


def _words(path: Path, checked: Checked) -> str:
    """Return a claim's line, folded where it is long."""
    from harness.analysis.verdict import shown_difference, shown_p
    from harness.cli.compare_text import wrapped
    from harness.evaluation.metrics import METRICS

    claim, finding = checked.claim, checked.finding
    if finding is None:
        sentence = checked.reason
    else:
        metric, bucket = claim.key.metric, claim.key.bucket
        subset = f" {bucket}" * (bucket != "all")
        by = f", more than {claim.by:g}" * bool(claim.by)
        sentence = (
            f"{METRICS[metric].title}{subset} {shown_difference(metric, finding)}{by}, "
            f"{shown_p(checked.adjusted)}"
        )
    location = f" [{path}:{checked.line}]" * (checked.status != "supported")
    return "\n".join(wrapped(f"{checked.status}: {claim.claim}: {sentence}{location}", indent=2))


def _values(checked: Checked) -> dict[str, Any]:
    """Return a claim as plain values, the figures beside what it says."""
    values = asdict(checked)
    claim = checked.claim.model_dump(mode="json")
    figures = values.pop("finding") or {}
    return {**claim, **{k: v for k, v in values.items() if k != "claim"}, **figures}
