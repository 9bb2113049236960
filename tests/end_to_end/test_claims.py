"""What the READMEs say is beyond noise is so by the committed records."""

from __future__ import annotations

from pathlib import Path

from harness.report.claims import check, load_claims
from harness.store.files import read_record
from harness.store.memory import MemoryStore

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_the_records_support_every_claim(tmp_path: Path) -> None:
    # As `harness db import` has them, without its audit, which test_exchange.py tests.
    store = MemoryStore()
    for path in sorted((RESULTS / "records").glob("*.npz")):
        record = read_record(path.with_suffix(".json"))
        store.add(record)
        store.add_cells(record.cells)
        (tmp_path / record.run_id).mkdir()
        (tmp_path / record.run_id / "ranks.npz").symlink_to(path)
    claims, origins = load_claims(RESULTS / "claims.yaml")
    found = check(store, tmp_path, claims, [origin.line for origin in origins])
    assert {one.claim.claim: one.reason for one in found if one.status != "supported"} == {}
