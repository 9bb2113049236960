"""``harness predict`` on a small trained model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.cli.predict import table
from harness.errors import ConfigError, DataError
from harness.run.inference import Prediction, Predictions

SUITE = """
name: small
datasets: ["synthetic:entities=60,train=300,seed=1"]
base: {data.features: all, training.epochs: 1, training.evaluate_every: 1}
seeds: [0]
rows: [mocme]
"""


def harness(*words: object, **options: Any) -> Result:
    """Run a command; errors are raised."""
    result = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "80"}, **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder with one run."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "small.yaml").write_text(SUITE)
    harness("run", folder / "small.yaml", "--home", folder, "--threads", 1)
    return folder


@pytest.fixture
def run_id(trained: Path) -> str:
    (run,) = json.loads(harness("runs", "list", "--home", trained, "--json").stdout)
    return str(run["run_id"])


def triples() -> tuple[Any, list[tuple[int, int, int]]]:
    from harness.data.load import load_dataset

    graph = load_dataset("synthetic:entities=60,train=300,seed=1").graph
    return graph, [tuple(row) for row in graph.splits["train"].tolist()]


def predicted(trained: Path, run_id: str, *words: object) -> dict[str, Any]:
    command = ("predict", run_id[:6], "--home", trained, "--device", "cpu", "--json", *words)
    found: dict[str, Any] = json.loads(harness(*command).stdout)
    return found


@pytest.mark.parametrize("side", ["tail", "head"])
def test_best_answers_come_first_and_known_ones_name_their_split(
    trained: Path, run_id: str, side: str
) -> None:
    graph, train = triples()
    head, relation, tail = train[0]
    anchor, answer = (head, tail) if side == "tail" else (tail, head)
    option = "--head" if side == "tail" else "--tail"
    words = (option, graph.entities[anchor], "--relation", graph.relations[relation])
    found = predicted(trained, run_id, *words, "--top", 60)
    scores = [a["score"] for a in found["answers"]]
    assert scores == sorted(scores, reverse=True)
    known = {a["identifier"]: a["known"] for a in found["answers"]}
    assert len(known) == 60
    assert known[graph.entities[answer]] == "train"
    assert None in known.values()
    assert found["query"].index("?") == (2 if side == "tail" else 0)


def test_fusion_weights_of_the_asked_and_of_each_answer(trained: Path, run_id: str) -> None:
    graph, train = triples()
    words = ("--head", graph.entities[train[0][0]], "--relation", graph.relations[0])
    found = predicted(trained, run_id, *words, "-k", 3)
    assert len(found["answers"]) == 3
    for weights in (found["weights"], *(a["weights"] for a in found["answers"])):
        assert weights
        assert all(math.isfinite(w) for w in weights.values())


def test_the_table_fits_in_80_columns(trained: Path, run_id: str) -> None:
    graph, train = triples()
    words = ("--head", graph.entities[train[0][0]], "--relation", graph.relations[train[0][1]])
    shown = harness("predict", run_id, "--home", trained, *words, "-k", 4).stdout
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert "(query)" in shown
    assert [line.split()[0] for line in lines[-4:]] == ["1", "2", "3", "4"]


NAMES = ("structure", "text", "image")
ANSWER = Prediction(
    identifier="e",
    label="A museum with a name that is longer than any terminal is wide, as museums have",
    score=0.0,
    known="train",
    weights=dict.fromkeys(NAMES, 1.0),
)
MANY = Predictions(
    ("Paris", "located in", "?"),
    dict.fromkeys(NAMES, 0.5),
    tuple(replace(ANSWER, score=-i - 0.125) for i in range(1200)),
)
"""1,200 answers with scores of many digits, and weights of three modalities."""


def test_many_answers_cut_labels_and_never_numbers() -> None:
    head, asked, *lines = list(table(MANY, 80))
    assert head.split() == ["#", "answer", "score", "known", "structure", "text", "image"]
    assert asked.split() == ["Paris", "(query)", "0.50", "0.50", "0.50"]
    assert len(lines) == 1200
    for i, line in enumerate(lines):
        place, *_, score, known, structure, text, image = line.split()
        assert (place, score) == (str(i + 1), f"{-i - 0.125:.3f}")
        assert (known, structure, text, image) == ("train", "1.00", "1.00", "1.00")
        assert "…" in line
        assert len(line) == 80


def test_labels_are_not_cut_where_there_is_room() -> None:
    lines = list(table(MANY, 200))
    assert ANSWER.label in lines[2]
    assert "…" not in "".join(lines)


def test_numbers_that_need_more_than_the_terminal_stay_whole() -> None:
    lines = list(table(MANY, 20))
    assert lines[-1].startswith("1200  A museu…  ")
    assert lines[-1].split()[-5] == "-1199.125"


def test_labels_of_wide_characters_fit() -> None:
    from rich.cells import cell_len

    wide = replace(MANY, answers=(replace(ANSWER, label="北京" * 40),) * 3)
    assert {cell_len(line) for line in table(wide, 80)} <= set(range(81))


def test_an_unknown_entity_is_answered_with_the_nearest(trained: Path, run_id: str) -> None:
    graph, _ = triples()
    near = graph.entity_label(0)
    words = ("--head", f"{near}x", "--relation", graph.relations[0])
    with pytest.raises(ConfigError, match=r"no entity is called .*did you mean"):
        harness("predict", run_id, "--home", trained, *words)


def test_an_unknown_run_is_refused_and_no_database_is_made(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="harness runs list"):
        harness("predict", "zzzz", "--home", trained, "--head", "a", "--relation", "b")
    with pytest.raises(Exception, match="no result database"):
        harness("predict", "zzzz", "--home", tmp_path, "--head", "a", "--relation", "b")
    assert list(tmp_path.iterdir()) == []


def test_head_or_tail_is_needed(trained: Path) -> None:
    for words in ((), ("--head", "a", "--tail", "b")):
        with pytest.raises(ConfigError, match="one of them"):
            harness("predict", "x", "--home", trained, "--relation", "r", *words)


# --- files and all triples ----------------------------------------------------------------


def predict(trained: Path, run_id: str, *words: object, **options: object) -> Result:
    return harness("predict", run_id, "--home", trained, "--device", "cpu", *words, **options)


def test_known_answers_can_be_left_out(trained: Path, run_id: str) -> None:
    graph, train = triples()
    words = ("--head", graph.entities[train[0][0]], "--relation", graph.relations[train[0][1]])
    answers = predicted(trained, run_id, *words, "--exclude-known", "--top", 60)["answers"]
    assert answers
    assert {answer["known"] for answer in answers} == {None}


def test_a_file_of_queries_is_answered_to_a_file_or_the_output(
    trained: Path, run_id: str, tmp_path: Path
) -> None:
    graph, _ = triples()
    file = tmp_path / "queries.tsv"
    file.write_text(f"{graph.entities[0]}\t{graph.relations[0]}\t?\n")
    shown = predict(trained, run_id, "--queries", file, "-k", 2).stdout
    assert len(shown.splitlines()) == 3
    out = tmp_path / "answers.tsv"
    assert predict(trained, run_id, "--queries", file, "-k", 2, "--out", out).stdout == ""
    assert out.read_text() == shown
    (line,) = predict(trained, run_id, "--queries", file, "--json").stdout.splitlines()
    assert len(json.loads(line)["answers"]) == 10


def test_a_wrong_query_leaves_no_file(trained: Path, run_id: str, tmp_path: Path) -> None:
    graph, _ = triples()
    file, out = tmp_path / "queries.tsv", tmp_path / "answers.tsv"
    good = f"{graph.entities[0]}\t{graph.relations[0]}\t?\n"
    file.write_text(good * 2000 + "nobody\n")
    with pytest.raises(DataError, match=r"queries\.tsv:2001: 1 columns"):
        predict(trained, run_id, "--queries", file, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queries.tsv"]


def test_triples_that_the_graph_lacks_are_printed_with_their_scores(
    trained: Path, run_id: str, tmp_path: Path
) -> None:
    graph, _ = triples()
    shown = predict(trained, run_id, "--novel", "-k", 4, "--relation", graph.relations[0]).stdout
    assert len(shown.splitlines()) == 8
    assert all(len(line) <= 80 for line in shown.splitlines())
    out = tmp_path / "novel.tsv"
    relations = ("--relation", graph.relations[0], "--relation", graph.relations[1])
    predict(trained, run_id, "--novel", "-k", 4, *relations, "--observed", "--out", out)
    assert len(out.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "or --queries FILE, or --novel"),
        (("--relation", "r"), "one of them"),
        (("--relation", "r", "--relation", "s", "--head", "h"), "give --relation and --head"),
        (("--novel", "--head", "h"), "--head goes with one query, not with --novel"),
        (("--novel", "--queries", "q"), "--queries or --novel, one of them"),
        (("--queries", "q", "--observed"), "--observed goes with --novel, not with --queries"),
        (
            ("--relation", "r", "--head", "h", "--out", "o"),
            "--out goes with --queries and --novel, not with one query",
        ),
        (("--relation", "r", "--head", "h", "--ids", "id"), "--ids goes with --queries"),
    ],
)
def test_options_of_another_kind_of_prediction_are_refused(
    trained: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        predict(trained, "x", *words)


def test_triples_are_scored_from_a_file_or_the_standard_input(
    trained: Path, run_id: str, tmp_path: Path
) -> None:
    graph, train = triples()
    text = "".join(
        f"{graph.entities[h]}\t{graph.relations[r]}\t{graph.entities[t]}\n" for h, r, t in train
    )
    (tmp_path / "triples.tsv").write_text(text)
    command = ("score-triples", run_id, "--home", trained, "--device", "cpu")
    shown = harness(*command, tmp_path / "triples.tsv").stdout
    assert len(shown.splitlines()) == 301
    assert harness(*command, "-", input=text).stdout == shown


def test_embeddings_are_exported_with_the_shapes_of_their_tables(
    trained: Path, run_id: str, tmp_path: Path
) -> None:
    command = ("export", "embeddings", run_id, "--home", trained, "--device", "cpu")
    result = harness(*command, "--out", tmp_path / "x.npz")
    assert result.stdout == f"{tmp_path / 'x.npz'}\n"
    assert "entity.text" in result.stderr
    result = harness(*command, "--out", tmp_path / "x.npz", "--table", "relation")
    assert "entity" not in result.stderr
