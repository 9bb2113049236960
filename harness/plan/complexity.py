"""The typed form of ``suites/complexity.yaml``: a suite that measures stages instead of models.

It says ``measures: complexity``, which distinguishes it from a suite of runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from harness.config.base import Config, SuiteName
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
    """Sizes on which the cost of a stage may depend."""

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

    def varies_only(self, sizes: Sizes, factor: Factor) -> bool:
        """Tell whether other sizes are these but for one of them."""
        return self.change({factor: getattr(sizes, factor)}) == sizes


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
    """Stages to measure, at sizes that are varied one at a time."""

    name: SuiteName
    """Name under which measurements are kept and reported."""
    title: str = ""
    """Title of its table."""
    measures: Literal["complexity"]
    """Tells such a suite from one of runs."""
    base: Sizes
    """Fixed values of the sizes that do not vary."""
    vary: Vary
    """The values of each."""
    hold: dict[Stage, dict[Factor, Size]] = Field(default_factory=dict)
    """Stages whose sizes are held at other values than ``base``'s while others vary."""
    fusions: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds of fusion: values of MoCME's option ``fusion.kind``."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = get_args(Stage)
    """What is measured."""
    rounds: Annotated[int, Field(ge=1)] = 5
    """Measured rounds of each case, after one to warm up."""
    patience: Annotated[float, Field(gt=0)] = 10.0
    """Seconds: a case that has taken so long is measured once in these rounds."""
    precision: Annotated[float, Field(gt=0)] | None = None
    """Half-width that the 95 % interval of every exponent is to have: further rounds measure the
    cases of those that are wider. Without, there are no further rounds."""
    most_rounds: Annotated[int, Field(ge=1)] = 50
    """No case has more rounds than these."""
    minutes: Annotated[float, Field(gt=0)] = 9.0
    """No further round is begun that would end later; one is measured in any case."""

    @model_validator(mode="after")
    def _consistent(self) -> ComplexitySuite:
        for name, values in (("fusions", self.fusions), ("stages", self.stages)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} repeat: {', '.join(values)}")
        for stage, sizes in self.hold.items():
            if unknown := set(sizes) - set(DEPENDS_ON[stage]):
                raise ValueError(
                    f"hold: the stage '{stage}' does not depend on {', '.join(sorted(unknown))}"
                )
        return self

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Everything that is measured, each once; cases of equal sizes stand together."""
        distinct = dict.fromkeys(self._cases())
        order = list(dict.fromkeys(case.sizes for case in distinct))
        return tuple(sorted(distinct, key=lambda case: order.index(case.sizes)))

    def held(self, stage: Stage) -> Sizes:
        """Return the sizes at which a stage is held while one of them varies."""
        return self.base.change(self.hold.get(stage, {}))

    def series(self) -> Iterator[tuple[Factor, tuple[Case, ...]]]:
        """Yield the cases of each exponent, and the size that varies among them."""
        ways = dict.fromkeys((case.stage, case.name) for case in self.cases)
        for stage, name in ways:
            cases = [c for c in self.cases if (c.stage, c.name) == (stage, name)]
            sizes = self.held(stage)
            for factor in DEPENDS_ON[stage]:
                yield factor, tuple(c for c in cases if sizes.varies_only(c.sizes, factor))

    def _cases(self) -> Iterator[Case]:
        for stage in self.stages:
            for name in self.fusions if stage == FUSION else (stage,):
                yield Case(stage=stage, name=name, sizes=self.base)
                for factor in DEPENDS_ON[stage]:
                    for value in getattr(self.vary, factor):
                        sizes = self.held(stage).change({factor: value})
                        yield Case(stage=stage, name=name, sizes=sizes)


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
