"""The shared base of all configuration models, and what is said when a value does not fit them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema

from harness.errors import suggest

__all__ = [
    "SUITE_NAME",
    "Config",
    "KeyPath",
    "Problem",
    "SuiteName",
    "check_suite_name",
    "dotted_keys",
    "problems",
    "show_path",
    "suite_name_like",
]

SUITE_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Names of suites and of their variants become file names and database keys."""

_RULE = "1 to 64 characters (a-z, 0-9, _ and -), beginning with a letter or digit"

KeyPath = tuple[str | int, ...]
"""Place of a value: keys and list positions from the top."""


def suite_name_like(text: str, length: int = 64) -> str:
    """Return a text as the name of a suite ("rotate-atlas"); "" if nothing is left of it."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower())[:length].strip("-_")


def check_suite_name(text: str) -> str:
    """Return a name, of a suite or a variant, that may become part of a path.

    Raises:
        ValueError: it may not; it can come from a record or a database of somebody else.
    """
    if not re.fullmatch(SUITE_NAME, text):
        nearest = suite_name_like(text)
        hint = f"; did you mean '{nearest}'?" if nearest else ""
        raise ValueError(f"{text!r} is no name: {_RULE}{hint}")
    return text


SuiteName = Annotated[
    str, AfterValidator(check_suite_name), WithJsonSchema({"type": "string", "pattern": SUITE_NAME})
]
"""Name of a suite or a variant."""


class Config(BaseModel):
    """A frozen value object; unknown keys are refused, docstrings become descriptions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Problem(NamedTuple):
    """One thing that is wrong with a value.

    Attributes:
        path: where it is.
        message: what is wrong, with the nearest valid choice.
    """

    path: KeyPath
    message: str


def problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return pydantic's findings in the words of the harness.

    Args:
        error: what validating a value against ``model`` raised.
        model: the model, for the keys that would have been valid.
    """
    described = []
    items = error.errors(include_url=False)
    for item in items:
        path: KeyPath = item["loc"]
        inside = [i for i in items if i["loc"][: len(path)] == path and len(i["loc"]) > len(path)]
        if item["type"] == "too_short" and inside:
            continue  # counted without the items that are wrong, and those are reported
        described.append(Problem(path, _message(item["type"], item, path, model)))
    return described


_SHAPES = {
    "tuple_type": "needs a list",
    "list_type": "needs a list",
    "dict_type": "needs a mapping",
    "model_type": "needs a mapping",
    "model_attributes_type": "needs a mapping",
    "string_type": "needs text",
}
"""Kinds of pydantic's findings, in words of YAML instead of Python."""


def _message(kind: str, item: Any, path: KeyPath, model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        return f"unknown key{_nearest(str(path[-1]), path, model)}"
    if kind == "missing":
        return "is missing"
    if kind == "too_short":
        return f"is too short, needs at least {item['ctx']['min_length']}"
    value = "null" if item["input"] is None else repr(item["input"])
    value = value if len(value) <= 60 else f"{value[:57]}..."
    if kind in _SHAPES:
        return f"{_SHAPES[kind]}, got {value}"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        return f"{value} is not a choice{suggest(str(item['input']), choices)}"
    text = str(item["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return text
    reason = text.partition(", got ")[0]  # pydantic shows the input of some kinds, not of all
    return f"{reason[:1].lower()}{reason[1:]}, got {value}"


def _nearest(key: str, path: KeyPath, model: type[BaseModel]) -> str:
    siblings = {name for config in _models_at(model, path[:-1]) for name in config.model_fields}
    hint = suggest(key, siblings)
    if "did you mean" in hint:
        return hint
    # Inside an item of a list, no key of another group is valid.
    if any(isinstance(key_or_position, int) for key_or_position in path):
        return hint
    elsewhere = [k for k in dotted_keys(model) if k.rsplit(".", 1)[-1] == key and k != key]
    return f"; did you mean '{elsewhere[0]}'?" if elsewhere else hint


def _models_at(model: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    """Return the models a value at ``path`` may be, passing over list positions."""
    models = [model]
    for key in path:
        fields = [m.model_fields[key] for m in models if isinstance(key, str) and _has(m, key)]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return models


def _has(model: type[BaseModel], key: str) -> bool:
    return key in model.model_fields


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Yield the dotted name of every value of a model that is not itself a model."""
    for name, field in model.model_fields.items():
        inner = _models_in(field.annotation)
        if inner:
            yield from dotted_keys(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def show_path(path: KeyPath) -> str:
    """Return a path as it is printed: ``rows[2].set.model.dim``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
