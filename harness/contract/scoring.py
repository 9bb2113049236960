"""Checks of scores: their shape, and the agreement of all ways to compute them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from harness.contract.comparing import agree, demand
from harness.contract.core import Broken, NotApplicable, check
from harness.contract.declaring import declared
from harness.contract.noise import reordered
from harness.contract.subject import SIDES, N, R, Subject
from harness.evaluation.evaluator import rank
from harness.index import FilterIndex, GraphIndex, Modality, Pairs, Side
from harness.model import Model
from harness.plan.spec import Protocol
from harness.training.checks import check_query, check_tables

__all__ = ["batch_size", "encode_rows", "numbering", "ranks", "shapes", "views"]

MAX_SIZES = 12
"""Maximum number of parameters and features that a message names with their sizes."""
MARGIN = 1e-4
"""Relative difference below which kernels and plain torch may order scores differently."""


def query_text(anchor: int, relation: int, side: Side) -> str:
    """Return a query as text: ``(3, 1, ?)``."""
    return f"({anchor}, {relation}, ?)" if side == "tail" else f"(?, {relation}, {anchor})"


def triple(triples: Tensor, row: int) -> str:
    """Return a triple as text."""
    return f"triple ({', '.join(str(int(i)) for i in triples[row])})"


@check(declared)
def shapes(subject: Subject) -> None:
    """A query has one finite score per entity."""
    model = subject.make().eval()
    anchors, relations = subject.queries
    with torch.no_grad(), _naming_sizes(model, subject.modalities):
        tables = model.encode()
        check_tables(model, tables, None)
        for side in SIDES:
            if model.decomposable:
                query = model.queries(tables, anchors, relations, side)
                check_query(model, query, tables, len(anchors))
            scores = model.score_all(tables, anchors, relations, side)
            expected = (len(anchors), N)
            demand(
                scores.shape == expected,
                f"score_all of {len(anchors)} queries for the {side} has the shape "
                f"{tuple(scores.shape)}; (queries, entities) = {expected} was expected",
            )
            if not torch.isfinite(scores).all():
                q, entity = (int(i) for i in (~torch.isfinite(scores)).nonzero()[0])
                asked_text = query_text(int(anchors[q]), int(relations[q]), side)
                raise Broken(
                    f"score of entity {entity} for {asked_text} is {float(scores[q, entity])}"
                )


@contextlib.contextmanager
def _naming_sizes(model: Model, modalities: Mapping[str, Modality]) -> Iterator[None]:
    """Add the sizes of parameters and features to errors of torch, most of which are about them."""
    try:
        yield
    except RuntimeError as error:
        sizes = {name: parameter.shape for name, parameter in model.named_parameters()}
        sizes |= {f"features '{m.name}'": m.matrix.shape for m in modalities.values()}
        size_texts = [f"{name} {tuple(size)}" for name, size in sizes.items()]
        error.add_note(f"the model has {', '.join(size_texts[:MAX_SIZES])}")
        raise


@check(shapes)
def batch_size(subject: Subject) -> None:
    """A score does not depend on the rest of the batch."""
    model = subject.make().eval()
    anchors, relations = subject.queries
    with torch.no_grad():
        tables = model.encode()
        for side in SIDES:
            together = model.score_all(tables, anchors, relations, side)
            pairs = zip(anchors, relations, strict=True)
            alone = [model.score_all(tables, a[None], r[None], side) for a, r in pairs]
            agree(
                torch.cat(alone),
                together,
                ("the score of a single query", f"among {len(anchors)} queries"),
                lambda position, side=side: (  # type: ignore[misc]
                    f"entity {position[1]} for "
                    f"{query_text(int(anchors[position[0]]), int(relations[position[0]]), side)}"
                ),
            )


@check(batch_size)
def views(subject: Subject) -> None:
    """score_triples, score_all and score_pairs agree."""
    model = subject.make().eval()
    triples = subject.index.train[::3]
    head, relation, tail = triples.unbind(1)

    def agree_by_triple(scores: tuple[Tensor, Tensor], names: tuple[str, str]) -> None:
        agree(*scores, names, lambda position: triple(triples, position[0]), absolute=1e-4)

    with torch.no_grad():
        tables = model.encode()
        of_triples = model.score_triples(triples)
        as_tail = model.score_all(tables, head, relation, "tail").gather(1, tail[:, None])[:, 0]
        agree_by_triple((of_triples, as_tail), ("score_triples", "score_all for the tail"))
        if not model.decomposable:  # a model that counts may count either side in its own way
            return
        as_head = model.score_all(tables, tail, relation, "head").gather(1, head[:, None])[:, 0]
        query = model.queries(tables, tail, relation, "head")
        of_pairs = model.score_pairs(tables, query, Pairs.one_each(head))
        agree_by_triple((of_pairs, as_head), ("score_pairs for the head", "score_all for the head"))
        if not model.reciprocal:  # else a head is asked for by a relation of its own
            agree_by_triple((of_triples, as_head), ("score_triples", "score_all for the head"))


@check(shapes)
def encode_rows(subject: Subject) -> None:
    """encode(ids) equals the rows ids of encode()."""
    model = subject.make().eval()
    ids = torch.tensor([3, 17, 4, 0])
    with torch.no_grad():
        all_tables, tables = model.encode(), model.encode(ids)
    if not all_tables:
        raise NotApplicable("the model encodes nothing")
    demand(
        all_tables.keys() == tables.keys(),
        f"encode() has tables {[*all_tables]}, encode(ids) {[*tables]}",
    )
    for table, rows in tables.items():
        agree(
            rows,
            all_tables[table][ids],
            (f"'{table}' of encode(ids)", "of encode()"),
            lambda position: f"entity {int(ids[position[0]])}, column {position[1]}",
        )


@check(shapes)
def numbering(subject: Subject) -> None:
    """Renumbering the entities changes no score."""
    model, index = subject.make(), subject.index
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))  # new id -> old id
    new = order.argsort()
    triples = torch.stack([new[index.train[:, 0]], index.train[:, 1], new[index.train[:, 2]]], 1)
    renamed = {key: reordered(modality, order) for key, modality in subject.modalities.items()}
    renumbered = subject.make(renamed, index=GraphIndex(N, R, triples, index.dataset))
    renumbered.load_state_dict(
        {k: _state_of(value, order) for k, value in model.state_dict().items()}
    )
    with torch.no_grad():
        agree(
            renumbered.eval().score_triples(triples),
            model.eval().score_triples(index.train),
            ("a score after the entities were numbered anew", "the score before"),
            lambda position: triple(index.train, position[0]),
        )


def _state_of(value: Tensor, order: Tensor) -> Tensor:
    """Return a tensor of the state with entities in a new order."""
    for dimension, size in enumerate(value.shape):
        if size == N:
            value = value.index_select(dimension, order)
    return value


@check(batch_size)
def ranks(subject: Subject) -> None:
    """Ranks agree with a plain count in score_all."""
    model, train = subject.make(), subject.index.train
    filter_index = FilterIndex(train, N, R)
    ranked = rank(model, train, filter_index, Protocol())
    with torch.no_grad():
        tables = model.encode()
        scores_of = {
            side: model.score_all(tables, train[:, 0 if side == "tail" else 2], train[:, 1], side)
            for side in SIDES
        }
    for side, side_scores in scores_of.items():
        columns = (0, 2) if side == "tail" else (2, 0)
        anchors, targets = (train[:, column] for column in columns)
        scores = side_scores.double()
        true = scores.gather(1, targets[:, None])
        everybody = torch.arange(N).expand(len(train), N)
        rivals = ~filter_index.contains(anchors[:, None], train[:, 1:2], everybody, side)
        margin = MARGIN * (1 + true.abs())
        better = (rivals & (scores - true > margin)).sum(1)
        close = (rivals & ((scores - true).abs() <= margin)).sum(1)
        counts = ranked.sides[side]
        above, tied, candidates = (
            torch.as_tensor(c).long() for c in (counts.better, counts.tied, counts.candidates)
        )
        fits = (
            (candidates == rivals.sum(1) + 1) & (better <= above) & (above + tied <= better + close)
        )
        for row in (~fits).nonzero()[:1, 0].tolist():
            raise Broken(
                f"of {int(rivals[row].sum())} other entities {int(better[row])} score higher than "
                f"the {side} of {triple(train, row)} and {int(close[row])} the same by score_all; "
                f"ranking counted {int(above[row])} and {int(tied[row])}"
            )
