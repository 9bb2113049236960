"""A comparison of two sides as text, in plain words first, and as plain values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.analysis.compare import MetricComparison, SideComparison
from harness.analysis.hypotheses import ALPHA
from harness.analysis.sides import Side
from harness.analysis.significance import MOST_SEEDS, POWER
from harness.analysis.verdict import (
    headline,
    shown_interval,
    shown_number,
    shown_p,
    shown_sign,
    side_names,
)
from harness.cli import console
from harness.cli.console import aligned
from harness.evaluation.metrics import METRICS

__all__ = ["as_values", "as_words", "wrapped"]

WIDTH = 79
_NO_BREAK = "\N{NO-BREAK SPACE}"


def as_words(comparison: SideComparison) -> str:
    """Return everything there is to say of a comparison, the answer first."""
    main = comparison.metrics[0]
    blocks = [
        wrapped(headline(comparison, main)),
        _sides(comparison),
        [*wrapped(_compared_on(comparison)), "", *_numbers(comparison)],
        _how_sure(main, len(comparison.seeds)),
        wrapped(_more_seeds(main, len(comparison.seeds))),
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def as_values(comparison: SideComparison) -> dict[str, Any]:
    """Return a comparison as plain values; differences are A minus B in the printed unit."""
    sides = {"a": comparison.first, "b": comparison.second}
    return {
        "headline": headline(comparison, comparison.metrics[0]),
        "dataset": comparison.dataset,
        "bucket": comparison.bucket,
        "seeds": list(comparison.seeds),
        "triples": comparison.triples,
        "queries": comparison.queries,
        **{name: _side_values(side) for name, side in sides.items()},
        "metrics": [{"answer": c.answer, **asdict(c)} for c in comparison.metrics],
    }


def _side_values(side: Side) -> dict[str, Any]:
    return {
        "name": side.text,
        "label": side.label,
        "source": side.source,
        "features": side.result.features,
        "runs": {str(seed): record.run_id for seed, record in side.tested.items()},
        "lacking": {str(seed): reason for seed, reason in side.missing.items()},
    }


def _sides(comparison: SideComparison) -> list[str]:
    lines = []
    for letter, name, side in zip(
        "AB", side_names(comparison), (comparison.first, comparison.second), strict=True
    ):
        text = f"{letter}  {name}: {side.source}, features {side.result.features}, {_seeds(side)}"
        lines += wrapped(text, indent=3)
    return lines


def _seeds(side: Side) -> str:
    seeds_text = _counted_seeds(tuple(side.tested))
    return "; ".join(
        [seeds_text, *(f"seed {seed}: {reason}" for seed, reason in side.missing.items())]
    )


def _counted_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _compared_on(comparison: SideComparison) -> str:
    subset = f"{comparison.bucket} " * (comparison.bucket != "all")
    return (
        f"Compared query by query: {comparison.triples:,} {subset}test triples "
        f"({comparison.queries:,} queries), {_counted_seeds(comparison.seeds)}."
    )


def _numbers(comparison: SideComparison) -> list[str]:
    """Return the table of metrics, with what its columns mean."""
    head = ["", "A", "B", "A - B", "95 %", "p", "d_z", "won", "tied", "lost"]
    rows = [_row(compared) for compared in comparison.metrics]
    meaning = (
        "p: of each line alone; d_z: mean over standard deviation of the triples' differences "
        "(Cohen 1988); won, tied, lost: % of the queries that A answers better, as well and worse."
    )
    return [*aligned([head, *rows]), "", *wrapped(meaning)]


def _row(compared: MetricComparison) -> list[str]:
    name, finding, share = compared.metric, compared.finding, compared.share
    p = shown_p(finding.p).removeprefix("p ").removeprefix("= ").replace("< ", "<")
    return [
        METRICS[name].title,
        *(shown_number(name, value) for value in (compared.first, compared.second)),
        shown_sign(name, finding.difference),
        shown_interval(name, finding),
        p,
        f"{compared.effect.dz:z.2f}",
        *(f"{100 * value:.1f}" for value in (share.won, share.tied, share.lost)),
    ]


def _how_sure(compared: MetricComparison, seeds: int) -> list[str]:
    """Return the tests of a metric as lines, and the one that counts."""
    tests = [("over triples: these models, other triples", compared.triples)]
    if compared.seeds and compared.both:
        tests += [
            ("over seeds: trained again, these triples", compared.seeds),
            ("over both: trained again, other triples", compared.both),
        ]
    rows = [[name, shown_p(test.p), shown_interval(compared.metric, test)] for name, test in tests]
    lines = [
        f"How sure, {METRICS[compared.metric].title}:",
        *(f"  {row}" for row in aligned(rows, text=None)),
    ]
    if compared.seeds_swapped is None:
        return lines
    counts = (
        "What counts is the less certain of the last two. Swapping the models seed by seed gives "
        f"p = {compared.seeds_swapped:.2g}; with {seeds} seeds it cannot be below "
        f"{2 / 2**seeds:.2g}."
    )
    return [*lines, *wrapped(counts)]


def _more_seeds(compared: MetricComparison, seeds: int) -> str:
    """Return a sentence on the effect of more seeds."""
    outlook, metric = compared.outlook, compared.metric
    if outlook is None:
        return (
            "One seed: this holds for these two trained models. The effect of training again is "
            "unknown; run a second seed of both."
        )
    if compared.answer != "open":
        return f"More seeds are not needed: {seeds} tell them apart at the level {ALPHA:g}."
    if compared.finding.difference == 0:
        return "There is no difference that more seeds could settle."
    if not outlook.triples_suffice:
        half = shown_number(metric, outlook.half_of_triples)
        return (
            "More seeds are unlikely to settle it: the noise of the test triples alone leaves "
            f"± {half}, however many seeds there are."
        )
    if outlook.seeds is None:
        return f"It would take more than {MOST_SEEDS:,} seeds to settle it."
    missing_seeds = max(outlook.seeds - seeds, 1)
    return (
        f"About {missing_seeds} more seed{'s' * (missing_seeds > 1)} of both "
        f"({seeds + missing_seeds} in all) would settle it "
        f"with probability {POWER:g}, were the difference as large as it looks: an estimate from "
        f"{seeds} seeds."
    )


def wrapped(text: str, indent: int = 0) -> list[str]:
    """Return lines of a text that fit a terminal; ``p = 0.042`` and ``± 0.2`` stay in one."""
    unbroken = re.sub(r" ([=<]) ", rf"{_NO_BREAK}\1{_NO_BREAK}", text).replace(
        "± ", f"±{_NO_BREAK}"
    )
    lines = console.wrapped(unbroken, indent, width=WIDTH)
    return [line.replace(_NO_BREAK, " ") for line in lines]
