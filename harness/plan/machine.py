"""How fast this machine is at what runs spend their time on: a probe of a few seconds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, ValidationError

from harness import kernels
from harness.config.base import Config
from harness.index import KnownAnswers
from harness.kernels import Op

__all__ = ["Machine", "measure_machine"]

Rate = Annotated[float, Field(gt=0)]
OPS: tuple[Op, ...] = ("dot", "l1", "modulus")
WIDTH = 256


class Machine(Config):
    """Rates of one machine under one choice of kernels and threads."""

    key: str
    """Device, kernels and threads the rates are for."""
    matmul: Rate
    """Floating point operations per second of a matrix product."""
    gathered: Mapping[Op, Rate]
    """Compared coordinates per second of listed pairs, forward and backward."""
    counted: Mapping[Op, Rate]
    """Compared coordinates per second when ranking among all entities."""
    filled: Rate
    """Scores per second when counting from a matrix of scores."""
    drawn: Rate
    """Filtered negatives per second."""
    updated: Rate
    """Parameters per second that Adam updates."""
    resident: int
    """Bytes a process takes before it has loaded anything."""


def measure_machine(device: str = "cpu", cache: Path | None = None) -> Machine:
    """Return the machine's rates, from ``cache`` when it holds them for the same circumstances.

    Args:
        device: "cpu", "cuda", "cuda:1" or "mps".
        cache: a JSON file; written when the rates had to be measured.
    """
    kind = device.partition(":")[0]
    key = f"{kind}/{kernels.chosen(kind)}/{torch.get_num_threads()} threads/{torch.__version__}"
    if cache is not None and cache.is_file():
        try:
            known = Machine.model_validate_json(cache.read_bytes())
        except ValidationError:
            known = None
        if known is not None and known.key == key:
            return known
    machine = _measure(torch.device(device), key)
    if cache is not None:
        _write(cache, machine.model_dump_json(indent=2))
    return machine


def _measure(device: torch.device, key: str) -> Machine:
    generator = torch.Generator(device).manual_seed(0)
    table = torch.randn(8192, WIDTH, device=device, generator=generator)
    return Machine(
        key=key,
        matmul=_rate(lambda: table @ table[:WIDTH].T, 2.0 * 8192 * WIDTH * WIDTH),
        gathered={op: _gathered(op, table) for op in OPS},
        counted={op: _counted(op, table) for op in OPS},
        filled=_filled(table),
        drawn=_drawn(table),
        updated=_updated(table),
        resident=_resident(),
    )


def _rate(work: Callable[[], object], amount: float, seconds: float = 0.1) -> float:
    """Return amount per second: the best of several goes, after one to warm up."""
    work()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return amount / best


def _gathered(op: Op, table: torch.Tensor) -> float:
    queries, each = 512, 64
    device = table.device
    query = torch.randn(queries, WIDTH, device=device, requires_grad=True)
    rows = table.clone().requires_grad_()
    offsets = torch.arange(0, queries * each + 1, each, device=device)
    candidates = torch.randint(len(table), (queries * each,), device=device)

    def work() -> None:
        query.grad = rows.grad = None
        kernels.gathered(op, query, rows, offsets, candidates).sum().backward()

    return _rate(work, float(queries * each * WIDTH))


def _counted(op: Op, table: torch.Tensor) -> float:
    queries = 128
    targets = torch.arange(queries, device=table.device)
    offsets = torch.zeros(queries + 1, dtype=torch.long, device=table.device)
    none = offsets[:0]
    return _rate(
        lambda: kernels.count(op, table[:queries], table, targets, offsets, none),
        float(queries * len(table) * WIDTH),
    )


def _filled(table: torch.Tensor) -> float:
    scores = table.view(256, -1)
    targets = torch.zeros(len(scores), dtype=torch.long, device=table.device)
    offsets = torch.zeros(len(scores) + 1, dtype=torch.long, device=table.device)
    return _rate(
        lambda: kernels.scores_to_counts(scores, targets, offsets, offsets[:0]),
        float(scores.numel()),
    )


def _drawn(table: torch.Tensor) -> float:
    device, n = table.device, len(table)
    triples = torch.stack(
        [torch.randint(limit, (4 * n,), device=device) for limit in (n, 16, n)], dim=1
    )
    known = KnownAnswers(triples, n, 16)
    anchors, relations, _ = triples[:512].unbind(1)
    tail = torch.ones(512, 64, dtype=torch.bool, device=device)
    uniform = torch.rand(512, 64, dtype=torch.float64, device=device)
    return _rate(
        lambda: known.draw_unknown(anchors[:, None], relations[:, None], tail, uniform),
        float(uniform.numel()),
    )


def _updated(table: torch.Tensor) -> float:
    parameter = torch.nn.Parameter(table.clone())
    parameter.grad = torch.ones_like(parameter)
    adam = torch.optim.Adam([parameter])
    return _rate(adam.step, float(parameter.numel()))


def _resident() -> int:
    import psutil  # type: ignore[import-untyped]

    return int(psutil.Process().memory_info().rss)


def _write(path: Path, text: str) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(name, path)
