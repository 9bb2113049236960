"""What README and results say is beyond noise is so by the records; docs show what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis import significance
from harness.analysis.claims import check, load_claims
from harness.analysis.compare import compare_sides
from harness.analysis.hypotheses import PairedTests
from harness.analysis.query import Results
from harness.analysis.ranks import RankFiles, ties_of
from harness.analysis.sides import StoredSuites, find_sides
from harness.cli.compare_text import as_words
from harness.report.files import suites_by_table
from harness.report.query import named_table
from harness.report.render import render
from harness.store.archive.suite_file import read_suite_file
from harness.store.files import write_whole
from harness.store.memory import MemoryStore
from harness.store.records import Cell

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def store(runs: Path) -> MemoryStore:
    """The records as `harness db import` has them, without its audit, which other tests ask for."""
    store = MemoryStore()
    cells: list[Cell] = []
    for path in sorted((REPOSITORY / "results" / "records").glob("*.jsonl.gz")):
        content = read_suite_file(path)
        cells += content.cells
        for run in content.content(path).runs:
            if ranks := run.files.get("ranks.npz"):
                store.add(run.record)
                write_whole(runs / run.record.run_id / "ranks.npz", ranks.content())
    stored = set(store.ids())
    store.add_cells(cell for cell in cells if cell.run_id in stored or cell.reason)
    return store


def test_the_records_support_every_claim(store: MemoryStore, runs: Path) -> None:
    claims, origins = load_claims(REPOSITORY / "results" / "claims.yaml")
    found = check(
        StoredSuites(store, suites_by_table), runs, claims, [origin.line for origin in origins]
    )
    assert {one.claim.claim: one.reason for one in found if one.status != "supported"} == {}


def test_the_comparison_that_docs_show_is_that_of_the_records(
    store: MemoryStore, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(significance, "RESAMPLES", 99)
    sides = find_sides(StoredSuites(store, suites_by_table), "main:mocme", "main:rotate", "mkg-w")
    files = RankFiles(runs, ties_of(sides[0].protocol))
    said = as_words(compare_sides(files, *sides, ("mrr", "hits@1", "hits@3", "hits@10")))
    page = (REPOSITORY / "docs" / "statistics.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("\n```")[0]
    assert without_resampling(shown) == without_resampling(said)


def test_the_table_of_the_first_run_is_that_of_the_records(
    store: MemoryStore, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = named_table(Results(store, tests=PairedTests(runs)), "quickstart")
    page = (REPOSITORY / "docs" / "first_run.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("\n```")[0]
    assert shown.splitlines() == render(table).rstrip().splitlines()


def test_the_main_table_is_that_of_the_records(store: MemoryStore, runs: Path) -> None:
    """Write it anew by ``harness report --table main_own --out results/main_table.md``."""
    table = named_table(Results(store, tests=PairedTests(runs)), "main_own")
    page = (REPOSITORY / "results" / "main_table.md").read_text(encoding="utf-8")
    assert page.splitlines() == render(table, "markdown").splitlines()


def without_resampling(text: str) -> list[str]:
    """Return lines without what depends on how often triples are drawn again."""
    return [line for line in text.splitlines() if "over triples" not in line]
