"""Estimates of a plan's runs; what runs share is looked at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from harness.data.load import load, load_graph, unencoded
from harness.plan.budget import NOTHING, Beside, Budget, Process, Sizes, estimate, memory
from harness.plan.expand import PlannedRun
from harness.plan.machine import Machine
from harness.plan.profile import FeatureSize, Profile, profile_model
from harness.plan.spec import DataSpec, RunSpec

__all__ = ["Estimator", "Look", "first_line"]

PROCESS = 250 * 2**20, 500 * 2**20
"""Bytes of a process with its libraries, and with its kernels too, where no machine was measured:
what two cores of an AMD EPYC showed, rounded down."""


class Look(Protocol):
    """Looks at what a run does beside its model's loss (``harness.training.beside``)."""

    def __call__(self, spec: RunSpec, sizes: Sizes, device: str, *, timed: bool) -> Beside:
        """Return its costs; ``timed``: seconds too."""
        ...


class Estimator:
    """Estimates runs.

    Args:
        device: where they will compute.
        look: looks at the rest of a run's steps.
        announce: told which run's model is looked at.
    """

    def __init__(
        self, device: str, look: Look, announce: Callable[[str], None] = lambda _: None
    ) -> None:
        self.device, self.look, self.announce = device, look, announce
        self._sizes: dict[str, Sizes] = {}
        self._profiles: dict[str, Profile] = {}
        self._beside: dict[str, Beside] = {}

    def budget(self, run: PlannedRun, machine: Machine) -> Budget:
        """Return what a run takes on a machine.

        Raises:
            Exception: whatever its model raises when it is built or run, or its data when loaded.
        """
        sizes = self._sizes_of(run.spec.data)
        profile = self._profile_of(run.spec, run.label, sizes, timed=True)
        beside = self._beside_of(run.spec, run.label, sizes, timed=True)
        return estimate(run.spec, sizes, machine, profile, beside)

    def parameters(self, run: PlannedRun) -> dict[str, int]:
        """Return the number of parameters of each part of a run's model on its graph.

        Raises:
            Exception: as ``budget``.
        """
        sizes = self._sizes_of(run.spec.data)
        profile = self._profile_of(run.spec, run.label, sizes, timed=True)
        return profile.parameters_by_part(sizes.entities, sizes.relations)

    def modalities(self, run: PlannedRun) -> list[str]:
        """Return the modalities a run's model is given; errors as ``budget``."""
        return sorted(self._sizes_of(run.spec.data).features)

    def memory(self, spec: RunSpec, label: str) -> tuple[float, str]:
        """Return the memory of a run and what makes it smaller, as ``budget.memory``; in a fraction
        of the time that ``budget`` takes.

        Raises:
            Exception: as ``budget``.
        """
        sizes = self._sizes_of(spec.data)
        profile = self._profile_of(spec, label, sizes, timed=False)
        process = Process(self.device.partition(":")[0], *PROCESS)
        beside = self._beside_of(spec, label, sizes, timed=False)
        return memory(spec, sizes, process, profile, beside)

    def _profile_of(self, spec: RunSpec, label: str, sizes: Sizes, *, timed: bool) -> Profile:
        key = f"{spec.model.model_dump_json()} {sorted(sizes.features.items())} {timed}"
        if key not in self._profiles:
            self.announce(f"looking at {label} on {spec.data.dataset}")
            self._profiles[key] = profile_model(
                spec.model, sizes.features, self.device, timed=timed
            )
        return self._profiles[key]

    def _beside_of(self, spec: RunSpec, label: str, sizes: Sizes, *, timed: bool) -> Beside:
        if not spec.negatives.strategy.name and spec.adversary.kind == "none":
            return NOTHING
        parts = (spec.model, spec.negatives, spec.adversary, spec.objective, spec.training)
        key = f"{[part.model_dump_json() for part in parts]} {sizes} {timed}"
        if key not in self._beside:
            self.announce(f"looking at a step of {label} on {spec.data.dataset}")
            self._beside[key] = self.look(spec, sizes, self.device, timed=timed)
        return self._beside[key]

    def _sizes_of(self, data: DataSpec) -> Sizes:
        key = data.model_dump_json()
        if key not in self._sizes:
            missing = unencoded(data.dataset, data.features)
            graph = load_graph(data.dataset)
            features = {name: FeatureSize(*size) for name, size in missing.items()}
            if not missing:
                held = load(data.dataset, data.features, data.modalities).features
                features = {name: FeatureSize.of(m) for name, m in held.modalities().items()}
            for copies in data.corrupt:
                for name in [n for n in features if copies.modality in (None, n)]:
                    features |= dict.fromkeys(copies.names_of(name), features[name])
            self._sizes[key] = Sizes.of(graph, features)
        return self._sizes[key]


def first_line(error: Exception) -> str:
    """Return why there is no estimate, in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
