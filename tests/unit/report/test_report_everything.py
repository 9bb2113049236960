"""Everything at once: which files there are, and what becomes of what cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.query import Results, Selection
from harness.errors import ConfigError, StoreError
from harness.plan.spec import Protocol
from harness.report.everything import Artefact, artefacts
from harness.store.memory import MemoryStore
from tests.unit.report.conftest import Filler

DATA = ("txt", "md", "html", "csv", "json")


pytestmark = pytest.mark.usefixtures("few_definitions")


def by_name(store: MemoryStore, selection: Selection = Selection()) -> dict[str, Artefact]:  # noqa: B008 - frozen
    return {artefact.name: artefact for artefact in artefacts(Results(store, selection))}


def test_tables_come_in_every_format(store: MemoryStore) -> None:
    files = by_name(store)["main"].files
    assert set(files) == {f"main.{ending}" for ending in (*DATA, "tex")}


def test_figures_come_as_pictures_and_data(full_store: MemoryStore) -> None:
    files = by_name(full_store)["experts"].files
    assert set(files) == {f"experts.{e}" for e in (*DATA, "tex", "png", "pdf", "svg")}
    assert r"\includegraphics[width=\columnwidth]{experts.pdf}" in str(files["experts.tex"])
    assert "<svg" in str(files["experts.html"])


def test_a_figure_without_data_says_why(store: MemoryStore) -> None:
    artefact = by_name(store)["experts"]
    assert set(artefact.files) == {f"experts.{ending}" for ending in DATA}
    assert "not run: `harness run experts`" in artefact.empty


def test_suites_without_a_definition_have_a_table(store: MemoryStore) -> None:
    Filler(store, "mine").row("A", [0.2])
    Filler(store, "others", variant="beef").row("A", [0.3])
    assert [name for name in by_name(store) if name.startswith("suite-")] == ["suite-mine"]
    assert "suite-others" in by_name(store, Selection(variant="beef"))


def test_a_study_of_which_nothing_was_tested_has_no_table(store: MemoryStore) -> None:
    Filler(store, "mine").row("A trial 0", [0.2]).row("A trial 1", [0.3])
    for run_id, status in (("min000", "validated"), ("min001", "pruned")):
        record = store.get(run_id)
        store.remove(run_id)
        store.add(record.model_copy(update={"status": status, "metrics": ()}))
    assert by_name(store)["suite-mine"] == Artefact("suite-mine")


def test_what_cannot_be_made_does_not_stop_the_others(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "broken.yaml").write_text("title: T\nsuit: mine\n", encoding="utf-8")
    found = by_name(store)
    assert isinstance(found["broken"].error, ConfigError)
    assert found["broken"].files == {}
    assert found["main"].files


def test_a_suite_that_mixes_protocols_has_no_file(store: MemoryStore) -> None:
    filler = Filler(store, "mine").row("A", [0.2])
    filler.row("B", [0.2], protocol=Protocol(ties="optimistic"))
    assert isinstance(by_name(store)["suite-mine"].error, StoreError)
