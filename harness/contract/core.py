"""What a check is: one demand on a model, and what is said of a model that does not meet it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from harness.contract.subject import Subject
from harness.errors import HarnessError, raised_at
from harness.model import ContractOptions

__all__ = [
    "Broken",
    "Check",
    "NotApplicable",
    "Result",
    "check",
    "examine",
    "explained",
    "fusing",
    "trained",
]

Status = Literal["ok", "failed", "waiting", "not applicable"]


class Broken(AssertionError):  # noqa: N818 - it reads as the verdict that it is
    """A model does not meet a demand; the message says what was expected and what came."""


class NotApplicable(Exception):  # noqa: N818 - no error
    """A check says nothing about this model; the message says why."""


@dataclass(frozen=True)
class Check:
    """One demand.

    Attributes:
        name: of the function.
        demand: what is demanded, in 56 characters: the first line of its docstring.
        run: raises ``Broken``, or anything that the model raises.
        needs: checks without which this one would fail for the same reason.
        kind: returns why there is nothing to check in a model, "" when there is.
    """

    name: str
    demand: str
    run: Callable[[Subject], None]
    needs: tuple[Check, ...]
    kind: Callable[[Subject], str]

    def inapplicable(self, subject: Subject) -> str:
        """Return why there is nothing to check, "" when there is."""
        trial: ContractOptions = getattr(subject.model_class, "trial", ContractOptions())
        return trial.exempt.get(self.name, "") or self.kind(subject)


class Result(NamedTuple):
    """Of one check on one model; ``message`` says why it is not ok."""

    check: Check
    status: Status
    message: str = ""


def trained(subject: Subject) -> str:
    """Kind of the checks on models that are trained."""
    return "" if subject.capabilities.trainable else "nothing is trained"


def fusing(subject: Subject) -> str:
    """Kind of the checks on models that read features."""
    return "" if subject.capabilities.reads_features else "the model reads no features"


def check(
    *needs: Check, kind: Callable[[Subject], str] = lambda subject: ""
) -> Callable[[Callable[[Subject], None]], Check]:
    """Decorator: make a function a check; see ``Check``."""

    def made(function: Callable[[Subject], None]) -> Check:
        demand = (function.__doc__ or "").partition("\n")[0].rstrip(".")
        return Check(function.__name__, demand, function, needs, kind)

    return made


def examine(subject: Subject, checks: Sequence[Check]) -> Iterator[Result]:
    """Run checks on a model in their order, and yield each result as it comes.

    A check whose needs were not met is not run: the reader is told of the first cause alone.
    """
    unmet: dict[str, str] = {}
    for one in checks:
        cause = next((unmet[need.name] for need in one.needs if need.name in unmet), "")
        result = Result(one, "waiting", f"for '{cause}'") if cause else _examined(subject, one)
        if cause or result.status == "failed":
            unmet[one.name] = cause or one.name
        yield result


def _examined(subject: Subject, one: Check) -> Result:
    try:
        if reason := one.inapplicable(subject):
            return Result(one, "not applicable", reason)
        one.run(subject)
    except NotApplicable as reason:
        return Result(one, "not applicable", str(reason))
    except Exception as error:  # a model of a user's own may raise anything
        return Result(one, "failed", explained(error, subject))
    return Result(one, "ok")


def explained(error: Exception, subject: Subject) -> str:
    """Return what an error of a check says: its message and the line of the model's file."""
    if isinstance(error, Broken):
        return str(error)
    name = type(error).__name__
    said = str(error).strip() or _NO_TEXT.get(name, "")
    text = said if isinstance(error, HarnessError) else f"{name}: {said}".rstrip(": ")
    file = _file(subject.model_class)
    where = raised_at(error, file.parent) if file else ""
    return f"{text}\nraised at {where}" if where else text


_NO_TEXT = {
    "NotImplementedError": "a method of the contract that the model does not define "
    "(harness.model.Model)",
}


def _file(model: type) -> Path | None:
    try:
        return Path(inspect.getfile(model)).resolve()
    except (OSError, TypeError):
        return None
