"""Runs whose matrix products take longer than they need to on this machine."""

from __future__ import annotations

from collections.abc import Iterable

from harness.plan.spec import RunSpec

__all__ = ["emulated_products"]


def emulated_products(specs: Iterable[RunSpec], device: str) -> str:
    """Return a note on the runs with products in bf16 that the device lacks, "" without any.

    Args:
        specs: the runs.
        device: "auto", "cpu", "cuda", ...
    """
    from harness.pipeline import resolve_device
    from harness.precision import multiplies_bf16

    count = sum(spec.training.precision == "bf16" for spec in specs)
    if not count or multiplies_bf16(resolve_device(device)) is not False:
        return ""
    # One core of a Xeon with AVX-512 but no bf16: steps of QEB, MMRNS and ComplEx took 1.6, 2.3 and
    # 4.3 times as long.
    return (
        f"{count} {'run multiplies' if count == 1 else 'runs multiply'} in bf16, which this device "
        "emulates: --set training.precision=fp32 is faster (on a CPU up to four times), but makes "
        "other runs, which its table shows apart"
    )
