"""The table of ratios, from rates that were never measured."""

from __future__ import annotations

import pytest

from harness.bench.contenders import CONTENDERS, EVERY_QUERY, MODELS, ONCE
from harness.bench.peers import Comparison
from harness.bench.ratios import MEMORY_LIMIT, TARGETS, ratios, ratios_text
from harness.bench.timing import Spread


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
    for target in TARGETS:
        assert target.model in CONTENDERS[target.peer].models
        assert target.what in ("training", EVERY_QUERY, ONCE)
    assert {target.model for target in TARGETS} == set(MODELS)


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
