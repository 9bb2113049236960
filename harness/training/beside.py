"""What a strategy of negatives and an adversary add to a step, found by taking steps.

Like ``harness.plan.profile``, on a small graph and on the machine itself: a step of the run beside
one of the same run without them. What grows with the number of entities, as a generator's own table
of them does, is counted for the small graph's. Its relations occur as often as those of the run's
graph, for a strategy may go through those of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness.plan.budget import Beside, Sizes
from harness.plan.machine import best_time
from harness.plan.profile import saved_bytes, small_run
from harness.plan.spec import AdversarySpec, RunSpec, StrategySpec
from harness.training.procedures import StandardProcedure

__all__ = ["look"]


def look(spec: RunSpec, sizes: Sizes, device: str, *, timed: bool) -> Beside:
    """Return what a run's steps take beside those of its model's loss; takes some steps.

    Args:
        spec: the run.
        sizes: of its dataset and features.
        device: where it will compute.
        timed: measure seconds too; they are 0 else.

    Raises:
        ConfigError, RuntimeError, ...: whatever the run raises when it is trained.
    """
    negatives = spec.negatives.model_copy(update={"strategy": StrategySpec()})
    plain = spec.model_copy(update={"negatives": negatives, "adversary": AdversarySpec()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole, less = (_step(one, sizes, torch.device(device)) for one in (spec, plain))
        seconds = best_time(whole) - best_time(less) if timed else 0.0
        saved = _saved(whole) - _saved(less)
    return Beside(max(0.0, seconds), max(0.0, saved))


def _step(spec: RunSpec, sizes: Sizes, device: torch.device) -> Callable[[], object]:
    """Return a step of a run on a small graph."""
    model, index, modalities = small_run(spec.model, sizes.features, sizes.shares)
    procedure = StandardProcedure(
        model.to(device).train(), index, spec, device, modalities=modalities
    )
    procedure.start_epoch(spec.training.epochs - 1)  # the first may be a generator's own
    positives = min(spec.training.batch_size, sizes.train)
    batch = procedure.rows[torch.randint(len(procedure.rows), (positives,), device=device)]
    generator = torch.Generator(device).manual_seed(0)
    return lambda: procedure.step(batch, generator)


def _saved(step: Callable[[], object]) -> float:
    with saved_bytes() as saved:
        step()
    return float(saved.total)
