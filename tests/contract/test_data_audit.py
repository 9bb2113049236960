"""The audit of the published datasets, against a count that shares no code with it."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.data import app
from harness.data.audit import Audit, audit
from harness.data.card import DATASETS
from harness.data.load import load_graph, source, sources
from harness.data.verify import sizes

pytestmark = pytest.mark.data

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = {entry.card.name: entry.card.folder for entry in sources() if entry.card.files}
DOCUMENT = ("mkg-w", "mkg-y", "db15k", "tiva", "kvc16k")

Triple = tuple[str, str, str]


@cache
def _held(folder: Path) -> dict[str, list[Triple]]:
    """Read the rows of each split, **head tail relation** in the files, as text."""
    held = {}
    for split in ("train", "valid", "test"):
        lines = (folder / f"{split}2id.txt").read_text().split("\n")[1:]
        rows = [line.split() for line in lines if line.strip()]
        held[split] = [(h, r, t) for h, t, r in rows]
    return held


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest, published: Path) -> str:
    return str(request.param)


@pytest.fixture
def held(name: str, published: Path) -> dict[str, list[Triple]]:
    return _held(published / FOLDERS[name])


_audit = cache(lambda name: audit(load_graph(name)))


@pytest.fixture
def found(name: str) -> Audit:
    return _audit(name)


def test_repeats_overlaps_and_unseen(found: Audit, held: dict[str, list[Triple]]) -> None:
    train, valid = set(held["train"]), set(held["valid"])
    entities = {e for h, _, t in train for e in (h, t)}
    relations = {r for _, r, _ in train}
    for split, rows in held.items():
        count = found.splits[split]
        assert count.rows == len(rows)
        assert count.repeats == sum(n - 1 for n in Counter(rows).values())
        assert count.loops == sum(h == t for h, _, t in rows)
        assert count.in_train == (0 if split == "train" else sum(row in train for row in rows))
        assert count.in_valid == (sum(row in valid for row in rows) if split == "test" else 0)
        assert count.unseen == sum(
            h not in entities or t not in entities or r not in relations for h, r, t in rows
        )
    assert found.unseen_entities == found.entities - len(entities)
    assert found.unseen_relations == found.relations - len(relations)


def test_rows_that_are_implied(found: Audit, held: dict[str, list[Triple]]) -> None:
    pairs: dict[str, set[tuple[str, str]]] = {}
    for rows in held.values():
        for h, r, t in rows:
            pairs.setdefault(r, set()).update({(h, t)} if h != t else ())
    rules = set()
    for premise, told in pairs.items():
        turned = {(t, h) for h, t in told}
        for conclusion, known in pairs.items():
            for turns, said in ((False, told), (True, turned)):
                both = len(said & known)
                if (turns or premise != conclusion) and both >= 5 and both / len(said) >= 0.8:
                    rules.add((premise, conclusion, turns, both))
    assert len(found.rules) == len(rules)
    assert Counter(rule.support for rule in found.rules) == Counter(both for *_, both in rules)
    train = set(held["train"])
    for split in ("valid", "test"):
        implied = 0
        for h, r, t in held[split]:
            tellers = (
                (t, premise, h) if turns else (h, premise, t)
                for premise, conclusion, turns, _ in rules
                if conclusion == r
            )
            implied += (h, r, t) not in train and any(fact in train for fact in tellers)
        assert found.splits[split].implied == implied


def test_the_cards_acknowledge_what_is_counted_and_no_more(name: str, found: Audit) -> None:
    counted = {split: found.splits[split].leaked for split in ("valid", "test")}
    assert source(name).card.leaked == counted


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "kvc16k" else n for n in FOLDERS]
)
def test_a_cleaned_variant_is_the_pinned_one_and_gives_nothing_away(
    name: str, published: Path
) -> None:
    graph, pinned = load_graph(f"{name}@clean"), source(name).card.clean
    assert (graph.digest, sizes(graph)) == (pinned.digest, pinned.counts)
    found = audit(graph)
    assert found.leaked == 0
    assert all(count.repeats == count.in_valid == 0 for count in found.splits.values())


def test_the_document_is_what_the_command_prints(published: Path, tmp_path: Path) -> None:
    assert set(DOCUMENT) == set(FOLDERS) == {n for n in DATASETS if DATASETS.get(n).card.files}
    out = tmp_path / "audit.md"
    result = CliRunner().invoke(
        app, ["audit", *DOCUMENT, "--format", "markdown", "--out", str(out)]
    )
    assert result.exit_code == 0
    assert out.read_text() == (REPOSITORY / "docs" / "data_audit.md").read_text()
