"""Domains of options that a study may search, declared beside the options.

::

    lr: Annotated[float, Field(gt=0), between(1e-4, 1e-1, log=True)] = 1e-3

``declared`` collects what a configuration model declares; a study may name other domains.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, model_validator

from harness.config.base import Config

__all__ = ["Domain", "SearchMark", "between", "declared", "one_of"]


class Domain(Config):
    """The values that are tried: a list of them, or what lies between two numbers."""

    choices: tuple[Any, ...] = ()
    """The values, each as it would stand in a suite. A list alone will do."""
    low: int | float | None = None
    """Least value. Whole numbers are drawn when ``low``, ``high`` and ``step`` are written as such
    (1), else real ones (1.0)."""
    high: int | float | None = None
    """Greatest value."""
    step: int | float | None = None
    """Distance of neighbouring values; a grid needs it."""
    log: bool = False
    """Draw so that the logarithm is uniform."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _consistent(self) -> Domain:
        if self.choices:
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("is a list of choices or low and high, not both")
            texts = [json.dumps(value) for value in self.choices]
            if len(set(texts)) < len(texts):
                raise ValueError(f"repeats a choice: [{', '.join(texts)}]")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs a list of choices, or low and high")
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low > 0, got {self.low}")
        if self.step is not None and (self.log or self.step <= 0):
            raise ValueError("step must be positive, and goes without log")
        return self

    @property
    def integral(self) -> bool:
        """True if integers are drawn."""
        return all(isinstance(n, int) for n in (self.low, self.high, self.step) if n is not None)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values whose validity is that of all: every choice, or both ends."""
        return self.choices or (self.low, self.high)

    def written(self) -> list[Any] | dict[str, Any]:
        """Return the domain as a suite would have it, in plain JSON."""
        values: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return list(values["choices"]) if self.choices else values

    def points(self) -> tuple[Any, ...]:
        """Return all values in order.

        Raises:
            ValueError: there are infinitely many.
        """
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        step = self.step or (1 if self.integral and not self.log else None)
        if step is None:
            raise ValueError("a grid needs a list of choices, or a step")
        count = int((self.high - self.low) / step + 1e-9) + 1
        # 0.1 + 2 * 0.1 is 0.30000000000000004: nobody means that.
        values = (self.low + i * step for i in range(count))
        return tuple(v if isinstance(v, int) else float(f"{v:.12g}") for v in values)


@dataclass(frozen=True)
class SearchMark:
    """Marks an option (in ``Annotated``) with its domain."""

    domain: Domain


def between(
    low: float, high: float, *, log: bool = False, step: int | float | None = None
) -> SearchMark:
    """Return the mark of an option that is searched between two numbers."""
    return SearchMark(Domain(low=low, high=high, log=log, step=step))


def one_of(*choices: Any) -> SearchMark:
    """Return the mark of an option that is searched among some values."""
    return SearchMark(Domain(choices=choices))


def declared(model: type[BaseModel], prefix: str = "") -> dict[str, Domain]:
    """Return the domains that a configuration model and those inside it declare.

    Args:
        model: the configuration model.
        prefix: put before the dotted keys ("model.").
    """
    domains: dict[str, Domain] = {}
    for name, field in model.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, SearchMark):
                domains[f"{prefix}{name}"] = mark.domain
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            domains |= declared(inner, f"{prefix}{name}.")
    return domains
