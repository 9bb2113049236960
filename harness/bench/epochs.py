"""Time of an epoch of each row of a suite, and the minimum that its operations need.

The matrix products of a step, forward and backward, are counted and converted to time by the rate
of one large product on the same machine. Comparisons with negatives, whose fused kernels are bound
by memory and by square roots, are timed alone, on random vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from harness.bench.kernel_calls import StepSizes, kernel_calls, random_table
from harness.bench.text import note, short, table
from harness.bench.timing import OnProgress, Spread, Task, interleaved, silent

if TYPE_CHECKING:
    from harness.index import Modality
    from harness.kernels import Op
    from harness.plan.cell import Cell
    from harness.plan.spec import RunSpec

__all__ = ["SIDE", "EpochTiming", "epochs_text", "measure", "square_product", "trainable_runs"]

Shape = tuple[int, ...]

LABEL_WIDTH = 15
"""Columns of a row's label; a longer label is wrapped."""
SIDE = 4096
"""Side of the square matrices whose product gives the machine's rate."""


@dataclass(frozen=True)
class EpochTiming:
    """Measured training step of a row.

    Attributes:
        label: label of the row.
        dataset: training dataset.
        features: feature set of the row.
        precision: precision of matrix products.
        seconds: time of a step.
        steps: steps per epoch.
        products: floating-point operations of a step in matrix products.
        rate: operations per second of a large matrix product at this precision.
        comparisons: time of a step's comparisons alone, forward and backward.
    """

    label: str
    dataset: str
    features: str
    precision: str
    seconds: Spread
    steps: int
    products: float
    rate: Spread
    comparisons: Spread

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        return self.seconds.median * self.steps

    @property
    def minimum(self) -> float:
        """Minimum seconds of a step: its products at the machine's rate, and its comparisons."""
        return self.products / self.rate.median + self.comparisons.median

    @property
    def ratio(self) -> float:
        """Time of a step over its minimum."""
        return self.seconds.median / self.minimum


def trainable_runs(runs: Iterable[Cell]) -> list[Cell]:
    """Return the first run of each trainable row on each dataset."""
    from harness.model import MODELS

    first: dict[tuple[str, str, str], Cell] = {}
    for run in runs:
        if MODELS.get(run.spec.model.name).capabilities.trainable:
            first.setdefault((run.label, run.spec.data.dataset, run.spec.data.features), run)
    return list(first.values())


def measure(
    runs: Sequence[Cell], rounds: int = 3, on_progress: OnProgress = silent
) -> Iterator[EpochTiming]:
    """Time a step of each run, interleaved with a large matrix product.

    Args:
        runs: trainable runs; missing features are encoded first.
        rounds: measured repeats of each step.
        on_progress: progress callback.

    Raises:
        HarnessError: a model or its data is not available.
    """
    for position, run in enumerate(runs):
        on_progress(position, len(runs), f"{run.label} on {run.spec.data.dataset}")
        yield _epoch(run, rounds)
    on_progress(len(runs), len(runs), "")


def _epoch(run: Cell, rounds: int) -> EpochTiming:
    from harness.data.batches import steps_per_epoch

    spec = run.spec
    step, rows, comparisons = _training(spec)
    tasks = {"step": step, "product": square_product(spec.training.precision)}
    if comparisons:
        tasks["comparisons"] = lambda: [compare() for compare in comparisons]
    products = _count_products(step)
    seconds = interleaved(tasks, rounds)
    return EpochTiming(
        run.label,
        spec.data.dataset,
        spec.data.features,
        spec.training.precision,
        seconds["step"],
        steps_per_epoch(rows, spec.training.batch_size, spec.training.traversal),
        products,
        seconds["product"].rate(2.0 * SIDE**3),
        seconds.get("comparisons", Spread(0.0, 0.0, 0.0)),
    )


def square_product(precision: str) -> Task:
    """Return a product of two ``SIDE`` x ``SIDE`` matrices at a precision."""
    import torch

    from harness.kernels.products import bf16_products

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(SIDE, SIDE, generator=generator).to(dtype) for _ in range(2))

    def multiply() -> None:
        with bf16_products(torch.device("cpu")):  # as a training step does
            _ = first @ second

    return multiply


def _training(spec: RunSpec) -> tuple[Task, int, list[Task]]:
    """Return a step on the first batch, the rows of an epoch, and the comparisons of the step."""
    import torch

    from harness import kernels
    from harness.catalog import build_model
    from harness.data.batches import epoch_batches
    from harness.data.load import load_dataset
    from harness.training.procedures import StandardProcedure

    kernels.prepare("cpu")
    dataset = load_dataset(spec.data.dataset, spec.data.features, spec.data.modalities)
    index, modalities = dataset.graph.index, dataset.features.modalities()
    model = build_model(spec.model.name, spec.model.options, index, modalities, seed=spec.seed)
    device = torch.device("cpu")
    procedure = StandardProcedure(model.train(), index, spec, device, modalities=modalities)
    procedure.start_epoch(0)
    batch = next(iter(epoch_batches(procedure.rows, spec.training.batch_size, spec.seed)))
    generator = torch.Generator().manual_seed(spec.seed)
    comparisons = _comparisons(spec, modalities, index.n_entities, len(batch))
    rows = procedure.rows
    if spec.training.traversal == "draws":
        rows = torch.unique(rows, dim=0)
    return lambda: procedure.step(batch, generator), len(rows), comparisons


def _comparisons(
    spec: RunSpec, modalities: Mapping[str, Modality], entities: int, positives: int
) -> list[Task]:
    """Return a step's kernel calls: comparisons for each term of the score, and their gradients.

    A 1-vs-all or k-vs-all loss has none, since its scores are counted as matrix products.
    """
    if spec.objective.against_all:
        return []
    calls: list[Task] = []
    for op, width in _terms(spec, modalities):
        sizes = StepSizes(positives, spec.negatives.count, entities, width, ranked=1)
        kernels = kernel_calls(op, random_table(sizes), sizes)
        calls += [call for name, call in kernels.items() if name != "ranking"]
    return calls


def _terms(spec: RunSpec, modalities: Mapping[str, Modality]) -> tuple[tuple[Op, int], ...]:
    """Return the op and the width of each term of a model's score."""
    import torch

    from harness.plan.memory import FeatureSize, small_model

    sizes = {name: FeatureSize.of(modality) for name, modality in modalities.items()}
    model = small_model(spec.model, sizes, entities=64, relations=4)
    if not model.decomposable:
        return ()
    tables, heads = model.encode(), torch.arange(64)
    terms = model.queries(tables, heads, heads % 4, "tail").terms
    # A fused candidate costs as much as a comparison of its concatenated modality embeddings.
    widths = (tables[t.table].shape[1] if t.fusion else t.query.shape[-1] for t in terms)
    return tuple((term.op, width) for term, width in zip(terms, widths, strict=True))


def _count_products(step: Task) -> float:
    """Run a step and return the floating-point operations of its matrix products."""
    from unittest.mock import patch

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from harness.kernels import gated_cosines

    # torch's counter has no formula for products that are added in place.
    in_place = {torch.ops.aten.addmm_: _in_place_flops}
    # The counter sees the products of a kernel's torch definition only, not of a compiled loop.
    with (
        patch.dict(gated_cosines.versions, numba=gated_cosines.reference),
        FlopCounterMode(display=False, custom_mapping=in_place) as counter,
    ):
        step()
    return float(counter.get_total_flops())


def _in_place_flops(total: Shape, first: Shape, second: Shape, **_: object) -> int:
    """Return the operations of ``total += first @ second`` by the shapes."""
    return 2 * first[0] * first[1] * second[1]


def epochs_text(epochs: Sequence[EpochTiming]) -> str:
    """Format a table with a line per row, and its legend."""
    headers = ["row", "dataset", "", "s/step", "s/epoch", "GFLOP", "comp.", "least", "ratio"]
    rows = []
    for timing in epochs:
        label, *continued = wrap(timing.label, LABEL_WIDTH)
        numbers = [
            timing.seconds.median,
            timing.epoch,
            timing.products / 1e9,
            timing.comparisons.median,
        ]
        values = [*map(short, [*numbers, timing.minimum]), f"{timing.ratio:.2f}"]
        rows.append([label, timing.dataset, timing.precision, *values])
        rows += [[line, *[""] * (len(headers) - 1)] for line in continued]
    rates = {timing.precision: short(timing.rate.median / 1e9) for timing in epochs}
    legend = (
        "GFLOP: matrix products of a step, forward and backward. comp.: seconds of the comparisons "
        "with negatives alone, forward and backward, on random vectors; they are bound by memory "
        "and square roots. least: comp. + GFLOP / rate, with the rate of products of "
        f"{SIDE} x {SIDE} matrices in the same minute "
        f"({', '.join(f'{rate} GFLOP/s in {name}' for name, rate in rates.items())}). ratio: "
        "s/step / least."
    )
    return "\n".join([table(headers, rows, left_columns=3), "", note(legend)])
