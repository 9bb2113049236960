"""Ctrl-C: exit code 130 and one line that says so, wherever a command was."""

from __future__ import annotations

import sys

import pytest

from harness.cli.main import main


@pytest.mark.parametrize("during", ["harness.run.database.check_results", "harness.cli.main.app"])
def test_a_command_that_is_interrupted_says_so(
    during: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(during, interrupted)
    monkeypatch.setattr(sys, "argv", ["harness", "db", "check"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "error: interrupted"
