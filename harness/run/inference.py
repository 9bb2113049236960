"""A finished run and its trained model: predictions, scores, embeddings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.catalog import load_all
from harness.config.listing import one_or_more
from harness.data.graph import SPLITS
from harness.environment import Folders, results_folder
from harness.errors import ConfigError
from harness.events import OnEvent, ignore
from harness.frames import dataframe, html_table
from harness.pipeline import load_trained, resolve_device
from harness.run.embeddings import Embeddings, embeddings_of
from harness.run.names import NameIndex
from harness.run.scorer import ScoredTriples, Scorer
from harness.store import open_home
from harness.store.base import resolve_id

if TYPE_CHECKING:
    import pandas as pd

    from harness.data.load import Dataset
    from harness.index import Side
    from harness.model import Model
    from harness.plan.spec import RunSpec
    from harness.store.records import RunRecord

__all__ = ["MISSING", "OpenTriple", "Prediction", "Predictions", "Run", "Triple", "load_run"]

MISSING = "?"
"""The missing entity of a query."""

Triple = tuple[int | str, int | str, int | str]
"""Head, relation and tail, each an id, an identifier or a label."""
OpenTriple = tuple[int | str | None, int | str, int | str | None]
"""A triple whose head or tail is missing: None or "?"."""

T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """A candidate for the missing entity of a query.

    Attributes:
        identifier, label: identifier and printed name of the entity.
        score: score of the triple; higher is more plausible.
        known: split that holds the triple, None where none does.
        weights: fusion weight of each modality, {} where the model does not fuse.
    """

    identifier: str
    label: str
    score: float
    known: str | None
    weights: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Predictions:
    """The best candidates for the missing entity of a query.

    Attributes:
        query: labels of head, relation and tail; "?" is the missing one.
        weights: fusion weights of the given entity.
        answers: candidates, best first.
    """

    query: tuple[str, str, str]
    weights: Mapping[str, float]
    answers: tuple[Prediction, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame with a row per answer; those of several queries can be concatenated.

        Columns: rank (from 1), head, relation and tail of the query, identifier, label, score,
        known, and a column per fusion weight.

        Raises:
            ImportError: pandas (extra ``[pandas]``) is not installed.
        """
        columns = ("identifier", "label", "score", "known")
        query = dict(zip(("head", "relation", "tail"), self.query, strict=True))
        rows = (
            {"rank": rank, **query, **{n: getattr(answer, n) for n in columns}, **answer.weights}
            for rank, answer in enumerate(self.answers, 1)
        )
        return dataframe(rows, ("rank", *query, *columns, *self.weights))

    def __str__(self) -> str:
        lines = [f"({', '.join(self.query)})"]
        for answer in self.answers:
            split = f"  ({answer.known})" if answer.known else ""
            lines.append(f"{answer.score:8.3f}  {answer.label}{split}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = (
            (a.label, f"{a.score:.3f}", a.known or "", *(f"{w:.2f}" for w in a.weights.values()))
            for a in self.answers
        )
        title = html_table([], [f"({', '.join(self.query)})"])
        return title + html_table(rows, ("answer", "score", "known", *self.weights))


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run; the model is loaded on its first use.

    Attributes:
        record: record of the run.
        folder: folder of the run, with checkpoint and ranks.
        device: device that the model is on.
    """

    record: RunRecord
    folder: Path
    device: torch.device = field(repr=False)

    @property
    def spec(self) -> RunSpec:
        """Specification of the run."""
        return self.record.spec

    def __str__(self) -> str:
        """Return model, dataset, seed and MRR in percent on one line."""
        record = self.record
        values = {split: record.metric("mrr", split) for split in ("test", "valid")}
        metrics = [f"{split} MRR {100 * v:.2f}" for split, v in values.items() if v is not None]
        title = f"{record.model} on {record.dataset}, seed {record.seed}"
        return f"run {record.run_id}: {', '.join([title, *metrics])}"

    __repr__ = __str__

    @cached_property
    def _trained(self) -> tuple[Model, Dataset]:
        return load_trained(self.record, self.folder, self.device)

    @property
    def model(self) -> Model:
        """The model with its best weights, ready to score.

        Raises:
            ConfigError: the run was made by another code base.
            DataError: the folder holds no checkpoint, or data and model are not those of the run.
        """
        return self._trained[0]

    @property
    def dataset(self) -> Dataset:
        """Graph and features of the run; errors as ``model``."""
        return self._trained[1]

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.model, self.dataset.graph, self.device)

    @torch.no_grad()
    def embeddings(self) -> Embeddings:
        """Return the vectors of all entities and relations; errors as ``model``."""
        record = self.record
        source = {"run": record.run_id, "model": record.model, "dataset": record.dataset}
        scorer = self._scorer
        return embeddings_of(scorer.model, scorer.graph, scorer.tables, source)

    def score(self, triples: Sequence[Triple]) -> NDArray[np.float32]:
        """Return the scores [n] of triples, as answers to (head, relation, ?).

        Args:
            triples: (head, relation, tail), each an id or a name; higher scores are more plausible.

        Raises:
            ConfigError: an unknown name (the nearest is offered), or a triple without three parts.
            NonFiniteError: a score is NaN.
        """
        return np.array(list(self.score_many(triples)), dtype=np.float32)

    def score_many(self, triples: Iterable[Triple]) -> Iterator[float]:
        """Yield the score of each triple; any number of them takes the memory of a batch.

        Args and errors as ``score``; a batch is scored when its first score is read.
        """
        for batch in _batches(triples, self._scorer.triples_at_once):
            checked = (_parts(triple, "triple") for triple in batch)
            ids = [
                (self.entity_id(h), self.relation_id(r), self.entity_id(t)) for h, r, t in checked
            ]
            yield from self._scorer.triples(torch.tensor(ids, dtype=torch.long)).tolist()

    def predict(
        self,
        *,
        relation: int | str,
        head: int | str | None = None,
        tail: int | str | None = None,
        k: int = 10,
        exclude_known: bool = False,
    ) -> Predictions:
        """Return the best candidates for the missing entity of (head, relation, tail).

        Args:
            relation: relation, by id, identifier or label.
            head, tail: the given entity, likewise; one of the two.
            k: number of candidates.
            exclude_known: leave out candidates whose triple is in the graph.

        Raises:
            ConfigError: neither or both entities are given, or a name is unknown.
            NonFiniteError: a score is NaN.
        """
        if (head is None) == (tail is None):
            raise ConfigError("give head or tail, one of them")
        queries = [(head, relation, tail)]
        answered = self.predict_many(queries, k=k, exclude_known=exclude_known, weights=True)
        return next(answered)

    def predict_many(
        self,
        queries: Iterable[OpenTriple],
        *,
        k: int = 10,
        exclude_known: bool = False,
        weights: bool = False,
    ) -> Iterator[Predictions]:
        """Yield the best candidates of each query, in order, in the memory of a batch.

        Args:
            queries: (head, relation, tail) with None or "?" for the missing entity.
            k: number of candidates per query.
            exclude_known: leave out candidates whose triple is in the graph.
            weights: whether fusion weights are computed, too.

        Raises:
            ConfigError, NonFiniteError: as ``predict``.
        """
        check_count(k)
        for batch in _batches(queries, self._scorer.queries_at_once):
            ids = [self._query(*_parts(query, "query")) for query in batch]
            answers: dict[int, Predictions] = {}
            sides: tuple[Side, Side] = ("tail", "head")
            for side in sides:
                positions = [i for i, (_, _, of) in enumerate(ids) if of == side]
                if positions:
                    pairs = torch.tensor([ids[i][:2] for i in positions], device=self.device)
                    predictions = self._answers(pairs, side, k, exclude_known, weights)
                    answers |= zip(positions, predictions, strict=True)
            yield from (answers[i] for i in range(len(ids)))

    def novel(
        self,
        k: int = 10,
        *,
        relations: Sequence[int | str] | int | str = (),
        observed: bool = False,
        on_event: OnEvent = ignore,
    ) -> ScoredTriples:
        """Return the most plausible triples that the graph does not have, best first.

        Candidates are all (head, relation, tail) outside train, valid and test; (e, r, e) only if
        the graph has such a triple of r. Scores are those of ``score``; of equal scores the lowest
        ids come first. Scores of different relations are comparable only as far as the training
        made them so.

        Args:
            k: number of triples.
            relations: relations of the candidates, one or several, by id, identifier or label; all
                when empty.
            observed: only heads and tails that the relation has in train.
            on_event: receives progress.

        Raises:
            ConfigError: an unknown relation; the nearest is offered.
            NonFiniteError: a score is NaN.
        """
        check_count(k)
        ids = [self.relation_id(name) for name in one_or_more(relations)]
        chosen = ids or range(self.dataset.graph.n_relations)
        return self._scorer.novel(k, chosen, observed=observed, on_event=on_event)

    def entity_id(self, name: int | str) -> int:
        """Return the id of an entity by id, identifier, or label in any case.

        Raises:
            ConfigError: none or several have the name; the message offers the nearest.
        """
        return self._names[0].id_of(name)

    def relation_id(self, name: int | str) -> int:
        """Return the id of a relation; arguments and errors as ``entity_id``."""
        return self._names[1].id_of(name)

    # --- queries ------------------------------------------------------------------------------

    def _query(
        self, head: int | str | None, relation: int | str, tail: int | str | None
    ) -> tuple[int, int, Side]:
        """Return the ids of anchor and relation, and the missing side."""
        missing = [name is None or name == MISSING for name in (head, tail)]
        if missing[0] == missing[1]:
            raise ConfigError(
                f"query ({head}, {relation}, {tail}): head or tail must be {MISSING}, one of them"
            )
        given = tail if missing[0] else head
        assert given is not None
        return self.entity_id(given), self.relation_id(relation), "head" if missing[0] else "tail"

    @torch.no_grad()
    def _answers(
        self, pairs: torch.Tensor, side: Side, k: int, exclude_known: bool, weights: bool
    ) -> Iterator[Predictions]:
        """Yield the answers to queries of one side, given anchors and relations [q, 2]."""
        anchors, relations = pairs.unbind(1)
        scorer, graph = self._scorer, self.dataset.graph
        entities, scores = scorer.best(anchors, relations, side, k, exclude_known=exclude_known)
        splits = scorer.splits_of(anchors, relations, entities, side)
        ids = torch.cat([anchors[:, None], entities], 1)
        fused = scorer.model.fusion_weights(ids.flatten()) if weights else {}
        by_place = {name: w.reshape(ids.shape).tolist() for name, w in fused.items()}
        for i, (anchor, relation) in enumerate(pairs.tolist()):
            answers = [
                Prediction(
                    graph.entities[entity],
                    graph.entity_label(entity),
                    score,
                    SPLITS[split] if split >= 0 else None,
                    {name: w[i][place] for name, w in by_place.items()},
                )
                for place, (entity, score, split) in enumerate(
                    zip(entities[i].tolist(), scores[i].tolist(), splits[i].tolist(), strict=True),
                    1,
                )
                if not (exclude_known and split >= 0)
            ]
            name, label = graph.entity_label(anchor), graph.relation_label(relation)
            query = (name, label, MISSING) if side == "tail" else (MISSING, label, name)
            yield Predictions(query, {n: w[i][0] for n, w in by_place.items()}, tuple(answers))

    @cached_property
    def _names(self) -> tuple[NameIndex, NameIndex]:
        graph = self.dataset.graph
        return (
            NameIndex("entity", graph.entities, graph.entity_names),
            NameIndex("relation", graph.relations, graph.relation_names),
        )


def load_run(
    run_id: str,
    home: Path | str | None = None,
    *,
    device: str = "auto",
    model_folders: Folders = (),
) -> Run:
    """Return a finished run of a results folder.

    Args:
        run_id: id of the run, or its beginning.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        device: device for the model.
        model_folders: folder or folders with models of the user's own.

    Raises:
        ConfigError: not exactly one run id begins with it; it has not finished; no such device.
        StoreError: there is no database, or the record is damaged.
    """
    folder = results_folder(home)
    with contextlib.closing(open_home(folder, create=False, write=False)) as store:
        record = store.get(resolve_id(store, run_id))
    if record is None or record.status not in ("ok", "validated"):
        raise ConfigError(f"run '{run_id}' has not finished; others: harness runs list --status ok")
    load_all(model_folders)
    return Run(record, folder / "runs" / record.run_id, resolve_device(device))


def check_count(k: int) -> None:
    """Refuse a number of answers below one.

    Raises:
        ConfigError: it is below one.
    """
    if k < 1:
        raise ConfigError(f"k {k}: at least 1")


def _parts(item: Any, kind: str) -> tuple[Any, Any, Any]:
    """Return head, relation and tail of a triple or query.

    Raises:
        ConfigError: it has not three parts.
    """
    single = isinstance(item, str) or not isinstance(item, Iterable)
    parts = (item,) if single else tuple(item)
    if len(parts) != 3:
        raise ConfigError(
            f"{kind} {item!r}: has {len(parts)} of 3 parts; write (head, relation, tail)"
        )
    return parts


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
