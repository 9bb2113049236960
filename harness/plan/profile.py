"""What a model costs, found by running it on a small graph on the machine itself.

This is the one place where estimates learn about models. The contract of a model (``encode``,
``queries``, ``score_all``, ``auxiliary_loss``) is enough: its parameters are counted, what it keeps
for the backward pass is added up, and its own computations are timed, so no model says itself what
it costs, and a user's own model is estimated like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from harness.index import GraphIndex, Modality, Tokens
from harness.kernels import Op
from harness.model import MODELS, Model
from harness.plan.machine import best_time
from harness.plan.spec import ModelSpec

__all__ = ["FeatureSize", "Profile", "profile_model", "saved_bytes", "small_run"]

ENTITIES = 4096
"""Size of the small graph: more than the 2,048 entities MoCME's estimators draw per step."""
RELATIONS = 7
QUERIES = 512

Clock = Callable[[Callable[[], object]], float]
"""Returns the seconds that some work takes."""


class FeatureSize(NamedTuple):
    """Size of a modality: width of its features, share of the entities that have it, and the
    tokens of an entity with most of them, 0 where it is a vector."""

    width: int
    coverage: float = 1.0
    tokens: int = 0

    @classmethod
    def of(cls, modality: Modality) -> FeatureSize:
        """Return the size of a modality that is there."""
        tokens = 0 if modality.tokens is None else modality.tokens.ids.shape[1]
        return cls(modality.matrix.shape[1], float(modality.present.float().mean()), tokens)


@dataclass(frozen=True)
class Profile:
    """Costs of a model, per entity or query where they grow with the graph.

    Attributes:
        trainable: False for models that only count.
        encodes: False when ``encode`` costs nothing.
        parts: part of the model -> its parameters per entity, per relation, and others; a part is
            an attribute of the model.
        per_entity, per_relation, fixed: parameters of all parts.
        per_pair: numbers that a model which counts holds per relation and entity.
        table_width: coordinates of an entity's rows in all tables together.
        encoding, training: seconds to encode one entity; forward, forward and backward.
        querying: seconds to make one query, forward.
        scoring: seconds per score of a model that fills a matrix.
        auxiliary: seconds of one step of the auxiliary loss with its optimiser.
        saved: bytes kept for the backward pass per encoded entity.
        query_saved: bytes kept for the backward pass per query.
        auxiliary_saved: bytes kept for the backward pass of the auxiliary loss.
        terms: (comparison, width) of each term of the score; () when the model fills a matrix.
    """

    trainable: bool
    encodes: bool
    per_entity: int = 0
    per_relation: int = 0
    fixed: int = 0
    per_pair: int = 0
    table_width: int = 0
    encoding: float = 0.0
    training: float = 0.0
    querying: float = 0.0
    scoring: float = 0.0
    auxiliary: float = 0.0
    saved: float = 0.0
    query_saved: float = 0.0
    auxiliary_saved: float = 0.0
    terms: tuple[tuple[Op, int], ...] = field(default=())
    parts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    def parameters(self, entities: int, relations: int) -> int:
        """Return the number of parameters on a graph of this size."""
        return self.per_entity * entities + self.per_relation * relations + self.fixed

    def parameters_by_part(self, entities: int, relations: int) -> dict[str, int]:
        """Return the number of parameters of each part on a graph of this size."""
        return {
            part: per_entity * entities + per_relation * relations + fixed
            for part, (per_entity, per_relation, fixed) in self.parts.items()
        }


def profile_model(
    spec: ModelSpec,
    features: Mapping[str, FeatureSize],
    device: torch.device | str = "cpu",
    *,
    timed: bool = True,
) -> Profile:
    """Return the costs of a model; takes a tenth of a second to a second.

    Args:
        spec: the model and its options.
        features: modality -> its size.
        device: where runs will compute.
        timed: measure times too; sizes alone take a fraction of the time, and times are 0 then.

    Raises:
        ConfigError, RuntimeError, ...: whatever the model raises when it is built or run.
    """
    device = torch.device(device)
    clock: Clock = best_time if timed else lambda work: 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = small_run(spec, features)[0].to(device)
        some = torch.arange(QUERIES, device=device)
        relations = some % RELATIONS
        if not model.decomposable:
            return _filling(model, some, relations, clock)
        return _comparing(model, some, relations, clock)


def _filling(model: Model, some: Tensor, relations: Tensor, clock: Clock) -> Profile:
    model.eval()
    with torch.no_grad():
        tables = model.encode()
        seconds = clock(lambda: model.score_all(tables, some, relations, "tail"))
    return Profile(
        trainable=model.capabilities.trainable,
        encodes=not model.free_encoding,
        per_pair=sum(buffer.shape[:2] == (RELATIONS, ENTITIES) for buffer in model.buffers()),
        scoring=seconds / (QUERIES * ENTITIES),
    )


def _comparing(model: Model, some: Tensor, relations: Tensor, clock: Clock) -> Profile:
    encodes = not model.free_encoding
    model.train()
    with saved_bytes() as saved:
        tables = model.encode()
    with saved_bytes() as query_saved:
        query = model.queries(tables, some, relations, "tail")
    auxiliary, auxiliary_saved = _auxiliary(model, some.device, clock)
    parts = _parameters(model)
    sizes = [sum(column) for column in zip(*parts.values(), strict=True)] or [0, 0, 0]

    def train() -> None:
        model.zero_grad(set_to_none=True)
        sum((table.sum() for table in model.encode().values()), torch.zeros(())).backward()

    training = clock(train) if encodes else 0.0
    with torch.no_grad():
        encoding = clock(model.encode) if encodes else 0.0
        querying = clock(lambda: model.queries(tables, some, relations, "tail"))
    return Profile(
        trainable=model.capabilities.trainable,
        encodes=encodes,
        per_entity=sizes[0],
        per_relation=sizes[1],
        fixed=sizes[2],
        table_width=sum(table.shape[1] for table in tables.values()),
        encoding=encoding / ENTITIES,
        training=training / ENTITIES,
        querying=querying / QUERIES,
        auxiliary=auxiliary,
        saved=saved.total / ENTITIES if encodes else 0.0,
        query_saved=query_saved.total / QUERIES,
        auxiliary_saved=auxiliary_saved,
        # Fusing a candidate takes as long as comparing its embeddings.
        terms=tuple(
            (term.op, tables[term.table].shape[1] if term.fusion else term.query.shape[-1])
            for term in query.terms
        ),
        parts=parts,
    )


def _auxiliary(model: Model, device: torch.device, clock: Clock) -> tuple[float, float]:
    """Return seconds and bytes of a step of the auxiliary loss."""
    generator = torch.Generator(device).manual_seed(0)
    parameters = list(model.auxiliary_parameters())
    adam = torch.optim.Adam(parameters) if parameters else None

    def step() -> None:
        loss = model.auxiliary_loss(generator)
        if loss is not None and adam is not None:
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()

    with saved_bytes() as saved:
        step()
    return clock(step), float(saved.total)


def small_run(
    spec: ModelSpec, features: Mapping[str, FeatureSize], shares: Sequence[float] = ()
) -> tuple[Model, GraphIndex, dict[str, Modality]]:
    """Return a model on a small graph with features of the given sizes, and these two.

    Args:
        spec: the model and its options.
        features: modality -> its size.
        shares: of the triples that each relation has; a few relations, all alike, when not given.

    Raises:
        ConfigError, RuntimeError, ...: whatever the model raises when it is built.
    """
    chain = torch.arange(ENTITIES)
    relation = chain % RELATIONS
    if shares:
        relation = torch.multinomial(torch.tensor(shares), ENTITIES, replacement=True)
    train = torch.stack([chain, relation, chain.roll(1)], 1)
    modalities = {}
    for name, size in features.items():
        present = chain < max(1, round(size.coverage * ENTITIES))
        matrix = torch.randn(ENTITIES, size.width) * present[:, None]
        tokens = None
        if size.tokens:  # as many rows in use as there are entities; names have fewer
            ids = torch.randint(ENTITIES, (ENTITIES, size.tokens))
            tokens = Tokens(torch.randn(ENTITIES, size.width), ids).of(present)
        modalities[name] = Modality(name, matrix, present, tokens)
    model_class = MODELS.get(spec.name)
    index = GraphIndex(ENTITIES, len(shares) or RELATIONS, train)
    config = model_class.Config.model_validate(spec.options)
    return model_class(config, index, modalities), index, modalities


def _parameters(model: Model) -> dict[str, tuple[int, int, int]]:
    """Count the parameters of each part per entity, per relation and others.

    They are told apart by their first size. A table of twice the relations has the reciprocal ones
    too.
    """
    kinds = {ENTITIES: (0, ENTITIES), RELATIONS: (1, RELATIONS), 2 * RELATIONS: (1, RELATIONS)}
    parts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        kind, each = kinds.get(parameter.shape[0] if parameter.ndim else 1, (2, 1))
        parts.setdefault(name.partition(".")[0], [0, 0, 0])[kind] += parameter.numel() // each
    return {part: (sizes[0], sizes[1], sizes[2]) for part, sizes in parts.items()}


class _SavedBytes:
    """Adds up what autograd keeps, each storage once, parameters and views of them left out."""

    def __init__(self) -> None:
        self.total = 0
        self._seen: set[int] = set()

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        whole = tensor if tensor._base is None else tensor._base
        if not whole.is_leaf and storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


@contextmanager
def saved_bytes() -> Iterator[_SavedBytes]:
    """Count what autograd keeps for the backward pass of what is computed within: ``total``."""
    counted = _SavedBytes()
    with torch.autograd.graph.saved_tensors_hooks(counted.pack, lambda tensor: tensor):
        yield counted
