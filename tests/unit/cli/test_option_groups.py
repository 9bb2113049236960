"""Options that several commands share are the fields of one class."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.execution import DetachableOptions, RunOptions, with_option_groups
from harness.errors import ConfigError


def call(group: type[RunOptions], *words: str) -> RunOptions:
    """Return the options that a command receives."""
    received: list[RunOptions] = []

    def command(name: str = "", *, options: RunOptions) -> None:
        received.append(options)
        assert name == "x"

    command.__annotations__["options"] = group
    app = typer.Typer()
    app.command()(with_option_groups(command))
    result = CliRunner().invoke(app, ["--name", "x", *words])
    assert result.exit_code == 0, result.output
    return received[0]


def test_a_command_receives_its_options_as_one_value() -> None:
    assert call(RunOptions) == RunOptions()
    words = ("--workers", "2", "--device", "cpu", "--log", "a,b", "--on-interrupt", "cancel")
    options = call(DetachableOptions, *words, "--detach", "--models", "m")
    keywords = options.keywords()
    assert keywords["workers"] == 2
    assert keywords["log"] == ("a", "b")
    assert keywords["on_interrupt"] == "cancel"
    assert keywords["detach"] is True
    assert [str(folder) for folder in keywords["model_folders"]] == ["m"]


def test_only_a_command_that_may_leave_has_the_option() -> None:
    assert "detach" not in call(RunOptions).keywords()
    with pytest.raises(AssertionError, match="No such option"):
        call(RunOptions, "--detach")


def test_device_and_devices_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="give one of the two"):
        RunOptions(device="cpu", devices="auto").keywords()
