"""The least memory a run can do with, by arithmetic on its model.

A model with the run's options is built on small graphs of four sizes. Its parameters and buffers
grow linearly with the entities and the relations, what it keeps for the backward pass with the
entities it encodes, so both are extrapolated to the dataset. Negative samplers, adversaries and
freed memory that the allocator keeps are not counted: a run takes at least this much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from harness.data import folders
from harness.data.load import load_dataset, load_graph, unencoded
from harness.index import GraphIndex, Modality, Tokens
from harness.model import MODELS, Model
from harness.plan.spec import DataSpec, ModelSpec, RunSpec
from harness.seeding import seed_torch

__all__ = [
    "DataSize",
    "FeatureSize",
    "MemoryBound",
    "data_size",
    "least_memory",
    "memory_limit",
    "parameters_by_module",
    "saved_bytes",
    "small_model",
]

ENTITIES = (512, 1024)
RELATIONS = (8, 16)
"""Sizes of the small graphs."""
CODEBOOK = 300
"""Token vectors on a small graph; their number does not grow with it."""
QUERIES = 256
FLOAT = 4
BYTES_PER_NEGATIVE = 16
"""Id, score and gradient of the score."""
MOMENTS = {"adam": 2, "adamw": 2, "lazy_adam": 2, "adagrad": 1, "sgd": 0}
"""Optimiser -> numbers it keeps per parameter."""
PROCESS = 250 * 2**20
"""Bytes of a process that has loaded the libraries and nothing else."""

BATCH, MODEL, FEATURES = (
    "lower training.batch_size or negatives.count",
    "make the model smaller (model.dim)",
    "use fewer modalities (data.modalities)",
)


class FeatureSize(NamedTuple):
    """Size of a modality.

    Attributes:
        width: numbers per entity, or per token.
        coverage: share of the entities that have the modality.
        tokens: tokens of the entity that has most; 0 for one vector per entity.
    """

    width: int
    coverage: float = 1.0
    tokens: int = 0

    @classmethod
    def of(cls, modality: Modality) -> FeatureSize:
        """Return the size of a loaded modality."""
        tokens = 0 if modality.tokens is None else modality.tokens.ids.shape[1]
        return cls(modality.matrix.shape[1], float(modality.present.float().mean()), tokens)


class DataSize(NamedTuple):
    """Size of a dataset with the features a run sees.

    Attributes:
        entities, relations: N and R.
        train: number of training triples.
        features: (modality, size) by name.
    """

    entities: int
    relations: int
    train: int
    features: tuple[tuple[str, FeatureSize], ...] = ()


class MemoryBound(NamedTuple):
    """A lower bound of a run's memory.

    Attributes:
        size: bytes.
        remedy: setting that makes the largest share of it smaller.
    """

    size: float
    remedy: str


class _ModelSize(NamedTuple):
    """Size of a model on one graph.

    Attributes:
        parameters: attribute of the model -> number of parameters.
        buffers: bytes of all buffers.
        encoded: bytes that encoding all entities keeps for the backward pass.
        query: bytes that one query keeps for the backward pass.
    """

    parameters: Mapping[str, int]
    buffers: int
    encoded: int
    query: float


def data_size(data: DataSpec) -> DataSize:
    """Return the size of a run's data; features that are not encoded yet are not encoded for it.

    Raises:
        MissingDataError, DataError: the dataset is not on this machine, or damaged.
    """
    return _data_size(data, folders.roots())


@cache
def _data_size(data: DataSpec, roots: tuple[Path, ...]) -> DataSize:
    """``roots`` is part of the key alone: another data folder may hold another copy."""
    graph = load_graph(data.dataset)
    to_encode = unencoded(data.dataset, data.features)
    sizes = {
        name: FeatureSize(*size)
        for name, size in to_encode.items()
        if data.modalities is None or name in data.modalities
    }
    if not to_encode:
        features = load_dataset(data.dataset, data.features, data.modalities).features
        sizes = {name: FeatureSize.of(m) for name, m in features.modalities().items()}
    for corruption in data.corrupt:
        for name in [n for n in sizes if corruption.modality in (None, n)]:
            sizes |= dict.fromkeys(corruption.names_of(name), sizes[name])
    train = len(graph.splits["train"])
    return DataSize(graph.n_entities, graph.n_relations, train, tuple(sorted(sizes.items())))


def least_memory(spec: RunSpec, data: DataSize, device: str = "cpu") -> MemoryBound:
    """Return the memory that a run takes at least.

    Args:
        spec: the run.
        data: size of its dataset and features.
        device: type of the device; of a GPU it is the device's memory.

    Raises:
        Exception: whatever the model raises when it is built or run.
    """
    sizes = _model_sizes(spec.model.model_dump_json(), data.features)
    features = _bilinear([size.buffers for size in sizes], data)
    if device == "cpu":  # the tables stay in memory, also where the model keeps no copy
        features = max(
            features, sum(FLOAT * data.entities * size.width for _, size in data.features)
        )
    total = {FEATURES: features, MODEL: 0.0, BATCH: 0.0}
    if MODELS.get(spec.model.name).capabilities.trainable:
        copies = 2 + MOMENTS[spec.optimiser.name]  # the value and its gradient
        parameters = sum(parameters_by_module(spec.model, data).values())
        positives = min(spec.training.batch_size, data.train)
        draws = 0 if spec.objective.against_all else positives * (spec.negatives.count + 1)
        encoded = _encoded(spec, data)
        total[MODEL] = FLOAT * copies * parameters + _linear([s.encoded for s in sizes], encoded)
        total[BATCH] = BYTES_PER_NEGATIVE * draws + 2 * positives * sizes[0].query
    process = PROCESS if device == "cpu" else 0
    return MemoryBound(process + sum(total.values()), max(total, key=total.__getitem__))


def parameters_by_module(model: ModelSpec, data: DataSize) -> dict[str, int]:
    """Return the number of parameters of each attribute of a model on a graph of this size.

    Raises:
        Exception: as ``least_memory``.
    """
    sizes = _model_sizes(model.model_dump_json(), data.features)
    return {
        module: round(_bilinear([size.parameters[module] for size in sizes], data))
        for module in sizes[0].parameters
    }


def memory_limit(device: torch.device, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that runs can have: the GPU's, else the machine's or the container's.

    Args:
        device: where runs compute.
        groups: where Linux keeps the limits of the process's container.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    import psutil  # type: ignore[import-untyped]

    limits = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroups v2, of v1
        text = (groups / name).read_text().strip() if (groups / name).is_file() else ""
        limits += [int(text)] if text.isdecimal() else []  # "max": there is none
    return min(limits)


def _encoded(spec: RunSpec, data: DataSize) -> float:
    """Return how many entities a step encodes at least: the distinct ones among those it draws."""
    if spec.objective.against_all:
        return data.entities
    draws = min(spec.training.batch_size, data.train) * (spec.negatives.count + 2)
    return data.entities * -math.expm1(-draws / data.entities)


@cache
def _model_sizes(model: str, features: tuple[tuple[str, FeatureSize], ...]) -> list[_ModelSize]:
    """Return the sizes of a model (as JSON) on the small graphs, entities varying fastest."""
    spec = ModelSpec.model_validate_json(model)
    with torch.random.fork_rng(devices=[]):
        seed_torch(0)
        return [
            _model_size(small_model(spec, dict(features), entities, relations), entities, relations)
            for relations in RELATIONS
            for entities in ENTITIES
        ]


def _model_size(model: Model, entities: int, relations: int) -> _ModelSize:
    parameters: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        module = name.partition(".")[0]
        parameters[module] = parameters.get(module, 0) + parameter.numel()
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    if not model.decomposable or not model.capabilities.trainable:
        return _ModelSize(parameters, buffers, 0, 0.0)
    model.train()
    with saved_bytes() as encoded:
        tables = model.encode()
    anchors = torch.arange(QUERIES) % entities
    with saved_bytes() as queries:
        model.queries(tables, anchors, anchors % relations, "tail")
    return _ModelSize(parameters, buffers, encoded.total, queries.total / QUERIES)


def _linear(values: list[int], entities: float) -> float:
    """Extrapolate values on the small graphs to a number of entities, with the fewest relations."""
    low, high = ENTITIES
    return max(0.0, values[0] + (values[1] - values[0]) * (entities - low) / (high - low))


def _bilinear(values: list[int], data: DataSize) -> float:
    """Extrapolate values on the small graphs to the entities and relations of a dataset."""
    low, high = RELATIONS
    at_low, at_high = (_linear(pair, data.entities) for pair in (values[:2], values[2:]))
    return max(0.0, at_low + (at_high - at_low) * (data.relations - low) / (high - low))


def small_model(
    spec: ModelSpec, features: Mapping[str, FeatureSize], entities: int, relations: int
) -> Model:
    """Build a model on a small graph with random features of the given sizes.

    Raises:
        Exception: whatever the model raises when it is built.
    """
    heads = torch.arange(entities)
    train = torch.stack([heads, heads % relations, heads.roll(1)], 1)
    modalities = {name: _modality(name, size, heads) for name, size in features.items()}
    model_class = MODELS.get(spec.name)
    config = model_class.Config.model_validate(spec.options)
    return model_class(config, GraphIndex(entities, relations, train), modalities)


def _modality(name: str, size: FeatureSize, entities: Tensor) -> Modality:
    count = len(entities)
    present = entities < max(1, round(size.coverage * count))
    matrix = torch.randn(count, size.width) * present[:, None]
    tokens = None
    if size.tokens:
        ids = torch.randint(CODEBOOK, (count, size.tokens))
        tokens = Tokens(torch.randn(CODEBOOK, size.width), ids).of(present)
    return Modality(name, matrix, present, tokens)


class _SavedBytes:
    """Adds up what autograd keeps: each storage once, without parameters and views of them."""

    def __init__(self) -> None:
        self.total = 0
        self._storages: set[int] = set()

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        base = tensor if tensor._base is None else tensor._base
        if not base.is_leaf and storage.data_ptr() not in self._storages:
            self._storages.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


@contextmanager
def saved_bytes() -> Iterator[_SavedBytes]:
    """Count the bytes that computations in the block keep for the backward pass: ``total``."""
    counter = _SavedBytes()
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda tensor: tensor):
        yield counter
