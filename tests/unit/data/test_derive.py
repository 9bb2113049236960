"""Cleaned variants by name: ``tiva@clean``, and that of any other dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.data.card import CleanCard, DatasetCard
from harness.data.derive import CleanSource, Removed, clean
from harness.data.graph import SPLITS
from harness.data.load import load_dataset, source
from harness.data.readers import read_folder
from harness.data.verify import verify
from harness.errors import ConfigError

PAIRS = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"), ("i", "j"), ("k", "l")]


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of the user's own: `husband` is the inverse of `wife`, `married` its duplicate.

    Test holds (a, wife, b), valid (c, wife, d); train all other facts, and some of these.
    """
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    folder = tmp_path / "cache" / "datasets" / "family"
    folder.mkdir(parents=True)
    wife = [f"{a}\twife\t{b}" for a, b in PAIRS]
    train = [*wife[2:], wife[2], *(f"{b}\thusband\t{a}" for a, b in PAIRS)]
    train += [f"{a}\tmarried\t{b}" for a, b in PAIRS]
    train += [wife[0], "a\tknows\tc", "x\tknows\tx"]
    _write(folder, train, [wife[1], wife[0]], [wife[0], wife[0]])
    return folder


def _write(folder: Path, *splits: list[str]) -> None:
    for name, rows in zip(SPLITS, splits, strict=True):
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")


def _facts(name: str, split: str) -> list[str]:
    graph = load_dataset(name).graph
    return [
        f"{graph.entities[h]} {graph.relations[r]} {graph.entities[t]}"
        for h, r, t in graph.splits[split].tolist()
    ]


def test_what_tells_the_answer_goes_from_train_and_the_question_stays(family: Path) -> None:
    assert _facts("family@clean", "test") == ["a wife b"]
    assert _facts("family@clean", "valid") == ["c wife d"]
    train = _facts("family@clean", "train")
    of_a, of_c = ({f for f in train if x in f.split()} for x in "ac")
    assert of_a == {"a knows c"}
    assert of_c == {"a knows c"}
    assert "e wife f" in train
    assert "f husband e" in train
    assert "x knows x" in train
    assert len(train) == len(set(train)) == 3 * 4 + 2


def test_what_was_removed_is_counted_and_told_below_tables(family: Path) -> None:
    graph, removed = clean(read_folder(family, "family"))
    assert removed == (
        Removed("train", "repeat an earlier one", 1),
        Removed("test", "repeat an earlier one", 1),
        Removed("valid", "stand in test", 1),
        Removed("train", "stand in valid or test", 1),
        Removed("train", "imply one of valid or test", 4),
    )
    assert graph.notes == (
        "The official splits without 1 train rows that repeat an earlier one; 1 test rows that "
        "repeat an earlier one; 1 valid rows that stand in test; 1 train rows that stand in valid "
        "or test; 4 train rows that imply one of valid or test.",
        "1 of 1 test rows hold an entity or relation that train does not.",
    )
    assert clean(graph)[0].notes[0] == "Nothing had to be cleaned."


def test_rows_that_went_may_bring_another_relation_across_the_threshold(family: Path) -> None:
    """r implies u (6 of 7 pairs) and, without what tells of u, s too (5 of 5, before 5 of 7)."""
    pairs = [f"{i}\t{{}}\t{i + 10}" for i in range(7)]
    train = [p.format("r") for p in pairs] + [p.format("s") for p in pairs[1:5]]
    train += [p.format("u") for p in pairs[1:5]]
    _write(family, train, ["x\tw\ty"], [pairs[0].format("s"), *(p.format("u") for p in pairs[5:])])
    cleaned, removed = clean(read_folder(family, "family"))
    assert removed == (Removed("train", "imply one of valid or test", 3),)
    assert "0" not in {cleaned.entities[h] for h, _, _ in cleaned.splits["train"].tolist()}


def test_entities_and_features_are_those_of_the_dataset(family: Path) -> None:
    official, cleaned = (load_dataset(name, "hashed-names") for name in ("family", "family@clean"))
    assert cleaned.graph.entities == official.graph.entities
    assert cleaned.features.digest == official.features.digest
    assert source("family@clean").modalities("hashed-names") == ("text",)


@pytest.mark.parametrize("name", ["Kuai16K@clean", "KVC16K@Clean", "kvc-16k@clean"])
def test_every_name_of_a_dataset_names_its_variant(name: str) -> None:
    card = source(name).card
    assert (card.name, card.title) == ("kvc16k@clean", "KVC16K (clean)")
    assert source(card.name).card == card
    assert card.notes == ()


def test_a_generated_variant_can_be_cleaned_too() -> None:
    official, cleaned = (load_dataset(f"synthetic:seed=2{end}").graph for end in ("", "@clean"))
    assert cleaned.name == "synthetic:seed=2@clean"
    assert cleaned.splits["test"].equal(official.splits["test"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiva@claen", "dataset 'tiva@claen': no '@claen'; did you mean 'clean'"),
        ("tiva@", "dataset 'tiva@': no '@'; choose from clean"),
        ("tiva@clean@clean", "no '@clean@clean'"),
        ("tva@clean", "did you mean 'tiva'"),
        ("@clean", "dataset '': a dataset's name"),
    ],
)
def test_wrong_names_are_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        source(name)


def test_a_variant_that_is_not_the_pinned_one_is_an_error(family: Path) -> None:
    base = source("family")
    digest = load_dataset("family@clean").graph.digest
    counts = {"entities": 13, "relations": 4, "train": 14, "valid": 1, "test": 1}
    wrong = f"the splits have digest {digest}, pinned is {'0' * 16}"
    for pinned, errors in ((digest, ()), ("0" * 16, (wrong,))):
        base.card = base.card.model_copy(update={"clean": CleanCard(digest=pinned, counts=counts)})
        report = verify(CleanSource(base))
        assert report.errors == errors
        assert report.counts == report.published
    assert "sizes        pinned    in the files" in report.text()


def test_a_suite_runs_on_both_and_tells_them_apart(family: Path, tmp_path: Path) -> None:
    suite = tmp_path / "both.yaml"
    suite.write_text(
        "name: both\nbase: {training.epochs: 1, model.dim: 4}\nseeds: [0]\n"
        "datasets: [family, family@clean]\nrows: [lookup, rotate]\n"
    )
    ran = _call("run", str(suite), "--only", "dataset=family,dataset=family@clean")
    assert "family@clean" in ran
    listed = json.loads(_call("runs", "list", "--json"))
    assert {run["dataset"] for run in listed} == {"family", "family@clean"}
    assert len({run["run_id"] for run in listed}) == 4
    table = _call("report", "--table", "both")
    assert "The official splits without 1 train rows" in " ".join(table.split())
    run = next(
        r["run_id"] for r in listed if (r["model"], r["dataset"]) == ("rotate", "family@clean")
    )
    answers = json.loads(_call("predict", run, "--head", "a", "--relation", "wife", "--json"))
    assert answers["dataset"] == "family@clean"
    assert [a["known"] for a in answers["answers"] if a["label"] == "b"] == ["test"]


def test_a_variant_is_listed_and_shown(family: Path) -> None:
    rows = {row["name"]: row for row in json.loads(_call("data", "list", "--json"))}
    assert rows["tiva@clean"]["counts"]["train"] == source("tiva").card.clean.counts["train"]
    shown = json.loads(_call("data", "show", "family@clean", "--json"))
    assert shown["title"] == "family (clean)"
    assert shown["notes"][0].startswith("The official splits without")


def _call(*args: str) -> str:
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_card_without_pins_has_no_counts() -> None:
    card = source("atlas@clean").card
    assert isinstance(card, DatasetCard)
    assert (card.counts, card.digest) == ({}, "")
