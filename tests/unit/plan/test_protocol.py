"""Protocols: which answers are no competitors, which sides are asked."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from harness.data.graph import KnowledgeGraph
from harness.plan.spec import NUMERICS, OPTIONAL_NUMERICS, Protocol, RunSpec
from tests.toys import toy_graph

SPEC = RunSpec.model_validate({"model": {"name": "rotate"}, "data": {"dataset": "d"}})


def graph() -> KnowledgeGraph:
    return toy_graph([(0, 0, 1)], [(0, 0, 2)], [(0, 0, 3)], entities="abcd")


@pytest.mark.parametrize(
    ("splits", "answers"),
    [(("train", "valid", "test"), [1, 2, 3]), (("train",), [1]), ((), [])],
    ids=["filtered", "train", "raw"],
)
def test_known_answers_are_those_of_the_splits_of_the_filter(
    splits: tuple[str, ...], answers: list[int]
) -> None:
    known = graph().filter_index(splits)
    query = torch.zeros(1, dtype=torch.long)
    assert known.lookup(query, query, "tail")[1].tolist() == answers
    found = known.contains(query[:, None], query[:, None], torch.arange(4)[None], "tail")
    assert found[0].nonzero()[:, 0].tolist() == answers


@pytest.mark.parametrize(
    "wrong", [{"filter": ["trian"]}, {"sides": []}, {"sides": ["both"]}, {"ties": "lucky"}]
)
def test_a_protocol_that_cannot_be_followed_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Protocol.model_validate(wrong)


def test_a_fix_that_changes_numbers_changes_the_identity_of_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def identity(model_numerics: int = 1) -> str:
        return SPEC.run_id(dataset_digest="d", feature_digest="", model_numerics=model_numerics)

    before = identity()
    assert identity() == before
    assert identity(model_numerics=2) != before
    for part in NUMERICS:
        with monkeypatch.context() as patched:
            patched.setitem(NUMERICS, part, NUMERICS[part] + 1)
            assert identity() != before, part


def test_only_runs_with_shared_negatives_have_the_version_of_their_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def identity(sampler: str) -> str:
        negatives = SPEC.negatives.model_copy(update={"sampler": sampler})
        spec = SPEC.model_copy(update={"negatives": negatives})
        return spec.run_id(dataset_digest="d", feature_digest="", model_numerics=1)

    before = {sampler: identity(sampler) for sampler in ("uniform", "shared")}
    monkeypatch.setitem(OPTIONAL_NUMERICS, "shared_negatives", 1)
    assert identity("uniform") == before["uniform"]
    assert identity("shared") != before["shared"]


def test_the_validation_split_can_have_a_filter_of_its_own() -> None:
    blind = Protocol(valid_filter=("train", "valid"))
    assert blind.filter_of("valid") == ("train", "valid")
    assert blind.filter_of("test") == ("train", "valid", "test")
    assert blind.key_of("valid") == "realistic/train+valid/head+tail/all"
    assert blind.key == Protocol().key == Protocol().key_of("valid")


def test_another_filter_of_the_validation_split_is_another_run() -> None:
    """It may choose another epoch."""

    def identity(**protocol: object) -> str:
        spec = SPEC.model_copy(update={"protocol": Protocol.model_validate(protocol)})
        return spec.run_id(dataset_digest="d", feature_digest="", model_numerics=1)

    assert identity(valid_filter=["train", "valid"]) != identity()
    assert identity(valid_filter=None) == identity()
