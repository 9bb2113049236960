"""Ceilings and kernel times as text of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.bench.ceilings import Ceilings
from harness.bench.core import DOCUMENTED, Core
from harness.bench.kernel_times import KernelTime, Sizes
from harness.bench.roofline import RESOURCES, share
from harness.bench.text import between, note, short, table

__all__ = ["busy_note", "ceilings_text", "kernels_text", "roots_check"]

GIGA = 1e9
MEGA = 1e6
MILLI = 1e-3
BUSY = 0.9
"""Below this share of the cores the machine is called busy."""


def ceilings_text(ceilings: Ceilings) -> str:
    """Return the rates, and their check against what is published of the processor."""
    rows = [
        [title, short(rate.median / GIGA), between(rate, GIGA), f"G{unit}"]
        for (title, unit), rate in (
            (ceilings.probes[name], rate) for name, rate in ceilings.rates.items()
        )
    ]
    rates = table(["ceiling", "median", "range", "unit"], rows)
    threads = "1 thread" if ceilings.threads == 1 else f"{ceilings.threads} threads together"
    return "\n".join([rates, "", note(f"Rates of {threads}."), *check_lines(ceilings)])


def check_lines(ceilings: Ceilings) -> list[str]:
    """Return what a reader must know before he believes the rates."""
    return [note(roots_check(ceilings.core)), *busy_note(ceilings)]


def roots_check(core: Core) -> str:
    """Return the measured rate of square roots beside the published one."""
    text = (
        f"Check, in processor time of one core at {core.clock / GIGA:.2f} GHz: "
        f"{core.roots_per_cycle:.2f} square roots per cycle"
    )
    known = DOCUMENTED.get(core.processor)
    if known is None:
        return f"{text}; no published rate of '{core.processor}' was looked up."
    return f"{text}; published: {known.roots_per_cycle:.2f} ({known.source})."


def busy_note(ceilings: Ceilings) -> list[str]:
    """Return a warning where the threads did not have the cores to themselves."""
    if ceilings.free >= BUSY:
        return []
    reached = f"{100 * ceilings.free:.0f} %"
    warning = (
        f"Busy: {ceilings.threads} threads took square roots at {reached} of what as many free "
        "cores would; other processes were running, or threads share a core. Elapsed times are "
        "too long and rates too low."
    )
    return [note(warning)]


def kernels_text(sizes: Sizes, times: Sequence[KernelTime], ceilings: Ceilings) -> str:
    """Return the kernels' times beside their floors, and what each must do."""
    headers = ["kernel", "op", "ms", "range", "GB/s", "G√/s", "floor", "share", "bound"]
    rows = []
    for one in times:
        seconds = one.seconds.median
        rows.append(
            [
                one.part,
                one.op,
                short(seconds / MILLI),
                between(one.seconds, MILLI),
                _per_second(one.demands, "memory", seconds),
                _per_second(one.demands, "roots", seconds),
                short(one.least.seconds / MILLI),
                f"{share(one.least, seconds):.2f}",
                one.least.bound,
            ]
        )
    explained = (
        "floor: milliseconds that the ceilings leave for what a call must do; share: floor / "
        "median; bound: what sets the floor. A call must do: " + "; ".join(_needs(times)) + "."
    )
    about = (
        f"One step: {sizes.positives} positives, {sizes.negatives} negatives each, "
        f"{sizes.entities:,} entities, vectors of {sizes.width} numbers; {sizes.ranked} queries "
        "ranked."
    )
    lines = [note(about), "", table(headers, rows, left=2), "", note(explained)]
    lines += check_lines(ceilings)
    return "\n".join(lines)


WORDS = {
    "gather table": "MB of table rows gathered",
    "gather queries": "MB of queries gathered",
    "stream": "MB in order",
    "root": "M square roots",
    "reciprocal": "M reciprocal square roots",
    "fp32": "MFLOP",
}
"""Unit and meaning of each demand, in millions."""


def _needs(times: Sequence[KernelTime]) -> list[str]:
    """Return the demands in words, those that several kernels share once."""
    named: dict[str, list[str]] = {}
    for one in times:
        words = " + ".join(_amount(name, amount) for name, amount in one.demands.items())
        named.setdefault(f"{one.part}: {words}", []).append(one.op)
    return [text.replace(":", f" {', '.join(ops)}:", 1) for text, ops in named.items()]


def _amount(name: str, amount: float) -> str:
    return f"{short(amount / MEGA)} {WORDS[name]}"


def _per_second(demands: Mapping[str, float], resource: str, seconds: float) -> str:
    amount = sum(value for name, value in demands.items() if RESOURCES[name] == resource)
    return short(amount / seconds / GIGA) if amount else "-"
