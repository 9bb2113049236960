"""Exponents beside claims: made-up times that grow as a formula says."""

from __future__ import annotations

import pytest

from harness.analysis.query import Results
from harness.bench.exponents import Exponent
from harness.plan.complexity import ComplexitySuite
from harness.report.definition import ComplexityDefinition, Published
from harness.report.files import load_any, load_published
from harness.report.query import named_figure, named_table
from harness.report.render import render, render_picture
from harness.report.tables.complexity import Complexity, Verdict
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample, identified
from harness.store.memory import MemoryStore

SUITE = ComplexitySuite.model_validate(
    {
        "name": "complexity",
        "measures": "complexity",
        "base": {"d": 4, "K": 2, "M": 3, "N": 32},
        "vary": {"d": [2, 4, 8], "K": [1, 2, 4], "M": [2, 3, 4], "N": [16, 32, 64]},
        "hold": {"backbone": {"N": 16}},
        "fusions": ["complementarity", "attention"],
    }
)


def published() -> Published:
    return load_published()


def record(**exponents: dict[str, float]) -> BenchmarkRecord:
    """Return a measurement whose times follow power laws, by stage or kind of fusion."""
    samples = []
    for case in SUITE.cases:
        powers = exponents.get(case.name, {})
        seconds = 1e-3
        for factor, size in dict(case.sizes).items():
            seconds *= size ** powers.get(factor, 0)
        samples.append(
            BenchmarkSample(
                stage=case.stage,
                name=case.name,
                sizes=case.sizes.model_dump(),
                seconds=(0.99 * seconds, seconds, 1.01 * seconds),
                peak=2**21,
            )
        )
    made = BenchmarkRecord(
        benchmark_id="none",
        suite="complexity",
        settings=SUITE.model_dump(mode="json"),
        samples=tuple(samples),
        provenance={"machine": {"processor": "An Abacus"}, "threads": 2, "device": "cpu"},
    )
    return identified(made)


def complexity(measured: BenchmarkRecord | None) -> Complexity:
    definition = load_any("complexity")
    assert isinstance(definition, ComplexityDefinition)
    return Complexity(definition, published(), measured)


@pytest.mark.parametrize(
    ("value", "half", "claimed", "verdict"),
    [
        (1.1, 0.01, 1, Verdict.HOLDS),
        (1.3, 0.1, 1, Verdict.FASTER),
        (0.7, 0.1, 1, Verdict.SLOWER),
        (1.3, 0.5, 1, Verdict.OPEN),
    ],
)
def test_verdicts(value: float, half: float, claimed: int, verdict: Verdict) -> None:
    assert Verdict.of(Exponent(value, value - half, value + half), claimed) is verdict


def test_exponents_stand_beside_the_claimed_ones() -> None:
    law = {"d": 1.0, "K": 1.0, "M": 1.0, "N": 1.0}
    table = complexity(record(complementarity=law)).table
    row = next(row for row in table.rows if row.label == "complementarity")
    time, peak, d, _, _, n = row.cells
    assert time.value == pytest.approx(4 * 2 * 3 * 32)
    assert peak.value == 2
    assert d.value == pytest.approx(1.0)
    assert d.published == 0
    assert n.difference == pytest.approx(0.0, abs=1e-9)
    assert 0 < d.sd < 0.1


def test_a_broken_claim_is_told_with_the_size_that_breaks_it() -> None:
    law = {"d": 1.0, "K": 1.0, "M": 1.0, "N": 1.0}
    notes = " ".join(complexity(record(complementarity=law)).table.notes)
    assert (
        "O(MKN), claimed of MoCME, does not hold for complementarity: time grows faster with "
        "d (1.00, claimed 0); as claimed with K, M, N." in notes
    )


def test_a_claim_that_holds_and_one_that_is_only_a_bound() -> None:
    measured = record(attention={"d": 1, "M": 1, "N": 1}, scoring={"d": 1, "N": 1})
    notes = " ".join(complexity(measured).table.notes)
    assert "O(MNd²), claimed of fusion by attention, holds as a bound only for attention: more" in (
        notes
    )
    assert "O(Nd), claimed of models of the structure alone, holds for scoring." in notes


def test_a_stage_is_compared_at_the_sizes_it_is_held_at() -> None:
    lines = complexity(record(backbone={"d": 2, "N": 1})).lines
    (experts,) = [line for line in lines if line.spec.stage == "backbone"]
    assert list(experts.growth["d"].seconds) == [2, 4, 8]
    assert experts.growth["d"].exponent.value == pytest.approx(2.0)
    assert experts.base.sizes == SUITE.base.model_dump()


def test_shares_of_a_step_add_up() -> None:
    notes = " ".join(complexity(record()).table.notes)
    assert notes.count("25.0 %") == 4


def test_what_was_not_measured_says_with_which_command_it_is() -> None:
    empty = complexity(None)
    assert "harness bench complexity" in empty.why_empty
    assert all(
        cell.value is not None or cell.reason for row in empty.table.rows for cell in row.cells
    )
    less = record().model_copy(update={"samples": record().samples[:1]})
    table = complexity(less).table
    assert all(cell.value is not None or cell.reason for row in table.rows for cell in row.cells)


def test_the_newest_measurement_is_shown_as_a_table_and_as_a_picture() -> None:
    store = MemoryStore()
    for law in ({"d": 2.0}, {"d": 1.0}):
        store.add_benchmark(record(complementarity=law))
    text = render(named_table(Results(store), "complexity"))
    assert "An Abacus (cpu), 2 threads" in text
    assert max(map(len, text.splitlines())) <= 80
    figure = named_figure(Results(store), "complexity")
    assert isinstance(figure, Complexity)
    assert figure.lines[0].growth["d"].exponent.value == pytest.approx(1.0)
    first, second = (render_picture(figure, "svg") for _ in range(2))
    assert first == second
    assert b"<svg" in first


def test_the_picture_has_one_legend_shared_times_and_no_prose() -> None:
    figure = complexity(record(complementarity={"N": 1.0}, attention={"N": 2.0}))
    drawn = figure.draw()
    assert len(drawn.legends) == 1
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [
        *("complementarity", "attention"),
        *("paper: O(MKN)", "paper: O(MNd\N{SUPERSCRIPT TWO})"),
    ]
    assert not drawn.texts
    assert not any(axes.texts for axes in drawn.axes)
    assert len({axes.get_ylim() for axes in drawn.axes}) == 1
    assert [axes.get_xlabel() for axes in drawn.axes] == [
        *("Components $d$", "Experts per modality $K$", "Modalities $M$", "Entities $N$")
    ]


def test_exponents_stand_in_the_caption() -> None:
    figure = complexity(record(complementarity={"N": 1.0}))
    assert figure.legend.startswith("Medians of 3 rounds. Grey: growth by the paper's formulas")
    assert "complementarity 0.00 \N{PLUS-MINUS SIGN} 0.01, " in figure.legend
    assert f"Picture: {figure.legend}" in " ".join(render(figure).split())


def test_exponents_that_are_too_uncertain_are_named() -> None:
    measured = record(complementarity={"N": 1.0})
    precise = complexity(measured).table.notes
    assert not any("wider than" in note for note in precise)
    settings = {**measured.settings, "precision": 1e-9}
    notes = " ".join(complexity(measured.model_copy(update={"settings": settings})).table.notes)
    assert "Interval wider than \N{PLUS-MINUS SIGN} 1e-09 when the measurement ended: " in notes
    assert "complementarity in d (\N{PLUS-MINUS SIGN} 0.01)" in notes
