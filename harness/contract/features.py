"""Checks of features: they affect the entities that have them, and no others."""

from __future__ import annotations

import torch

from harness.contract.comparing import agree, demand
from harness.contract.core import Broken, NotApplicable, check, fusing
from harness.contract.noise import ARBITRARY, altered, dirtied, of_some
from harness.contract.scoring import batch_size, query_text, shapes, triple
from harness.contract.state import deterministic, seeds
from harness.contract.subject import N, Subject

__all__ = ["features_count", "fusion_weights", "mask", "other_features", "structure_alone"]


@check(seeds, batch_size, deterministic, kind=fusing)
def mask(subject: Subject) -> None:
    """Features of absent modalities change no score or loss."""
    index, clean = subject.index, subject.modalities
    dirty = {key: dirtied(modality) for key, modality in clean.items()}
    models = [subject.make(features) for features in (clean, dirty)]
    for moment in ("", " after a training step"):
        with torch.no_grad():
            clean_scores, scores = (model.eval().score_triples(index.train) for model in models)
        agree(
            scores,
            clean_scores,
            (
                f"a score{moment} with {ARBITRARY:g} as the features of entities that have none "
                "(Modality.present is False)",
                "with zeros",
            ),
            lambda position: triple(index.train, position[0]),
        )
        if not subject.capabilities.trainable:
            return
        first, second = (subject.loss_of_a_step(model) for model in models)
        demand(
            abs(second - first) <= 1e-5 * abs(first),
            f"the loss is {first:.6g}, and {second:.6g} with {ARBITRARY:g} as the features of "
            "entities that have none (Modality.present is False)",
        )


@check(shapes, kind=fusing)
def structure_alone(subject: Subject) -> None:
    """Without any features, structure separates entities."""
    nobody = {
        key: altered(m, matrix=torch.zeros_like(m.matrix), present=torch.zeros_like(m.present))
        for key, m in subject.modalities.items()
    }
    model = subject.make(nobody).eval()
    anchors, relations = subject.queries
    with torch.no_grad():
        scores = model.score_all(model.encode(), anchors, relations, "tail")
    demand(
        torch.isfinite(scores).all(), "where nobody has a modality some score is NaN or infinite"
    )
    for query, first in (scores.diff(dim=1) == 0).nonzero()[:1].tolist():
        text = query_text(int(anchors[query]), int(relations[query]), "tail")
        raise Broken(
            f"where nobody has a modality entities {first} and {first + 1} have the same score "
            f"{float(scores[query, first]):.6g} for {text}"
        )


@check(seeds, batch_size, kind=fusing)
def features_count(subject: Subject) -> None:
    """Changed features change the scores."""
    index, features = subject.index, subject.modalities
    for key in sorted(subject.capabilities.requires or features):
        reversed_ = altered(features[key], matrix=features[key].matrix.flip(1))
        first, second = (subject.make(m) for m in (features, {**features, key: reversed_}))
        with torch.no_grad():
            equal = first.eval().score_triples(index.train) == second.eval().score_triples(
                index.train
            )
        ignored = equal & features[key].present[index.train[:, 0]]
        for row in ignored.nonzero()[:1, 0].tolist():
            raise Broken(
                f"the score of {triple(index.train, row)}, whose head has '{key}', is the same "
                f"with other features in '{key}'"
            )


@check(seeds, batch_size, kind=fusing)
def other_features(subject: Subject) -> None:
    """Trained weights can be used with other features."""
    trained, train = subject.make(), subject.index.train
    even = torch.arange(N) % 2 == 0
    fewer = {key: of_some(modality, even) for key, modality in subject.modalities.items()}
    tested = subject.make(fewer, seed=1)
    tested.load_state_dict(trained.state_dict())
    with torch.no_grad():
        before, after = (m.eval().score_triples(train) for m in (trained, tested))
    demand(torch.isfinite(after).all(), "with fewer features some score is NaN or infinite")
    demand(
        not torch.equal(after, before),
        "weights loaded into a model with fewer features score as with all of them: they are part "
        "of the state; register them with `persistent=False`",
    )
    unaffected = (train[:, [0, 2]] % 2 == 0).all(1)
    agree(
        after[unaffected],
        before[unaffected],
        ("a score after other entities lost their features", "the score before"),
        lambda position: triple(train[unaffected], position[0]),
    )


@check(shapes, kind=fusing)
def fusion_weights(subject: Subject) -> None:
    """Weights sum to 1, over present modalities only."""
    model = subject.make().eval()
    with torch.no_grad():
        weights = model.fusion_weights(torch.arange(N))
    if not weights:
        raise NotApplicable("the model gives no fusion weights")
    agree(
        torch.stack([*weights.values()]).sum(0),
        torch.ones(N),
        ("the sum of the fusion weights", "1"),
        lambda position: f"entity {position[0]}",
    )
    for key, modality in subject.modalities.items():
        misplaced = weights[key] * ~modality.present
        for entity in misplaced.nonzero()[:1, 0].tolist():
            raise Broken(
                f"entity {entity} has no '{key}', whose fusion weight is "
                f"{float(misplaced[entity]):.6g}"
            )
