"""Wrong options, arguments and commands, as errors of one line like all others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from harness.errors import ConfigError, nearest, suggest

__all__ = ["CommandGroup"]

# Typer has its own copy of click or needs click, by version; what they share has no public name.
UsageError: Any = typer.BadParameter.__bases__[0]

_CHOICE = re.compile(r"(?:Value error, )?'(.*)' is not one of (.*)", re.DOTALL)
_COMMAND = re.compile(r"No such command '(.*?)'\..*", re.DOTALL)


class CommandGroup(TyperGroup):
    """All commands; a mistake in a call is a ``ConfigError`` with the nearest choices."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the options before the command."""
        with _in_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command with its options, and run it."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # is the help text
            raise
        raise ConfigError(_described(error)) from None


def _described(error: Any) -> str:
    """Describe a mistake in a call, with the nearest choices or the command that lists them."""
    help_hint = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
    if hasattr(error, "possibilities"):  # of an unknown option
        options = {name for param in error.ctx.command.params for name in param.opts}
        is_near = nearest(error.option_name, options) is not None
        hint = suggest(error.option_name, options) if is_near else help_hint
        return f"unknown option {error.option_name}{hint}"
    if command := _COMMAND.fullmatch(error.message):
        return f"unknown command '{command[1]}'{suggest(command[1], error.ctx.command.commands)}"
    if (param := getattr(error, "param", None)) and error.message:
        name = "/".join(name for name in param.opts if name.startswith("-")) or param.name
        if choice := _CHOICE.fullmatch(error.message):
            choices = re.findall("'(.*?)'", choice[2])
            return f"{name} {choice[1]}: unknown{suggest(choice[1], choices)}"
        return f"{name}: {_in_a_sentence(error.message)}{help_hint}"
    return _in_a_sentence(error.format_message()) + help_hint


def _in_a_sentence(text: str) -> str:
    """Return a sentence in one line, as a part of another."""
    line = " ".join(text.split()).rstrip(".")
    return line[:1].lower() + line[1:]
