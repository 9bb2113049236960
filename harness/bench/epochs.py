"""An epoch of each row of a suite beside the least that it needs.

Products of matrices are counted as a step does them, forward and backward, and take the time that
the machine takes for as many in one large product. Comparisons with negatives, which fused kernels
make at the speed of memory and of square roots, are measured alone, on random vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from harness.bench import kernel_times
from harness.bench.fused import SIDE, product
from harness.bench.text import note, short, table
from harness.bench.timing import Spread, Tell, interleaved

if TYPE_CHECKING:
    from harness.index import Modality
    from harness.kernels import Op
    from harness.plan.expand import PlannedRun
    from harness.plan.spec import RunSpec

Shape = tuple[int, ...]

__all__ = ["Epoch", "epochs_text", "measure", "trained"]

LABEL = 15
"""Columns that the label of a row may take; a longer one goes on below."""


@dataclass(frozen=True)
class Epoch:
    """What was measured of a row.

    Attributes:
        label: of the row.
        dataset: that it is trained on.
        features: feature set that it was given.
        precision: of its products.
        seconds: of a step.
        steps: in an epoch.
        products: operations of a step in products of matrices.
        rate: operations per second of matrix products at the precision.
        comparisons: seconds that the comparisons of a step take alone, forward and backward.
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
    def least(self) -> float:
        """Seconds of the products at the rate, and of the comparisons."""
        return self.products / self.rate.median + self.comparisons.median

    @property
    def ratio(self) -> float:
        """Time over the least."""
        return self.seconds.median / self.least


def trained(runs: Iterable[PlannedRun]) -> list[PlannedRun]:
    """Return the runs that learn, of each row on each dataset the one with the first seed."""
    from harness.model import MODELS

    first: dict[tuple[str, str, str], PlannedRun] = {}
    for run in runs:
        if MODELS.get(run.spec.model.name).capabilities.trainable:
            first.setdefault((run.label, run.spec.data.dataset, run.spec.data.features), run)
    return list(first.values())


def measure(
    runs: Sequence[PlannedRun],
    rounds: int = 3,
    tell: Tell = lambda done, total, text: None,
) -> Iterator[Epoch]:
    """Yield what a step of each run takes; each is timed in turn with a product of matrices.

    Args:
        runs: trainable ones; their features are encoded where they are not yet.
        rounds: measured goes of each.
        tell: told of the progress.

    Raises:
        HarnessError: a model or its data cannot be had.
    """
    for place, run in enumerate(runs):
        tell(place, len(runs), f"{run.label} on {run.spec.data.dataset}")
        yield _epoch(run, rounds)
    tell(len(runs), len(runs), "")


def _epoch(run: PlannedRun, rounds: int) -> Epoch:
    from harness.data.batches import steps_per_epoch

    spec = run.spec
    step, rows, comparisons = _training(spec)
    works = {"step": step, "product": product(spec.training.precision)}
    if comparisons:
        works["comparisons"] = lambda: [part() for part in comparisons]
    products = _products_of(step)
    seconds = interleaved(works, rounds)
    return Epoch(
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


def _training(spec: RunSpec) -> tuple[Callable[[], object], int, list[Callable[[], object]]]:
    """Return a step on the first batch, the rows of an epoch, and the comparisons of the step."""
    import torch

    from harness import kernels
    from harness.catalog import create_model
    from harness.data.batches import epoch_batches
    from harness.data.load import load
    from harness.training.procedures import StandardProcedure

    kernels.prepare("cpu")
    dataset = load(spec.data.dataset, spec.data.features, spec.data.modalities)
    index, modalities = dataset.graph.index, dataset.features.modalities()
    model = create_model(spec.model.name, spec.model.options, index, modalities, seed=spec.seed)
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
) -> list[Callable[[], object]]:
    """Return what compares with each table of a model's score, and takes the gradients of that.

    Nothing does in a loss against all entities: its products are counted as they are done.
    """
    if spec.objective.against_all:
        return []
    found: list[Callable[[], object]] = []
    for op, width in _terms(spec, modalities):
        sizes = kernel_times.Sizes(positives, spec.negatives.count, entities, width, ranked=1)
        parts = kernel_times.works(op, kernel_times.table_of(sizes), sizes)
        found += [part for name, part in parts.items() if name != "ranking"]
    return found


def _terms(spec: RunSpec, modalities: Mapping[str, Modality]) -> tuple[tuple[Op, int], ...]:
    """Return comparison and width of each term of a model's score."""
    import torch

    from harness.plan.memory import FeatureSize, small_model

    sizes = {name: FeatureSize.of(modality) for name, modality in modalities.items()}
    model = small_model(spec.model, sizes, entities=64, relations=4)
    if not model.decomposable:
        return ()
    tables, heads = model.encode(), torch.arange(64)
    terms = model.queries(tables, heads, heads % 4, "tail").terms
    # Mixing a candidate takes as long as comparing its parts.
    widths = (tables[t.table].shape[1] if t.mix else t.query.shape[-1] for t in terms)
    return tuple((term.op, width) for term, width in zip(terms, widths, strict=True))


def _products_of(step: Callable[[], object]) -> float:
    """Return the operations of the products of matrices in a step, which is taken."""
    from unittest.mock import patch

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from harness.kernels import reference

    # A product that is added in place is none of those that torch knows to count.
    in_place = {torch.ops.aten.addmm_: _added_product}
    # Those within a fused kernel are seen in its definition. Comparisons are measured, not counted.
    with (
        patch("harness.kernels.cpu.gated_cosines", reference.gated_cosines),
        FlopCounterMode(display=False, custom_mapping=in_place) as counter,
    ):
        step()
    return float(counter.get_total_flops())


def _added_product(total: Shape, left: Shape, right: Shape, **_: object) -> int:
    """Return the operations of total += left @ right, of matrices of these shapes."""
    return 2 * left[0] * left[1] * right[1]


def epochs_text(epochs: Sequence[Epoch]) -> str:
    """Return the rows beside the time of their operations."""
    headers = ["row", "dataset", "", "s/step", "s/epoch", "GFLOP", "comp.", "least", "ratio"]
    rows = []
    for one in epochs:
        first, *more = wrap(one.label, LABEL)
        numbers = [one.seconds.median, one.epoch, one.products / 1e9, one.comparisons.median]
        values = [*map(short, [*numbers, one.least]), f"{one.ratio:.2f}"]
        rows.append([first, one.dataset, one.precision, *values])
        rows += [[line, *[""] * (len(headers) - 1)] for line in more]
    rates = {one.precision: short(one.rate.median / 1e9) for one in epochs}
    explained = (
        "GFLOP: of a step, in products of matrices, forward and backward. comp.: seconds that "
        "its comparisons with negatives take alone, forward and backward, on random vectors; they "
        "are bound by memory and square roots (`harness bench kernels`). least: these seconds and "
        f"GFLOP / rate, the rate that of products of matrices {SIDE} x {SIDE} in the same minute "
        f"({', '.join(f'{rate} GFLOP/s in {name}' for name, rate in rates.items())}). ratio: "
        "s/step / least."
    )
    return "\n".join([table(headers, rows, left=3), "", note(explained)])
