"""The tables of ratios, from made-up rates."""

from __future__ import annotations

import pytest

from harness.bench.timing import Spread
from tests.benchmarks.contenders import CONTENDERS, EVERY_QUERY, MODELS, ONCE
from tests.benchmarks.peers import Comparison
from tests.benchmarks.ratios import (
    MEMORY_LIMIT,
    TARGETS,
    ratios,
    ratios_text,
    shares,
    shares_text,
)


def rotate(dataset: str = "mkg-w") -> Comparison:
    return Comparison(
        "rotate",
        dataset,
        training={"ours": [240.0, 300.0, 260.0], "pykeen": [10.0, 10.0, 10.0]},
        ranking={
            "ours": {EVERY_QUERY: [1300.0] * 3, ONCE: [1500.0] * 3},
            "pykeen": {EVERY_QUERY: [10.0, 20.0, 10.0]},
        },
        peaks={"ours": 2**28, "pykeen": 3 * 2**29},
    )


def test_ratios_are_of_turns_that_followed_each_other() -> None:
    training, every, once = ratios([rotate()])
    assert training.times == Spread(24.0, 26.0, 30.0)
    assert training.ours == Spread(240.0, 260.0, 300.0)
    assert every.times == Spread(65.0, 130.0, 130.0)
    assert once.what == ONCE
    assert once.times.median == 150.0


def test_a_target_is_met_by_the_middle_of_the_rounds() -> None:
    training, every, once = ratios([rotate()])
    assert (training.must, training.missed) == (25, False)
    assert (every.must, every.missed) == (120, False)
    assert (once.must, once.missed) == (160, True)


def test_targets_hold_where_they_were_set() -> None:
    assert [ratio.must for ratio in ratios([rotate("atlas")])] == [None, None, None]
    assert [ratio.must for ratio in ratios([rotate("kvc16k")])] == [25, None, None]


def test_targets_name_what_is_compared() -> None:
    for what, model, peer in TARGETS:
        assert model in CONTENDERS[peer].models
        assert what in ("training", EVERY_QUERY, ONCE)
    assert {model for _, model, _ in TARGETS} == set(MODELS)


def test_a_penalty_of_its_own_does_not_change_what_is_asked_of_us() -> None:
    one = Comparison("complex", "mkg-w", training={"ours": [50.0], "pykeen+": [1.0]})
    assert ratios([one])[0].must == 50


def test_without_a_peer_our_rates_are_shown_alone() -> None:
    one = Comparison("pairre", "atlas", training={"ours": [1234.0]})
    (ratio,) = ratios([one])
    assert (ratio.peer, ratio.times, ratio.missed) == ("", None, False)
    assert "pairre  none   1,234" in ratios_text([one])


def test_the_text_says_what_was_missed_and_fits_80_columns() -> None:
    text = ratios_text([rotate(), rotate("kvc16k")])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "mkg-w    rotate  PyKEEN     260    10.0   26.0  24.0-30.0  25.0" in lines
    assert any(line.endswith("160  missed") for line in lines)
    assert "mkg-w    rotate  PyKEEN   1,536" in lines
    assert f"Ours must stay below {MEMORY_LIMIT // 2**20:,} MiB." in lines


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_has_models_that_are_compared(name: str) -> None:
    entrant = CONTENDERS[name]
    assert entrant.models
    assert set(entrant.models) <= set(MODELS)
    assert entrant.triples == 0 or 2 * entrant.triples >= 512


# --- against all entities -------------------------------------------------------------------


def against_all() -> Comparison:
    return Comparison(
        "complex",
        "mkg-w",
        training={
            "ours-all": [800.0, 900.0],
            "ours-all-bf16": [1600.0, 1620.0],
            "pykeen-lcwa": [100.0, 90.0],
            "products": [1000.0, 1000.0],
            "products-bf16": [2000.0, 2000.0],
        },
        queries={
            "ours-all": [1600.0, 1800.0],
            "ours-all-bf16": [3200.0, 3240.0],
            "pykeen-lcwa": [150.0, 150.0],
            "products": [2000.0, 2000.0],
            "products-bf16": [4000.0, 4000.0],
        },
    )


def test_shares_are_of_the_products_at_the_same_precision() -> None:
    ours, bf16, lcwa, *_ = shares([against_all()])
    assert ours.by_ours == Spread(1.0, 1.0, 1.0)
    assert ours.of_products.median == pytest.approx(0.85)
    assert bf16.by_ours.median == pytest.approx((2.0 + 1.8) / 2)
    assert bf16.of_products.median == pytest.approx(0.805)
    assert lcwa.by_ours.median == pytest.approx((0.125 + 0.1) / 2)
    assert lcwa.of_products.median == pytest.approx(0.075)  # by queries: they share positives


def test_the_text_of_shares_fits_80_columns() -> None:
    lines = shares_text([against_all()]).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if "PyKEEN, LCWA" in line)
    assert row.split("LCWA")[1].split() == ["fp32", "95.0", "90.0-100", "0.11", "0.07"]
