"""The cache of encoded features: hits, misses, damage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from harness.data.encoders import ENCODERS, Encoded, Encoder
from harness.data.encoders.base import cache_folder
from harness.errors import ConfigError, DataError, MachineError


class Counting(Encoder[str]):
    """Length of each text; counts how often it is asked."""

    name = "counting"

    def __init__(self, unknown: float = 0.0, version: int = 1) -> None:
        self.unknown, self.version, self.calls = unknown, version, 0

    @property
    def fingerprint(self) -> str:
        return f"counting-{self.version}"

    def compute(self, inputs: Sequence[str]) -> Encoded:
        self.calls += 1
        lengths = torch.tensor([[float(len(t)), 1.0] for t in inputs])
        present = torch.tensor([bool(t) for t in inputs])
        return Encoded(lengths * present[:, None], present, self.unknown)


def _files() -> list[Path]:
    return list(cache_folder().iterdir())


def test_the_same_inputs_are_encoded_once() -> None:
    encoder = Counting()
    first, again = encoder.encode(["a", "bb", ""]), encoder.encode(["a", "bb", ""])
    assert encoder.calls == 1
    assert torch.equal(first.matrix, again.matrix)
    assert torch.equal(first.present, again.present)
    assert len(_files()) == 1


def test_other_inputs_another_order_or_another_version_miss() -> None:
    encoder, newer = Counting(), Counting(version=2)
    encoder.encode(["a", "bb"])
    encoder.encode(["bb", "a"])
    encoder.encode(["abb"])
    newer.encode(["a", "bb"])
    assert (encoder.calls, newer.calls) == (3, 1)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_file_is_remade(damage: str) -> None:
    encoder = Counting()
    first = encoder.encode(["a", "bb"])
    (file,) = _files()
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-1] ^= 0xFF
    damaged = {"truncate": content[:-3], "flip": content, "empty": bytearray()}
    file.write_bytes(damaged[damage])
    assert torch.equal(encoder.encode(["a", "bb"]).matrix, first.matrix)
    assert encoder.calls == 2
    encoder.encode(["a", "bb"])
    assert encoder.calls == 2


def test_nothing_half_written_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(MachineError, match=r"No space left.*HARNESS_CACHE"):
        Counting().encode(["a"])
    assert _files() == []


def test_what_a_killed_process_was_writing_is_removed() -> None:
    Counting().encode(["a"])
    (file,) = _files()
    (file.parent / ".writing-a1b2c3d4").touch()
    Counting().encode(["b"])
    assert len(_files()) == 2
    assert not list(file.parent.glob(".*"))


def test_too_many_unknown_tokens_are_refused_from_the_cache_too() -> None:
    encoder = Counting(unknown=0.21)
    for _ in range(2):
        with pytest.raises(DataError, match="does not know 21% of the tokens"):
            encoder.encode(["a"])
    assert encoder.calls == 1
    assert Counting(unknown=0.2, version=2).encode(["a"]).unknown_share == 0.2


def test_a_table_is_identified_by_encoder_and_inputs() -> None:
    table = Counting().table(["a", "bb", ""])
    assert table.name == "text"
    assert table.present.tolist() == [True, True, False]
    assert table.digest == Counting().table(["a", "bb", ""]).digest
    assert table.digest != Counting(version=2).table(["a", "bb", ""]).digest
    assert table.digest != Counting().table(["b", "bb", ""]).digest


def test_encoders_are_found_by_name() -> None:
    assert {"minilm", "hashed", "numeric"} <= set(ENCODERS)
    with pytest.raises(ConfigError, match="did you mean 'hashed'"):
        ENCODERS.get("hasht")
