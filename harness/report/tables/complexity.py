"""Growth of the stages of a step with each size, beside the paper's claims: table and figure.

An exponent is the slope of logarithms over all sizes, with Student's 95 % interval
(``harness.bench.exponents``).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.bench.exponents import Exponent, fit_all
from harness.plan.complexity import DEPENDS_ON, FACTORS, FUSION, ComplexitySuite, Factor, Sizes
from harness.report.definition import ComplexityDefinition, GrowthClaim, Published, StageRow
from harness.report.figure import Figure, sentences
from harness.report.table import Column, Table, TableCell, TableRow
from harness.store.base import ResultStore
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["Complexity", "SizeGrowth", "StageLine", "Verdict", "newest"]

TOLERANCE = 0.2
"""An exponent this near a claimed one confirms it: caches and fixed costs bend every line."""
STEP = (("fusion", "complementarity"), *((s, s) for s in ("backbone", "estimator", "scoring")))
"""Stages of a training step of MoCME."""


class Verdict(StrEnum):
    """Verdict of a measured exponent on a claimed one."""

    HOLDS = "holds"
    """Within ``TOLERANCE`` of it."""
    FASTER = "faster"
    """Time grows faster: the claim is wrong."""
    SLOWER = "slower"
    """Time grows more slowly: the claim is a bound that is not reached."""
    OPEN = "open"
    """The interval holds the claimed exponent, but is too wide to confirm it."""

    @classmethod
    def of(cls, measured: Exponent, claimed: float) -> Verdict:
        """Compare an exponent with a claimed one."""
        if abs(measured.value - claimed) <= TOLERANCE:
            return cls.HOLDS
        if measured.low <= claimed <= measured.high:
            return cls.OPEN
        return cls.FASTER if measured.value > claimed else cls.SLOWER


@dataclass(frozen=True)
class SizeGrowth:
    """Time of a stage as one size grows and the others are held.

    Attributes:
        factor: the size.
        seconds: its values, ascending -> time of each round.
        exponent: of time; None when too little was measured.
        claimed: the paper's exponent; None where it says nothing.
    """

    factor: Factor
    seconds: Mapping[int, Sequence[float]]
    exponent: Exponent | None
    claimed: int | None

    @property
    def verdict(self) -> Verdict | None:
        """Verdict of the measurement on the claim; None without one of them."""
        if self.exponent is None or self.claimed is None:
            return None
        return Verdict.of(self.exponent, self.claimed)


@dataclass(frozen=True)
class StageLine:
    """A row of the table, a line of the figure.

    Attributes:
        spec: which stage.
        claim: the paper's claim about it, or None.
        base: its sample at the sizes that are held; None when not measured.
        growth: by factor, of those that the stage depends on.
    """

    spec: StageRow
    claim: GrowthClaim | None
    base: BenchmarkSample | None
    growth: Mapping[Factor, SizeGrowth]


@dataclass(frozen=True)
class Complexity(Figure):
    """A measurement beside the paper's claims.

    Attributes:
        definition: rows and claims.
        published: the claims.
        record: the measurement, None when there is none.
    """

    definition: ComplexityDefinition
    published: Published
    record: BenchmarkRecord | None

    @cached_property
    def suite(self) -> ComplexitySuite | None:
        """Suite of the measurement."""
        return ComplexitySuite.model_validate(self.record.settings) if self.record else None

    @cached_property
    def lines(self) -> tuple[StageLine, ...]:
        """All rows."""
        return tuple(map(self._line, self.definition.rows))

    @property
    def fusions(self) -> tuple[StageLine, ...]:
        """Rows of the stage "fusion" that were measured."""
        return tuple(ln for ln in self.lines if ln.spec.stage == FUSION and ln.base is not None)

    @property
    def wide(self) -> bool:
        """True for a picture as wide as a page."""
        return self.definition.width == "page"

    @property
    def legend(self) -> str:
        """Caption: repeats, formulas, and the exponent of every line."""
        rounds = sorted(len(t) for ln in self.fusions for g in ln.growth.values()
                        for t in g.seconds.values())  # fmt: skip
        repeats = f"{rounds[0]} to {rounds[-1]}" if rounds[0] < rounds[-1] else f"{rounds[0]}"
        exponents = "; ".join(
            f"{line.spec.title} {', '.join(_exponent_text(line.growth[f]) for f in FACTORS)}"
            for line in self.fusions
        )
        return sentences(
            [
                f"medians of {repeats} round{'s' * (rounds[-1] > 1)}",
                "grey: growth by the paper's formulas, from the first point of a line",
                f"exponents of time in {', '.join(FACTORS)} with their 95 % intervals: {exponents}",
            ]
        )

    @property
    def why_empty(self) -> str:
        """Reason for drawing nothing; "" when some fusion was measured."""
        return "" if self.fusions else self._missing

    @property
    def _missing(self) -> str:
        return f"not measured: `harness bench complexity --suite {self.definition.benchmark}`"

    def _line(self, spec: StageRow) -> StageLine:
        claim = self.published.complexity.claims[spec.claim] if spec.claim else None
        if self.record is None or self.suite is None:
            return StageLine(spec, claim, None, {})
        samples = {
            Sizes.model_validate(sample.sizes): sample
            for sample in self.record.samples
            if (sample.stage, sample.name) == spec.key
        }
        base = self.suite.held(spec.stage)
        growth = {
            factor: _growth(factor, base, samples, claim) for factor in DEPENDS_ON[spec.stage]
        }
        return StageLine(spec, claim, samples.get(self.suite.base), growth)

    def draw(self) -> Picture:
        """Draw a panel per size."""
        from harness.report.pictures.growth import growth

        return growth(self)

    # --- as a table -----------------------------------------------------------------------

    @cached_property
    def table(self) -> Table:
        """The table."""
        base = f"Single run, {self.suite.base}" if self.suite else "Single run"
        columns = [
            _column("cost", base, "seconds", "ms", 1),
            _column("cost", base, "peak", "MiB", 0),
            *(_column("exponent", "Exponent of time", factor, factor, 2) for factor in FACTORS),
        ]
        rows = [
            TableRow(line.spec.title, tuple(self._cells(line)), group=line.spec.group)
            for line in self.lines
        ]
        paper = self.published
        return Table(
            name=self.definition.name,
            title=self.definition.title,
            columns=tuple(columns),
            rows=tuple(rows),
            notes=tuple(self._notes()),
            source=f"{paper.complexity.caption} of {paper.source}",
            row_title="Stage",
        )

    def _cells(self, line: StageLine) -> Iterator[TableCell]:
        if line.base is None:
            yield from [TableCell(reason=self._missing)] * 2
        else:
            rounds = len(line.base.seconds)
            yield self._cell(value=1000 * statistics.median(line.base.seconds), n=rounds)
            peak = line.base.peak
            yield (
                TableCell(reason="memory was not measured")
                if peak is None
                else self._cell(value=peak / 2**20, n=1)
            )
        for factor in FACTORS:
            yield self._exponent(line, factor)

    def _exponent(self, line: StageLine, factor: Factor) -> TableCell:
        if factor not in DEPENDS_ON[line.spec.stage]:
            return TableCell(reason="has no such size")
        growth = line.growth.get(factor)
        claimed = line.claim.exponents.get(factor) if line.claim else None
        if growth is None or growth.exponent is None:
            return TableCell(published=claimed, reason=self._missing)
        exponent, rounds = growth.exponent, sum(map(len, growth.seconds.values()))
        return self._cell(value=exponent.value, sd=exponent.half, n=rounds, published=claimed)

    def _cell(self, **values: Any) -> TableCell:
        """Return a cell with a value, and which measurement it is from."""
        assert self.record is not None
        return TableCell(**values, runs=(self.record.benchmark_id,))

    def _notes(self) -> Iterator[str]:
        yield (
            "ms, MiB: median time over the rounds, and most bytes of tensors at once, inputs among "
            "them. Exponents: slope of the logarithms of time and size, ± half of Student's 95 % "
            "interval; 1 is linear, 0 does not grow."
        )
        yield from self.verdicts_of(self.lines)
        if self.record and self.suite:
            yield from _imprecise(self.suite, self.lines)
            yield from _shares(self.lines)
            yield from _measured(self.suite)
            yield _machine(self.record)
        yield from self.definition.footnotes

    @staticmethod
    def verdicts_of(lines: Sequence[StageLine]) -> Iterator[str]:
        """Yield whether the paper's claims hold, a sentence for each line that has one."""
        for line in lines:
            if line.claim and line.growth:
                yield _verdict(line, line.claim)


def newest(
    store: ResultStore, definition: ComplexityDefinition, published: Published
) -> Complexity:
    """Return the newest measurement of a definition's suite beside the paper's claims."""
    records = store.benchmarks(definition.benchmark)
    return Complexity(definition, published, records[-1] if records else None)


def _growth(
    factor: Factor, base: Sizes, samples: Mapping[Sizes, BenchmarkSample], claim: GrowthClaim | None
) -> SizeGrowth:
    seconds = {
        getattr(sizes, factor): sample.seconds
        for sizes, sample in samples.items()
        if base.varies_only(sizes, factor)
    }
    ordered = dict(sorted(seconds.items()))
    claimed = claim.exponents.get(factor) if claim else None
    return SizeGrowth(factor, ordered, fit_all(ordered), claimed)


def _exponent_text(growth: SizeGrowth) -> str:
    if growth.exponent is None:
        return "\N{EN DASH}"
    value = round(growth.exponent.value, 2) + 0.0  # no sign of a zero
    return f"{value:.2f} ± {growth.exponent.half:.2f}"


def _verdict(line: StageLine, claim: GrowthClaim) -> str:
    """Return whether a claim holds, and where it does not."""
    judged = {factor: g for factor, g in line.growth.items() if g.verdict is not None}
    of = {v: [g for g in judged.values() if g.verdict is v] for v in Verdict}
    if of[Verdict.FASTER]:
        conclusion = "does not hold"
    elif of[Verdict.OPEN]:
        conclusion = "cannot be told"
    else:
        conclusion = "holds as a bound only" if of[Verdict.SLOWER] else "holds"
    words = {
        Verdict.FASTER: "time grows faster with",
        Verdict.SLOWER: "more slowly with",
        Verdict.OPEN: "too uncertain with",
    }
    clauses = [f"{words[v]} {_listed(of[v])}" for v in words if of[v]]
    if clauses and of[Verdict.HOLDS]:
        clauses.append("as claimed with " + ", ".join(g.factor for g in of[Verdict.HOLDS]))
    because = f": {'; '.join(clauses)}" if clauses else ""
    text = (
        f"{claim.formula}, claimed of {claim.about}, {conclusion} for {line.spec.title}{because}."
    )
    return text[0].upper() + text[1:]


def _listed(growth: Sequence[SizeGrowth]) -> str:
    exponents = []
    for stage in growth:
        assert stage.exponent is not None
        exponents.append(f"{stage.factor} ({stage.exponent.value:.2f}, claimed {stage.claimed})")
    return ", ".join(exponents)


def _shares(lines: Sequence[StageLine]) -> Iterator[str]:
    """Yield the shares of the stages in a step of MoCME at the base sizes."""
    took = {
        line.spec.title: statistics.median(line.base.seconds)
        for line in lines
        if line.spec.key in STEP and line.base is not None
    }
    if len(took) == len(STEP):
        total = sum(took.values())
        shares = ", ".join(
            f"{title} {100 * seconds / total:.1f} %"
            for title, seconds in sorted(took.items(), key=lambda pair: -pair[1])
        )
        yield f"Of a step of MoCME as the paper writes it ({total:.2f} s): {shares}."


def _imprecise(suite: ComplexitySuite, lines: Sequence[StageLine]) -> Iterator[str]:
    """Yield the exponents whose interval is wider than the suite asks for."""
    if suite.precision is None:
        return
    wide = [
        f"{line.spec.title} in {factor} (± {growth.exponent.half:.2f})"
        for line in lines
        for factor, growth in line.growth.items()
        if growth.exponent is not None and growth.exponent.half >= suite.precision
    ]
    if wide:
        yield (
            f"Interval wider than ± {suite.precision:g} when the measurement ended: "
            f"{', '.join(wide)}; `harness bench complexity` with more minutes narrows it."
        )


def _measured(suite: ComplexitySuite) -> Iterator[str]:
    values = (
        f"{factor} {', '.join(f'{v:,}' for v in getattr(suite.vary, factor))}" for factor in FACTORS
    )
    fixed = "".join(
        f"; for the {stage} at {', '.join(f'{name} {value:,}' for name, value in sizes.items())}"
        for stage, sizes in suite.hold.items()
    )
    yield f"Varied one at a time: {'; '.join(values)}; the others held as above{fixed}."


def _machine(record: BenchmarkRecord) -> str:
    provenance = record.provenance
    box = provenance.get("machine", {})
    torch = provenance.get("versions", {}).get("torch", "?")
    source = "" if record.source == "harness" else f" by {record.source}"
    threads = provenance.get("threads", "?")
    return (
        f"Measured{source} on {box.get('processor', '?')} ({provenance.get('device', '?')}), "
        f"{threads} {'thread' if threads == 1 else 'threads'}, torch {torch}, fp32: "
        f"{record.benchmark_id}, "
        f"{str(provenance.get('finished', '?'))[:10]}."
    )


def _column(block: str, block_title: str, name: str, title: str, decimals: int) -> Column:
    return Column(
        dataset=block,
        dataset_title=block_title,
        metric=name,
        bucket="all",
        title=title,
        higher_is_better=None,
        split="",
        decimals=decimals,
    )
