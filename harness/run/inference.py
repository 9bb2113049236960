"""A finished run and its trained model: predictions, scores, embeddings."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harness.catalog import load_all
from harness.environment import results_folder
from harness.errors import ConfigError, suggest
from harness.pipeline import load_trained, resolve_device
from harness.store import open_home
from harness.store.base import resolve_id

if TYPE_CHECKING:
    from harness.data.load import Dataset
    from harness.index import Side
    from harness.model import Model
    from harness.plan.spec import RunSpec
    from harness.store.records import RunRecord

__all__ = ["Embeddings", "Prediction", "Predictions", "Run", "load_run"]

SUGGESTED_NAMES = 50_000
"""Names among which the nearest to a misspelt one is searched."""


class Embeddings(NamedTuple):
    """Vectors of a trained model.

    Attributes:
        entities: identifiers of the entities.
        relations: identifiers of the relations.
        entity_tables: name -> [N, d], what the model encodes each entity as; "structure" alone, or
            a table per modality.
        parameters: name -> trained parameter of the model, among them the vectors of relations.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    entity_tables: Mapping[str, NDArray[np.float32]]
    parameters: Mapping[str, NDArray[np.float32]]


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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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

    @torch.no_grad()
    def embeddings(self) -> Embeddings:
        """Return the vectors of all entities, and the trained parameters; errors as ``model``."""
        graph, encoded = self.dataset.graph, self.model.encode()
        parameters = self.model.named_parameters()
        return Embeddings(
            tuple(graph.entities),
            tuple(graph.relations),
            {name: _array(table) for name, table in encoded.items()},
            {name: _array(parameter) for name, parameter in parameters},
        )

    @torch.no_grad()
    def score(self, triples: Sequence[tuple[int | str, int | str, int | str]]) -> NDArray[Any]:
        """Return the scores [n] of triples; higher is more plausible.

        Args:
            triples: (head, relation, tail), each an id or a name.

        Raises:
            ConfigError: an unknown name; the nearest is offered.
        """
        ids = [(self._entity(h), self._relation(r), self._entity(t)) for h, r, t in triples]
        tensor = torch.tensor(ids, dtype=torch.long, device=self.device).reshape(-1, 3)
        return _array(self.model.score_triples(tensor))

    @torch.no_grad()
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
        """
        if (head is None) == (tail is None):
            raise ConfigError("give head or tail, one of them")
        side: Side = "head" if head is None else "tail"
        given = tail if head is None else head
        assert given is not None
        anchor, relation_id = self._entity(given), self._relation(relation)
        known = self._known(anchor, relation_id, side)
        scores = self._scores(anchor, relation_id, side)
        if exclude_known:
            scores[list(known)] = -torch.inf
        best = torch.topk(scores, min(k, len(scores) - (len(known) if exclude_known else 0)))
        shown = torch.cat([torch.tensor([anchor], device=self.device), best.indices])
        fused = self.model.fusion_weights(shown)
        weights = {name: values.tolist() for name, values in fused.items()}
        answers = [
            self._prediction(entity, score, known, {n: w[i] for n, w in weights.items()})
            for i, (entity, score) in enumerate(
                zip(best.indices.tolist(), best.values.tolist(), strict=True), 1
            )
        ]
        graph = self.dataset.graph
        name, label = graph.entity_label(anchor), graph.relation_label(relation_id)
        query = (name, label, "?") if side == "tail" else ("?", label, name)
        return Predictions(query, {n: w[0] for n, w in weights.items()}, tuple(answers))

    def _scores(self, anchor: int, relation: int, side: Side) -> torch.Tensor:
        """Return the scores [N] of all entities."""
        anchors, relations = torch.tensor([[anchor], [relation]], device=self.device)
        return self.model.score_all(self.model.encode(), anchors, relations, side)[0]

    def _prediction(
        self, entity: int, score: float, known: Mapping[int, str], weights: Mapping[str, float]
    ) -> Prediction:
        graph = self.dataset.graph
        identifier, label = graph.entities[entity], graph.entity_label(entity)
        return Prediction(identifier, label, score, known.get(entity), weights)

    def _entity(self, name: int | str) -> int:
        graph = self.dataset.graph
        return find_name(name, graph.entities, graph.entity_names, "entity")

    def _relation(self, name: int | str) -> int:
        graph = self.dataset.graph
        return find_name(name, graph.relations, graph.relation_names, "relation")

    def _known(self, anchor: int, relation: int, side: Side) -> dict[int, str]:
        """Return the entities that complete a query in the graph, each with the first split."""
        anchor_column, target_column = (0, 2) if side == "tail" else (2, 0)
        known: dict[int, str] = {}
        for split, triples in self.dataset.graph.splits.items():
            matches = (triples[:, anchor_column] == anchor) & (triples[:, 1] == relation)
            for entity in triples[matches][:, target_column].tolist():
                known.setdefault(entity, split)
        return known


def load_run(
    run_id: str,
    home: Path | str | None = None,
    *,
    device: str = "auto",
    model_folders: Sequence[Path] = (),
) -> Run:
    """Return a finished run of a results folder.

    Args:
        run_id: id of the run, or its beginning.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        device: device for the model.
        model_folders: folders with models of the user's own.

    Raises:
        ConfigError: no run, or several, begin so; it has not finished; there is no such device.
        StoreError: there is no database, or the record is damaged.
    """
    folder = results_folder(home)
    with contextlib.closing(open_home(folder, create=False, write=False)) as store:
        record = store.get(resolve_id(store, run_id))
    if record is None or record.status not in ("ok", "validated"):
        raise ConfigError(f"run '{run_id}' has not finished; others: harness runs list --status ok")
    load_all(model_folders)
    return Run(record, folder / "runs" / record.run_id, resolve_device(device))


def find_name(name: int | str, identifiers: Sequence[str], labels: Sequence[str], kind: str) -> int:
    """Return the id of an entity or relation by id, identifier, or label in any case.

    Raises:
        ConfigError: none or several have the name; the message offers the nearest, or their
            identifiers.
    """
    if isinstance(name, int):
        if not 0 <= name < len(identifiers):
            raise ConfigError(f"no {kind} {name}; ids are 0 to {len(identifiers) - 1}")
        return name
    if name in identifiers:
        return identifiers.index(name)
    folded = name.casefold().replace("_", " ")
    shown = labels or identifiers
    matches = [i for i, text in enumerate(shown) if text.casefold().replace("_", " ") == folded]
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = ", ".join(identifiers[i] for i in matches[:5])
        raise ConfigError(
            f"{len(matches)} {kind} entries are called '{name}': use one of {several}"
        )
    names = [text for text in dict.fromkeys((*shown, *identifiers)) if text][:SUGGESTED_NAMES]
    hint = suggest(name, names)
    raise ConfigError(f"no {kind} is called '{name}'" + (hint if len(hint) < 200 else ""))


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().float().numpy()
    return array
