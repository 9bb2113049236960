from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from harness.cli import report
from harness.errors import ConfigError, HarnessError, MachineError, StoreError
from harness.plan.spec import Protocol
from harness.report.stored import load_table
from harness.store import open_store
from harness.store.records import Cell, MetricValue, RunRecord

RUN = RunRecord(
    run_id="0a1b2c3d4e5f",
    status="ok",
    spec={"model": {"name": "rotate"}, "data": {"dataset": "atlas"}},
    model="rotate",
    dataset="atlas",
    dataset_digest="d",
    seed=0,
    protocol=Protocol().key,
    metrics=(
        MetricValue(split="test", side="both", metric="mrr", value=0.123456, queries=10),
        MetricValue(split="test", side="both", metric="hits@1", value=0.1, queries=10),
        MetricValue(split="test", side="both", metric="hits@10", value=0.2, queries=10),
    ),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A results folder with one made-up run in two suites, one of them a variant."""
    folder = tmp_path / "home"
    folder.mkdir()
    store = open_store(folder / "harness.db")
    store.add(RUN)
    for suite, variant in (("mine", ""), ("mine", "beef")):
        cell = Cell(
            suite=suite,
            variant=variant,
            position=0,
            label="RotatE",
            dataset="atlas",
            seed=0,
            run_id=RUN.run_id,
        )
        store.plan(suite, variant, [cell])
    store.close()
    return folder


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    report.register(app)
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, HarnessError):
        raise result.exception
    return result


def test_whatever_the_store_holds(home: Path) -> None:
    result = invoke("--home", str(home))
    assert result.exit_code == 0
    assert "Suite mine" in result.stdout
    assert "12.35" in result.stdout
    assert "--variant beef" in result.stderr
    assert invoke("--home", str(home), "--table", "fusion").stderr == ""


def test_a_study_without_a_test_is_told_of(home: Path) -> None:
    validated = RUN.model_copy(update={"run_id": "f" * 12, "status": "validated", "metrics": ()})
    trial = Cell(suite="searched", position=0, label="T", dataset="atlas", seed=0, run_id="f" * 12)
    with closing(open_store(home / "harness.db")) as store:
        store.add(validated)
        store.plan("searched", "", [trial])
    result = invoke("--home", str(home))
    assert "Suite mine" in result.stdout
    assert "searched" not in result.stdout
    assert "not shown: study searched, none of whose trials was tested" in result.stderr
    assert "`harness study show searched`" in result.stderr


def test_a_paper_table_before_any_run(tmp_path: Path) -> None:
    result = invoke("--home", str(tmp_path / "none"), "--table", "main", "--dataset", "MKG-W")
    assert "33.67" in result.stdout
    assert "not run: `harness run main_table`" in result.stdout
    assert not (tmp_path / "none").exists()


def test_an_empty_store_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"harness run quickstart"):
        invoke("--home", str(tmp_path))


def test_list(home: Path) -> None:
    lines = invoke("--list").stdout.splitlines()
    listed = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert listed == sorted(listed)
    assert {"main", "ablation", "fusion", "backbone", "quickstart"} <= set(listed)
    assert "published" not in listed
    kinds = {line.find(kind) for line in lines for kind in ("table  ", "figure ") if kind in line}
    assert len(kinds) == 1
    assert max(map(len, lines)) <= 80


def test_out_is_written_whole(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "table.csv"
    result = invoke("--home", str(home), "--format", "csv", "--out", str(out))
    assert result.stdout == ""
    assert "RotatE" in out.read_text(encoding="utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["table.csv"]


def test_out_that_cannot_be_written(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file: is a file, not a folder"):
        invoke("--home", str(home), "--out", str(tmp_path / "file" / "x.txt"))


def test_seeds(home: Path) -> None:
    assert "12.35" in invoke("--home", str(home), "--seeds", "0").stdout


@pytest.mark.parametrize(
    "options", [(), ("--table", "mine"), ("--table", "breakdown", "--by", "side"), ("--html",)]
)
def test_a_seed_that_no_run_has(home: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^--seeds 7: no run has it; choose from 0$"):
        invoke("--home", str(home), "--seeds", "0,7", *options)
    with pytest.raises(ConfigError, match=r"^--seeds 7: no run has it; choose from 0$"):
        invoke("--home", str(home), "--seeds", "0,7", "--all", "--out", str(home / "all"))
    with pytest.raises(ConfigError, match=r"^--seeds 9: no run has it"):
        load_table("mine", home, seeds={0, 9})


def test_a_variant_that_is_none(home: Path) -> None:
    with pytest.raises(ConfigError, match="--variant bee: no run has it; did you mean 'beef'"):
        invoke("--home", str(home), "--variant", "bee")


def test_results_with_set_alone(home: Path) -> None:
    with closing(open_store(home / "harness.db")) as store:
        store.plan("mine", "", [])
        store.plan("fusion", "", [])
    with pytest.raises(StoreError, match="holds results with --set alone; add --variant NAME"):
        invoke("--home", str(home))


def test_seeds_that_are_none(home: Path) -> None:
    with pytest.raises(ConfigError, match="'x' is not a seed"):
        invoke("--home", str(home), "--seeds", "0,x")
    for wrong in ("0-99999999999", "2-0"):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no range"):
            invoke("--home", str(home), "--seeds", wrong)


def test_several_tables_and_a_wrong_format(home: Path) -> None:
    result = invoke("--home", str(home), "--table", "fusion,backbone", "--format", "markdown")
    assert result.stdout.count("\n## ") + result.stdout.startswith("## ") == 2
    with pytest.raises(ConfigError, match="unknown format 'txt'; did you mean 'text'"):
        invoke("--home", str(home), "--format", "txt")


def test_a_file_with_the_ending_of_no_format(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.htm"
    with pytest.raises(ConfigError, match="no format has the ending 'htm'; did you mean 'html'"):
        invoke("--home", str(home), "--table", "fusion", "--out", str(out))
    assert not out.exists()
    invoke("--home", str(home), "--table", "fusion", "--out", str(out), "--format", "html")
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_reports_need_no_heavy_library(home: Path) -> None:
    code = (
        "import sys, typer\n"
        "from harness.cli import report\n"
        "app = typer.Typer(); report.register(app)\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'numpy', 'optuna'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--home", str(home), "--format", "html"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_output_goes_where_it_is_sent(home: Path, tmp_path: Path) -> None:
    """A link stays a link, a file keeps its permissions, a pipe is written to."""
    wanted = invoke("--home", str(home)).stdout
    target, link, pipe = (tmp_path / name for name in ("target.txt", "link.txt", "pipe"))
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    invoke("--home", str(home), "--out", str(link))
    assert link.is_symlink()
    assert target.read_text() == wanted
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    os.mkfifo(pipe)
    # Opened first, and without waiting for a writer: a command that fails early does not hang.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    invoke("--home", str(home), "--out", str(pipe))
    assert os.read(reader, 65536).decode() == wanted
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_one_page_goes_to_the_results_folder_or_where_it_is_told(
    home: Path, tmp_path: Path
) -> None:
    result = invoke("--html", "--home", str(home))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert f"{home / 'report.html'}: 2 tables, 0 figures, 1 run, " in result.stderr
    assert "--variant beef" not in result.stderr
    page = (home / "report.html").read_text(encoding="utf-8")
    assert "12.35" in page
    assert 'href="#runs-0a1b2c3d4e5f"' in page
    other = tmp_path / "deep" / "page.html"
    invoke("--html", "--home", str(home), "--out", str(other), "--table", "fusion")
    assert "39.62" in other.read_text(encoding="utf-8")
    of_part = invoke("--html", "--home", str(home), "--out", str(other), "--table", "mine")
    assert "suite mine with --set ...; --variant beef shows it" in of_part.stderr


def test_a_suite_without_a_definition_is_shown_by_its_name(home: Path, tmp_path: Path) -> None:
    shown = invoke("--table", "mine", "--home", str(home))
    assert shown.exit_code == 0
    assert shown.stdout.startswith("Suite mine")
    assert "12.35" in shown.stdout
    page = tmp_path / "mine.html"
    invoke("--table", "mine", "--html", "--out", str(page), "--home", str(home))
    assert "Suite mine" in page.read_text()


def test_a_page_has_no_other_format(home: Path) -> None:
    with pytest.raises(ConfigError, match="--html is a format of its own; leave out --format csv"):
        invoke("--html", "--format", "csv", "--home", str(home))


def test_a_page_of_nothing_says_what_makes_something(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results to report"):
        invoke("--html", "--home", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


# --- LaTeX ----------------------------------------------------------------------------------


def test_options_of_latex(home: Path) -> None:
    words = ["--table", "mine", "--format", "latex", "--home", str(home)]
    made = invoke(
        *words, "--width", "page", "--decimals", "1", "--caption", "Mine", "--label", "t:m"
    )
    assert r"\begin{table*}[t]" in made.stdout
    assert r"\caption{Mine}" in made.stdout
    assert r"\label{t:m}" in made.stdout
    assert "12.3 " in made.stdout
    assert r"\usepackage{booktabs,amssymb,siunitx}" in invoke(*words, "--siunitx").stdout


def test_notes_that_do_not_fit_are_told_of_on_stderr(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.latex.HEIGHT", 10.0)
    made = invoke("--table", "mine", "--format", "latex", "--home", str(home))
    assert "mine: its notes stand behind the table" in made.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--width", "page"], "go with --format latex"),
        (["--format", "latex", "--width", "pag"], "--width pag: unknown; did you mean 'page'?"),
        (["--format", "latex", "--notes", "no"], "--notes no: unknown; did you mean 'none'?"),
        (["--format", "latex", "--caption", "A"], "--caption and --label go with one --table"),
    ],
)
def test_options_of_latex_that_make_no_sense(home: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        invoke(*words, "--home", str(home))
    assert message in str(error.value)


@pytest.fixture
def with_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The mistake of a definition among those of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    text = "title: Wrong\nsuite: other\nmetrics: [mrr/cld]\n"
    (tmp_path / "reports" / "mistaken.yaml").write_text(text)
    return "reports/mistaken.yaml:3: metrics[0]: unknown bucket 'cld'; did you mean 'cold'?"


def test_a_definition_with_a_mistake_does_not_stop_the_others(
    home: Path, tmp_path: Path, with_mistake: str
) -> None:
    result = invoke("--home", str(home))
    assert "12.35" in result.stdout
    assert f"left out: {with_mistake}" in " ".join(result.stderr.split())
    assert result.exit_code == 2
    alone = invoke("--home", str(home), "--table", "mine")
    assert ("12.35" in alone.stdout, alone.exit_code) == (True, 0)
    listed = invoke("--list")
    assert (with_mistake in listed.stderr, listed.exit_code) == (True, 0)
    assert "quickstart" in listed.stdout


def test_the_page_names_a_definition_with_a_mistake(
    home: Path, tmp_path: Path, with_mistake: str
) -> None:
    result = invoke("--home", str(home), "--html", "--out", str(tmp_path / "page.html"))
    assert result.exit_code == 2
    assert result.stderr.count(with_mistake) == 1
    page = (tmp_path / "page.html").read_text()
    assert "A table or figure whose definition holds a mistake: reports/mistaken.yaml:3" in page


def test_all_artefacts_but_that_of_a_definition_with_a_mistake(
    home: Path, tmp_path: Path, with_mistake: str
) -> None:
    result = invoke("--home", str(home), "--all", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert [line for line in result.stderr.splitlines() if with_mistake in line] == [
        f"mistaken: {with_mistake}"
    ]
    assert (tmp_path / "out" / "suite-mine.txt").is_file()
