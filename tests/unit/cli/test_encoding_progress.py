"""What is printed while texts are encoded."""

from __future__ import annotations

import time
from io import StringIO

import pytest

from harness.cli.encoding import LINES_S, show_encoding
from harness.events import report_step


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_long_encoding_is_never_silent() -> None:
    stream = StringIO()
    with show_encoding(stream, interval=0.03):
        report_step("encoding with 'use'", 0, 2000)
        time.sleep(0.2)  # one batch takes long
        during = stream.getvalue()
        report_step("encoding with 'use'", 1500, 2000)
        time.sleep(0.1)
        report_step("encoding with 'use'", 2000, 2000)
    assert during == "encoding with 'use': 0 of 2,000 (0 s)\n"
    assert stream.getvalue().splitlines() == [
        f"encoding with 'use': {done} of 2,000 (0 s)" for done in ("0", "1,500", "2,000")
    ]


def test_on_a_terminal_the_seconds_go_on_while_a_batch_takes_long() -> None:
    stream = _Terminal()
    with show_encoding(stream, interval=0.3):
        report_step("encoding with 'use'", 0, 2000)
        time.sleep(1.2)
        assert stream.getvalue().endswith("0 of 2,000 (1 s)")


def test_off_a_terminal_lines_are_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cli.encoding.INTERVAL_S", 0.03)
    for stream in (_Terminal(), StringIO()):
        with show_encoding(stream):
            report_step("encoding with 'use'", 0, 2000)
            time.sleep(0.1)
            report_step("encoding with 'use'", 1500, 2000)
        assert bool(stream.getvalue()) == stream.isatty()
    assert LINES_S >= 10


def test_short_encoding_is_quiet() -> None:
    stream = StringIO()
    with show_encoding(stream, interval=30):
        report_step("encoding with 'numeric'", 0, 10)
        report_step("encoding with 'numeric'", 10, 10)
        report_step("encoding with 'use'", 0, 0)
    assert stream.getvalue() == ""


def test_on_a_terminal_one_line_is_rewritten() -> None:
    stream = _Terminal()
    with show_encoding(stream, interval=0.03):
        report_step("encoding with 'use'", 0, 2000)
        time.sleep(0.1)
        report_step("encoding with 'use'", 2000, 2000)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("\r\x1b[Kencoding with 'use': 0 of 2,000")


def test_an_error_ends_the_display() -> None:
    stream = StringIO()
    try:
        with show_encoding(stream, interval=0.03):
            report_step("encoding with 'use'", 0, 2000)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        before = stream.getvalue()
    time.sleep(0.1)
    assert stream.getvalue() == before
