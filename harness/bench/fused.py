"""A training step of MoCME beside the time that its operations take at the machine's matrix rate.

Operations are counted by the formulas of the method on the entities that a step sees, each once,
not read off our own graph: a step that does its work in another way is measured all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.bench import memory
from harness.bench.text import between, note, short, table
from harness.bench.timing import Spread, Tell, interleaved

if TYPE_CHECKING:
    from torch import Tensor

    from harness.training.procedures import StandardProcedure

__all__ = ["CASES", "Case", "FusedStep", "Sizes", "fused_text", "measure", "operations", "product"]

HEADS, BINS, ROWS = 128, 16, 2048
"""Hidden width and outcomes of the estimator's heads, and entities per estimate: the defaults."""
SIDE = 4096
"""Of the matrices whose product is the machine's rate."""


@dataclass(frozen=True)
class Sizes:
    """One step: structure, and modalities that every entity has.

    Attributes:
        entities: N; with as many draws as here, a step sees them all.
        features: width of each modality's features.
        dim: complex components; vectors have D = 2 dim numbers.
        experts: K per modality.
        positives, negatives: of the step.
    """

    entities: int = 15_000
    features: tuple[int, ...] = (4096, 768)
    dim: int = 256
    experts: int = 3
    positives: int = 1024
    negatives: int = 64


@dataclass(frozen=True)
class Case:
    """A kind of experts, at a precision of matrix products."""

    kind: str
    precision: str


CASES = tuple(Case(kind, p) for kind in ("mlp", "linear_shift") for p in ("fp32", "bf16"))


@dataclass(frozen=True)
class FusedStep:
    """What was measured of a case.

    Attributes:
        seconds: of a step.
        operations: floating-point operations that it needs.
        rate: operations per second of matrix products at the case's precision.
    """

    case: Case
    seconds: Spread
    operations: float
    rate: Spread

    @property
    def ratio(self) -> float:
        """Time over the time that the operations alone would take."""
        return self.seconds.median / (self.operations / self.rate.median)


def operations(sizes: Sizes, kind: str) -> float:
    """Return the operations of a step, a multiplication and an addition counting as two.

    Forward: projections 2 N sum(d_m D + D^2); K experts on each of M modalities 2 N M K D^2, twice
    that with a hidden layer of width D; weighted sums 2 N M (K + 1) D; 14 per compared complex
    component; the estimator's heads on B' entities 2 B' (M K + M)(D c + c C), their joint
    distributions 2 B' C^2 per pair. Backward counts twice forward.
    """
    n, width, views = sizes.entities, 2 * sizes.dim, sizes.experts
    modalities = len(sizes.features) + 1
    projections = 2 * n * sum(d * width + width**2 for d in sizes.features)
    experts = 2 * n * modalities * views * width**2 * (2 if kind == "mlp" else 1)
    sums = 2 * n * modalities * (views + 1) * width
    scores = 14 * sizes.positives * (1 + sizes.negatives) * sizes.dim
    rows = min(ROWS, n)
    heads = 2 * rows * (modalities * views + modalities) * (width * HEADS + HEADS * BINS)
    pairs = modalities * views * (views - 1) // 2 + modalities * (modalities - 1) // 2
    joints = 2 * rows * BINS**2 * pairs
    return 3.0 * (projections + experts + sums + scores + heads + joints)


def measure(
    sizes: Sizes = Sizes(),
    cases: Sequence[Case] = CASES,
    rounds: int = 4,
    tell: Tell = lambda done, total, text: None,
) -> list[FusedStep]:
    """Time the steps and the matrix products in turn.

    Args:
        sizes: of the step.
        cases: experts and precisions.
        rounds: measured goes of each.
        tell: told of the progress.

    Raises:
        MachineError: features, tables and what Adam keeps of them do not fit into memory.
    """
    memory.require(_bytes(sizes) * len(cases), "features and parameters of such widths")
    works: dict[str, Callable[[], object]] = {}
    for case in cases:
        works[f"step {case}"] = _step(sizes, case)
        works[f"product {case.precision}"] = product(case.precision)
    seconds = interleaved(works, rounds, tell)
    return [
        FusedStep(
            case,
            seconds[f"step {case}"],
            operations(sizes, case.kind),
            seconds[f"product {case.precision}"].rate(2.0 * SIDE**3),
        )
        for case in cases
    ]


def _bytes(sizes: Sizes) -> int:
    """Return what a step holds at least: features, and four numbers per parameter."""
    numbers, width = sizes.entities * sum(sizes.features), 2 * sizes.dim
    return 4 * (numbers + 4 * width * (sum(sizes.features) + sizes.entities))


def _step(sizes: Sizes, case: Case) -> Callable[[], object]:
    import torch

    from harness import kernels

    kernels.prepare("cpu")
    procedure, positives = _training(sizes, case)
    generator = torch.Generator().manual_seed(0)
    return lambda: procedure.step(positives, generator)


def product(precision: str) -> Callable[[], object]:
    """Return a product of matrices ``SIDE`` x ``SIDE``, at a precision, to be timed."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIDE, SIDE, generator=generator).to(dtype) for _ in range(2))
    return lambda: left @ right


def _training(sizes: Sizes, case: Case) -> tuple[StandardProcedure, Tensor]:
    import torch

    from harness import catalog
    from harness.index import GraphIndex, Modality
    from harness.plan.spec import RunSpec
    from harness.training.procedures import StandardProcedure

    generator = torch.Generator().manual_seed(0)
    triples = torch.stack(
        [
            torch.randint(limit, (sizes.positives,), generator=generator)
            for limit in (sizes.entities, 100, sizes.entities)
        ],
        dim=1,
    )
    graph = GraphIndex(sizes.entities, 100, triples, "fused")
    everyone = torch.ones(sizes.entities, dtype=torch.bool)
    modalities = {
        f"modality_{i}": Modality(
            f"modality_{i}", torch.randn(sizes.entities, d, generator=generator), everyone
        )
        for i, d in enumerate(sizes.features)
    }
    options = {"dim": sizes.dim, "experts": {"K": sizes.experts, "kind": case.kind}}
    spec = RunSpec.model_validate(
        {
            "model": {"name": "mocme", **options},
            "data": {"dataset": "fused"},
            "negatives": {"count": sizes.negatives},
            "objective": {"weighting": "egns"},
            "training": {"precision": case.precision},
        }
    )
    catalog.load_models()
    model = catalog.create_model("mocme", options, graph, modalities).train()
    procedure = StandardProcedure(model, graph, spec, torch.device("cpu"))
    procedure.start_epoch(0)
    return procedure, triples


def fused_text(sizes: Sizes, steps: Sequence[FusedStep]) -> str:
    """Return the steps beside the time of their operations."""
    rows = [
        [
            one.case.kind,
            one.case.precision,
            f"{one.seconds.median:.2f}",
            between(one.seconds),
            short(one.operations / 1e9),
            short(one.rate.median / 1e9),
            f"{one.ratio:.2f}",
        ]
        for one in steps
    ]
    widths = " and ".join(str(width) for width in sizes.features)
    about = (
        f"One training step of MoCME: structure and features of width {widths} for all "
        f"{sizes.entities:,} entities, {sizes.dim} complex components, {sizes.experts} experts per "
        f"modality, {sizes.positives} positives, {sizes.negatives} independent negatives each."
    )
    explained = (
        "GFLOP: what a step needs by the method's formulas, each entity encoded once, backward "
        f"counted as twice forward; GFLOP/s: products of matrices {SIDE} x {SIDE} in the same run; "
        "ratio: time / (GFLOP / rate). Below 1 less is done than the formulas say: linear experts "
        "under common weights are one matrix, and frozen features need no gradient."
    )
    headers = ["experts", "products", "s", "range", "GFLOP", "GFLOP/s", "ratio"]
    return "\n".join([note(about), "", table(headers, rows, left=2), "", note(explained)])
