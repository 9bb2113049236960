"""How fast this machine is at what runs spend their time on: a probe of a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, ValidationError

from harness import kernels
from harness.config.base import Config
from harness.index import KnownAnswers, Pairs
from harness.kernels import Op
from harness.precision import widest_float
from harness.writing import replacing

__all__ = [
    "BUSY",
    "Machine",
    "best_time",
    "measure_machine",
    "memory_limit",
    "used_by_others",
]

Rate = Annotated[float, Field(gt=0)]
OPS: tuple[Op, ...] = ("dot", "l1", "l2", "modulus")
ROWS, WIDTH = 16384, 512
"""Size of the table of the probe, that of a published dataset: 32 MiB, more than a core's cache."""
BUSY = 0.2
"""Share of the processors in others' use from which on a measurement is not one of this machine."""


class Machine(Config):
    """Rates of one machine under one choice of kernels and threads."""

    key: str
    """Device, kernels and threads the rates are for."""
    gathered: Mapping[Op, Rate]
    """Compared coordinates per second of listed pairs, forward and backward."""
    counted: Mapping[Op, Rate]
    """Compared coordinates per second when ranking among all entities."""
    filled: Rate
    """Scores per second when counting from a matrix of scores."""
    drawn: Rate
    """Filtered negatives per second."""
    swept: Rate
    """Coordinates of a table per second whose gradient a lookup makes, whatever it reads."""
    updated: Rate
    """Parameters per second that Adam updates."""
    libraries: int
    """Bytes a process takes that has loaded the libraries, but neither kernels nor data."""
    resident: int
    """Bytes a process takes that has loaded all libraries and kernels, but no data."""
    busy: float = 0.0
    """Share of the processors that others used when the rates were measured."""

    @property
    def device(self) -> str:
        """Type of the device: "cpu", "cuda" or "mps"."""
        return self.key.partition("/")[0]


def used_by_others(seconds: float = 0.2) -> float:
    """Return the share, 0 to 1, of the processors that is in use while this process waits."""
    import psutil  # type: ignore[import-untyped]

    return float(psutil.cpu_percent(interval=seconds)) / 100


def memory_limit(device: torch.device, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that runs can have: the GPU's, else the machine's or the container's.

    Args:
        device: where runs compute.
        groups: where Linux tells the limits of the container the process is in.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroups v2, of v1
        text = (groups / name).read_text().strip() if (groups / name).is_file() else ""
        limits += [int(text)] if text.isdecimal() else []  # "max": there is none
    return min(limits)


def measure_machine(device: str = "cpu", cache: Path | None = None) -> Machine:
    """Return the machine's rates, from ``cache`` when it holds them for the same circumstances.

    Rates that were measured while others used the machine serve as long as they do, and are
    measured again when it is idle.

    Args:
        device: "cpu", "cuda", "cuda:1" or "mps".
        cache: a JSON file; written when the rates had to be measured.
    """
    kind = device.partition(":")[0]
    key = (
        f"{kind}/{kernels.backend_name(kind)}/{torch.get_num_threads()} threads/{torch.__version__}"
    )
    known = _cached(cache, key)
    if known is not None and (known.busy < BUSY or used_by_others() >= BUSY):
        return known
    before = used_by_others()
    machine = _measure(torch.device(device), key)
    machine = machine.model_copy(update={"busy": max(before, used_by_others())})
    if cache is not None:
        _write(cache, machine.model_dump_json(indent=2))
    return machine


def _cached(cache: Path | None, key: str) -> Machine | None:
    if cache is None or not cache.is_file():
        return None
    try:
        known = Machine.model_validate_json(cache.read_bytes())
    except ValidationError:
        return None
    # A file of an older version may not know every comparison.
    return known if known.key == key and known.gathered.keys() >= set(OPS) else None


def best_time(work: Callable[[], object], seconds: float = 0.05) -> float:
    """Return the seconds of the fastest of several goes, after one to warm up.

    Without a GPU a go counts by the clock or by the processor time of all threads, whichever is
    less: the latter is too long where threads work side by side, but does not grow when other
    processes are given the processor.

    Args:
        work: what to time.
        seconds: how long to repeat it; once at least.
    """
    work()
    best, until = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        _synchronise()
        began, used = time.perf_counter(), time.process_time()
        work()
        _synchronise()
        took = time.perf_counter() - began
        if not torch.cuda.is_available():
            took = min(took, time.process_time() - used)
        best = min(best, took)
    return max(best, 1e-9)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _measure(device: torch.device, key: str) -> Machine:
    libraries = _taken()
    generator = torch.Generator(device).manual_seed(0)
    table = torch.randn(ROWS, WIDTH, device=device, generator=generator)
    return Machine(
        key=key,
        gathered={op: _gathered(op, table) for op in OPS},
        counted={op: _counted(op, table) for op in OPS},
        filled=_filled(table),
        drawn=_drawn(device),
        swept=_swept(table),
        updated=_updated(table),
        libraries=libraries,
        resident=_taken() - table.nbytes * (device.type == "cpu"),
    )


def _gathered(op: Op, table: torch.Tensor) -> float:
    # Four pairs per row of the table, as on the published datasets: the gradient of the table is
    # written whole, however few pairs there are.
    queries, each = ROWS * 4 // 64, 64
    device = table.device
    query = torch.randn(queries, WIDTH, device=device, requires_grad=True)
    rows = table.clone().requires_grad_()
    pairs = Pairs.from_matrix(torch.randint(len(table), (queries, each), device=device))

    def work() -> None:
        query.grad = rows.grad = None
        kernels.score_pairs(kernels.Comparison(op, query, rows), pairs).sum().backward()

    return queries * each * WIDTH / best_time(work)


def _counted(op: Op, table: torch.Tensor) -> float:
    queries = 32
    targets = Pairs.one_each(torch.arange(queries, device=table.device))
    known = Pairs.none(queries, table.device)
    comparison = kernels.Comparison(op, table[:queries], table)

    def work() -> None:
        kernels.count_competitors([comparison], targets, known)

    return queries * table.numel() / best_time(work)


def _filled(table: torch.Tensor) -> float:
    scores = table.view(512, -1)
    targets = Pairs.one_each(torch.zeros(len(scores), dtype=torch.long, device=table.device))
    known = Pairs.none(len(scores), table.device)

    def work() -> None:
        kernels.count_in_scores(scores, targets, known)

    return scores.numel() / best_time(work)


def _drawn(device: torch.device) -> float:
    triples = torch.stack(
        [torch.randint(limit, (2 * ROWS,), device=device) for limit in (ROWS, 16, ROWS)], dim=1
    )
    known = KnownAnswers(triples, ROWS, 16)
    tail = torch.ones(512, 64, dtype=torch.bool, device=device)
    uniform = torch.rand(512, 64, dtype=widest_float(device), device=device)

    def work() -> None:
        kernels.draw_free(known.free(triples[:512]), tail, uniform)

    return uniform.numel() / best_time(work)


def _swept(table: torch.Tensor) -> float:
    ids = torch.randint(len(table), (512,), device=table.device)
    found = table[ids]
    return table.numel() / best_time(lambda: torch.zeros_like(table).index_add_(0, ids, found))


def _updated(table: torch.Tensor) -> float:
    parameter = torch.nn.Parameter(table.clone())
    parameter.grad = torch.ones_like(parameter)
    adam = torch.optim.Adam([parameter], fused=table.device.type in ("cpu", "cuda"))
    return parameter.numel() / best_time(adam.step)


def _taken() -> int:
    """Return what this process takes now; after the probe it has loaded what runs load."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _write(path: Path, text: str) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(text.encode())
