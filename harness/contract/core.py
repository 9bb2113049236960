"""Checks: requirements on a model, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.contract.subject import Subject
from harness.errors import HarnessError, raised_at
from harness.model import ContractOptions
from harness.source import source_files

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
    """A model violates a requirement; the message has the expected and the actual outcome."""


class NotApplicable(Exception):  # noqa: N818 - no error
    """A check does not apply to a model; the message has the reason."""


@dataclass(frozen=True)
class Check:
    """One requirement on a model.

    Attributes:
        name: name of the check's function.
        demand: description of at most 56 characters, the first line of the docstring.
        run: function that raises ``Broken``, or any error of the model.
        needs: checks whose failure would make this one fail for the same reason.
        kind: function that returns the reason why a model is not checked, "" if it is.
    """

    name: str
    demand: str
    run: Callable[[Subject], None]
    needs: tuple[Check, ...]
    kind: Callable[[Subject], str]

    def inapplicable(self, subject: Subject) -> str:
        """Return the reason why a model is not checked, "" if it is."""
        trial: ContractOptions = getattr(subject.model_class, "contract", ContractOptions())
        return trial.exempt.get(self.name, "") or self.kind(subject)


class Result(NamedTuple):
    """Result of one check on one model; ``message`` has the reason of any status but "ok"."""

    check: Check
    status: Status
    message: str = ""


def trained(subject: Subject) -> str:
    """Kind of checks on trainable models."""
    return "" if subject.capabilities.trainable else "nothing is trained"


def fusing(subject: Subject) -> str:
    """Kind of checks on models that read features."""
    return "" if subject.capabilities.reads_features else "the model reads no features"


def check(
    *needs: Check, kind: Callable[[Subject], str] = lambda subject: ""
) -> Callable[[Callable[[Subject], None]], Check]:
    """Return a decorator that turns a function into a ``Check``."""

    def decorate(function: Callable[[Subject], None]) -> Check:
        demand = (function.__doc__ or "").partition("\n")[0].rstrip(".")
        return Check(function.__name__, demand, function, needs, kind)

    return decorate


def examine(subject: Subject, checks: Sequence[Check]) -> Iterator[Result]:
    """Run checks on a model in order, and yield each result when it is available.

    A check whose needs failed is not run, so that only the first cause is reported.
    """
    unmet: dict[str, str] = {}
    for check in checks:
        cause = next((unmet[need.name] for need in check.needs if need.name in unmet), "")
        result = Result(check, "waiting", f"for '{cause}'") if cause else _examined(subject, check)
        if cause or result.status == "failed":
            unmet[check.name] = cause or check.name
        yield result


def _examined(subject: Subject, check: Check) -> Result:
    try:
        if reason := check.inapplicable(subject):
            return Result(check, "not applicable", reason)
        check.run(subject)
    except NotApplicable as reason:
        return Result(check, "not applicable", str(reason))
    except Exception as error:  # a model of a user's own may raise anything
        return Result(check, "failed", explained(error, subject))
    return Result(check, "ok")


def explained(error: Exception, subject: Subject) -> str:
    """Return the message of a check's error, with the line in the model's file."""
    if isinstance(error, Broken):
        return str(error)
    name = type(error).__name__
    message = str(error).strip() or _NO_TEXT.get(name, "")
    message = "; ".join([message, *getattr(error, "__notes__", ())])
    text = message if isinstance(error, HarnessError) else f"{name}: {message}".rstrip(": ")
    location = raised_at(error, *source_files(subject.model_class))
    return f"{text}\nraised at {location}" if location else text


_NO_TEXT = {
    "NotImplementedError": "a method of the contract that the model does not define "
    "(harness.model.Model)",
}
