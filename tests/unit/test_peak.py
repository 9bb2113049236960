"""The most memory that a process took is its own, and can be started anew."""

from __future__ import annotations

import subprocess
import sys
from mmap import mmap

import pytest

from harness.peak import forget_peak, peak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")

LARGE = 800 * 2**20
CHILD = "from harness.peak import peak; print(peak())"


def test_what_was_given_back_counts_until_it_is_forgotten() -> None:
    before = peak()
    with mmap(-1, LARGE) as held:
        held.write(b"1" * LARGE)
    high = peak()
    assert high >= max(before, LARGE)
    assert forget_peak()
    assert peak() < high - LARGE / 2


def test_a_process_does_not_count_what_its_parent_took() -> None:
    with mmap(-1, LARGE) as held:
        held.write(b"1" * LARGE)
        command = [sys.executable, "-c", CHILD]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < LARGE / 2
