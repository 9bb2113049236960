"""An empty store."""

from __future__ import annotations

import pytest

from harness.store.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
