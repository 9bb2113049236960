"""The command line: mounts the commands, prints errors, returns exit codes; nothing else."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from typing import Annotated, Any, TextIO

import typer

import harness
from harness.cli import (
    bench,
    claims,
    compare,
    data,
    db,
    doctor,
    export,
    models,
    predict,
    report,
    run,
    runs,
    score,
    score_triples,
    study,
)
from harness.cli.encoding import show_encoding
from harness.cli.usage import CommandGroup
from harness.errors import HarnessError, MachineError, lacks_resources
from harness.plugins import PluginWarning
from harness.visible import visible_output

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of writing to where the output was sent."""

app = typer.Typer(
    name="harness",
    cls=CommandGroup,
    help="Run, store and report multi-modal knowledge graph completion experiments.\n\n"
    "Exit codes: 0 success, 1 a run failed, 2 wrong option, name or suite, 3 wrong or missing "
    "data, 4 a problem of the machine or the database, 5 a claim is not supported, "
    "130 and 143 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    # "color" keeps typer from removing control codes without a word: they are made visible.
    context_settings={"help_option_names": ["-h", "--help"], "color": True},
)


def _version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"mmkgc-harness {harness.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run, store and report multi-modal knowledge graph completion experiments."""


app.command("run")(run.run)
report.register(app)
app.command("compare")(compare.compare)
app.add_typer(claims.app, name="claims", help="Check sentences about results against the results.")
app.command("doctor")(doctor.doctor)
app.command("predict")(predict.predict)
app.command("score-triples")(score_triples.score_triples)
app.add_typer(export.app, name="export", help="Write the vectors of a trained model to files.")
app.command("score")(score.score)
app.add_typer(models.app, name="models", help="List, describe and check models.")
app.add_typer(
    data.app,
    name="data",
    help="List, fetch, import, verify, audit, show, split, export and delete (rm) datasets.",
)
app.add_typer(runs.app, name="runs", help="List, show, compare, repeat and remove runs.")
app.add_typer(
    db.app, name="db", help="Check, upgrade, import, merge and export the result database."
)
app.add_typer(
    study.app, name="study", help="Search settings by validation: run, show, promote, export."
)
app.add_typer(
    bench.app, name="bench", help="Measure time and memory of fusion and of training steps."
)


class _Pipe(io.FileIO):
    """Output whose reader may go (``harness report | head``): the rest is dropped.

    The command goes on, so that its exit code is its own, and a run ends stored.
    """

    def write(self, data: Any) -> int:
        """Write bytes; all of them count as written once nobody reads."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)


def _outlasting(stream: TextIO) -> TextIO:
    """Return a standard stream that outlasts its reader and prints escapes for what it cannot."""
    try:
        raw = _Pipe(stream.fileno(), "w", closefd=False)
    except (AttributeError, OSError, ValueError):  # a test's stream, or one that is closed
        return stream
    stream.flush()
    # A terminal in Latin-1 lacks most signs of a table; an escape is better than a traceback.
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.isatty() or stream is sys.stderr,
    )


def _open_closed_descriptors() -> None:
    """Open what the caller closed (``2>&-``); else a database would get the number of stderr."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def main() -> None:
    """Entry point of the ``harness`` command; errors meant for the user are printed in one line."""
    _open_closed_descriptors()
    sys.stdout, sys.stderr = _outlasting(sys.stdout), _outlasting(sys.stderr)
    with visible_output():
        _run()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print what a plug-in lacks as a line, any other warning as Python does."""
    if issubclass(category, PluginWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        _python_warning(message, category, filename, lineno, file, line)


_python_warning = warnings.showwarning


def _run() -> None:
    warnings.showwarning = _show_warning
    try:
        with show_encoding():
            app()
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        # A suite is not wrong because there was no descriptor to read it with.
        sys.exit(MachineError.exit_code if lacks_resources(error) else error.exit_code)
    except (OSError, MemoryError) as error:
        if lacks_resources(error):
            print(f"error: the machine lacks memory or descriptors ({error})", file=sys.stderr)
            sys.exit(MachineError.exit_code)
        if isinstance(error, MemoryError):
            raise
        if error.filename is None and error.errno not in NO_ROOM:
            raise
        print(f"error: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        if error.filename is None:
            # What could not be printed must not be tried again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(MachineError.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer ends so after Ctrl-C, without a word
            print("error: interrupted", file=sys.stderr)
        raise
