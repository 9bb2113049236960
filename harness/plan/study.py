"""The section ``study`` of a suite: how settings are searched for each of its rows."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.config.base import Config
from harness.config.search import Domain

__all__ = ["Requirement", "Study", "trial_label", "trial_of"]

_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


_TRIAL = re.compile(r"(?P<label>.+) trial (?P<number>\d+)(?P<features> \[[^\]]*\])?")


def trial_label(label: str, number: int) -> str:
    """Return the label of a trial's row among the cells of its study."""
    return f"{label} trial {number}"


def trial_of(label: str) -> tuple[str, int] | None:
    """Return the row and the number that a trial's label has, None of other labels.

    A feature set behind it, which tells rows of one label apart, is the row's.
    """
    match = _TRIAL.fullmatch(label)
    if match is None:
        return None
    return match["label"] + (match["features"] or ""), int(match["number"])


class Requirement(Config):
    """A comparison that searched values must pass: ``objective.egns.delta.0 < 0.5``."""

    left: str
    sign: str
    right: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        words = value.split() if isinstance(value, str) else ()
        if len(words) != 3 or words[1] not in _SIGNS:
            raise ValueError(f"write KEY SIGN KEY-OR-NUMBER, with a sign of {' '.join(_SIGNS)}")
        return dict(zip(("left", "sign", "right"), words, strict=True))

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The searched values that are compared."""
        return tuple(side for side in (self.left, self.right) if not _is_number(side))

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Tell whether values pass.

        Args:
            point: searched key -> value, all ``keys`` among them.
        """
        sides = (self.left, self.right)
        values = (float(side) if _is_number(side) else point[side] for side in sides)
        return _SIGNS[self.sign](*values)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


class Study(Config):
    """A search for each row on each dataset: trials, each a run per seed of the suite. A trial's
    value is the mean of its validation MRRs; the test split is never looked at."""

    sampler: Literal["grid", "random", "tpe"] = "tpe"
    """grid: every combination; random: independent draws, whose expected best against the number
    of trials can be told; tpe: draws that learn from earlier trials (Bergstra et al. 2011)."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """Trials of each row on each dataset; a grid has as many as it has points."""
    space: dict[str, Domain] = Field(default_factory=dict)
    """Key of a setting -> the values to try: a list, or {low, high, step, log}. A number picks an
    item of a list (objective.egns.delta.0). A model.x is for the models that have an option x. When
    not given: what the model and the harness declare (``harness models show NAME``)."""
    require: tuple[Requirement, ...] = ()
    """Comparisons that values must pass ("KEY < KEY"); points that do not are marked, not run."""
    pruner: Literal["none", "median"] = "none"
    """median: the first seed of a trial runs first and is ended at a validation where its best MRR
    so far is below the median of the earlier trials' first seeds at that epoch; the trial's other
    seeds are then not run."""
    startup_trials: Annotated[int, Field(ge=1)] = 5
    """Complete trials before any is pruned. Ignored without a pruner."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs of a trial before it can be pruned. Ignored without a pruner."""
    at_once: Annotated[int, Field(ge=1)] = 1
    """Trials of a row that may run side by side: none knows how the others end. Part of the study,
    so that what it finds does not depend on the number of workers. Ignored where no trial looks at
    earlier ones: sampler grid or random without a pruner."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the sampler."""

    @field_validator("require", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.sampler == "grid" and self.trials is not None:
            raise ValueError("a grid has a trial per point; leave trials out")
        if self.sampler == "grid" and not self.space:
            raise ValueError("a grid needs a space; what models declare has no points")
        if self.sampler != "grid" and self.trials is None:
            raise ValueError(f"sampler '{self.sampler}' needs a number of trials")
        return self

    @property
    def learns(self) -> bool:
        """True if trials depend on the results of earlier ones."""
        return self.sampler == "tpe" or self.pruner != "none"
