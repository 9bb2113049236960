"""What a model costs, found by running it once on a small graph.

The contract of a model (``encode``, ``queries``) is enough to count its work, so no model says
itself what it costs, and a user's own model is estimated like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.index import GraphIndex, Modality
from harness.kernels import Op
from harness.model import MODELS, Model
from harness.plan.spec import ModelSpec

__all__ = ["Profile", "profile_model"]

ENTITIES = 4096
"""Size of the small graph: more than the 2,048 entities MoCME's estimators draw per step."""
RELATIONS = 7


@dataclass(frozen=True)
class Profile:
    """Costs of a model, per entity where they grow with the graph.

    Attributes:
        trainable: False for models that only count.
        encodes: False when ``encode`` costs nothing.
        per_entity, per_relation, fixed: parameters.
        flops: of encoding one entity, forward.
        trained_flops: of encoding one entity, forward and backward.
        saved: bytes kept for the backward pass per encoded entity.
        auxiliary_flops: of one step of the auxiliary loss, forward and backward.
        terms: (comparison, width) of each term of the score; () when the model fills a matrix.
    """

    trainable: bool
    encodes: bool
    per_entity: int = 0
    per_relation: int = 0
    fixed: int = 0
    flops: float = 0.0
    trained_flops: float = 0.0
    saved: float = 0.0
    auxiliary_flops: float = 0.0
    terms: tuple[tuple[Op, int], ...] = field(default=())

    def parameters(self, entities: int, relations: int) -> int:
        """Return the number of parameters on a graph of this size."""
        return self.per_entity * entities + self.per_relation * relations + self.fixed


def profile_model(spec: ModelSpec, widths: Mapping[str, int]) -> Profile:
    """Return the costs of a model.

    Args:
        spec: the model and its options.
        widths: modality -> width of its features.
    """
    model_class = MODELS.get(spec.name)
    capabilities = model_class.capabilities
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _small(model_class, spec, widths)
        if not capabilities.trainable:
            return Profile(trainable=False, encodes=False)
        sizes = _parameters(model)
        model.train()
        saved = _SavedBytes()
        with saved.hooks, FlopCounterMode(display=False) as flops:
            tables = model.encode()
        with FlopCounterMode(display=False) as backward:
            sum((table.sum() for table in tables.values()), torch.zeros(())).backward()
        with FlopCounterMode(display=False) as auxiliary:
            loss = model.auxiliary_loss(torch.Generator().manual_seed(0))
            if loss is not None and loss.requires_grad:
                loss.backward()
        some = torch.zeros(1, dtype=torch.long)
        query = model.queries(tables, some, some, "tail") if model.decomposable else None
    return Profile(
        trainable=True,
        encodes=not model.free_encoding,
        per_entity=sizes[0],
        per_relation=sizes[1],
        fixed=sizes[2],
        flops=flops.get_total_flops() / ENTITIES,
        trained_flops=(flops.get_total_flops() + backward.get_total_flops()) / ENTITIES,
        saved=saved.total / ENTITIES,
        auxiliary_flops=float(auxiliary.get_total_flops()),
        terms=tuple((t.op, t.query.shape[-1]) for t in query.terms) if query else (),
    )


def _small(model_class: type[Model], spec: ModelSpec, widths: Mapping[str, int]) -> Model:
    chain = torch.arange(ENTITIES)
    train = torch.stack([chain, chain % RELATIONS, chain.roll(1)], 1)
    everyone = torch.ones(ENTITIES, dtype=torch.bool)
    modalities = {
        name: Modality(name, torch.randn(ENTITIES, width), everyone)
        for name, width in widths.items()
    }
    config = model_class.Config.model_validate(spec.options)
    return model_class(config, GraphIndex(ENTITIES, RELATIONS, train), modalities)


def _parameters(model: Model) -> tuple[int, int, int]:
    """Count parameters per entity, per relation and others, told apart by their first size."""
    sizes = [0, 0, 0]
    for parameter in model.parameters():
        rows = parameter.shape[0] if parameter.ndim else 1
        kind = {ENTITIES: 0, RELATIONS: 1}.get(rows, 2)
        sizes[kind] += parameter.numel() // (rows if kind < 2 else 1)
    return sizes[0], sizes[1], sizes[2]


class _SavedBytes:
    """Adds up what autograd keeps, each storage once, parameters left out."""

    def __init__(self) -> None:
        self.total = 0
        self._seen: set[int] = set()
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not tensor.is_leaf and storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor
