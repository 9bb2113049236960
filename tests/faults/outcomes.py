"""Results of commands, as far as a repetition must give them again."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.store import open_store
from harness.store.records import RunRecord
from harness.studies.results import search_results


def measured(record: RunRecord) -> dict[str, Any]:
    """Return all of a record but times, machines and moments."""
    values = record.model_dump(mode="json", exclude={"timings", "provenance", "cells"})
    values["history"] = [
        {name: value for name, value in row.items() if "seconds" not in name}
        for row in values["history"]
    ]
    return values


def stored(home: Path) -> dict[str, Any]:
    """Return what the database holds by run, {} without one, after checking it."""
    database = home / "harness.db"
    if not database.is_file() or database.stat().st_size == 0:
        return {}
    with closing(open_store(database)) as store:
        assert list(store.check()) == []
        return {record.run_id: measured(record) for record in store.find()}


def kept(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether all that was stored before is there after; a trial may have been tested since,
    and then holds what was measured on the validation split all the same."""
    return all(run in after and _is_kept(old, after[run]) for run, old in before.items())


def _is_kept(old: dict[str, Any], new: dict[str, Any]) -> bool:
    if (old["status"], new["status"]) != ("validated", "ok"):
        return old == new
    same = all(old[key] == new[key] for key in ("run_id", "spec", "history"))
    return same and all(value in new["metrics"] for value in old["metrics"])


def results(home: Path) -> dict[str, Any]:
    """Return records, cells, ranks, epochs and checkpoints of a results folder."""
    records = stored(home)
    with closing(open_store(home / "harness.db")) as store:
        cells = sorted((c.suite, c.label, c.dataset, c.seed, c.run_id) for c in store.cells())
    folders = {run_id: _of_run(home / "runs" / run_id) for run_id in records}
    return {"records": records, "cells": cells, "folders": folders}


def _of_run(folder: Path) -> dict[str, Any]:
    ranks, log = folder / "ranks.npz", folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    epochs = Counter(json.loads(line)["epoch"] for line in lines)
    return {
        "ranks": ranks.read_bytes() if ranks.is_file() else b"",
        "epochs": dict(epochs),
        "checkpoints": sorted(path.name for path in folder.glob("*.safetensors")),
    }


def study(home: Path, name: str = "search") -> Any:
    """Return the trials of a study and what its runs measured."""
    (search,) = search_results(home, name)
    return {"trials": list(search.trials), "records": stored(home)}


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, {} where there is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    """Return the hidden and temporary files and folders below a folder."""
    names = [path for path in folder.rglob("*") if path.name[0] == "." or path.suffix == ".tmp"]
    return [str(path.relative_to(folder)) for path in names]
