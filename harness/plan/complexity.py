"""The typed form of ``suites/complexity.yaml``: a suite that measures stages instead of models.

It says ``measures: complexity``, by which it is told from a suite of runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from harness.config.base import SUITE_NAME, Config
from harness.config.yaml_source import read_yaml, validate
from harness.errors import ConfigError

__all__ = [
    "DEPENDS_ON",
    "FACTORS",
    "FUSION",
    "Case",
    "ComplexitySuite",
    "Factor",
    "Sizes",
    "Stage",
    "load_complexity",
    "measures",
]

Factor = Literal["d", "K", "M", "N"]
FACTORS: tuple[Factor, ...] = get_args(Factor)
Stage = Literal["fusion", "backbone", "estimator", "scoring", "evaluation"]
FUSION: Stage = "fusion"
DEPENDS_ON: Mapping[Stage, tuple[Factor, ...]] = {
    "fusion": FACTORS,
    "backbone": FACTORS,
    "estimator": FACTORS,
    "scoring": ("d", "N"),
    "evaluation": ("d", "N"),
}
"""The sizes that a stage has; the others do not reach it."""

Size = Annotated[int, Field(ge=1)]
Modalities = Annotated[int, Field(ge=2)]


class Sizes(Config):
    """What the cost of a stage may depend on."""

    d: Size
    """Complex components; a vector has D = 2 d numbers."""
    K: Size
    """Experts per modality."""
    M: Modalities
    """Modalities, the structure counted as one."""
    N: Size
    """Entities."""

    def __str__(self) -> str:
        return f"d {self.d:,}, K {self.K}, M {self.M}, N {self.N:,}"

    def change(self, changes: Mapping[Factor, int]) -> Sizes:
        """Return the sizes with some of them replaced."""
        return self.model_copy(update={str(name): value for name, value in changes.items()})


class Case(Config):
    """A stage at a size."""

    stage: Stage
    """What is done."""
    name: str
    """The way it is done: of the stage "fusion" the kind of fusion, else the stage's name."""
    sizes: Sizes
    """At which sizes."""

    def __str__(self) -> str:
        way = self.stage if self.name == self.stage else f"{self.stage} {self.name}"
        return f"{way}, {self.sizes}"


def _several(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < 3 or list(values) != sorted(set(values)):
        raise ValueError(f"needs at least three values that ascend, got {list(values)}")
    return values


Ascending = Annotated[tuple[Size, ...], AfterValidator(_several)]


class Vary(Config):
    """The values that each size takes while the others are held."""

    d: Ascending
    """Complex components."""
    K: Ascending
    """Experts per modality."""
    M: Annotated[tuple[Modalities, ...], AfterValidator(_several)]
    """Modalities, the structure counted as one."""
    N: Ascending
    """Entities."""


class ComplexitySuite(Config):
    """What is measured: stages at sizes that are varied one at a time."""

    name: Annotated[str, Field(pattern=SUITE_NAME)]
    """Name under which measurements are kept and reported."""
    title: str = ""
    """What it measures."""
    measures: Literal["complexity"]
    """Tells such a suite from one of runs."""
    base: Sizes
    """What the sizes are held at."""
    vary: Vary
    """The values of each."""
    hold: dict[Stage, dict[Factor, Size]] = Field(default_factory=dict)
    """Stages whose sizes are held at other values than ``base``'s while others vary."""
    fusions: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds of fusion: values of MoCME's option ``fusion.kind``."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = get_args(Stage)
    """What is measured."""
    rounds: Annotated[int, Field(ge=1)] = 5
    """Measured turns of each case, after one to warm up."""
    patience: Annotated[float, Field(gt=0)] = 10.0
    """Seconds: a case that has taken so long has no further turn once it was measured."""
    minutes: Annotated[float, Field(gt=0)] = 9.0
    """No further round is begun that would end later; one is measured in any case."""

    @model_validator(mode="after")
    def _consistent(self) -> ComplexitySuite:
        for name, values in (("fusions", self.fusions), ("stages", self.stages)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} repeat: {', '.join(values)}")
        for stage, held in self.hold.items():
            if unknown := set(held) - set(DEPENDS_ON[stage]):
                raise ValueError(
                    f"hold: the stage '{stage}' does not depend on {', '.join(sorted(unknown))}"
                )
        return self

    @property
    def cases(self) -> tuple[Case, ...]:
        """Everything that is measured, each once; cases of equal sizes stand together."""
        found = dict.fromkeys(self._cases())
        order = list(dict.fromkeys(case.sizes for case in found))
        return tuple(sorted(found, key=lambda case: order.index(case.sizes)))

    def _cases(self) -> Iterator[Case]:
        for stage in self.stages:
            for name in self.fusions if stage == FUSION else (stage,):
                yield Case(stage=stage, name=name, sizes=self.base)
                for factor in DEPENDS_ON[stage]:
                    held = self.base.change(self.hold.get(stage, {}))
                    for value in getattr(self.vary, factor):
                        yield Case(stage=stage, name=name, sizes=held.change({factor: value}))


def measures(path: Path) -> bool:
    """Return whether a suite file measures stages (and is no suite of runs).

    Raises:
        ConfigError: the file cannot be read.
    """
    return _measures(read_yaml(path).data)


def _measures(data: Any) -> bool:
    return isinstance(data, dict) and "measures" in data


def load_complexity(path: Path) -> ComplexitySuite:
    """Read such a suite.

    Raises:
        ConfigError: the file cannot be read or does not describe one; every misfit has a line
            ``file:line: key: what is wrong; did you mean 'x'?``.
    """
    document = read_yaml(path)
    if not _measures(document.data):
        raise ConfigError(
            f"{path}: a suite of runs, which `harness run {shlex.quote(str(path))}` executes"
        )
    return validate(document, ComplexitySuite)
