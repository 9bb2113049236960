"""Plug-ins: the example package, installed and used; broken ones, named and left out."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import dedent

import pytest

from tests.end_to_end.conftest import Ended, Forker, forking

REPOSITORY = Path(__file__).resolve().parents[2]

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    """Starts commands that have loaded neither models nor plug-ins."""
    with forking(first="") as process:
        yield process


def command_in(forker: Forker, folder: Path, site: Path) -> Command:
    """Return a function that runs ``harness`` in a folder, with the packages of ``site``."""
    environment = {
        "HARNESS_HOME": str(folder / "results"),
        "HARNESS_CACHE": str(folder / "cache"),
        "COLUMNS": "80",
    }
    first = f"os.chdir({str(folder)!r}); sys.path.insert(0, {str(site)!r})"
    numbers = itertools.count()

    def run(*words: object) -> Ended:
        number = next(numbers)
        out, err = folder / f"{number}.out", folder / f"{number}.err"
        return forker.start(words, out, err, environment=environment, first=first).wait()

    return run


# --- the example ------------------------------------------------------------------------------

SUITE = """
name: clock
datasets: [{dataset: clock, features: letters-names}]
seeds: [0]
rows: [shifted_distmult, mocme]
base:
  model.dim: 8
  training: {epochs: 2, evaluate_every: 1, batch_size: 32}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the example package is installed into."""
    # Not by importing them: setuptools refuses a process that has imported distutils.
    for package, oldest in (("pip", 22), ("setuptools", 77)):
        try:
            present = int(version(package).partition(".")[0])
        except PackageNotFoundError:
            present = 0
        if present < oldest:
            pytest.skip(f"needs {package} {oldest}")
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"  # pip builds in the folder of the package
    shutil.copytree(REPOSITORY / "examples/harness_plugin", source)
    install = ["install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *install, "--target", str(folder / "site"), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder where the commands are typed."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="module")
def run(forker: Forker, site: Path, desk: Path) -> Command:
    """The command, with the example installed, where its suite has been run."""
    (desk / "suite.yaml").write_text(SUITE)
    (desk / "bars.yaml").write_text("title: Clock\nfigure: bars\nsuite: clock\ncolour: gray\n")
    command = command_in(forker, desk, site)
    done = command("run", "suite.yaml", "--log", "lines", "--device", "cpu", "--threads", "1")
    assert done.code == 0, done.err
    assert "warning" not in done.err
    return command


def test_every_kind_of_plug_in_is_listed(run: Command) -> None:
    assert "shifted_distmult" in run("models", "list").out
    assert "clock" in run("data", "list").out
    assert "letters-names" in run("data", "show", "clock").out
    found = json.loads(run("doctor", "--json").out)
    texts = [f["text"] for f in found if f["topic"] == "plug-in" and f["status"] == "ok"]
    names = ["shifted_distmult", "clock", "letters", "bars", "lines"]
    assert [text.split("'")[1] for text in texts] == names


def test_a_suite_of_plug_ins_has_results_and_a_figure(run: Command, tmp_path: Path) -> None:
    shown = run("report", "--table", "clock")
    assert "DistMult + bias" in shown.out, shown.err
    drawn = run("report", "--figure", "bars.yaml", "--out", tmp_path / "bars.png")
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    printed = run("report", "--figure", "bars.yaml").out
    assert "Picture: Mean over seeds, one bar per row." in printed


def test_the_logger_received_the_runs(run: Command, desk: Path) -> None:
    records = json.loads(run("runs", "list", "--json").out)
    assert {record["features"] for record in records} == {"none", "letters-names"}
    (file,) = (desk / "results").rglob("lines.jsonl")
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert {event["run"] for event in events} == {record["run_id"] for record in records}
    assert [event["event"] for event in events] == ["start", "epoch", "epoch", "ok"] * 2


@pytest.mark.slow
def test_a_plug_in_s_model_keeps_the_contract(run: Command, site: Path) -> None:
    checked = run("models", "check", site / "harness_plugin/model.py")
    assert checked.code == 0, checked.out


def test_the_source_of_a_plug_in_is_part_of_the_run(run: Command) -> None:
    (mine,) = json.loads(run("runs", "list", "--model", "shifted_distmult", "--json").out)
    record = json.loads(run("runs", "show", mine["run_id"], "--json").out)
    assert record["provenance"]["code"]


# --- broken ones ------------------------------------------------------------------------------


def install(site: Path, code: str, **points: str) -> None:
    """Install a package by hand: a module and its entry points."""
    (site / "broken_plugin.py").write_text(dedent(code))
    information = site / "broken_plugin-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n"
    )
    lines = [f"[harness.{group}]\n{point}\n" for group, point in points.items()]
    (information / "entry_points.txt").write_text("\n".join(lines))


def test_a_plug_in_that_cannot_be_imported_is_named_and_left_out(
    forker: Forker, tmp_path: Path
) -> None:
    install(
        tmp_path,
        "import nothing_of_the_kind\n",
        models="torn = broken_plugin",
        datasets="torn_data = broken_plugin",
        encoders="torn_text = broken_plugin",
        reports="torn_bars = broken_plugin:KIND",
    )
    run = command_in(forker, tmp_path, tmp_path)
    listed = run("models", "list")
    assert listed.code == 0
    assert "rotate" in listed.out
    assert listed.err == (
        "warning: plug-in 'torn' (harness.models: broken_plugin of broken-plugin 1.0) is left "
        f"out: {tmp_path}/broken_plugin.py:1: ModuleNotFoundError: No module named "
        "'nothing_of_the_kind'\n"
    )
    (tmp_path / "torn.yaml").write_text("title: Torn\nfigure: torn_bars\nsuite: quickstart\n")
    for code, name, words in (
        (2, "torn", ("models", "show", "torn")),
        (2, "torn_data", ("data", "show", "torn_data")),
        (2, "torn_text", ("models", "show", "mocme", "--dataset", "tiva", "--features",
                          "torn_text-names")),
        (2, "torn_bars", ("report", "--figure", "torn.yaml")),
    ):  # fmt: skip
        refused = run(*words)
        assert refused.code == code, (words, refused.err)
        error = next(line for line in refused.err.splitlines() if line.startswith("error:"))
        assert f"plug-in '{name}'" in error
    doctor = run("doctor")
    assert doctor.code == 4
    assert "plug-in 'torn'" in doctor.out


def test_a_plug_in_with_the_name_of_a_built_in_is_left_out(forker: Forker, tmp_path: Path) -> None:
    install(
        tmp_path,
        """
        from harness.data.card import DATASETS
        from harness.model import Model, register_model

        @register_model("rotate")
        class Mine(Model):
            pass
        """,
        models="rotate = broken_plugin",
        reports="pareto = json:loads",
    )
    run = command_in(forker, tmp_path, tmp_path)
    shown = run("models", "show", "rotate")
    assert shown.code == 0
    assert "RotatE" in shown.out
    assert "plug-in 'rotate'" in shown.err
    assert "is registered twice" in shown.err
    assert run("report", "--list").code == 0


def test_an_object_that_is_no_kind_of_figure_is_refused(forker: Forker, tmp_path: Path) -> None:
    install(tmp_path, "KIND = 3\n", reports="three = broken_plugin:KIND")
    (tmp_path / "three.yaml").write_text("title: Three\nfigure: three\nsuite: quickstart\n")
    refused = command_in(forker, tmp_path, tmp_path)("report", "--figure", "three.yaml")
    assert refused.code == 2
    assert "3 is no harness.report.kinds.ReportKind" in refused.err
