"""``harness report``: tables and figures of what the store holds."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.comparing import comparing
from harness.cli.options import Home, chosen_seeds
from harness.cli.paths import home
from harness.cli.reranked import RERANKED, Reranked
from harness.errors import ConfigError, StoreError, suggest

if TYPE_CHECKING:
    from harness.analysis.query import Selection
    from harness.report.figure import Figure
    from harness.report.latex import LatexOptions
    from harness.report.table import Table
    from harness.store.base import ResultStore

__all__ = ["register", "report", "show_suite"]

PAGE = "report.html"
"""File that --html writes."""


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("report")(report)


def report(
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="Table to print: a name of --list or a YAML file. Default: all with runs."
        ),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(help="Figure to draw or print: a name of --list or a YAML file."),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="text, markdown, latex, html, csv or json; png, pdf or svg of a figure. "
            "Default: what --out ends in, else text.",
        ),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Write to this file; with --all to this folder.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Write every table and figure in every format.")
    ] = False,
    seeds: Annotated[
        str, typer.Option(help="Average over these seeds alone: 0,1,2 or 0-2", metavar="SEEDS")
    ] = "",
    dataset: Annotated[list[str] | None, typer.Option(help="Show only this dataset.")] = None,
    variant: Annotated[
        str, typer.Option(help="Runs of the suite with --set: the digest `harness run` printed.")
    ] = "",
    html: Annotated[
        bool,
        typer.Option(
            "--html",
            help="Write one page with the tables, the figures, the runs behind every number, "
            f"failures and the audit of the data: --out, else {PAGE} in the results folder.",
        ),
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            help="Of --table breakdown: leak, side, relation, cardinality, seen, degree, modality."
        ),
    ] = "",
    metric: Annotated[str, typer.Option(help="Of --table breakdown.")] = "mrr",
    suite: Annotated[
        str, typer.Option(help="Of --table breakdown and protocols, where several were tested.")
    ] = "",
    width: Annotated[
        str,
        typer.Option(help="Of LaTeX: column or page. Default: the narrowest that fits."),
    ] = "",
    compact: Annotated[
        bool,
        typer.Option("--compact", help="LaTeX without differences, changes and row attributes."),
    ] = False,
    notes: Annotated[
        str, typer.Option(help="Notes of LaTeX: in the table, as text behind it, or none.")
    ] = "table",
    decimals: Annotated[
        int | None, typer.Option(min=0, max=6, help="Digits behind the point in LaTeX.")
    ] = None,
    caption: Annotated[str, typer.Option(help="Caption in LaTeX. Default: the title.")] = "",
    label: Annotated[str, typer.Option(help="Label in LaTeX. Default: tab:NAME, fig:NAME.")] = "",
    siunitx: Annotated[
        bool, typer.Option("--siunitx", help="Align LaTeX numbers at the point, by siunitx.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List tables and figures.")] = False,
    results: Home = None,
) -> None:
    """Print tables of results, published figures beside measured ones; all seeds by default."""
    from harness.analysis.query import Selection

    if list_:
        _list()
        return
    selection = Selection(variant, chosen_seeds(seeds), tuple(_names(dataset or [])))
    if all_:
        if out is None or html or table or figure or format_ or dataset or by or suite:
            raise ConfigError("--all goes with --out DIR, and with --seeds and --variant alone")
        _write_all(home(results), out, selection)
        return
    if html and format_:
        raise ConfigError(f"--html is a format of its own; leave out --format {format_}")
    again = Reranked(by, metric, suite)
    style = _latex_options(width, compact, notes, decimals, caption, label, siunitx)
    request = _Request(
        _names(table or []), _names(figure or []), _format(format_, out), again, style
    )
    request.check_style()
    again.check(request.tables, html=html)
    folder = home(results)
    store = _open(folder)
    try:
        if html:
            request.write_page(store, folder, selection, out or folder / PAGE)
            return
        with _collecting_nothing():
            contents = request.contents(store, folder, selection)
    finally:
        store.close()
    if out is not None:
        _write(out, contents)
    elif request.drawn:
        raise ConfigError(f"a {request.format} goes to a file: --out NAME.{request.format}")
    else:
        typer.echo(contents, nl=False)


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Stop the search for garbage: what a report reads it keeps, and searching it takes a sixth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _write_all(results: Path, out: Path, selection: Selection) -> None:
    """Write all artefacts to a folder, say what came of each."""
    from harness.analysis.query import Results
    from harness.report.everything import artefacts
    from harness.store.files import write_below

    store = _open(results)
    failed = []
    try:
        with comparing(store, results) as tests:
            for artefact in artefacts(Results(store, selection, tests)):
                for name, contents in artefact.files.items():
                    write_below(out, name, _encoded(contents))
                if artefact.error:
                    failed.append(artefact.error)
                    typer.echo(f"{artefact.name}: {artefact.error}", err=True)
                elif artefact.empty:
                    typer.echo(f"{artefact.name}: no picture: {artefact.empty}", err=True)
                typer.echo("\n".join(map(str, artefact.files)), nl=bool(artefact.files))
    finally:
        store.close()
    if failed:
        raise typer.Exit(failed[0].exit_code)


@dataclass(frozen=True)
class _Request:
    """What to show, in which format."""

    tables: list[str]
    figures: list[str]
    format: str
    reranked: Reranked
    style: LatexOptions

    def check_style(self) -> None:
        """Refuse options of LaTeX for other formats, and one label of several tables."""
        from harness.report.latex import LatexOptions

        if self.style != LatexOptions() and self.format != "latex":
            raise ConfigError(
                "--width, --compact, --notes, --decimals, --caption, --label and --siunitx go with "
                "--format latex"
            )
        named = len(self.tables) + len(self.figures)
        if (self.style.caption or self.style.label) and named != 1:
            raise ConfigError("--caption and --label go with one --table or --figure")

    @property
    def drawn(self) -> bool:
        """Whether a picture is asked for."""
        from harness.report.render import PICTURES

        return bool(self.figures) and self.format in PICTURES

    def contents(self, store: ResultStore, folder: Path, selection: Selection) -> str | bytes:
        """Return the output of the command.

        Raises:
            ConfigError, StoreError: as the queries and renderers; the store has nothing to show.
        """
        from harness.analysis.query import Results
        from harness.report import query, render

        render.check_format(self.format, drawn=bool(self.figures))
        if self.drawn and (len(self.figures) > 1 or self.tables):
            raise ConfigError("a picture holds one figure; name it with --figure")
        with comparing(store, folder) as tests:
            stored = Results(store, selection, tests)
            figures = [query.named_figure(stored, name) for name in self.figures]
            if self.tables or self.figures:
                tables = [
                    self.reranked.table(stored, folder, name)
                    if name in RERANKED
                    else query.named_table(stored, name)
                    for name in self.tables
                ]
            else:
                tables = query.all_tables(stored, _tell_untested)
        self._check(store, folder, selection.variant, bool(tables or figures))
        if self.drawn:
            return render.render_picture(figures[0], self.format)
        shown: list[Table | Figure] = [*tables, *figures]
        return render.render_all(shown, self.format, self.style)

    def write_page(self, store: ResultStore, folder: Path, selection: Selection, out: Path) -> None:
        """Write the page, and say how large it is.

        Raises:
            ConfigError, StoreError, MachineError: as ``contents``; it cannot be written.
        """
        from datetime import datetime

        from rich.text import Text

        from harness.analysis.hypotheses import PairedTests
        from harness.analysis.query import Results
        from harness.report.page import page
        from harness.report.templates import counted
        from harness.screen import SafeConsole

        with SafeConsole(stderr=True).status("") as status:

            def say(doing: str) -> None:
                status.update(Text(doing))  # names may hold what rich takes for markup

            tests = PairedTests(
                store,
                folder / "runs",
                lambda table, done, total: say(f"comparing {table}, {done} of {total}"),
            )
            made = page(
                Results(store, selection, tests),
                self.tables,
                self.figures,
                runs=folder / "runs",
                created=datetime.now().astimezone(),
                say=say,
            )
        for problem in tests.problems:
            typer.echo(f"not compared: {problem}", err=True)
        self._check(store, folder, selection.variant, made is not None)
        assert made is not None
        content = made.html.encode()
        _write(out, content)
        typer.echo(
            f"{out}: {counted(made.tables, 'table')}, {counted(made.figures, 'figure')}, "
            f"{counted(made.runs, 'run')}, {len(content) / 1e6:.1f} MB",
            err=True,
        )

    def _check(self, store: ResultStore, folder: Path, variant: str, shown: bool) -> None:
        """Say what is not shown; refuse to show nothing."""
        from harness.report.query import suites_of

        named = [name for name in (*self.tables, *self.figures) if name not in RERANKED]
        asked = {suite for name in named for suite in suites_of(store, name)}
        asked |= {self.reranked.suite} - {""}
        _tell_variants(store, variant, asked)
        variants = {variant for _, variant, _ in store.blocks()}
        if variant and variant not in variants:
            near = suggest(variant, variants - {""})
            raise ConfigError(f"--variant {variant}: no run has it{near}")
        if not shown and "" in variants and not variant:
            raise StoreError(
                f"{folder} holds studies alone, none of whose trials was tested; "
                "`harness study show` lists them"
            )
        if not shown and variants:
            raise StoreError(f"{folder} holds results with --set alone; add --variant NAME")
        if not shown:
            raise StoreError(
                f"{folder} holds no results to report; `harness run quickstart` "
                "makes some, `harness db import results/records` takes over a checkout's, "
                "`harness report --list` lists the tables"
            )


def _latex_options(
    width: str,
    compact: bool,
    notes: str,
    decimals: int | None,
    caption: str,
    label: str,
    siunitx: bool,
) -> LatexOptions:
    """Return the options of LaTeX; what does not fit is told on stderr."""
    from harness.report.latex import LatexOptions

    def say(text: str) -> None:
        typer.echo(text, err=True)

    return LatexOptions(width, compact, notes, decimals, caption, label, siunitx, say)  # type: ignore[arg-type]


def show_suite(store: ResultStore, folder: Path, suite: str) -> None:
    """Print the plain table of a suite.

    Args:
        store: of the results folder.
        folder: the results folder.
        suite: its name.
    """
    from harness.report.query import suite_table
    from harness.report.render import render

    with comparing(store, folder) as tests:
        typer.echo(render(suite_table(store, suite, tests=tests), "text"), nl=False)


def _list() -> None:
    from harness.report.files import available, load_any

    lines = {name: f"{name:<12} {'table':<7} {title}" for name, title in RERANKED.items()}
    for name in available():
        definition = load_any(name)
        kind = "figure" if definition.is_figure else "table"
        kind = "both" if definition.is_figure and definition.is_table else kind
        lines[name] = f"{name:<12} {kind:<7} {definition.title}"
    for name in sorted(lines):
        typer.echo(lines[name])


def _format(given: str, out: Path | None) -> str:
    """Return the format: as given, as the file's name says, or text."""
    from harness.report.render import FORMATS, PICTURES, SUFFIXES

    if given or out is None:
        return given or "text"
    endings = {SUFFIXES.get(name, name): name for name in (*FORMATS, *PICTURES)}
    return endings.get(out.suffix.removeprefix("."), "text")


def _open(folder: Path) -> ResultStore:
    """Open the database; an empty store stands for one that does not exist yet."""
    from harness.store import DATABASE, open_store
    from harness.store.memory import MemoryStore

    database = folder / DATABASE
    return open_store(database, create=False, write=False) if database.exists() else MemoryStore()


def _names(given: list[str]) -> list[str]:
    """Return names given one by one or separated by commas."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _tell_variants(store: ResultStore, variant: str, suites: set[str]) -> None:
    """Say on stderr which other variants of the suites (of all when empty) the store holds."""
    others = {(suite, held) for suite, held, _ in store.blocks() if held not in ("", variant)}
    for suite, name in sorted(others):
        if not suites or suite in suites:
            typer.echo(f"not shown: suite {suite} with --set (--variant {name})", err=True)


def _tell_untested(study: str) -> None:
    """Say on stderr that a study is not shown, and where it is."""
    shown = f"`harness study show {shlex.quote(study)}`"
    typer.echo(f"not shown: study {study}, none of whose trials was tested; {shown}", err=True)


def _write(path: Path, contents: str | bytes) -> None:
    from harness.store.files import write_whole

    write_whole(path, _encoded(contents))


def _encoded(contents: str | bytes) -> bytes:
    return contents.encode() if isinstance(contents, str) else contents
