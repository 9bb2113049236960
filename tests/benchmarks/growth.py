"""Growth of the time of a training step and of ranking with each size, the others held fixed.

Graphs are random triples, since the cost of a step or a query does not depend on their meaning.
Modalities are those of a generated graph, of one width and present for every entity.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness import catalog, kernels
from harness.bench.exponents import Exponent, fit, upper_half
from harness.bench.text import note, short, table
from harness.bench.timing import OnProgress, Spread, Task, silent
from harness.data.synthetic import PlantedModality, SyntheticConfig, generate
from harness.errors import ConfigError, suggest
from harness.evaluation.evaluator import rank
from harness.index import FilterIndex, GraphIndex
from harness.peak import forget_peak, peak
from harness.plan.spec import DataSpec, ModelSpec, NegativesSpec, OptimiserSpec, Protocol, RunSpec
from harness.training.procedures import StandardProcedure
from tests.benchmarks.ceilings import require

LARGEST = 1_000_000
"""Largest number of entities of the factors "entities", "lazy" and "candidates"."""
BYTES_PER_ENTITY = 5 * 2**30 // 10**6
"""Of a graph, its table and Adam's state: a million entities take 5 GiB, measured."""
RELATIONS, TRIPLES = 50, 30_000
POSITIVES, NEGATIVES, DIM, ENTITIES = 1024, 64, 256, 15_000
"""Fixed sizes: those of MKG-W, with 256 complex components."""
SMALL_DIM, TRIPLES_RANKED = 64, 64
"""Complex components and ranked triples where the number of entities grows."""
FUSED_ENTITIES, FEATURES, FUSED_DIM = 2000, 128, 128
"""Entities, width of features and complex components where the number of modalities grows."""


@dataclass(frozen=True)
class Factor:
    """A size to vary.

    Attributes:
        what: "step" or "ranking".
        sizes: ascending values.
        build: returns the task at a size.
    """

    what: str
    sizes: tuple[int, ...]
    build: Callable[[int], Task]


@dataclass(frozen=True)
class Growth:
    """Measured factor.

    Attributes:
        factor, what: its name, and "step" or "ranking".
        seconds: size -> time in each round.
        exponent: fit on the upper half of the sizes.
        peak: peak bytes of the process.
    """

    factor: str
    what: str
    seconds: dict[int, list[float]]
    exponent: Exponent
    peak: int


def factors(largest: int) -> dict[str, Factor]:
    """Return the factors by name, the most memory last, since the process keeps it.

    Args:
        largest: largest number of entities.
    """
    entities = tuple(max(2, largest // divisor) for divisor in (16, 8, 4, 2, 1))
    few = {"dim": SMALL_DIM}
    return {
        "batch": Factor("step", _doubled(1024), lambda n: _step(positives=n)),
        "negatives": Factor("step", _doubled(64), lambda n: _step(negatives=n)),
        "dimension": Factor("step", _doubled(64), lambda n: _step(dim=n)),
        "modalities": Factor("step", (2, 3, 4, 5, 6), lambda n: _fused_step(n - 1)),
        "queries": Factor("ranking", _doubled(128), lambda n: _ranking(n // 2)),
        "candidates": Factor(
            "ranking", entities, lambda n: _ranking(TRIPLES_RANKED, entities=n, **few)
        ),
        "lazy": Factor("step", entities, lambda n: _step(entities=n, lazy=True, **few)),
        "entities": Factor("step", entities, lambda n: _step(entities=n, **few)),
    }


def _doubled(first: int) -> tuple[int, ...]:
    return tuple(first << i for i in range(5))


def _step(
    positives: int = POSITIVES,
    negatives: int = NEGATIVES,
    dim: int = DIM,
    entities: int = ENTITIES,
    lazy: bool = False,
) -> Task:
    """Return one training step of RotatE."""
    graph = _random_graph(entities, max(TRIPLES, positives))
    spec = _spec("rotate", dim, negatives, "lazy_adam" if lazy else "adam")
    model = catalog.build_model("rotate", spec.model.options, graph)
    procedure = StandardProcedure(model, graph, spec, torch.device("cpu"))
    return _one_step(procedure, graph.train[:positives])


def _fused_step(modalities: int) -> Task:
    """Return one training step of MoCME with this many modalities beside the structure."""
    names = tuple(f"modality_{i}" for i in range(modalities))
    planted = tuple(PlantedModality(name=name, dim=FEATURES, coverage=1.0) for name in names)
    entities = FUSED_ENTITIES
    graph, features = generate(
        SyntheticConfig(entities=entities, train=4 * entities, modalities=planted)
    )
    spec = _spec("mocme", FUSED_DIM, NEGATIVES)
    model = catalog.build_model("mocme", spec.model.options, graph.index, features.modalities())
    procedure = StandardProcedure(model, graph.index, spec, torch.device("cpu"))
    return _one_step(procedure, graph.splits["train"][:POSITIVES])


def _ranking(triples: int, dim: int = DIM, entities: int = ENTITIES) -> Task:
    """Return the filtered ranking of triples by RotatE, both sides."""
    graph = _random_graph(entities, TRIPLES)
    model = catalog.build_model("rotate", {"dim": dim}, graph)
    known = FilterIndex(graph.train, entities, RELATIONS)
    return partial(rank, model, graph.train[:triples], known, Protocol())


def _random_graph(entities: int, triples: int) -> GraphIndex:
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(limit, (triples,), generator=generator)
        for limit in (entities, RELATIONS, entities)
    ]
    return GraphIndex(entities, RELATIONS, torch.stack(columns, 1), "growth")


def _spec(model: str, dim: int, negatives: int, optimiser: str = "adam") -> RunSpec:
    return RunSpec(
        model=ModelSpec.model_validate({"name": model, "dim": dim}),
        data=DataSpec(dataset="growth"),
        negatives=NegativesSpec(count=negatives),
        optimiser=OptimiserSpec.model_validate({"name": optimiser}),
    )


def _one_step(procedure: StandardProcedure, batch: Tensor) -> Task:
    procedure.start_epoch(0)
    procedure.model.train()
    return partial(procedure.step, batch, torch.Generator().manual_seed(0))


def measure(
    names: Sequence[str],
    *,
    minutes: float,
    largest: int = LARGEST,
    on_progress: OnProgress = silent,
) -> Iterator[Growth]:
    """Yield the growth with each factor.

    Every round runs all sizes, so that a disturbance reaches all of them; one size at a time is in
    memory.

    Args:
        names: names of ``factors``; all when empty.
        minutes: total time; every factor has an equal share, and two rounds at least.
        largest: largest number of entities.
        on_progress: progress callback.

    Raises:
        ConfigError: there is no such factor.
        MachineError: the largest graph does not fit into memory.
    """
    all_factors = factors(largest)
    for name in names:
        if name not in all_factors:
            raise ConfigError(f"--only {name}: no such factor{suggest(name, all_factors)}")
    require(BYTES_PER_ENTITY * largest, f"graphs of {largest:,} entities")
    catalog.load_models()
    kernels.prepare("cpu")
    selected = list(names) or list(all_factors)
    for position, name in enumerate(selected):
        on_size = partial(on_progress, position, len(selected))
        yield _measure(name, all_factors[name], 60 * minutes / len(selected), on_size)
    on_progress(len(selected), len(selected), "")


def _measure(name: str, factor: Factor, seconds: float, on_size: Callable[[str], None]) -> Growth:
    forget_peak()
    times: dict[int, list[float]] = {size: [] for size in factor.sizes}
    start, rounds, latest = time.monotonic(), 0, 0.0
    while rounds < 2 or time.monotonic() - start + latest < seconds:
        round_start = time.monotonic()
        for size in factor.sizes:
            on_size(f"{factor.what}, {name}: {size:,}")
            times[size].append(_time(factor.build(size)))
        rounds, latest = rounds + 1, time.monotonic() - round_start
    exponent = fit({float(size): values for size, values in times.items()})
    return Growth(name, factor.what, times, exponent, peak())


def _time(task: Task) -> float:
    """Return the minimum of two runs, after one to warm up."""
    task()
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def growth_text(measured: Sequence[Growth]) -> str:
    """Format a line per factor."""
    headers = ["of", "with", "fitted on", "ms there", "exponent", "95 % interval", "GiB"]
    legend = note(
        "Exponent of a power law fitted on the larger half of the sizes; 1 is linear, less shows a "
        "fixed cost. GiB: peak of the process. Fixed, except the factor: RotatE, "
        f"{POSITIVES} positives, {NEGATIVES} negatives of each, {DIM} complex components, "
        f"{ENTITIES:,} entities; where entities or candidates grow, {SMALL_DIM} components and "
        f"{2 * TRIPLES_RANKED} queries. Modalities: MoCME, the structure counted as one, "
        f"{FUSED_ENTITIES:,} entities, features of {FEATURES} numbers, {FUSED_DIM} complex "
        "components."
    )
    return f"{table(headers, [_row(one) for one in measured], left_columns=2)}\n\n{legend}"


def _row(one: Growth) -> list[str]:
    fitted = [int(size) for size in upper_half(list(one.seconds))]
    times = [1000 * Spread.of(one.seconds[size]).median for size in (fitted[0], fitted[-1])]
    exponent = one.exponent
    return [
        one.what,
        one.factor,
        f"{_count(fitted[0])}-{_count(fitted[-1])}",
        "-".join(short(value) for value in times),
        f"{exponent.value:.2f}",
        f"{exponent.low:.2f} to {exponent.high:.2f}",
        f"{one.peak / 2**30:.1f}",
    ]


def _count(size: int) -> str:
    return f"{size / 1e6:g}M" if size >= 10**6 else f"{size:,}"
