"""Weights of modalities where the right answer is known.

On ``synthetic:signal`` the numbers tell six of eight relations and the images tell nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from harness import pipeline
from harness.catalog import load_models
from harness.pipeline import Workplace
from harness.plan.spec import RunSpec
from models.mocme.config import MoCMEConfig
from models.mocme.information import LEAST, ComplementarityWeights, RelevanceWeights
from models.mocme.information_config import Information

DATASET = "synthetic:signal,entities=120,train=2500,valid=60,test=60"
NOT_EQ_4 = pytest.mark.xfail(
    strict=True, reason="Eq. 4 gives weight to what shares little, and noise shares least"
)


@cache
def weights(kind: str, copies: int = 0) -> dict[str, float]:
    """Mean weight of each modality after a second of training."""
    load_models()
    twice = {"kind": "duplicate", "modality": "numeric", "copies": copies}
    spec = RunSpec.model_validate(
        {
            "model": {
                "name": "mocme",
                "dim": 8,
                "experts": {"K": 1},
                "mi": {"batch": 120, "min_overlap": 8, "warmup_steps": 20, "plugin": {"bins": 4}},
                "fusion": {"kind": kind},
            },
            "data": {"dataset": DATASET, "features": "all", "corrupt": [twice]},
            "negatives": {"count": 4},
            "optimiser": {"lr": 2e-2, "auxiliary_lr": 5e-3},
            "training": {"epochs": 12, "batch_size": 256, "evaluate_every": 12},
        }
    )
    with TemporaryDirectory() as folder:
        record = pipeline.train("aaaa", spec, Workplace(Path(folder), "cpu", 1))
    found = {k: v for k, v in record.diagnostics.items() if k.startswith("omega_b/")}
    return {key.removeprefix("omega_b/"): value for key, value in found.items()}


@pytest.mark.parametrize("kind", [pytest.param("complementarity", marks=NOT_EQ_4), "relevance"])
def test_what_tells_more_of_the_graph_weighs_more(kind: str) -> None:
    found = weights(kind)
    assert found["numeric"] > 2 * found["image"]


@pytest.mark.parametrize("kind", ["complementarity", "relevance"])
def test_the_weight_of_a_modality_falls_when_it_is_there_twice(kind: str) -> None:
    once, twice = weights(kind), weights(kind, copies=1)
    assert twice["numeric"] < 0.75 * once["numeric"]


def test_noise_gains_nothing_when_another_modality_is_there_twice() -> None:
    once, twice = weights("relevance"), weights("relevance", copies=1)
    assert twice["image"] < once["image"] + 0.05


# --- the formula --------------------------------------------------------------------------


def weighted(
    kind: type[ComplementarityWeights], information: list[list[float]], available: list[bool]
) -> list[float]:
    """Weights of one entity from given information (column 0: the structure)."""
    n = len(information)
    made = kind(
        n,
        4,
        Information(warmup_steps=0, min_overlap=2),
        temperature=1.0,
        n_rows=8,
        overlap=torch.full((n, n), 99.0),
        n_entities=8,
    )
    made.information.copy_(torch.tensor(information))
    made.steps += 1
    return made(torch.tensor([available])).squeeze(0).tolist()


INFORMED = [[0.0, 0.8, 0.0, 0.4], [0.8, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.4, 0.0, 0.0, 0.0]]
"""A modality that shares 0.8 nats with the structure, one that shares none, one that shares 0.4."""


def test_weights_are_in_proportion_to_relevance() -> None:
    relevant = torch.tensor([0.8, 0.8, LEAST, 0.4])
    found = weighted(RelevanceWeights, INFORMED, [True] * 4)
    assert found == pytest.approx((relevant / relevant.sum()).tolist())


def test_what_an_entity_lacks_has_no_weight_and_repeats_nothing() -> None:
    twice = [[0.0, 0.8, 0.8], [0.8, 0.0, 1.2], [0.8, 1.2, 0.0]]
    assert weighted(RelevanceWeights, twice, [True, True, False]) == pytest.approx([0.5, 0.5, 0])
    assert weighted(RelevanceWeights, twice, [False, True, False]) == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_copies_share_the_weight_of_one(copies: int) -> None:
    """What copies share is at least what they say of the structure."""
    n = 1 + copies
    information = [[0.8 if i == 0 or j == 0 else 1.5 for j in range(n)] for i in range(n)]
    for i in range(n):
        information[i][i] = 0.0
    found = weighted(RelevanceWeights, information, [True] * n)
    assert found[0] == pytest.approx(0.5)
    assert found[1:] == pytest.approx([0.5 / copies] * copies)


def test_modalities_that_share_other_things_repeat_no_more_than_the_lesser_says() -> None:
    """0.8 and 0.2 of the structure, 1.5 of each other: 0.2 are said twice."""
    information = [[0.0, 0.8, 0.2], [0.8, 0.0, 1.5], [0.2, 1.5, 0.0]]
    relative = torch.tensor([0.8, 0.8 / (1 + 0.2 / 0.8), 0.2 / (1 + 0.2 / 0.2)])
    found = weighted(RelevanceWeights, information, [True] * 3)
    assert found == pytest.approx((relative / relative.sum()).tolist())


def test_before_anything_is_known_all_weigh_the_same() -> None:
    nothing = [[0.0] * 4 for _ in range(4)]
    assert weighted(RelevanceWeights, nothing, [True] * 4) == pytest.approx([0.25] * 4)


def test_complementarity_gives_most_to_what_shares_nothing() -> None:
    found = weighted(ComplementarityWeights, INFORMED, [True] * 4)
    assert max(found) == found[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"structure": {"as_modality": False}}, "needs structure.as_modality"),
        ({"mi": {"granularity": "pointwise"}}, "needs mi.granularity 'batch'"),
    ],
)
def test_relevance_needs_a_structure_to_be_relevant_to(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MoCMEConfig.model_validate({"fusion": {"kind": "relevance"}, **options})
