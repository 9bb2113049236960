"""The cells of a suite's table as the store keeps them, in the order they are printed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from harness.plan.cell import Cell
from harness.plan.expand import Plan
from harness.plan.study import trial_of
from harness.store.records import EXTERNAL_ID, StoredSuite

__all__ = ["stored_suite", "table_cells", "with_external", "with_left_out"]


def table_cells(
    whole: Plan,
    available: Plan,
    run_ids: Mapping[tuple[str, str, str, int], str],
    earlier: Iterable[Cell] = (),
) -> Iterator[Cell]:
    """Yield the stored form of each cell of a suite whose run, or the reason for none, is known.

    Args:
        whole: the suite without ``--only``.
        available: what is run now; its reasons also name what lacks data.
        run_ids: key of a cell -> the run that is planned now.
        earlier: with ``--only``, the cells as they were: runs planned then stay where the suite
            still has the cell and says nothing else now.
    """
    before = {cell.key: cell for cell in earlier}
    reasons = {cell.key: cell.reason for cell in available.excluded}
    for cell in whole.cells:
        old = before.get(cell.key)
        run_id = run_ids.get(cell.key) or (old.run_id if old and not cell.reason else "")
        reason = cell.reason or reasons.get(cell.key) or (old.reason if old else "")
        if run_id or reason:
            yield cell.stored(run_id, reason)


def stored_suite(plan: Plan) -> StoredSuite:
    """Return title and settings of a suite as the store keeps them."""
    return StoredSuite(
        suite=plan.suite, variant=plan.variant, title=plan.title, settings=dict(plan.settings)
    )


def with_left_out(
    trials: Sequence[Cell],
    searched: Collection[tuple[str, str, str]],
    excluded: Iterable[Cell],
    plan: Plan,
    stored: Iterable[Cell],
) -> list[Cell]:
    """Return the cells of a study's trials, and below them those of rows that are not searched.

    Args:
        trials: cells of the trials.
        searched: label, dataset and features of the searches whose trials these are, also of those
            without any.
        excluded: planned cells that are not searched now.
        plan: the rows' own runs.
        stored: the study's cells so far. Reasons stay of rows that this command says nothing of,
            and trials of searches that were imported: their studies are in another home.
    """
    reasons: dict[tuple[str, str], Cell] = {}
    for cell in sorted(excluded, key=lambda cell: cell.seed):
        reasons.setdefault((cell.label, cell.dataset), cell.stored("", cell.reason))
    planned = {(run.label, run.dataset) for run in plan.runs}
    imported = []
    for cell in stored:
        key = (cell.label, cell.dataset)
        trial = trial_of(cell.label)
        if trial and (trial[0], cell.dataset, cell.features) not in searched:
            imported.append(cell)
        elif not cell.run_id and key not in planned:
            reasons.setdefault(key, cell)
    cells = [*trials, *_rows_below(trials, imported)]
    return [*cells, *_below(cells, reasons.values())]


def with_external(cells: Sequence[Cell], stored: Iterable[Cell]) -> list[Cell]:
    """Return planned cells, and below them those of other code bases, which are part of no plan.

    Args:
        cells: cells of the plan.
        stored: the suite's cells so far; those that ``harness score --suite`` added stay.
    """
    external = [cell for cell in stored if cell.run_id.startswith(EXTERNAL_ID)]
    return [*cells, *_rows_below(cells, external)]


def _rows_below(cells: Sequence[Cell], others: Sequence[Cell]) -> Iterator[Cell]:
    """Yield other cells at positions below the last of ``cells``, those of one position at one."""
    last = max((cell.position for cell in cells), default=-1)
    below = {old: last + 1 + i for i, old in enumerate(sorted({c.position for c in others}))}
    for cell in others:
        yield cell.model_copy(update={"position": below[cell.position]})


def _below(cells: Sequence[Cell], others: Iterable[Cell]) -> Iterator[Cell]:
    """Yield other cells at positions below the last of ``cells``, each at its own."""
    last = max((cell.position for cell in cells), default=-1)
    for position, cell in enumerate(others, last + 1):
        yield cell.model_copy(update={"position": position})
