"""``harness db`` and ``harness runs``: data on stdout, messages on stderr."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli import db, runs
from harness.cli.run_text import describe, sparkline
from harness.errors import ConfigError, Interrupted, StoreError
from harness.run.database import export_results
from harness.run.runs import forget_failures
from harness.store import open_store, results_home
from harness.store.base import ResultStore, suite_of
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample
from harness.store.files import write_record
from harness.store.records import Cell, MetricValue, RunRecord, StoredSuite
from harness.training.state_file import STATE

pytestmark = pytest.mark.usefixtures("readable_ids")

MakeRecord = Callable[..., RunRecord]


def harness(*words: object, answer: str | None = None) -> Result:
    """Run a command; errors are raised."""
    app = {"db": db.app, "runs": runs.app}[str(words[0])]
    arguments = [str(word) for word in words[1:]]
    result = CliRunner().invoke(app, arguments, input=answer, env={"COLUMNS": "80"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def cell(run_id: str, seed: int = 0, **values: object) -> Cell:
    atlas = {"dataset": "atlas", "features": "names"}
    filled = {"suite": "main", "position": 0, "label": "RotatE", **atlas, **values}
    return Cell(run_id=run_id, seed=seed, **filled)  # type: ignore[arg-type]


@pytest.fixture
def filled(make_record: MakeRecord) -> Path:
    """Results folder with two finished runs, one failed one, and their run folders."""
    records = [
        make_record("aaaa11112222"),
        make_record(
            "bbbb11112222",
            model="mocme",
            dataset="MKG-W",
            seed=1,
            metrics=(MetricValue(split="test", side="both", metric="mrr", value=0.4, queries=8),),
            history=tuple({"epoch": float(e), "loss": 1 / e} for e in range(1, 101)),
            provenance={"commit": "badcafe", "dirty": False, "versions": {"torch": "2.7"}},
        ),
        make_record("cccc11112222", seed=2, status="failed", error="NaN at step 3", metrics=()),
    ]
    with contextlib.closing(open_store()) as store:
        for record in records:
            store.add(record)
            folder = results_home() / "runs" / record.run_id
            write_record(folder / "record.json", record)
            (folder / "best.safetensors").write_bytes(b"weights")
        cells = [
            cell(record.run_id, record.seed).model_copy(update={"dataset": record.dataset})
            for record in records
        ]
        store.plan("main", "", [*cells, cell("dddd11112222", 3)])
    return results_home()


def damage(home: Path, *statements: str) -> None:
    """Change the database behind the harness's back."""
    with contextlib.closing(sqlite3.connect(home / "harness.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def stored() -> list[str]:
    with contextlib.closing(open_store()) as store:
        return list(store.ids())


# --- list ---------------------------------------------------------------------------------


def test_list_fits_in_80_columns(filled: Path) -> None:
    result = harness("runs", "list")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [
        ["run", "label", "dataset", "features", "seed", "status", "test", "valid", "ep."],
        ["aaaa11112222", "RotatE", "atlas", "names", "0", "ok", "33.67", "33.67", "2"],
        ["bbbb11112222", "RotatE", "MKG-W", "names", "1", "ok", "40.00", "-", "100"],
        ["cccc11112222", "RotatE", "atlas", "names", "2", "failed", "-", "-", "2"],
    ]
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == ""


def test_list_leaves_out_columns_rather_than_break_words(make_record: MakeRecord) -> None:
    label = "multi-modality, linear trial 12"
    with contextlib.closing(open_store()) as store:
        for run_id, dataset in (("aaaa11112222", "kvc16k@clean"), ("bbbb11112222", "atlas")):
            store.add(make_record(run_id, dataset=dataset, features="public-minilm"))
        store.plan("main", "", [cell("aaaa11112222", label=label), cell("bbbb11112222", 1)])
    lines = harness("runs", "list").stdout.splitlines()
    assert lines[0].split() == ["run", "label", "dataset", "seed", "status", "test", "valid"]
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    assert set(label.split()) | {"kvc16k@clean"} <= set(words)


def test_list_as_json_is_filtered(filled: Path) -> None:
    found = json.loads(harness("runs", "list", "--model", "mocme", "--json").stdout)
    assert found == [
        {
            "run_id": "bbbb11112222",
            "model": "mocme",
            "dataset": "MKG-W",
            "features": "names",
            "seed": 1,
            "status": "ok",
            "mrr_test": 0.4,
            "mrr_valid": None,
            "epochs": 100,
            "labels": ["RotatE"],
        }
    ]
    failed = json.loads(harness("runs", "list", "--status", "failed", "--json").stdout)
    assert [line["run_id"] for line in failed] == ["cccc11112222"]
    for status, hint in (
        ("partial", "; choose from failed, ok, p"),
        ("faild", "; did you mean 'f"),
    ):
        with pytest.raises(ConfigError, match=f"^no status '{status}'{hint}"):
            harness("runs", "list", "--status", status)


def test_list_names_runs_that_can_be_resumed(filled: Path) -> None:
    assert "dddd11112222" not in harness("runs", "list").stderr  # planned, and never begun
    folder = filled / "runs" / "dddd11112222"
    folder.mkdir()
    (folder / STATE).write_text("{}")
    assert harness("runs", "list", "--dataset", "atlas").stderr.splitlines() == [
        "1 run interrupted, or still running; `harness run SUITE` resumes:",
        "  dddd11112222  RotatE  atlas  seed 3",
    ]
    for filters in (["--dataset", "MKG-W"], ["--model", "rotate"], ["--status", "ok"]):
        assert "dddd" not in harness("runs", "list", *filters).stderr


def test_list_looks_up_a_suite_once_for_all_of_its_runs(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suites: list[str] = []

    def looked_up(store: ResultStore, suite: str, variant: str) -> StoredSuite:
        suites.append(suite)
        return suite_of(store, suite, variant)

    monkeypatch.setattr("harness.run.runs.suite_of", looked_up)
    with contextlib.closing(open_store()) as store:
        store.plan("main", "", [cell(f"eeee1111222{i}", i, label=f"row {i}") for i in range(3)])
    for i in range(3):
        folder = filled / "runs" / f"eeee1111222{i}"
        folder.mkdir()
        (folder / STATE).write_text("{}")
    assert harness("runs", "list").stderr.startswith("3 runs interrupted, or still running; ")
    assert suites == ["main"]


def test_list_of_a_suite(filled: Path) -> None:
    with contextlib.closing(open_store()) as store:
        store.plan("further", "", [cell("bbbb11112222", suite="further", label="Other")])
    lines = harness("runs", "list", "--suite", "further").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["bbbb11112222", "Other"]]
    with pytest.raises(ConfigError, match=r"no runs of a suite 'furthr'; did you mean 'further'"):
        harness("runs", "list", "--suite", "furthr")


def test_list_says_why_it_is_empty(filled: Path) -> None:
    result = harness("runs", "list", "--model", "rotat")
    assert result.stdout == ""
    assert "no run has model 'rotat'; did you mean 'rotate'?" in result.stderr
    assert json.loads(harness("runs", "list", "--dataset", "x", "--json").stdout) == []
    assert (
        "no such runs" in harness("runs", "list", "--model", "mocme", "--status", "failed").stderr
    )
    damage(filled, "UPDATE runs SET spec = '{' WHERE run_id = 'bbbb11112222'")
    assert "did you mean 'rotate'?" in harness("runs", "list", "--model", "rotat").stderr


def test_without_a_database_nothing_is_made() -> None:
    for words in (["list"], ["show", "a"], ["diff", "a", "b"], ["rm", "a"], ["retry"]):
        with pytest.raises(StoreError, match="no result database"):
            harness("runs", *words)
    assert not results_home().exists()


def test_home_is_an_option(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", "/nowhere")
    assert "aaaa11112222" in harness("runs", "list", "--home", filled).stdout


# --- show and diff ------------------------------------------------------------------------


def test_show_tells_everything(filled: Path) -> None:
    text = harness("runs", "show", "bbbb").stdout
    assert text.startswith("run bbbb11112222: ok\n")
    for expected in (
        "model     mocme",
        "features  names (text, image), digest f1",
        "protocol  realistic/train+valid+test/head+tail/all",
        "test   both  all   40.00        8",
        "100 epochs",
        "1 -> 0.01",
        "█",
        "training.batch_size",
        "versions.torch  2.7",
        "mean of 2",
        "1024.0 MiB",
        "the test split holds 2 rows of train",
        "main: RotatE on MKG-W, seed 1",
        "repeat it with\n  git checkout badcafe\n  harness runs rm bbbb11112222\n"
        """  harness run --spec '{"model": {"name": "mocme"}, "data": {"dataset":""",
    ):
        assert expected in text


def test_show_prints_the_error_of_a_failed_run(filled: Path) -> None:
    assert "error\n  NaN at step 3" in harness("runs", "show", "cccc").stdout


def test_show_as_json_is_the_record_with_its_cells(filled: Path, make_record: MakeRecord) -> None:
    shown = RunRecord.model_validate_json(harness("runs", "show", "aaaa", "--json").stdout)
    assert shown == make_record("aaaa11112222", cells=(cell("aaaa11112222"),))


def test_diff_shows_what_differs_and_nothing_else(filled: Path) -> None:
    text = harness("runs", "diff", "aaaa", "bbbb").stdout
    lines = [line.split() for line in text.splitlines()]
    assert ["model.name", "rotate", "mocme"] in lines
    assert ["commit", "c0ffee", "badcafe"] in lines
    assert ["mrr", "test", "both", "all", "33.67", "40.00", "+6.33"] in lines
    assert ["hits@1", "valid", "head", "all", "25.00", "-", "-"] in lines
    assert "optimiser" not in text
    assert "dirty" not in text


def test_diff_as_json(filled: Path) -> None:
    found = json.loads(harness("runs", "diff", "aaaa", "bbbb", "--json").stdout)
    assert found["runs"] == ["aaaa11112222", "bbbb11112222"]
    assert found["settings"]["seed"] == [0, 1]
    assert found["metrics"]["mrr test both all"] == [0.3367, 0.4]
    assert set(found["provenance"]) == {"commit", "versions.torch"}


def test_a_run_differs_from_itself_in_nothing(filled: Path) -> None:
    text = harness("runs", "diff", "aaaa", "aaaa").stdout
    assert "settings: no difference" in text
    assert "provenance: no difference" in text
    assert "+0.00" in text


def test_an_unknown_or_ambiguous_id_is_an_error(filled: Path) -> None:
    with pytest.raises(ConfigError, match="no run 'zzz'"):
        harness("runs", "show", "zzz")
    with contextlib.closing(open_store()) as store:
        found = store.get("aaaa11112222")
        assert found is not None
        store.add(found.model_copy(update={"run_id": "aaaa33334444"}))
    with pytest.raises(ConfigError, match="2 run ids begin with it: aaaa11112222, aaaa33334444"):
        harness("runs", "show", "aaaa")


@pytest.mark.parametrize(
    ("values", "bars"),
    [([1.0], "▁"), ([2, 2, 2], "▁▁▁"), ([0, 7, 3.5], "▁█▅"), (list(range(8)), "▁▂▃▄▅▆▇█")],
)
def test_a_sparkline_spans_lowest_to_highest(values: list[float], bars: str) -> None:
    assert sparkline(values) == bars


def test_a_sparkline_keeps_first_and_last_of_many() -> None:
    drawn = sparkline([1.0, *[0.0] * 998, 1.0])
    assert len(drawn) == 40
    assert drawn[0] == drawn[-1] == "█"


# --- rm and retry -------------------------------------------------------------------------


def test_rm_asks_first_and_no_is_no_error(filled: Path) -> None:
    result = harness("runs", "rm", "aaaa", answer="n\n")
    assert result.exit_code == 0
    assert "nothing was removed: aaaa11112222 stays" in result.stderr
    assert "aaaa11112222" in stored()
    assert (filled / "runs" / "aaaa11112222").is_dir()


def test_rm_without_an_answer_removes_nothing_and_says_so(filled: Path) -> None:
    with pytest.raises(Interrupted, match="no answer, nothing was removed; --yes does not ask"):
        harness("runs", "rm", "aaaa", answer="")
    assert "aaaa11112222" in stored()


def test_rm_of_an_id_that_was_edited_deletes_no_folder(filled: Path) -> None:
    damage(filled, "UPDATE runs SET run_id = '../..' WHERE model = 'mocme'")
    assert harness("runs", "rm", "../..", "--yes").exit_code == 0
    assert stored() == ["aaaa11112222", "cccc11112222"]
    assert (filled / "runs" / "bbbb11112222").is_dir()


def test_rm_forgets_the_record_and_deletes_the_folder(filled: Path) -> None:
    assert harness("runs", "rm", "aaaa", "--yes").exit_code == 0
    assert stored() == ["bbbb11112222", "cccc11112222"]
    assert not (filled / "runs" / "aaaa11112222").exists()
    assert (filled / "runs" / "bbbb11112222").is_dir()


def test_retry_forgets_failures_but_not_their_checkpoints(filled: Path) -> None:
    result = harness("runs", "retry")
    assert result.stdout == "cccc11112222\n"
    assert "1 failure of main forgotten; to repeat: harness run SUITE" in result.stderr
    assert stored() == ["aaaa11112222", "bbbb11112222"]
    folder = filled / "runs" / "cccc11112222"
    assert [path.name for path in folder.iterdir()] == ["best.safetensors"]
    assert "no run has failed" in harness("runs", "retry").stderr


def test_a_failure_named_twice_is_forgotten_once(filled: Path) -> None:
    result = harness("runs", "retry", "cccc", "cccc1")
    assert result.stdout == "cccc11112222\n"
    assert "1 failure of main forgotten" in result.stderr


def test_retry_of_a_finished_run_changes_nothing(filled: Path) -> None:
    with pytest.raises(ConfigError, match=r"did not fail.*harness runs rm aaaa11112222"):
        harness("runs", "retry", "cccc", "aaaa")
    assert len(stored()) == 3


def test_one_run_or_suite_is_named_by_a_text(filled: Path, tmp_path: Path) -> None:
    assert export_results(tmp_path / "run", runs="aaaa").records == 1
    assert export_results(tmp_path / "suite", suites="main").records == 2
    assert forget_failures("cccc").run_ids == ["cccc11112222"]


# --- db -----------------------------------------------------------------------------------


def test_export_and_import_rebuild_the_database(filled: Path, tmp_path: Path) -> None:
    result = harness("db", "export", "--suite", "main", "--out", tmp_path / "records")
    assert "2 runs are not finished, left out" in result.stderr
    assert result.stdout.split() == [str(tmp_path / "records" / "main.jsonl.gz")]
    assert "2 records in " in result.stderr
    new = tmp_path / "new"
    taken = harness("db", "import", tmp_path / "records", "--home", new, "--json")
    assert json.loads(taken.stdout) == {"added": ["aaaa11112222", "bbbb11112222"], "kept": 0}
    assert "2 records added, 0 known already" in taken.stderr
    again = harness("db", "import", tmp_path / "records", "--home", new)
    assert "0 records added, 2 known already" in again.stderr
    shown = harness("runs", "show", "aaaa", "--home", new)
    assert shown.stdout == harness("runs", "show", "aaaa").stdout


def test_export_of_chosen_runs(filled: Path, tmp_path: Path) -> None:
    harness("db", "export", "--run", "bbbb", "--out", tmp_path / "one")
    assert "2 records in " in harness("db", "export", "--out", tmp_path / "all").stderr
    for name, added in (("one", ["bbbb11112222"]), ("all", ["aaaa11112222", "bbbb11112222"])):
        words = ("db", "import", tmp_path / name, "--home", tmp_path / f"{name}-home", "--json")
        assert json.loads(harness(*words).stdout)["added"] == added
    with pytest.raises(ConfigError, match="no runs of a suite 'mian'; did you mean 'main'"):
        harness("db", "export", "--suite", "mian", "--out", tmp_path / "none")
    with pytest.raises(ConfigError, match="no run 'zz'"):
        harness("db", "export", "--run", "zz", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_export_refuses_an_unknown_suite_after_one_of_stages(filled: Path, tmp_path: Path) -> None:
    sample = BenchmarkSample(stage="fusion", name="mean", seconds=(0.1,))
    with contextlib.closing(open_store()) as store:
        store.add_benchmark(BenchmarkRecord(benchmark_id="x", suite="stages", samples=(sample,)))
    words = ("db", "export", "--suite", "stages", "--suite", "mian", "--out", tmp_path / "none")
    with pytest.raises(ConfigError, match="no runs of a suite 'mian'; did you mean 'main'"):
        harness(*words)


def test_import_names_the_places_that_another_run_holds(
    filled: Path, tmp_path: Path, make_record: MakeRecord
) -> None:
    write_record(tmp_path / "eeee.json", make_record("eeee", cells=(cell("eeee"),)))
    result = harness("db", "import", tmp_path)
    assert "main, RotatE on atlas, seed 0: stays run aaaa11112222, not eeee" in result.stderr
    with pytest.raises(ConfigError, match="no such file or folder"):
        harness("db", "import", tmp_path / "nowhere")


def test_import_of_one_suite_says_where_its_other_runs_are(
    filled: Path, tmp_path: Path, make_record: MakeRecord
) -> None:
    with contextlib.closing(open_store(filled / "harness.db")) as store:
        shared = cell("aaaa11112222").model_copy(update={"suite": "zeta"})
        store.plan("zeta", "", [shared])
    harness("db", "export", "--out", tmp_path / "records")
    file = tmp_path / "records" / "zeta.jsonl.gz"
    result = harness("db", "import", file, "--home", tmp_path / "new")
    assert "0 records added" in result.stderr
    expected = f"suite zeta: 1 run of it is in another file; `harness db import {file.parent}`"
    assert expected in result.stderr


def test_import_of_a_folder_says_that_the_file_of_a_suites_other_runs_is_missing(
    filled: Path, tmp_path: Path
) -> None:
    with contextlib.closing(open_store(filled / "harness.db")) as store:
        shared = cell("aaaa11112222").model_copy(update={"suite": "zeta"})
        store.plan("zeta", "", [shared])
    folder = tmp_path / "records"
    harness("db", "export", "--out", folder)
    for path in folder.glob("main.*"):
        path.unlink()
    result = harness("db", "import", folder, "--home", tmp_path / "new")
    expected = f"suite zeta: {folder} has no record of 1 run, whose cells stay empty"
    assert expected in result.stderr
    assert "harness db import" not in result.stderr


def test_merge_adds_another_database(filled: Path, tmp_path: Path, make_record: MakeRecord) -> None:
    with contextlib.closing(open_store(tmp_path / "other.db")) as other:
        other.add(make_record("eeee"))
        other.add(make_record("aaaa11112222"))
    result = harness("db", "merge", tmp_path / "other.db")
    assert "1 record added, 1 known already" in result.stderr
    assert "eeee" in stored()
    with pytest.raises(StoreError, match="no result database"):
        harness("db", "merge", tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_check_is_quiet_on_a_sound_database(filled: Path) -> None:
    result = harness("db", "check")
    assert (result.exit_code, result.stdout) == (0, "")
    expected = "2 of 2 finished runs have no ranks on this machine\n3 runs, no problems"
    assert expected in result.stderr


def test_check_lists_all_that_is_wrong(filled: Path) -> None:
    damage(
        filled,
        "UPDATE runs SET spec = '{\"model\": ' WHERE model = 'mocme'",
        "UPDATE runs SET spec = '{}' WHERE status = 'failed'",
        "UPDATE cells SET run_id = '', reason = '' WHERE seed = 3",
    )
    with pytest.raises(StoreError, match=r"3 problems; `harness runs rm RUN` .* db import DIR"):
        harness("db", "check")
    result = CliRunner().invoke(db.app, ["check", "--json"])
    place, unreadable, incomplete = json.loads(result.stdout)["problems"]
    assert "suite main, row RotatE on atlas: the stored place is damaged: " in place
    assert place.endswith(
        "plan it anew with: harness run SUITE, or remove it with: harness db check --repair"
    )
    assert unreadable == (
        "run bbbb11112222: the stored record is damaged: spec: Input should be a valid dictionary "
        "or instance of RunSpec; forget it with: harness runs rm bbbb11112222"
    )
    assert incomplete.startswith(
        "run cccc11112222: the stored record is damaged: spec.model: Field required; forget it"
    )


def test_check_reports_a_cell_that_contradicts_the_record_of_its_run(filled: Path) -> None:
    damage(filled, "UPDATE cells SET dataset = 'db15k' WHERE run_id LIKE 'aaaa%'")
    with pytest.raises(StoreError, match="1 problem; "):
        harness("db", "check")
    result = CliRunner().invoke(db.app, ["check"])
    assert result.stdout == (
        "suite main, RotatE on db15k, seed 0: dataset is 'db15k', in the record of run "
        "aaaa11112222 'atlas'; plan it anew with: harness run SUITE\n"
    )


def test_check_recomputes_metrics_from_the_ranks(filled: Path, make_measured: MakeRecord) -> None:
    ranks = filled / "runs" / "eeee11112222" / "ranks.npz"
    with contextlib.closing(open_store()) as store:
        store.add(make_measured("eeee11112222", ranks))
    assert "2 of 3 finished runs have no ranks" in harness("db", "check").stderr
    damage(filled, "UPDATE metrics SET value = 0.99 WHERE run_id LIKE 'eeee%' AND metric = 'mrr'")
    with pytest.raises(StoreError, match="problem"):
        harness("db", "check")
    result = CliRunner().invoke(db.app, ["check"])
    assert "run eeee11112222: " in result.stdout
    assert f"{ranks}: other numbers follow from the ranks: test both all mrr is 0." in result.stdout
    ranks.write_bytes(ranks.read_bytes()[:200])
    result = CliRunner().invoke(db.app, ["check"])
    assert f"run eeee11112222: {ranks}: not a complete rank file" in result.stdout


def test_upgrade_of_a_current_database_says_so(filled: Path) -> None:
    assert "nothing to do" in harness("db", "upgrade").stderr
    assert "nothing to do" in harness("db", "upgrade", filled / "harness.db").stderr


def test_show_groups_fusion_weights_and_hides_their_history(make_record: MakeRecord) -> None:
    weights = {
        "omega_a/text/0": 0.75,
        "omega_a/text/1": 0.25,
        "omega_b/text": 0.5,
        "omega_b/image": 1,
    }
    history = tuple(
        {"epoch": float(e), "loss": 1 / e, **{f"valid_{k}": 0.5 for k in weights}} for e in (1, 2)
    )
    record = make_record("aaaa", diagnostics={"parameters": 7e6, **weights}, history=history)
    lines = [line.split() for line in describe(record).splitlines()]
    assert ["parameters", "7000000"] in lines
    assert ["omega_a/text", "0.750", "0.250"] in lines
    assert ["omega_b", "text", "0.500", "image", "1.000"] in lines
    assert not any(line and line[0].startswith("valid_omega") for line in lines)
