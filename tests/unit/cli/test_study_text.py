"""What ``harness study show`` says of a search's best trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.cli.study_text import describe
from harness.config.search import Domain
from harness.studies.results import SearchResult, TrialResult


def search(*trials: Sequence[float]) -> SearchResult:
    """A search whose trials have these validation MRRs, one per seed."""
    return SearchResult(
        suite="made_up",
        variant="",
        title="",
        label="TransE",
        model="transe",
        dataset="atlas",
        features="none",
        sampler="random",
        space={"optimiser.lr": Domain(low=0.0, high=1.0)},
        seeds=tuple(range(len(trials[0]))),
        trials=tuple(
            TrialResult(
                number=number,
                state="complete",
                settings={"optimiser.lr": number / 10},
                value=sum(values) / len(values),
                values=dict(enumerate(values)),
                runs={},
                curve={},
            )
            for number, values in enumerate(trials)
        ),
        name="made_up",
    )


@pytest.mark.parametrize(
    ("others", "ahead"),
    [
        # Differences 1, 2 and 3 points: their mean 2 is t = 2 sqrt(3) = 3.46, of 2 degrees of
        # freedom; 95 % needs 4.30. With 2, 2 and 3 points t is 7.
        ([(0.19, 0.28, 0.37)], "0 of 1 other trial"),
        ([(0.18, 0.28, 0.37)], "1 of 1 other trial"),
        ([(0.18, 0.28, 0.37), (0.20, 0.30, 0.30)], "1 of 2 other trials"),
        ([(0.20, 0.30, 0.40)], "0 of 1 other trial"),
    ],
)
def test_the_best_is_compared_with_the_others_seed_by_seed(
    others: list[tuple[float, ...]], ahead: str
) -> None:
    text = describe([search((0.20, 0.30, 0.40), *others)], Path())
    assert "best: trial 0, validation MRR 30.00±10.00\n" in text
    assert f"    beyond the noise of seeds ahead of {ahead}\n" in text


def test_with_one_seed_nothing_is_known_of_its_noise() -> None:
    text = describe([search((0.3,), (0.1,))], Path())
    assert "best: trial 0, validation MRR 30.00\n" in text
    assert "beyond the noise" not in text


def test_one_trial_is_compared_with_none() -> None:
    assert "beyond the noise" not in describe([search((0.3, 0.2))], Path())
