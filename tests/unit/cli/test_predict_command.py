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
from harness.errors import ConfigError
from harness.run.inference import Prediction, Predictions

SUITE = """
name: small
datasets: ["synthetic:entities=60,train=300,seed=1"]
base: {data.features: all, training.epochs: 1, training.evaluate_every: 1}
seeds: [0]
rows: [mocme]
"""


def harness(*words: object) -> Result:
    """Run a command; errors are raised."""
    result = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "80"})
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
    assert "(asked)" in shown
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
    assert asked.split() == ["Paris", "(asked)", "0.50", "0.50", "0.50"]
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
