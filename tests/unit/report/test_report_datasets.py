"""The table of the datasets: published counts beside those of the files."""

from __future__ import annotations

import pytest

from harness.analysis.query import Results, Selection
from harness.data import verify
from harness.data.card import DATASETS
from harness.data.load import source
from harness.errors import ConfigError
from harness.report import files
from harness.report.definition import DatasetsDefinition, Published
from harness.report.query import named_table
from harness.report.render import render
from harness.report.table import Table, TableRow
from harness.report.tables.datasets import datasets_table
from harness.store.memory import MemoryStore

ATLAS = {"entities": 3942, "relations": 11, "train": 4102, "valid": 675, "test": 671}
"""What the package holds, but one test triple too many."""

PUBLISHED = Published.model_validate(
    {
        "source": "a paper",
        "units": "percent",
        "statistics": {
            "caption": "Table 9",
            "rows": {"atlas": {"title": "Atlas", **ATLAS, "text": 3942}},
        },
        "tables": {},
    }
)


def table(*statistics: str, datasets: tuple[str, ...] = ("atlas",)) -> Table:
    definition = DatasetsDefinition(name="d", title="D", statistics=statistics, datasets=datasets)
    return datasets_table(definition, PUBLISHED)


def values(row: TableRow) -> list[float | None]:
    return [cell.value for cell in row.cells]


def test_a_dataset_has_a_row_of_published_and_one_of_held_counts() -> None:
    published, held = table("entities", "train", "test", "text", "name").rows
    assert (published.label, held.label) == ("published", "in the files")
    assert values(published) == [3942, 4102, 671, 3942, None]
    assert values(held) == [3942, 4102, 670, 3942, 3942]


def test_what_differs_and_what_is_not_there_is_said() -> None:
    published, held = table("entities", "test", "audio").rows
    assert [cell.notes for cell in held.cells[:2]] == [(), ("differs from what is published",)]
    assert (published.cells[2].reason, held.cells[2].reason) == ("none printed", "none printed")


def test_a_dataset_that_is_not_here_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.folders.find", lambda card: None)
    published, held = table("entities", datasets=("mkg-w",)).rows
    assert published.group == "MKG-W"
    assert held.cells[0].reason == "not on this machine: `harness data fetch mkg-w`"


def test_features_that_are_not_here_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "coverage", lambda source, graph: ("", {}))
    _, held = table("entities", "text").rows
    assert held.cells[0].value == 3942
    assert held.cells[1].reason.startswith("the published features are not on this machine")


def test_remarks_of_the_datasets_are_printed() -> None:
    notes = table("entities", datasets=("mkg-w", "atlas")).notes
    assert notes[0] == "Published: Table 9 of a paper."
    assert f"MKG-W: {source('mkg-w').card.notes[0]}" in notes


def test_counts_have_no_decimals() -> None:
    assert "3,942 " in render(table("entities", "relations"))
    assert "3942," in render(table("entities", "relations"), "csv")


def test_shipped_table_counts_the_five_datasets_of_the_paper() -> None:
    definition = files.load_definition("datasets")
    assert isinstance(definition, DatasetsDefinition)
    assert set(definition.datasets) == set(files.load_published().statistics.rows)
    assert set(definition.datasets) <= set(DATASETS)


def test_published_statistics_are_those_of_the_cards() -> None:
    for name, row in files.load_published().statistics.rows.items():
        card = source(name).card
        found = {key: getattr(row, key) for key in (*card.printed_counts, *card.modality_counts)}
        assert found == {**card.printed_counts, **card.modality_counts}


def test_datasets_can_be_chosen() -> None:
    chosen = named_table(Results(MemoryStore(), Selection(datasets=("TIVA",))), "datasets")
    assert {row.group for row in chosen.rows} == {"TIVA"}
    with pytest.raises(ConfigError, match="unknown dataset 'tva'"):
        named_table(Results(MemoryStore(), Selection(datasets=("tva",))), "datasets")


def test_unknown_statistics_are_named() -> None:
    with pytest.raises(ValueError, match="unknown statistic 'vaild'; did you mean 'valid'"):
        table("vaild")
