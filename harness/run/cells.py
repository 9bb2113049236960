"""The cells of a suite's table, with and without a run, in the order they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.plan.expand import Excluded, Plan
from harness.store.records import EXTERNAL_ID, Cell

__all__ = ["table_cells", "with_external", "with_left_out"]

Place = tuple[str, str, str, int]
"""Row label, dataset, feature set, seed."""


def table_cells(
    whole: Plan, present: Plan, run_ids: Mapping[Place, str], earlier: Sequence[Cell] = ()
) -> list[Cell]:
    """Return a cell for every place of a suite whose run, or the reason for none, is known.

    Args:
        whole: the suite without ``--only``.
        present: what is run now; its ``excluded`` also names what lacks data.
        run_ids: the runs that are planned now.
        earlier: with ``--only``, the cells as they were: runs planned then stay where the suite
            still has the place and says nothing else now.
    """
    before = {(c.label, c.dataset, c.features, c.seed): c for c in earlier}
    by_suite = _reasons(whole.excluded, whole)
    lacking = _reasons([e for e in present.excluded if e not in set(whole.excluded)], whole)
    cells = []
    for place, position in _positions(whole).items():
        old = before.get(place)
        run_id = run_ids.get(place) or (old.run_id if old and place not in by_suite else "")
        reason = by_suite.get(place) or lacking.get(place) or (old.reason if old else "")
        if run_id or reason:
            label, dataset, features, seed = place
            cells.append(
                Cell(
                    suite=whole.suite,
                    variant=whole.variant,
                    position=position,
                    label=label,
                    dataset=dataset,
                    features=features,
                    seed=seed,
                    run_id=run_id,
                    reason="" if run_id else " ".join(reason.split()),
                )
            )
    return cells


def with_left_out(
    cells: Sequence[Cell], excluded: Iterable[Excluded], whole: Plan, held: Iterable[Cell]
) -> list[Cell]:
    """Return the cells of a study's trials, and below them those of rows that are not searched.

    Args:
        cells: of the trials.
        excluded: what is not searched now, and why.
        whole: the plan of the rows' own runs.
        held: the study's cells so far; reasons stay of rows that this command says nothing of.
    """
    place = {"suite": whole.suite, "variant": whole.variant}
    reasons = {
        (e.label, e.dataset): Cell(
            **place,
            position=0,
            label=e.label,
            dataset=e.dataset,
            features=e.features,
            seed=min((run.spec.seed for run in whole.runs), default=0),
            run_id="",
            reason=" ".join(e.reason.split()),
        )
        for e in excluded
    }
    asked = {(run.label, run.spec.data.dataset) for run in whole.runs}
    for cell in held:
        key = (cell.label, cell.dataset)
        if not cell.run_id and key not in asked:
            reasons.setdefault(key, cell)
    last = max((cell.position for cell in cells), default=-1)
    below = (c.model_copy(update={"position": last + i}) for i, c in enumerate(reasons.values(), 1))
    return [*cells, *below]


def with_external(cells: Sequence[Cell], held: Iterable[Cell]) -> list[Cell]:
    """Return planned cells, and below them what another code base made: it is part of no plan.

    Args:
        cells: what is planned.
        held: the suite's cells so far; those that ``harness score --suite`` added stay.
    """
    given = [cell for cell in held if cell.run_id.startswith(EXTERNAL_ID)]
    last = max((cell.position for cell in cells), default=-1)
    after = {old: last + 1 + i for i, old in enumerate(sorted({c.position for c in given}))}
    return [*cells, *(c.model_copy(update={"position": after[c.position]}) for c in given)]


def _reasons(excluded: Sequence[Excluded], whole: Plan) -> dict[Place, str]:
    return {place: e.reason for e in excluded for place in _places(e, whole)}


def _places(excluded: Excluded, whole: Plan) -> Iterator[Place]:
    """Yield the places of an exclusion: of its seed, or of all seeds of the suite."""
    seeds = {run.spec.seed for run in whole.runs} if excluded.seed is None else {excluded.seed}
    for seed in sorted(seeds):
        yield excluded.label, excluded.dataset, excluded.features, seed


def _positions(whole: Plan) -> dict[Place, int]:
    """Return the places in table order, numbered by row, dataset by dataset."""
    rows: dict[Place, tuple[str, int]] = {}
    for run in whole.runs:
        data = run.spec.data
        rows[run.label, data.dataset, data.features, run.spec.seed] = (data.dataset, run.position)
    for excluded in whole.excluded:
        for place in _places(excluded, whole):
            rows.setdefault(place, (excluded.dataset, excluded.position))
    datasets = list(dict.fromkeys(dataset for dataset, _ in rows.values()))
    ordered = sorted(set(rows.values()), key=lambda row: (datasets.index(row[0]), row[1]))
    position = {row: number for number, row in enumerate(ordered)}
    return {place: position[row] for place, row in rows.items()}
