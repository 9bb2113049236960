"""Character n-gram hashing of names."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from harness.data.encoders.hashed import HashedNgrams, normalise

ROOT = Path(__file__).parents[4]
NAMES = ["Linda Darnell", "Linda Ronstadt", "厦门大学", "厦门理工学院", "Oxford United F.C.", ""]


def test_rows_have_unit_length_and_the_empty_name_is_absent() -> None:
    encoded = HashedNgrams().compute(NAMES)
    assert encoded.matrix.shape == (6, 256)
    assert encoded.present.tolist() == [True] * 5 + [False]
    assert torch.allclose(encoded.matrix[:5].norm(dim=1), torch.ones(5))
    assert not bool(encoded.matrix[5].any())
    assert encoded.unknown_share == 0.0


def test_names_with_common_parts_are_closer() -> None:
    similarity = HashedNgrams().compute(NAMES).matrix
    similarity = similarity @ similarity.T
    assert similarity[0, 1] > similarity[0, 4] + 0.1
    assert similarity[2, 3] > similarity[2, 4] + 0.1


def test_spelling_variants_are_one() -> None:
    matrix = HashedNgrams(idf=False).compute(["\uff2fxford  United", "oxford UNITED"]).matrix
    assert normalise("\uff2fxford  United") == "oxford united"
    assert torch.equal(matrix[0], matrix[1])


def test_order_of_characters_matters() -> None:
    matrix = HashedNgrams(idf=False).compute(["abcd", "dcba"]).matrix
    assert float(matrix[0] @ matrix[1]) < 0.9


def test_idf_lowers_what_all_names_share() -> None:
    names = ["museum of art", "museum of war", "museum of ice"]
    plain, weighted = (HashedNgrams(idf=idf).compute(names).matrix for idf in (False, True))
    assert float(weighted[0] @ weighted[1]) < float(plain[0] @ plain[1])


def test_without_idf_a_vector_depends_on_its_own_name_only() -> None:
    encoder = HashedNgrams(idf=False)
    alone, among = (
        encoder.compute(["tulip"]).matrix[0],
        encoder.compute(["rose", "tulip"]).matrix[1],
    )
    assert torch.equal(alone, among)


def test_another_process_gets_the_same_vectors() -> None:
    program = (
        "import hashlib; from harness.data.encoders.hashed import HashedNgrams; "
        f"m = HashedNgrams().compute({NAMES!r}).matrix; "
        "print(hashlib.sha256(m.numpy().tobytes()).hexdigest())"
    )
    here = hashlib.sha256(HashedNgrams().compute(NAMES).matrix.numpy().tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_options_are_part_of_the_fingerprint() -> None:
    prints = {
        HashedNgrams().fingerprint,
        HashedNgrams(dim=64).fingerprint,
        HashedNgrams(idf=False).fingerprint,
        HashedNgrams(longest=3).fingerprint,
    }
    assert len(prints) == 4


def test_sixteen_thousand_names_take_seconds() -> None:
    names = [f"Entity number {i * 7919} of many" for i in range(16_000)]
    start = time.process_time()
    HashedNgrams().compute(names)
    assert time.process_time() - start < 15  # about 2 s; the bound only catches quadratic time


def test_no_name_at_all_gives_zeros() -> None:
    encoded = HashedNgrams().compute(["", "  "])
    assert encoded.matrix.shape == (2, 256)
    assert not bool(encoded.present.any())
