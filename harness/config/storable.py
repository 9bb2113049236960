"""Values that every store can hold: JSON files, SQLite and PostgreSQL alike.

PostgreSQL keeps no NUL character, refuses text that is longer than its column, and has integers of
32 and 64 bits; JSON has neither NaN nor infinity; UTF-8 has no half of a surrogate pair. Such a
value is refused when a record is made or read, whichever store it is for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError, from_json, to_json

__all__ = [
    "KEY",
    "LABEL",
    "NAME",
    "Int32",
    "Int64",
    "Key",
    "Label",
    "Name",
    "Plain",
    "Text",
    "as_plain",
    "plain_problems",
    "text_problem",
]

KEY, NAME, LABEL = 64, 200, 400
"""Greatest number of characters of the database's columns for short keys, names and labels."""


def text_problem(text: str, width: int | None = None) -> str:
    """Return why a store cannot hold a text, "" when it can.

    Args:
        text: any text.
        width: greatest number of characters; None for any.
    """
    if width is not None and len(text) > width:
        return f"has {len(text)} characters, at most {width} can be stored"
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no text"
    return ""


def plain_problems(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield the parts of a JSON value that a store cannot hold: keys from the top, and why.

    Args:
        value: made of dictionaries, lists, tuples, text, numbers, booleans and None.
        path: keys of the value.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from plain_problems(str(key), (*path, key))
            yield from plain_problems(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from plain_problems(item, (*path, index))
    elif problem := _scalar_problem(value):
        yield path, problem


def _scalar_problem(value: Any) -> str:
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "is an integer of more than 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, which JSON does not have"
    return ""


def _text(text: str) -> str:
    if problem := text_problem(text):
        raise ValueError(problem)
    return text


_SUSPICIOUS = (b"\\u0000", b"NaN", b"Infinity")
"""Some is in the JSON text of every mapping with a NUL character or a number that JSON lacks."""
_LONG_INTEGER = re.compile(rb"[0-9]{19}")


def as_plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping as JSON has it.

    Raises:
        PydanticCustomError: a store cannot hold a value; "path" and "problem" are its context.
    """
    try:
        text = to_json(value, inf_nan_mode="constants")
    except ValueError:  # half of a surrogate pair
        text = b"NaN"
    # Walking through every mapping would take ten times as long as this search.
    if any(words in text for words in _SUSPICIOUS) or _LONG_INTEGER.search(text):
        for path, problem in plain_problems(value):
            raise PydanticCustomError("not_plain", "{problem}", {"path": path, "problem": problem})
        text = json.dumps(value).encode()
    plain: dict[str, Any] = from_json(text)
    return plain


Text = Annotated[str, AfterValidator(_text)]
"""Text of any length."""
Key = Annotated[str, Field(max_length=KEY), AfterValidator(_text)]
"""Name of a metric, a subset, a kind."""
Name = Annotated[str, Field(max_length=NAME), AfterValidator(_text)]
"""Name of a model, a dataset, a feature set, a suite; a digest."""
Label = Annotated[str, Field(max_length=LABEL), AfterValidator(_text)]
"""Label of a row of a table."""
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
"""A count or a position."""
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A seed or a number of bytes."""
Plain = Annotated[dict[str, Any], AfterValidator(as_plain)]
"""A mapping that JSON can hold, as JSON gives it back: tuples become lists."""
