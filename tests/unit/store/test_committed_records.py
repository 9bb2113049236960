"""The committed records of this repository are complete: a fresh import has nothing to warn of."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

RECORDS = Path(__file__).resolve().parents[3] / "results" / "records"


def test_every_cell_has_the_record_of_its_run() -> None:
    planned: dict[str, str] = {}
    stored: set[str] = set()
    for path in RECORDS.glob("*.jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                if "run" in line:
                    stored.add(line["run"]["record"]["run_id"])
                elif "cell" in line and line["cell"]["run_id"]:
                    planned[line["cell"]["run_id"]] = f"{path.name}: {line['cell']['label']}"
    assert len(stored) > 700
    assert {run_id: cell for run_id, cell in planned.items() if run_id not in stored} == {}
