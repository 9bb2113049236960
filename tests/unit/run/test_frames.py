"""Tables, runs and predictions as data frames; a run in one call."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import harness
from harness.environment import Folders
from harness.errors import ConfigError, Interrupted, RunError
from harness.events import Message, Step
from harness.frames import dataframe, html_table
from harness.model import MODELS
from harness.report.stored import load_table
from harness.run.executors import read_execution
from harness.run.inference import Run
from harness.run.runs import opened
from harness.store.records import Cell
from tests.unit.run.test_trained_models import DATASET

SETTINGS = {"training.epochs": 2, "training.evaluate_every": 1, "model.dim": 8}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    return harness.train_model("transe", DATASET, SETTINGS, home=home, device="cpu")


# --- a run in one call ------------------------------------------------------------------------


def test_a_trained_model_is_a_stored_run(run: Run, home: Path) -> None:
    assert run.record.status == "ok"
    assert run.spec.training.epochs == 2
    assert str(run) == repr(run)
    assert f"{100 * run.record.metric('mrr'):.2f}" in str(run)
    stored = harness.load_run(run.record.run_id, home, device="cpu")
    assert stored.record == run.record


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"metric": "hit@10"}, "no metric 'hit@10'; did you mean 'hits@10'?"),
        ({"metric": "parameters"}, "no metric 'parameters'; choose from amri, hits@1, "),
        ({"metric": "mrr", "split": "tset"}, "no split 'tset'; did you mean 'test'?"),
        ({"metric": "mrr", "side": "heads"}, "no side 'heads'; did you mean 'head'?"),
        ({"metric": "mrr", "bucket": "cald"}, "no bucket 'cald'; did you mean 'cold'?"),
    ],
)
def test_a_metric_that_there_is_not_is_refused(
    run: Run, names: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        run.record.metric(**names)


def test_a_metric_that_the_record_lacks_is_none(run: Run) -> None:
    untested = run.record.model_copy(update={"metrics": ()})
    assert untested.metric("hits@10", "valid", "tail", "cold") is None


def test_a_status_that_there_is_not_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no status 'okay'; did you mean 'ok'\?$"):
        harness.find_runs(home, status="okay")


def test_the_same_call_returns_the_stored_run(
    run: Run, home: Path, capsys: pytest.CaptureFixture
) -> None:
    again = harness.train_model(
        "transe", DATASET, [f"{k}={v}" for k, v in SETTINGS.items()], home=home,
        on_event=harness.print_event, device="cpu",
    )  # fmt: skip
    assert again.record == run.record
    assert capsys.readouterr().out == "1 of 1 runs are finished already\n"


def test_features_and_seed_are_arguments(home: Path) -> None:
    run = harness.train_model(
        "mocme", DATASET, {**SETTINGS, "training.epochs": 1}, features="all", seed=3, home=home,
        device="cpu",
    )  # fmt: skip
    assert (run.record.seed, run.record.features) == (3, "all")
    for key in ("seed", "data.features", "model.name"):
        with pytest.raises(ConfigError, match=f"settings {key}: is an argument"):
            harness.train_model("mocme", DATASET, {key: 1}, home=home)


def test_a_failure_and_a_stop_are_errors(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted, match="the same call resumes"):
        harness.train_model(
            "transe", DATASET, {**SETTINGS, "optimiser.lr": 0.3}, home=home, device="cpu",
            should_stop=lambda: True,
        )  # fmt: skip

    def broken(*_: object) -> None:
        raise ValueError("broken on purpose")

    monkeypatch.setattr(MODELS.get("transe"), "queries", broken)
    with pytest.raises(RunError, match="failed: ValueError: broken on purpose"):
        harness.train_model("transe", DATASET, {"model.dim": 4}, home=home, device="cpu")
    monkeypatch.undo()
    assert harness.train_model("transe", DATASET, {"model.dim": 4}, home=home, device="cpu")


def test_a_folder_of_models_is_a_text_or_a_path_one_or_several(home: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from harness.model import MODELS, register_model\n\n\n"
        "@register_model('foldered')\nclass Own(MODELS.get('transe')):\n"
        '    """TransE again."""\n'
    )
    folder, ids = str(tmp_path), set()
    spellings: list[Folders] = [folder, tmp_path, [folder], (tmp_path,), iter([folder])]
    for folders in spellings:
        run = harness.train_model(
            "foldered", DATASET, SETTINGS, home=home, device="cpu", model_folders=folders
        )
        ids.add(run.record.run_id)
    assert len(ids) == 1
    (run_id,) = ids
    settings = {"model.name": "foldered", "data.dataset": DATASET}
    for folders in spellings[:4]:
        assert harness.load_run(run_id, home, device="cpu", model_folders=folders).model
        assert "foldered" in {model.name for model in harness.list_models(folders)}
        plan = harness.plan_run(settings, model_folders=folders)
        assert harness.dry_run(plan, home=home, model_folders=folders).plan.runs
        assert read_execution({"model_folders": folders}).model_folders == (tmp_path,)


def test_events_without_a_line_print_nothing(capsys: pytest.CaptureFixture) -> None:
    harness.print_event(Step("scoring", 1, 2))
    harness.print_event(Message("hello"))
    assert capsys.readouterr().out == "hello\n"


# --- data frames ------------------------------------------------------------------------------


def test_runs_have_settings_and_the_numbers_that_loggers_log(run: Run, home: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas (extra [pandas])")
    frame = harness.find_runs(home, model="transe", status="ok").to_dataframe()
    row = frame[frame["run_id"] == run.record.run_id].iloc[0]
    assert row["training.epochs"] == row["epochs"] == 2
    assert row["test/mrr"] == run.record.metric("mrr")
    assert row["best/head/hits@10"] == run.record.metric("hits@10", "valid", "head")
    assert "data.dataset" not in frame
    assert list(harness.find_runs(home, model="rotate").to_dataframe()) == [
        "run_id", "status", "model", "dataset", "features", "seed",
    ]  # fmt: skip


def test_settings_that_differ_in_some_run_are_there_for_all(run: Run, home: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas (extra [pandas])")
    harness.train_model("distmult", DATASET, {"optimiser.lr": 0.1}, home=home, device="cpu")
    frame = harness.find_runs(home, status="ok").to_dataframe().set_index("model")
    assert frame.loc["distmult", "training.epochs"] > 2
    assert frame.loc["distmult", "optimiser.lr"] == 0.1
    assert (frame.loc[["transe"], "optimiser.lr"] == run.spec.optimiser.lr).all()


def test_a_table_has_a_row_per_method_and_column(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas (extra [pandas])")
    suite = tmp_path / "two.yaml"
    suite.write_text(
        f"name: two\ndatasets: ['{DATASET}']\nseeds: [0, 1]\nrows: [transe, popularity]\n"
        "base: {training.epochs: 1, model.dim: 8}\n"
    )
    result = harness.run_suite(suite, home=home, device="cpu", threads=1)
    table = load_table("two", home)
    frame = table.to_dataframe()
    assert len(frame) == len(table.rows) * len(table.columns)
    assert frame["value"].dtype == frame["published"].dtype == "float64"
    printed = frame.pivot(index="method", columns=["dataset", "column"], values="value")
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            assert printed.loc[row.label, (column.dataset, column.title)] == cell.value
    assert set(frame["runs"].explode()) == set(result.run_ids)
    assert set(result.to_dataframe()["run_id"]) == set(result.run_ids)


def test_predictions_are_frames(run: Run) -> None:
    pytest.importorskip("pandas", reason="needs pandas (extra [pandas])")
    answers = run.predict(head=0, relation=0, k=4)
    frame = answers.to_dataframe()
    assert list(frame["identifier"]) == [a.identifier for a in answers.answers]
    novel = run.novel(3)
    assert list(novel.to_dataframe()["score"]) == [t.score for t in novel]


def test_predictions_of_many_queries_are_one_frame(run: Run) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas (extra [pandas])")
    many = list(run.predict_many([(0, 0, "?"), ("?", 1, 5)], k=3))
    frame = pandas.concat([answers.to_dataframe() for answers in many], ignore_index=True)
    assert list(frame) == [
        "rank", "head", "relation", "tail", "identifier", "label", "score", "known",
    ]  # fmt: skip
    assert list(frame["rank"]) == [1, 2, 3] * 2
    for answers in many:
        head, relation, tail = answers.query
        mine = (frame["head"] == head) & (frame["relation"] == relation) & (frame["tail"] == tail)
        assert list(frame[mine]["score"]) == [answer.score for answer in answers.answers]


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[pandas\]'"):
        dataframe([{"a": 1}])


def test_a_notebook_shows_predictions_as_a_table(run: Run) -> None:
    shown = run.predict(head=0, relation=0, k=2)._repr_html_()
    assert shown.count("<tr>") == 4
    assert run.novel(2)._repr_html_().count("<tr>") == 3
    assert html_table([["<b>\x1b"]], ["a"]).endswith("<td>&lt;b&gt;\\u001b</td></tr></table>")
    assert repr(run.novel(2)) == "<ScoredTriples: 2 triples>"


# --- values at a prompt -----------------------------------------------------------------------


def test_found_runs_are_a_few_lines(run: Run, home: Path) -> None:
    found = harness.find_runs(home, model="transe")
    same = [r for r in found.records if r.dataset == run.record.dataset]
    lines = repr(found).splitlines()
    assert lines[0].startswith(f"<FoundRuns: {len(found.records)} run")
    assert f"{len(same)} of transe on {run.record.dataset}" in lines[1]
    assert len(lines) <= 10
    nothing = repr(harness.find_runs(home, model="trnase"))
    assert nothing.startswith("<FoundRuns: 0 runs\n  no run has model 'trnase'; did you mean 'tran")
    many = [run.record.model_copy(update={"dataset": f"d{i}"}) for i in range(40)]
    assert len(repr(found._replace(records=many)).splitlines()) == 10


def test_a_notebook_shows_found_runs_as_a_table(run: Run, home: Path) -> None:
    found = harness.find_runs(home, model="transe", status="ok")
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + len(found.records)
    assert f"<td>{run.record.run_id}</td><td>transe</td>" in shown
    assert f"<td>{100 * run.record.metric('mrr'):.2f}</td>" in shown
    many = found._replace(records=[run.record] * 60)._repr_html_()
    assert many.count("<td>") == 8 * 50
    assert "and 10 more" in many
    assert "no run has model" in harness.find_runs(home, model="trnase")._repr_html_()


def test_runs_of_a_suite_are_found(run: Run, home: Path) -> None:
    run_id = run.record.run_id
    with opened(home, write=True) as store:
        for suite, label in (("mine", "Mine"), ("other", "Other")):
            row = {"suite": suite, "label": label, "dataset": DATASET, "position": 0, "seed": 0}
            store.plan(suite, "", [Cell.model_validate({**row, "run_id": run_id})])
    found = harness.find_runs(home, suite="mine")
    assert [record.run_id for record in found.records] == [run_id]
    assert found.labels == {run_id: ("Mine",)}
    with pytest.raises(ConfigError, match=r"^no runs of a suite 'mien'; did you mean 'mine'\?$"):
        harness.find_runs(home, suite="mien")


def test_a_dataset_is_one_line() -> None:
    dataset = harness.load_dataset(DATASET, "all")
    graph = dataset.graph
    size = f"{graph.name}: {graph.n_entities} entities, {graph.n_relations} relations, "
    assert repr(graph).startswith(f"<KnowledgeGraph {size}")
    assert repr(dataset).startswith(f"<Dataset {size}")
    assert "triples, features all (" in repr(dataset)
    assert "\n" not in repr(dataset)
    assert repr(harness.load_dataset(DATASET)).endswith("triples, features none>")


# --- LaTeX ------------------------------------------------------------------------------------


def test_a_table_takes_the_options_of_the_command(home: Path, tmp_path: Path) -> None:
    """Each option of ``harness report --format latex`` is a keyword."""
    suite = tmp_path / "two.yaml"
    suite.write_text(
        f"name: two\ndatasets: ['{DATASET}']\nseeds: [0, 1]\nrows: [transe, popularity]\n"
        "base: {training.epochs: 1, model.dim: 8}\n"
    )
    harness.run_suite(suite, home=home, device="cpu", threads=1)
    table = load_table("two", home)
    text = table.render(
        "latex", width="page", compact=True, notes="none", decimals=1, caption="A caption",
        label="tab:mine", siunitx=True,
    )  # fmt: skip
    for part in (r"\begin{table*}", r"\caption{A caption}", r"\label{tab:mine}", "S[table-format"):
        assert part in text
    with pytest.raises(ConfigError, match="decimals: options of LaTeX, not of markdown"):
        table.render("markdown", decimals=1)
    with pytest.raises(ConfigError, match="decimal: no option of LaTeX; did you mean 'decimals'"):
        table.render("latex", decimal=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="unknown; did you mean 'column'"):
        table.render("latex", width="colum")  # type: ignore[arg-type]


def test_keywords_and_options_of_latex_are_the_same() -> None:
    from dataclasses import fields

    from harness.report.latex import LatexKeywords, LatexOptions

    assert list(LatexKeywords.__annotations__) == [field.name for field in fields(LatexOptions)]
