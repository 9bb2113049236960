"""Scores of a trained model in batches of bounded size: of triples, of queries, of all triples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.graph import SPLITS
from harness.errors import NonFiniteError
from harness.evaluation.evaluator import queries_at_once
from harness.events import OnEvent, Step, ignore
from harness.frames import dataframe, html_table
from harness.index import FilterIndex

if TYPE_CHECKING:
    import pandas as pd

    from harness.data.graph import KnowledgeGraph
    from harness.index import Side
    from harness.model import Model

__all__ = ["SCORED", "BestTriples", "ScoredTriple", "ScoredTriples", "Scorer"]

TRIPLES_AT_ONCE = 8192
SHOWN = 100
"""Triples that a notebook shows."""
SCORED = ("head", "relation", "tail", "score")
"""Columns of triples with scores."""


class ScoredTriple(NamedTuple):
    """A triple and its score.

    Attributes:
        head, relation, tail: identifiers.
        labels: printed names of head, relation and tail.
        score: higher is more plausible.
    """

    head: str
    relation: str
    tail: str
    labels: tuple[str, str, str]
    score: float


class ScoredTriples(Sequence[ScoredTriple]):
    """Triples with scores, best first; entries are made when they are read.

    Attributes:
        ids: [n, 3] int64 ids of head, relation and tail.
        scores: [n] float32 scores.
    """

    def __init__(
        self, graph: KnowledgeGraph, ids: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> None:
        self._graph, self.ids, self.scores = graph, ids, scores

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> ScoredTriple: ...

    @overload
    def __getitem__(self, index: slice) -> ScoredTriples: ...

    def __getitem__(self, index: int | slice) -> ScoredTriple | ScoredTriples:
        if isinstance(index, slice):
            return ScoredTriples(self._graph, self.ids[index], self.scores[index])
        graph, (h, r, t) = self._graph, self.ids[index].tolist()
        labels = graph.entity_label(h), graph.relation_label(r), graph.entity_label(t)
        names = graph.entities[h], graph.relations[r], graph.entities[t]
        return ScoredTriple(*names, labels, float(self.scores[index]))

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame: head, relation, tail, their labels, score.

        Raises:
            ImportError: pandas (extra ``[pandas]``) is not installed.
        """
        columns = (*SCORED, "head_label", "relation_label", "tail_label")
        rows = (dict(zip(columns, (*t[:3], t.score, *t.labels), strict=True)) for t in self)
        return dataframe(rows, columns)

    def __repr__(self) -> str:
        return f"<ScoredTriples: {len(self)} triples>"

    def _repr_html_(self) -> str:
        rows = ((f"{triple.score:.3f}", *triple.labels) for triple in self[:SHOWN])
        return html_table(rows, ("score", "head", "relation", "tail"))

    def __str__(self) -> str:
        return "\n".join(f"({', '.join(triple.labels)}) {triple.score:.3f}" for triple in self)


class Scorer:
    """A trained model with its encoded entities.

    Args:
        model: model in evaluation mode.
        graph: graph of the run.
        device: device of the model.
    """

    @torch.no_grad()
    def __init__(self, model: Model, graph: KnowledgeGraph, device: torch.device) -> None:
        self.model, self.graph, self.device = model, graph, device
        self.tables = model.encode()

    @cached_property
    def known(self) -> FilterIndex:
        """Triples of the graph."""
        return self.graph.filter_index().to(self.device)

    @cached_property
    def by_split(self) -> dict[str, FilterIndex]:
        """Triples of each split."""
        return {s: self.graph.filter_index((s,)).to(self.device) for s in SPLITS}

    @property
    def queries_at_once(self) -> int:
        """Number of queries whose scores of all entities are in memory together."""
        return queries_at_once(self.graph.n_entities)

    @property
    def triples_at_once(self) -> int:
        """Number of triples that are scored together."""
        return TRIPLES_AT_ONCE if self.model.decomposable else self.queries_at_once

    @torch.no_grad()
    def triples(self, ids: Tensor) -> Tensor:
        """Return the scores [n] of triples [n, 3], as answers to (head, relation, ?); on the CPU.

        Raises:
            NonFiniteError: a score is NaN.
        """
        chunks = ids.reshape(-1, 3).split(self.triples_at_once)
        scores = [self.model.score_triples(c.to(self.device), self.tables) for c in chunks]
        return _checked(torch.cat(scores).float().cpu(), self.model)

    @torch.no_grad()
    def entities(self, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        """Return the scores [q, N] of all entities for q queries, on the device.

        Raises:
            NonFiniteError: a score is NaN.
        """
        scores = self.model.score_all(self.tables, anchors, relations, side).float()
        return _checked(scores, self.model)

    def best(
        self, anchors: Tensor, relations: Tensor, side: Side, k: int, *, exclude_known: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the best k entities [q, k] of each query and their scores [q, k], best first.

        Known answers have the score -inf with ``exclude_known``.
        """
        scores = self.entities(anchors, relations, side)
        if exclude_known:
            answers = self.known.lookup(anchors, relations, side)
            scores[answers.query_ids, answers.indices] = -torch.inf
        values, indices = torch.topk(scores, min(k, scores.shape[1]))
        return indices, values

    def splits_of(
        self, anchors: Tensor, relations: Tensor, candidates: Tensor, side: Side
    ) -> NDArray[np.int64]:
        """Return the first split, as a number, that has each candidate [q, k]; -1 for none."""
        split = torch.full_like(candidates, -1)
        for number, index in reversed(list(enumerate(self.by_split.values()))):
            split[index.contains(anchors[:, None], relations[:, None], candidates, side)] = number
        array: NDArray[np.int64] = split.cpu().numpy()
        return array

    def novel(
        self,
        k: int,
        relations: Sequence[int],
        *,
        observed: bool = False,
        on_event: OnEvent = ignore,
    ) -> ScoredTriples:
        """Return the k best triples that the graph does not have, of equal scores the lowest ids.

        Scores are those of ``triples``. In memory are the scores of ``queries_at_once`` queries
        and 3 k triples, whatever the number of candidates.

        Args:
            k: number of triples.
            relations: relations of the candidates.
            observed: only heads and tails that the relation has in train.
            on_event: receives progress.
        """
        graph = self.graph
        best = BestTriples(k)
        chunks = list(self._novel_queries(sorted(set(relations)), observed=observed))
        total, n_scored = sum(len(heads) for _, heads, _ in chunks), 0
        for relation, heads, tails in chunks:
            on_event(Step("scoring queries", n_scored, total))
            scores = self._novel_scores(relation, heads, tails)
            best.add((relation * graph.n_entities + heads.cpu()) * graph.n_entities, scores)
            n_scored += len(heads)
        on_event(Step("scoring queries", n_scored, total))
        keys, values = best.sorted()
        query, tail = keys // graph.n_entities, keys % graph.n_entities
        ids = np.stack([query % graph.n_entities, query // graph.n_entities, tail], 1)
        return ScoredTriples(graph, ids, values)

    def _novel_queries(
        self, relations: Sequence[int], *, observed: bool
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield relations, heads in ascending order, as many as are scored at once, and tails."""
        train = self.graph.splits["train"]
        heads = tails = torch.arange(self.graph.n_entities)
        for relation in relations:
            if observed:
                triples = train[train[:, 1] == relation]
                heads, tails = triples[:, 0].unique(), triples[:, 2].unique()
            tails = tails.to(self.device)
            for chunk in heads.split(self.queries_at_once):
                yield relation, chunk.to(self.device), tails

    def _novel_scores(self, relation: int, heads: Tensor, tails: Tensor) -> Tensor:
        """Return the scores [q, N] of (head, relation, ?); -inf for no candidate."""
        relations = torch.full_like(heads, relation)
        scores = self.entities(heads, relations, "tail")
        answers = self.known.lookup(heads, relations, "tail")
        scores[answers.query_ids, answers.indices] = -torch.inf
        if relation not in self._loops:
            scores[torch.arange(len(heads), device=heads.device), heads] = -torch.inf
        excluded = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
        excluded[tails] = False
        return scores.masked_fill_(excluded, -torch.inf)

    @cached_property
    def _loops(self) -> frozenset[int]:
        """Relations that connect some entity of the graph with itself."""
        triples = torch.cat([self.graph.splits[split] for split in SPLITS])
        return frozenset(triples[triples[:, 0] == triples[:, 2], 1].tolist())


class BestTriples:
    """The k best of any number of scores, in memory for about 3 k and the scores added last.

    Args:
        k: number of scores to keep.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self._keys = torch.zeros(0, dtype=torch.long)
        self._scores = torch.zeros(0)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._n_waiting = 0
        self._least = -torch.inf

    def add(self, first_keys: Tensor, scores: Tensor) -> None:
        """Add a matrix of scores [q, n]; those of -inf are dropped.

        Args:
            first_keys: [q] key of the first score of each row; the others follow. Keys ascend from
                call to call.
            scores: [q, n].
        """
        # A score equal to the least has a higher key than all that are kept, so it loses.
        rows, columns = (scores > self._least).nonzero(as_tuple=True)
        if not len(rows):
            return
        values = scores[rows, columns].cpu()
        keys = first_keys[rows.cpu()] + columns.cpu()
        if len(values) > self.k:
            keys, values = _trimmed(keys, values, self.k)
        self._waiting.append((keys, values))
        self._n_waiting += len(values)
        # Sorting for each small addition would take longer than scoring.
        if self._n_waiting >= self.k:
            self._merge()

    def _merge(self) -> None:
        keys = torch.cat([self._keys, *(k for k, _ in self._waiting)])
        scores = torch.cat([self._scores, *(s for _, s in self._waiting)])
        self._keys, self._scores = _trimmed(keys, scores, self.k)
        self._waiting, self._n_waiting = [], 0
        if len(self._scores) == self.k:
            self._least = float(self._scores[-1])

    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the keys and the scores, best first, of equal scores the lowest key."""
        self._merge()
        return self._keys.numpy(), self._scores.numpy()


def _trimmed(keys: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    order = torch.sort(scores, descending=True, stable=True).indices[:k]
    return keys[order], scores[order]


def _checked(scores: Tensor, model: Model) -> Tensor:
    # A sum is NaN if a score is, or if both infinities occur.
    if scores.sum().isnan() and scores.isnan().any():
        raise NonFiniteError(f"{type(model).__name__}: a score is NaN")
    return scores
