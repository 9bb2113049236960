"""The public interface: what a notebook can do, and that the command line uses nothing else."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import errors
from harness.errors import ConfigError
from harness.events import Event
from harness.report.stored import load_table
from harness.run.events import RunEnded, RunsStarted
from harness.run.inference import Run
from harness.run.suite import SuiteResult

REPOSITORY = Path(__file__).resolve().parents[2]
DATASET = "synthetic:entities=60,train=300,seed=1"
SUITE = f"""
name: small
datasets: ["{DATASET}"]
base: {{data.features: all, model.dim: 8, training.epochs: 2, training.evaluate_every: 1}}
seeds: [0]
rows: [mocme, transe]
"""

# --- the command line is a reader of arguments ----------------------------------------------

ENGINE = {
    "analysis",
    "bench",
    "config.listing",
    "config.override",
    "contract",
    "data.audit_text",
    "data.datasets",
    "data.exchange",
    "errors",
    "evaluation.metrics",
    "events",
    "plugins",
    "report",
    "run",
    "screen",
    "store.files",
    "studies.results",
    "visible",
}
"""Modules, or packages, whose functions and values commands may use."""


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports, but for those that only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            found |= {f"harness.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted((REPOSITORY / "harness/cli").glob("*.py")), ids=str)
def test_commands_use_the_engine_and_nothing_below_it(path: Path) -> None:
    """Stores, plans, training and evaluation are reached through functions that return values."""
    for name in imports_of(path):
        if name.startswith("harness.") and not name.startswith("harness.cli"):
            inner = name.removeprefix("harness.")
            assert any(inner == part or inner.startswith(f"{part}.") for part in ENGINE), name


# --- a script without the command line ------------------------------------------------------

SCRIPT = """
import sys
import harness

plan = harness.load_suite("small.yaml", {"training.epochs": 1})
result = harness.run_suite(plan, only=["model=transe"], threads=1, device="cpu", on_event=print)
print(result.table)
run = harness.load_run(result.run_ids[0])
graph = run.dataset.graph
best = run.predict(head=graph.entities[0], relation=graph.relations[0], k=3)
print("best:", [answer.identifier for answer in best.answers])
loaded = [name for name in sys.modules if name.startswith("harness.cli") or name == "typer"]
print("command line:", loaded)
"""


def test_a_script_runs_a_suite_prints_a_table_and_predicts(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "HARNESS_KERNELS": "reference"},  # nothing needs compiling
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("done: TransE on synthetic") for line in lines)
    assert any(line.lstrip().startswith("TransE") for line in lines)
    assert [line for line in lines if line.startswith("best: [")]
    assert lines[-1] == "command line: []"


def test_importing_the_package_takes_no_time() -> None:
    program = (
        "import time; start = time.perf_counter(); import harness; "
        "print(time.perf_counter() - start)"
    )
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", program], text=True)) for _ in range(3)
    ]
    assert min(seconds) < 0.1


def test_every_public_name_can_be_imported() -> None:
    assert set(dir(harness)) == {*harness.__all__, "__version__"}
    for name in harness.__all__:
        assert callable(getattr(harness, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = harness.nonsense


def test_the_page_lists_the_errors_and_how_to_catch_them() -> None:
    page = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    assert "except HarnessError as error:" in page
    table = page.partition("| class | what is wrong |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert named <= set(errors.__all__)
    for name in errors.__all__:
        if errors.HarnessError in getattr(getattr(errors, name), "__bases__", ()):
            assert name in named


# --- results --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def result(home: Path, events: list[Event]) -> SuiteResult:
    (home / "small.yaml").write_text(SUITE)
    return harness.run_suite(
        home / "small.yaml", home=home, threads=1, device="cpu", on_event=events.append
    )


@pytest.fixture(scope="module")
def run(result: SuiteResult, home: Path) -> Run:
    fused = next(record for record in result.records if record.model == "mocme")
    return harness.load_run(fused.run_id[:6], home, device="cpu")


def test_a_result_has_records_a_table_and_what_failed(result: SuiteResult) -> None:
    assert {record.status for record in result.records} == {"ok"}
    assert not result.failed
    assert not result.interrupted
    assert [row.label for row in result.table.rows] == ["MoCME", "TransE"]
    assert "<table" in result._repr_html_()


def test_events_say_how_many_runs_there_are_and_how_each_ended(
    result: SuiteResult, events: list[Event]
) -> None:
    assert result.run_ids
    (started,) = [event for event in events if isinstance(event, RunsStarted)]
    ended = [event for event in events if isinstance(event, RunEnded)]
    assert started.total == len(ended) == 2
    assert all(str(event).startswith("done: ") for event in ended)


def test_a_second_call_runs_nothing(result: SuiteResult, home: Path) -> None:
    messages: list[str] = []
    again = harness.run_suite(
        home / "small.yaml",
        home=home,
        device="cpu",
        on_event=lambda event: messages.append(str(event)),
    )
    assert again.run_ids == result.run_ids
    assert "2 of 2 runs are finished already" in messages


def test_a_stop_ends_a_suite_early(home: Path, tmp_path: Path) -> None:
    stopped = harness.run_suite(
        home / "small.yaml", home=tmp_path, device="cpu", should_stop=lambda: True
    )
    assert stopped.interrupted
    assert stopped.records == []


@pytest.mark.usefixtures("result")
def test_a_table_by_name_is_that_of_the_result(result: SuiteResult, home: Path) -> None:
    assert str(load_table("small", home)).splitlines()[3:6] == str(result.table).splitlines()[3:6]


def test_overrides_are_dotted_nested_or_texts(home: Path, result: SuiteResult) -> None:
    assert result.plan.suite == "small"
    plans = [
        harness.load_suite(home / "small.yaml", overrides)
        for overrides in (
            {"training.epochs": 7},
            {"training": {"epochs": 7}},
            ["training.epochs=7"],
            "training.epochs=7",
        )
    ]
    assert {run.spec.training.epochs for plan in plans for run in plan.runs} == {7}
    assert len({plan.variant for plan in plans}) == 1


def test_a_part_of_a_suite_is_one_text_or_several(home: Path, result: SuiteResult) -> None:
    for only in ("label=TransE", ["label=TransE"]):
        plan = result.plan.select(only)
        assert [run.label for run in plan.runs] == ["TransE"]
        assert [run.label for run in harness.dry_run(plan, home=home, only=only).plan.runs] == [
            "TransE"
        ]


def test_options_of_an_execution_are_refused_by_name(result: SuiteResult) -> None:
    bound = "^workers: input should be greater than or equal to 1, got 0$"
    for function in (harness.run_suite, harness.dry_run):
        with pytest.raises(ConfigError, match=bound):
            function(result.plan, workers=0)
        with pytest.raises(ConfigError, match=r"^worker: unknown key; did you mean 'workers'"):
            function(result.plan, worker=2)  # type: ignore[call-overload,call-arg]


def test_triples_and_queries_have_three_parts(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"triple \('a', 'b'\): has 2 of 3 parts"):
        run.score([("a", "b")])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"triple 'abc': has 1 of 3 parts"):
        run.score(["abc"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"query \('a',\): has 1 of 3 parts"):
        list(run.predict_many([("a",)]))  # type: ignore[list-item]


@pytest.mark.usefixtures("result")
def test_a_row_is_compared_in_one_metric_given_as_a_text(home: Path) -> None:
    sides = "small:MoCME", "small:TransE", home
    assert str(harness.compare(*sides, metrics="mrr")) == str(
        harness.compare(*sides, metrics=["mrr"])
    )


@pytest.mark.usefixtures("result")
def test_rows_are_compared(home: Path) -> None:
    comparison = harness.compare("small:MoCME", "small:TransE", home)
    assert (comparison.first.label, comparison.second.label) == ("MoCME", "TransE")
    assert [metric.metric for metric in comparison.metrics[:2]] == ["mrr", "hits@1"]
    assert re.search(r"^MoCME .* TransE .*: MRR .*, p [=<] \S+ \(one seed\)$", str(comparison))
    assert repr(comparison) == f"<SideComparison: {comparison}>"


def test_options_of_a_model_are_refused_with_the_nearest() -> None:
    dataset = harness.load_dataset(DATASET)
    with pytest.raises(ConfigError, match=r"model\.dims: unknown key; did you mean 'dim'"):
        harness.create_model("mocme", dataset, dims=8)


def test_a_model_is_built_for_a_dataset() -> None:
    dataset = harness.load_dataset(DATASET, "all")
    model = harness.create_model("mocme", dataset, dim=8)
    assert model.n_entities == dataset.graph.n_entities
    with pytest.raises(ConfigError, match=r"model\.dmi"):
        harness.create_model("mocme", dataset, dmi=8)


# --- a trained model ------------------------------------------------------------------------


def test_scores_are_those_of_the_predictions(run: Run) -> None:
    graph = run.dataset.graph
    head, relation = graph.entities[3], graph.relations[0]
    best = run.predict(head=head, relation=relation, k=5)
    triples = [(head, relation, answer.identifier) for answer in best.answers]
    scores = [answer.score for answer in best.answers]
    np.testing.assert_allclose(run.score(triples), scores, rtol=1e-5)
    assert scores == sorted(scores, reverse=True)
    ids = [(3, 0, graph.entities.index(answer.identifier)) for answer in best.answers]
    np.testing.assert_allclose(run.score(ids), scores, rtol=1e-5)


def test_known_triples_can_be_left_out(run: Run) -> None:
    graph = run.dataset.graph
    head, relation, _ = graph.splits["train"][0].tolist()
    every = run.predict(head=head, relation=relation, k=graph.n_entities)
    novel = run.predict(head=head, relation=relation, k=graph.n_entities, exclude_known=True)
    known = [answer.identifier for answer in every.answers if answer.known]
    assert known
    assert [a.identifier for a in novel.answers] == [
        a.identifier for a in every.answers if not a.known
    ]


def test_embeddings_have_a_row_per_entity_and_named_parameters(run: Run) -> None:
    vectors, graph = run.embeddings(), run.dataset.graph
    assert vectors.entities == graph.entities
    assert {len(table) for table in vectors.entity_tables.values()} == {graph.n_entities}
    assert set(vectors.parameters) == {name for name, _ in run.model.named_parameters()}


def test_names_and_ids_that_there_are_not_are_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match="ids are 0 to 59"):
        run.predict(head=60, relation=0)
    with pytest.raises(ConfigError, match="one of them"):
        run.predict(relation=0)
    with pytest.raises(ConfigError, match="no relation is called"):
        run.predict(head=0, relation="nothing of the kind")


@pytest.mark.parametrize("name", [1.5, ["a"], None], ids=str)
def test_names_that_are_neither_numbers_nor_texts_are_refused(run: Run, name: Any) -> None:
    with pytest.raises(ConfigError, match=r"entity .*: write an id \(a whole number\) or a name"):
        run.score([(0, 0, name)])


def test_ids_may_be_numbers_of_numpy(run: Run) -> None:
    triples = np.array([[0, 0, 1], [2, 1, 3]])
    assert np.array_equal(run.score(triples), run.score([(0, 0, 1), (2, 1, 3)]))  # type: ignore[arg-type]


def test_one_name_is_as_good_as_a_list_of_one(run: Run) -> None:
    relation = run.dataset.graph.relations[1]
    for name in (relation, 1):
        assert list(run.novel(5, relations=name)) == list(run.novel(5, relations=[relation]))
    vectors = run.embeddings()
    assert vectors.select("entity").tables.keys() == vectors.select(["entity"]).tables.keys()
