"""Mistakes in how a command is called are one line, with the nearest choices."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compare --bucket part a b", "--bucket part: unknown; choose from all, cold, warm"),
        ("compare --bucket clod a b", "--bucket clod: unknown; did you mean 'cold'?"),
        ("compare --format jsn a b", "--format jsn: unknown; did you mean 'json'?"),
        ("run x --on-interrupt leaf", "--on-interrupt leaf: unknown; did you mean 'leave'?"),
        ("run x --sede 3", "unknown option --sede; did you mean '--seeds'?"),
        ("--versin", "unknown option --versin; did you mean '--version'?"),
        ("rnu", "unknown command 'rnu'; did you mean 'run'?"),
        ("runs shwo x", "unknown command 'shwo'; did you mean 'show'?"),
    ],
)
def test_a_wrong_word_gets_the_nearest(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        CliRunner().invoke(app, words.split(), catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run x --qqq", "unknown option --qqq"),
        ("report --port 99999", "--port: .*65535.*"),
        ("predict x -k 0", "--top/-k: .*1.*"),
        ("runs list x", r"got unexpected extra argument.*\(x\)"),
        ("runs show", "missing argument 'run'"),
        ("db export", "missing option '--out'"),
    ],
)
def test_other_mistakes_name_the_help_of_the_command(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{message}; see `\S+ .*--help`$") as refused:
        CliRunner().invoke(app, words.split(), catch_exceptions=False)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("words", [[], ["runs"]])
def test_a_group_without_a_command_prints_its_help(words: list[str]) -> None:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 2
    assert "Usage: " in result.output
