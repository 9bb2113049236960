"""``harness report``: tables and figures of what the store holds."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Home, chosen_seeds
from harness.config.listing import names_in
from harness.errors import ConfigError, HarnessError, suggest

if TYPE_CHECKING:
    from harness.analysis.query import Selection
    from harness.report.latex import LatexOptions
    from harness.report.stored import ReportListing, Reports

__all__ = ["register", "report"]

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
        str, typer.Option(help="Average over only these seeds: 0,1,2 or 0-2", metavar="SEEDS")
    ] = "",
    dataset: Annotated[list[str] | None, typer.Option(help="Show only this dataset.")] = None,
    variant: Annotated[
        str,
        typer.Option(help="Results of the suite with --set: the id that `harness run` printed."),
    ] = "",
    html: Annotated[
        bool,
        typer.Option(
            "--html",
            help="Write one page with the tables, the figures, the runs behind every number, "
            f"failures and the audit of the data: --out, else {PAGE} in the results folder.",
        ),
    ] = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="With --html: serve the page on this machine; reload it for new results.",
        ),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of --serve; 0: a free one.")] = (
        8000
    ),
    by: Annotated[
        str,
        typer.Option(
            help="For --table breakdown: leak, side, relation, cardinality, seen, degree, modality."
        ),
    ] = "",
    metric: Annotated[str, typer.Option(help="Metric of --table breakdown.")] = "mrr",
    suite: Annotated[
        str, typer.Option(help="Suite of --table breakdown and protocols, if several were tested.")
    ] = "",
    width: Annotated[
        str,
        typer.Option(
            help="Width of a LaTeX table: column or page. Default: the narrowest that fits."
        ),
    ] = "",
    compact: Annotated[
        bool,
        typer.Option("--compact", help="LaTeX without differences, changes and row attributes."),
    ] = False,
    notes: Annotated[
        str, typer.Option(help="Notes in LaTeX: table (inside it), text (after it) or none.")
    ] = "table",
    decimals: Annotated[
        int | None, typer.Option(min=0, max=6, help="Digits after the decimal point in LaTeX.")
    ] = None,
    caption: Annotated[str, typer.Option(help="Caption in LaTeX. Default: the title.")] = "",
    label: Annotated[str, typer.Option(help="Label in LaTeX. Default: tab:NAME, fig:NAME.")] = "",
    siunitx: Annotated[
        bool,
        typer.Option("--siunitx", help="Align LaTeX numbers at the decimal point with siunitx."),
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List tables and figures.")] = False,
    results: Home = None,
) -> None:
    """Print tables of results beside published figures; all seeds by default."""
    from harness.analysis.query import Selection
    from harness.cli.console import write_or_print
    from harness.cli.progress import show_events
    from harness.report.latex import LatexOptions
    from harness.report.stored import list_reports, open_reports

    if list_:
        typer.echo(_listing(list_reports(lambda message: _say(str(message)))))
        return
    selection = Selection(variant, chosen_seeds(seeds), tuple(_names(dataset, "--dataset")))
    if all_:
        if out is None or html or table or figure or format_ or dataset or by or suite:
            raise ConfigError("--all goes with --out DIR, and with --seeds and --variant alone")
        _write_all(results, out, selection)
        return
    if html and format_:
        raise ConfigError(f"--html is a format of its own; leave out --format {format_}")
    tables, figures = _names(table, "--table"), _names(figure, "--figure")
    form = _format(format_, None if html else out)
    options = LatexOptions(width, compact, notes, decimals, caption, label, siunitx, _say)  # type: ignore[arg-type]
    _check_latex(options, form, len(tables) + len(figures))
    _check_reranked(tables, by, metric, suite, html=html)
    if serve:
        if not html or out is not None:
            raise ConfigError("--serve goes with --html and without --out")
        _serve(results, selection, tables, figures, port)
        return
    with show_events() as on_event, open_reports(results, selection, on_event) as reports:
        if html:
            _write_page(reports, tables, figures, suite, out or reports.home / PAGE)
            _fail_for(reports.mistakes)
            return
        with _collecting_nothing():
            contents = _contents(reports, tables, figures, form, (by, metric, suite), options)
    if out is None and isinstance(contents, bytes):
        raise ConfigError(f"a {form} goes to a file: --out NAME.{form}")
    write_or_print(contents, out)
    _fail_for(reports.mistakes)


def _fail_for(mistakes: Sequence[ConfigError]) -> None:
    """Print the mistakes of definitions that were left out, and exit with their code."""
    for mistake in mistakes:
        _say(f"left out: {mistake}")
    if mistakes:
        raise typer.Exit(mistakes[0].exit_code)


def _listing(listings: Sequence[ReportListing]) -> str:
    """Return names, kinds and titles in columns, at most 80 wide unless names are long."""
    from harness.cli.console import WIDTH
    from harness.visible import wrap

    start = max(len(listing.name) for listing in listings) + 2
    lines: list[str] = []
    for listing in listings:
        first = f"{listing.name:<{start}}{listing.kind:<8}"
        lines += wrap(
            listing.title or "-", max(WIDTH, len(first) + 20), first=first, later=" " * len(first)
        )
    return "\n".join(lines)


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


def _check_reranked(tables: Sequence[str], by: str, metric: str, suite: str, *, html: bool) -> None:
    """Refuse --by, --metric and --suite without their tables, and a table without its options."""
    from harness.report.stored import BREAKDOWN, RERANKED, subsets

    reranked = [name for name in tables if name in RERANKED]
    if html and reranked:
        raise ConfigError(f"the page has no table '{reranked[0]}'; print it, or --format html")
    if BREAKDOWN in tables and not by:
        raise ConfigError(f"--table {BREAKDOWN} needs --by; choose from {', '.join(subsets())}")
    if BREAKDOWN not in tables and (by or metric != "mrr"):
        raise ConfigError(f"--by and --metric go with --table {BREAKDOWN}")
    if not reranked and suite:
        raise ConfigError(
            f"--suite goes with --table {' or '.join(RERANKED)}; --table {suite} "
            "prints the suite's own"
        )


def _say(text: str) -> None:
    """Print a message on stderr."""
    typer.echo(text, err=True)


def _check_latex(options: LatexOptions, form: str, table_count: int) -> None:
    """Refuse options of LaTeX for other formats, and one caption or label of several tables."""
    from harness.report.latex import LatexOptions

    if options != LatexOptions() and form != "latex":
        raise ConfigError(
            "--width, --compact, --notes, --decimals, --caption, --label and --siunitx go with "
            "--format latex"
        )
    if (options.caption or options.label) and table_count != 1:
        raise ConfigError("--caption and --label go with one --table or --figure")


def _contents(
    reports: Reports,
    tables: Sequence[str],
    figures: Sequence[str],
    form: str,
    reranked: tuple[str, str, str],
    options: LatexOptions,
) -> str | bytes:
    """Return the output of the command.

    Args:
        reports: the results folder.
        tables, figures: names; all tables when both are empty.
        form: format.
        reranked: values of --by, --metric and --suite.
        options: how LaTeX is printed.

    Raises:
        ConfigError, StoreError: as the queries and renderers; the store has nothing to show.
    """
    from harness.report.render import PICTURES, check_format, render_all

    check_format(form, drawn=bool(figures))
    drawn = bool(figures) and form in PICTURES
    if drawn and (len(figures) > 1 or tables):
        raise ConfigError("a picture holds one figure; name it with --figure")
    by, metric, suite = reranked
    reports.check_seeds([*tables, *figures], suite)
    pictures = [reports.figure(name) for name in figures]
    printed = [reports.table(name, by=by, metric=metric, suite=suite) for name in tables]
    if not (tables or figures):
        printed = reports.tables()
    reports.check_shown([*tables, *figures], suite, shown=bool(printed or pictures))
    return pictures[0].render(form) if drawn else render_all([*printed, *pictures], form, options)


def _write_page(
    reports: Reports, tables: Sequence[str], figures: Sequence[str], suite: str, out: Path
) -> None:
    """Write the page, and say how large it is."""
    from harness.cli.console import plural, write_or_print

    page = reports.check_page(reports.page(tables, figures), [*tables, *figures], suite)
    content = page.html.encode()
    write_or_print(content, out)
    typer.echo(
        f"{out}: {plural(page.tables, 'table')}, {plural(page.figures, 'figure')}, "
        f"{plural(page.runs, 'run')}, {len(content) / 1e6:.1f} MB",
        err=True,
    )


def _serve(
    home: Path | None,
    selection: Selection,
    tables: Sequence[str],
    figures: Sequence[str],
    port: int,
) -> None:
    """Serve the page until Ctrl-C."""
    from harness.report.stored import page_server

    server = page_server(home, selection, tables, figures, port=port)
    typer.echo(f"{server.address} has the page of results; Ctrl-C stops", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def _write_all(home: Path | None, out: Path, selection: Selection) -> None:
    """Write all artefacts to a folder, say what came of each."""
    from harness.cli.progress import show_events
    from harness.report.stored import open_reports

    failed: list[HarnessError] = []
    with show_events() as on_event, open_reports(home, selection, on_event) as reports:
        for artefact, written, errors in reports.write_all(out):
            for name in written:
                typer.echo(name)
            for error in errors:
                typer.echo(f"{artefact.name}: {error}", err=True)
            failed += errors
            if artefact.empty:
                typer.echo(f"{artefact.name}: no picture: {artefact.empty}", err=True)
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _format(choice: str, out: Path | None) -> str:
    """Return the format: as given, as the file's name says, or text for a name without an ending.

    Raises:
        ConfigError: no format has the ending of the file's name.
    """
    from harness.report.render import FORMATS, PICTURES, SUFFIXES

    if choice or out is None:
        return choice or "text"
    endings = {SUFFIXES.get(name, name): name for name in (*FORMATS, *PICTURES)}
    ending = out.suffix.removeprefix(".").lower()
    if ending and ending not in endings:
        hint = suggest(ending, endings)
        raise ConfigError(
            f"--out {out}: no format has the ending '{ending}'{hint}; or give --format"
        )
    return endings.get(ending, "text")


def _names(texts: list[str] | None, option: str) -> list[str]:
    """Return names, one by one or separated by commas.

    Raises:
        ConfigError: a name is missing beside a comma.
    """
    return [name for text in texts or [] for name in names_in(text, option)]
