"""What ``harness study show`` says of a search's best trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.study_text import describe
from harness.config.search import Domain
from harness.config.yaml_source import parse_value
from harness.errors import ConfigError
from harness.plan.spec import RunSpec
from harness.store.memory import MemoryStore
from harness.store.records import RunRecord
from harness.studies.fragment import fragment
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
    assert f"    better than {ahead} beyond the noise of seeds\n" in text


def test_with_one_seed_nothing_is_known_of_its_noise() -> None:
    text = describe([search((0.3,), (0.1,))], Path())
    assert "best: trial 0, validation MRR 30.00\n" in text
    assert "beyond the noise" not in text


def test_one_trial_is_compared_with_none() -> None:
    assert "beyond the noise" not in describe([search((0.3, 0.2))], Path())


def trained(
    best_epochs: Sequence[int], *, dataset: str = "db15k@clean", **optimiser: Any
) -> tuple[SearchResult, TrialResult, MemoryStore]:
    """A trial whose runs were best at these epochs of 40, one per seed."""
    store, runs = MemoryStore(), {}
    for seed, epoch in enumerate(best_epochs):
        spec = RunSpec.model_validate(
            {
                "model": {"name": "transe"},
                "data": {"dataset": dataset},
                "optimiser": {"lr": 0.1, **optimiser},
                "training": {"epochs": 40, "patience": 0},
                "protocol": {"valid_filter": ["train", "valid"]},
                "seed": seed,
            }
        )
        runs[seed] = f"{seed:012x}"
        store.add(
            RunRecord(
                run_id=runs[seed],
                status="validated",
                spec=spec.model_dump(mode="json"),
                model="transe",
                dataset=dataset,
                dataset_digest="d",
                features="none",
                feature_digest="",
                seed=seed,
                protocol=spec.protocol.key,
                diagnostics={"best_epoch": float(epoch)},
            )
        )
    made = replace(search((0.2,) * len(best_epochs)), dataset=dataset)
    trial = replace(made.trials[0], runs=runs)
    return replace(made, trials=(trial,)), trial, store


@pytest.mark.parametrize(("best", "epochs"), [([12], 12), ([14, 9, 31], 14), ([20, 10], 10)])
def test_what_was_chosen_on_a_cleaned_split_is_written_for_the_official_one(
    best: list[int], epochs: int
) -> None:
    made, trial, store = trained(best)
    text = fragment([(made, trial)], [made], store, onto="db15k")
    (override,) = parse_value(text, "fragment")
    assert override["when"] == {"dataset": "db15k", "model": "transe"}
    assert override["set"] == {
        "optimiser.lr": 0.0,
        "protocol.valid_filter": ["train", "valid"],
        "training.epochs": epochs,
        "training.select": "last",
    }
    assert "TransE on db15k@clean: trial 0" in text


def test_without_another_dataset_epochs_are_left_to_validation() -> None:
    made, trial, store = trained([12])
    (override,) = parse_value(fragment([(made, trial)], [made], store), "fragment")
    assert override["when"]["dataset"] == "db15k@clean"
    assert not any(key.startswith("training") for key in override["set"])


def test_an_epoch_within_a_schedule_is_not_the_end_of_a_shorter_one() -> None:
    made, trial, store = trained([12, 40], schedule="cosine")
    with pytest.raises(ConfigError, match=r"epoch 12 of 40 under optimiser\.schedule=cosine"):
        fragment([(made, trial)], [made], store, onto="db15k")
    made, trial, store = trained([40, 40], schedule="cosine")
    assert "training.epochs: 40" in fragment([(made, trial)], [made], store, onto="db15k")


def test_trials_of_two_datasets_are_not_written_for_one() -> None:
    first, second = trained([12]), trained([12], dataset="atlas")
    both = [first[:2], second[:2]]
    with pytest.raises(ConfigError, match="--only dataset=db15k@clean"):
        fragment(both, [first[0], second[0]], first[2], onto="db15k")


def test_a_run_that_is_not_stored_has_no_epoch() -> None:
    made, trial, _ = trained([12])
    with pytest.raises(ConfigError, match="run 000000000000 is not in the database"):
        fragment([(made, trial)], [made], MemoryStore(), onto="db15k")
