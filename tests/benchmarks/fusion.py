"""Time of a training step of MoCME beside the time of its operations at the machine's matrix rate.

Operations are counted by the formulas of the method on the entities of a step, each once, and not
from our own graph: a step that computes the same in another way is compared all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from harness import catalog, kernels
from harness.bench.epochs import SIDE, square_product
from harness.bench.text import between, note, short, table
from harness.bench.timing import OnProgress, Spread, Task, interleaved, silent
from harness.index import GraphIndex, Modality
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure
from tests.benchmarks.ceilings import require

HEADS, BINS, ROWS = 128, 16, 2048
"""Hidden width and outcomes of the estimator's heads, and entities per estimate: the defaults."""
RELATIONS = 100


@dataclass(frozen=True)
class Sizes:
    """Sizes of a step on structure and on modalities that every entity has.

    Attributes:
        entities: N; with so many draws a step touches all of them.
        features: width of each modality's features.
        dim: complex components; vectors have D = 2 dim numbers.
        experts: K per modality.
        positives, negatives: triples of the step, and negatives of each.
    """

    entities: int = 15_000
    features: tuple[int, ...] = (4096, 768)
    dim: int = 256
    experts: int = 3
    positives: int = 1024
    negatives: int = 64


@dataclass(frozen=True)
class Case:
    """A kind of experts at a precision of matrix products."""

    kind: str
    precision: str


CASES = tuple(Case(kind, p) for kind in ("mlp", "linear_shift") for p in ("fp32", "bf16"))


@dataclass(frozen=True)
class FusedStep:
    """Measured step.

    Attributes:
        case: experts and precision.
        seconds: time of a step.
        operations: floating-point operations by the formulas.
        rate: operations per second of matrix products at this precision.
    """

    case: Case
    seconds: Spread
    operations: float
    rate: Spread

    @property
    def ratio(self) -> float:
        """Time over the time of the operations alone."""
        return self.seconds.median / (self.operations / self.rate.median)


def operations(sizes: Sizes, kind: str) -> float:
    """Return the operations of a step; a multiplication and an addition count as two.

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
    sizes: Sizes,
    cases: Sequence[Case] = CASES,
    rounds: int = 4,
    on_progress: OnProgress = silent,
) -> list[FusedStep]:
    """Time steps and matrix products interleaved.

    Args:
        sizes: sizes of the step.
        cases: experts and precisions.
        rounds: measured repeats of each.
        on_progress: progress callback.

    Raises:
        MachineError: features, tables and Adam's state do not fit into memory.
    """
    require(_bytes(sizes) * len(cases), "features and parameters of such widths")
    kernels.prepare("cpu")
    tasks: dict[str, Task] = {}
    for case in cases:
        tasks[f"step {case}"] = _step(sizes, case)
        tasks[f"product {case.precision}"] = square_product(case.precision)
    seconds = interleaved(tasks, rounds, on_progress)
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
    """Return the least bytes of a step: features, and four numbers per parameter."""
    numbers, width = sizes.entities * sum(sizes.features), 2 * sizes.dim
    return 4 * (numbers + 4 * width * (sum(sizes.features) + sizes.entities))


def _step(sizes: Sizes, case: Case) -> Task:
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(limit, (sizes.positives,), generator=generator)
        for limit in (sizes.entities, RELATIONS, sizes.entities)
    ]
    triples = torch.stack(columns, dim=1)
    graph = GraphIndex(sizes.entities, RELATIONS, triples, "fused")
    everyone = torch.ones(sizes.entities, dtype=torch.bool)
    modalities = {
        name: Modality(name, torch.randn(sizes.entities, d, generator=generator), everyone)
        for name, d in ((f"modality_{i}", d) for i, d in enumerate(sizes.features))
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
    model = catalog.build_model("mocme", options, graph, modalities).train()
    procedure = StandardProcedure(model, graph, spec, torch.device("cpu"))
    procedure.start_epoch(0)
    draws = torch.Generator().manual_seed(0)
    return lambda: procedure.step(triples, draws)


def fused_text(sizes: Sizes, steps: Sequence[FusedStep]) -> str:
    """Format a line per case."""
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
    title = (
        f"One training step of MoCME: structure and features of width {widths} for all "
        f"{sizes.entities:,} entities, {sizes.dim} complex components, {sizes.experts} experts per "
        f"modality, {sizes.positives} positives, {sizes.negatives} independent negatives each."
    )
    legend = (
        "GFLOP: operations of a step by the method's formulas, each entity encoded once, backward "
        f"counted as twice forward; GFLOP/s: products of {SIDE} x {SIDE} matrices in the same run; "
        "ratio: time / (GFLOP / rate). Below 1 a step does less than the formulas: linear experts "
        "under common weights are one matrix, and frozen features need no gradient."
    )
    headers = ["experts", "products", "s", "range", "GFLOP", "GFLOP/s", "ratio"]
    return "\n".join([note(title), "", table(headers, rows, left_columns=2), "", note(legend)])
