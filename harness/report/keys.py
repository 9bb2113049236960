"""Keys of report definitions as a page of documentation, written from the definitions themselves.

``python -m harness.report.keys`` rewrites ``docs/report_keys.md``.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.report.definition import Definition, ReportDefinition
from harness.report.files import FIGURES, KINDS

__all__ = ["PAGE", "reference"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "report_keys.md"
HEAD = """\
# Keys of report definitions

A report definition is a YAML file in `reports/`, or anywhere: `harness report --table FILE` and
`--figure FILE` read it. Its kind follows from its keys: `figure` names a kind of figure,
`conditions`, `benchmark`, `statistics` and `studies` make the kinds below, all others are tables of
results.
[reports/README.md](../reports/README.md) has examples. A key that a kind does not have, or that
would have no effect, is refused with file and line. Keys in bold are required.

This page is written by `python -m harness.report.keys`.
"""
TITLES = {
    "": "Tables of results",
    "conditions": "Curves by corruption: `conditions`",
    "benchmark": "Growth of time: `benchmark`",
    "statistics": "Statistics of datasets: `statistics`",
    "studies": "Tuning effort: `studies`",
}


def reference() -> str:
    """Return the page."""
    figures: dict[type[ReportDefinition], list[str]] = {}
    for name, kind in FIGURES.items():
        figures.setdefault(kind, []).append(name)
    sections: list[tuple[str, type[ReportDefinition]]] = [(TITLES[""], Definition)]
    sections += [
        (" and ".join(f"`figure: {name}`" for name in names), kind)
        for kind, names in figures.items()
    ]
    sections += [(TITLES[kind.key], kind) for kind in KINDS]
    return "\n".join([HEAD, *(_section(title, kind) for title, kind in sections)])


def _section(title: str, kind: type[BaseModel]) -> str:
    lines = [f"## {title}", "", _plain(kind.__doc__ or ""), ""]
    lines += ["| key | value | meaning |", "| --- | --- | --- |", *_rows(kind), ""]
    return "\n".join(lines)


def _rows(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield a line per key, those of inner groups and lists after their own."""
    for name, field in kind.model_fields.items():
        if not prefix and name == "name":
            continue  # set when the file is read
        key = f"{prefix}{name}"
        printed_key = f"**`{key}`**" if field.is_required() else f"`{key}`"
        yield f"| {printed_key} | {_value(field)} | {_plain(field.description or '')} |"
        for inner, is_list in _models(field.annotation):
            yield from _rows(inner, f"{key}{'[]' if is_list else ''}.")


def _value(field: FieldInfo) -> str:
    """Return the type of a value, with its default where there is one."""
    text = _type(field.annotation)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if default in (None, "", (), {}) or isinstance(default, BaseModel):
        return text
    text_of_default = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    text_of_default = text_of_default.lower() if isinstance(default, bool) else text_of_default
    return f"{text}; default `{text_of_default}`"


def _type(annotation: object) -> str:
    """Return a type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in arguments if a is not NoneType))
    if origin is tuple:
        return f"list: {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    words: dict[object, str] = {bool: "true or false", float: "number", int: "number"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "group of keys"
    return words.get(annotation, "text")


def _models(annotation: object) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the groups inside a type, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
    is_list = typing.get_origin(annotation) is tuple
    for argument in typing.get_args(annotation):
        yield from ((model, inner or is_list) for model, inner in _models(argument))


def _plain(text: str) -> str:
    """Return a docstring as Markdown on one line, safe in a cell of a table."""
    joined = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
    return re.sub(r":class:`(\w+)`", r"`\1`", joined)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
