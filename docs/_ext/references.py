"""Sphinx directives whose text is made from the code: commands, and keys of YAML files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from docutils import nodes
from docutils.statemachine import StringList
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Generated(SphinxDirective):
    """A directive that is replaced by Markdown."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def lines(self) -> Iterator[str]:
        """Yield the lines of the Markdown text."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the text where the directive stands."""
        text = StringList(list(self.lines()), source=self.get_source_info()[0])
        return self.parse_content_to_nodes_of(text)

    def parse_content_to_nodes_of(self, text: StringList) -> list[nodes.Node]:
        """Return the nodes of Markdown lines, headings included."""
        self.content = text
        return self.parse_content_to_nodes(allow_section_headings=True)


class Commands(Generated):
    """Every command of a Typer application, with its arguments and options.

    ``{commands} harness.cli.main:app``
    """

    def lines(self) -> Iterator[str]:
        """Yield a section for each command."""
        yield from _command(typer.main.get_command(_named(self.arguments[0])), "harness")


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def _command(command: Any, name: str) -> Iterator[str]:
    """Yield the sections of a command, those of a group's commands one after another."""
    if hasattr(command, "commands"):
        for child, part in command.commands.items():
            yield from _command(part, f"{name} {child}")
        return
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## {name}", "", _plain(command.help or ""), "")
    yield from ("```text", f"{name} {usage}", "```", "")
    for parameter in command.params:
        if record := parameter.get_help_record(context):
            title, description = record
            yield from (f"`{title}`", f": {_plain(description)}", "")


NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}
"""Python types -> what they are called in a YAML file."""


class Keys(Generated):
    """Every key of pydantic models, with types, defaults and descriptions.

    ``{keys} harness.plan.suite:Suite``
    """

    def lines(self) -> Iterator[str]:
        """Yield a section for each model and for each model below it."""
        waiting, seen = [_named(name) for name in self.arguments[0].split()], set()
        while waiting:
            model = waiting.pop(0)
            if model in seen:
                continue
            seen.add(model)
            yield from _table(model)
            waiting += [m for f in model.model_fields.values() for m in _models(f.annotation)]


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield f"## {model.__name__}"
    yield ""
    yield from _plain((model.__doc__ or "").split("\n\n")[0]).splitlines()
    yield ""
    for name, field in model.model_fields.items():
        description = _plain(field.description or "")
        value = f"{_type(field.annotation)}{_default(field)}"
        yield from (f"`{field.alias or name}`", f": {description or value}", "")
        if description:
            yield from (f"  {value}", "")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the pydantic models within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _type(annotation: Any) -> str:
    """Return the name of a type as a YAML file has it: a list of Row, a number, a | b."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " | ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(argument) for argument in arguments if argument is not NoneType)
    if origin in (tuple, list, Sequence):
        return f"list of {_type(arguments[0])}"
    if origin in (dict, Mapping):
        return "mapping"
    return NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ", required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value is None or isinstance(value, BaseModel) else f", default `{value!r}`"


def _plain(text: str) -> str:
    """Return help text in Markdown: reST literals become code, one line."""
    return " ".join(text.replace("``", "`").split())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("commands", Commands)
    app.add_directive("keys", Keys)
    return {"parallel_read_safe": True}
