"""Studies as text and plain values for ``harness study``: figures are of the validation split."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.analysis.statistics import paired_change
from harness.cli.console import WIDTH, plural
from harness.studies.results import SearchResult, TrialResult, importances

__all__ = ["describe", "plain"]

MOST_COLUMNS = 8
"""Distinct values of a setting above which a surface puts them into bins."""
BINS = 5
BUDGETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def describe(searches: Sequence[SearchResult], home: Path) -> str:
    """Return everything a person wants to know about a study."""
    first = searches[0]
    title = f"{first.suite}: {first.title}" if first.title else first.suite
    with_set = f"\nwith --set (--variant {first.variant})" if first.variant else ""
    paragraphs = [title + with_set]
    paragraphs += ["\n".join(_search(search, home)) for search in searches]
    if len(searches) > 1:
        paragraphs.append("\n".join(_budgets(searches)))
    paragraphs.append("MRR of the validation split, in percent.")
    return "\n\n".join(paragraphs)


def plain(searches: Sequence[SearchResult]) -> dict[str, Any]:
    """Return a study as plain values; MRR as fractions."""
    first = searches[0]
    return {
        "study": first.suite,
        "variant": first.variant,
        "title": first.title,
        "searches": [
            {
                "label": search.label,
                "model": search.model,
                "dataset": search.dataset,
                "features": search.features,
                "sampler": search.sampler,
                "space": {key: domain.written() for key, domain in search.space.items()},
                "seeds": list(search.seeds),
                "best": search.best.number if search.best else None,
                "best_by_budget": search.best_by_budget(),
                "trials": [
                    {
                        "number": trial.number,
                        "state": trial.state,
                        "settings": dict(trial.settings),
                        "value": trial.value,
                        "values": {str(seed): value for seed, value in trial.values.items()},
                        "runs": {str(seed): run_id for seed, run_id in trial.runs.items()},
                        "reason": trial.reason,
                    }
                    for trial in search.trials
                ],
            }
            for search in searches
        ],
    }


# --- one search ---------------------------------------------------------------------------


def _search(search: SearchResult, home: Path) -> Iterator[str]:
    yield f"{search.place}: {search.sampler}, {plural(len(search.seeds), 'seed')} a trial"
    yield f"  {_states(search)}"
    for reason in dict.fromkeys(t.reason for t in search.having("invalid", "failed") if t.reason):
        yield from textwrap.wrap(
            reason, WIDTH, initial_indent="    ", subsequent_indent="      ", max_lines=2
        )
    best = search.best
    if best is None:
        return
    yield f"  best: trial {best.number}, {_percent(best)}"
    yield from _told_apart(search, best)
    width = max(map(len, best.settings))
    yield from (f"    {key:<{width}}  {_text(value)}" for key, value in best.settings.items())
    shares = importances(home, search)
    if shares:
        yield "  importance for being among the best tenth (PED-ANOVA):"
        yield from (f"    {key:<{width}}  {share:4.0%}" for key, share in shares.items())
    yield from _surface(search, list(shares or search.space))


def _states(search: SearchResult) -> str:
    counts = [
        f"{len(search.having(state))} {state}"
        for state in ("complete", "pruned", "failed", "invalid", "unfinished")
        if search.having(state)
    ]
    return f"trials: {', '.join(counts) or 'none yet'}"


def _percent(trial: TrialResult) -> str:
    """Return a trial's mean validation MRR with its standard deviation over seeds."""
    values = list(trial.values.values())
    text = f"validation MRR {100 * (trial.value or 0):.2f}"
    return text + (f"±{100 * statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _told_apart(search: SearchResult, best: TrialResult) -> Iterator[str]:
    """Yield how many trials may be as good as the best: the noise of a choice by validation."""
    rivals = [trial for trial in search.having("complete") if trial.number != best.number]
    if not rivals or len(search.seeds) < 2:
        return
    behind = sum(_is_ahead(best, trial) for trial in rivals)
    trials = "trial" if len(rivals) == 1 else "trials"
    yield f"    better than {behind} of {len(rivals)} other {trials} beyond the noise of seeds"


def _is_ahead(best: TrialResult, other: TrialResult) -> bool:
    """Tell whether the 95 % interval of the difference, seed by seed, lies above zero."""
    change = paired_change(best.values, other.values)
    return change is not None and change.half is not None and change.mean > change.half


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- surface ------------------------------------------------------------------------------


def _surface(search: SearchResult, keys: Sequence[str]) -> Iterator[str]:
    """Yield the best value against the one or two settings that matter most."""
    trials = search.having("complete")
    if len(trials) < 2:
        return
    down, *across = keys[:2]
    rows = _Bins.of(search, down, trials)
    columns = _Bins.of(search, across[0], trials) if across else None
    yield f"  best trial by {down} (down)" + (f" and {across[0]} (across)" if across else "")
    width = max(len(name) for name in rows.names)
    names = columns.names if columns else ("MRR",)
    cells = max(6, *(len(name) for name in names))
    if columns:
        yield f"    {'':<{width}}" + "".join(f"  {name:>{cells}}" for name in names)
    for i, row in enumerate(rows.names):
        line = f"    {row:>{width}}"
        for j in range(len(names)):
            inside = [
                100 * (t.value or 0.0)
                for t in trials
                if rows.index(t) == i and (columns is None or columns.index(t) == j)
            ]
            line += f"  {f'{max(inside):.2f}' if inside else '.':>{cells}}"
        yield line


class _Bins:
    """The values of a setting: each by itself, or intervals with about as many trials each."""

    def __init__(self, names: Sequence[str], index: Callable[[TrialResult], int]) -> None:
        self.names, self.index = tuple(names), index

    @classmethod
    def of(cls, search: SearchResult, key: str, trials: Iterable[TrialResult]) -> _Bins:
        values = [trial.settings[key] for trial in trials]
        domain = search.space[key]
        listed = list(domain.choices) or sorted(set(values))
        if len(listed) <= MOST_COLUMNS or domain.choices:
            return cls([_text(v) for v in listed], lambda t: listed.index(t.settings[key]))
        ordered = sorted(values)
        edges = [ordered[len(ordered) * i // BINS] for i in range(1, BINS)]
        names = [f"<{_short(edge)}" for edge in edges] + [f"≥{_short(edges[-1])}"]
        return cls(names, lambda t: sum(t.settings[key] >= edge for edge in edges))


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


# --- budgets ------------------------------------------------------------------------------


def _budgets(searches: Sequence[SearchResult]) -> Iterator[str]:
    """Yield a table: the best against the number of trials, a row per search."""
    curves = {search.place: search.best_by_budget() for search in searches}
    longest = max(map(len, curves.values()))
    if not longest:
        return
    counts = sorted({n for n in BUDGETS if n < longest} | {longest})
    learned = any(search.sampler == "tpe" for search in searches)
    yield "Best MRR by number of trials" + ("" if learned else ", expected (Dodge et al. 2019)")
    width = max(map(len, curves))
    yield f"  {'':<{width}}" + "".join(f"{n:>8}" for n in counts)
    for key, curve in curves.items():
        cells = (f"{100 * curve[n - 1]:8.2f}" if n <= len(curve) else f"{'':8}" for n in counts)
        yield f"  {key:<{width}}" + "".join(cells)
    if learned:
        yield from textwrap.wrap(
            "The best so far in the order of the trials: draws that learn from each other have no "
            "expectation over orders (sampler random has).",
            WIDTH,
        )
    if any(search.having("pruned") for search in searches):
        yield "A pruned trial counts with the MRR it had reached: at least that much."
