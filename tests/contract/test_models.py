"""What every registered model must do: each check of ``harness.contract`` on each of them."""

from __future__ import annotations

import pytest
import torch

from harness.catalog import load_models
from harness.contract import CHECKS, Broken, Check, NotApplicable, Subject
from harness.contract.training import planted
from harness.data.negatives import CorruptionSampler
from harness.errors import NonFiniteError
from harness.evaluation.evaluator import rank
from harness.index import FilterIndex
from harness.model import MODELS
from harness.plan.spec import Protocol

load_models()
RESIDUAL = {
    f"{name} with residual features": Subject(name, {"model": {"residual": {"gain": 0.5}}})
    for name in ("transe", "distmult", "complex", "rotate", "pairre")
}
SUBJECTS = {name: Subject(name) for name in MODELS} | RESIDUAL
APPLICABLE = [
    pytest.param(check, name, id=f"{check.name}-{name}")
    for check in CHECKS
    for name, subject in SUBJECTS.items()
    if not check.inapplicable(subject)
]
ROTATING = ("complex", "rotate", "mocme", "vbkgc", "adamf")


@pytest.mark.parametrize(("check", "name"), APPLICABLE)
def test_every_model_keeps_the_contract(check: Check, name: str) -> None:
    try:
        check.run(SUBJECTS[name])
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("check", "name"),
    [
        pytest.param(check, name, id=f"{check.name}-{name}")
        for check in CHECKS
        for name in MODELS
        if check.name in MODELS.get(name).contract.exempt
    ],
)
def test_a_model_is_exempt_from_a_check_that_it_would_fail_alone(check: Check, name: str) -> None:
    with pytest.raises(Broken):
        check.run(SUBJECTS[name])


def test_models_are_exempt_from_checks_that_exist() -> None:
    named = {key for name in MODELS for key in MODELS.get(name).contract.exempt}
    assert named <= {check.name for check in CHECKS}


@pytest.mark.parametrize("name", ROTATING)
def test_a_rule_of_rotations_is_generalised_by_models_that_rotate(name: str) -> None:
    """From few triples, each of whose answers is one of 29."""
    assert planted(SUBJECTS[name], enough=0.99).unseen > 0.2


def test_training_ends_once_the_rule_is_learned() -> None:
    early, late = (planted(SUBJECTS["complex"], enough=enough).after for enough in (0.5, 0.99))
    assert 0.5 < early < 0.99 < late


def test_a_model_that_scores_nan_is_refused() -> None:
    subject = SUBJECTS["rotate"]
    model, train = subject.make(), subject.index.train
    with torch.no_grad():
        model.entity[0, 0] = float("nan")  # type: ignore[union-attr, operator]
    with pytest.raises(NonFiniteError, match="queries"):
        rank(model, train, FilterIndex(train, model.n_entities, model.n_relations), Protocol())


def test_negatives_of_a_step_are_the_same_for_every_model() -> None:
    """Variants are paired: the sampler knows nothing of the model."""
    index = SUBJECTS["rotate"].index
    sampler = CorruptionSampler.build(index, sampler="uniform", count=4, filter="train")
    drawn = [sampler.sample(index.train, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(drawn[0].candidates, drawn[1].candidates)
