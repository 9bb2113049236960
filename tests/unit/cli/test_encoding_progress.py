"""What is printed while texts are encoded."""

from __future__ import annotations

import time
from io import StringIO

from harness.cli.encoding import INTERVAL_S, show_encoding
from harness.data.progress import report_progress


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_long_encoding_is_never_silent() -> None:
    assert INTERVAL_S < 2
    stream = StringIO()
    with show_encoding(stream, interval=0.03):
        report_progress("use", 0, 2000)
        time.sleep(0.2)  # one batch takes long
        during = stream.getvalue()
        report_progress("use", 1500, 2000)
        report_progress("use", 2000, 2000)
    assert during.count("encoding with 'use': 0 of 2,000 (0 s)\n") >= 3
    assert stream.getvalue().splitlines()[-1] == "encoding with 'use': 2,000 of 2,000 (0 s)"


def test_short_encoding_is_quiet() -> None:
    stream = StringIO()
    with show_encoding(stream, interval=30):
        report_progress("numeric", 0, 10)
        report_progress("numeric", 10, 10)
        report_progress("use", 0, 0)
    assert stream.getvalue() == ""


def test_on_a_terminal_one_line_is_rewritten() -> None:
    stream = _Terminal()
    with show_encoding(stream, interval=0.03):
        report_progress("use", 0, 2000)
        time.sleep(0.1)
        report_progress("use", 2000, 2000)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("\r\x1b[Kencoding with 'use': 0 of 2,000")


def test_an_error_ends_the_display() -> None:
    stream = StringIO()
    try:
        with show_encoding(stream, interval=0.03):
            report_progress("use", 0, 2000)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        before = stream.getvalue()
    time.sleep(0.1)
    assert stream.getvalue() == before
