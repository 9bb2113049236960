"""Records that processes add per second, to a SQLite file and to a PostgreSQL server.

Both are durable: a record is on the disk before it is acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.bench.text import table
from harness.bench.timing import OnProgress, silent
from harness.errors import ConfigError
from harness.store import open_store
from harness.store.archive.suite_file import read_suite_file
from harness.store.files import write_record
from tests import postgresql

RECORDS = Path(__file__).parents[2] / "results" / "records" / "quickstart.jsonl.gz"
"""The first run of this file is added again and again, each time under another id."""
WRITER = """
import sys, time
from pathlib import Path
from harness.store import open_store
from harness.store.files import read_record
address, file, prefix, count = sys.argv[1:]
record, store = read_record(Path(file)), open_store(address)
print("ready", flush=True)
sys.stdin.readline()
began = time.monotonic()
for number in range(int(count)):
    store.add(record.model_copy(update={"run_id": f"{prefix}{number}"}))
print(began, time.monotonic())
"""


@dataclass(frozen=True)
class Rate:
    """Records added by processes at once.

    Attributes:
        store: kind of database.
        writers: number of processes.
        records: number of records that were added in all.
        seconds: time from the first process's start to the last one's end.
    """

    store: str
    writers: int
    records: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Records per second of all processes together."""
        return self.records / self.seconds


def measure(writers: Sequence[int], records: int, on_progress: OnProgress = silent) -> list[Rate]:
    """Measure both databases in turn.

    Args:
        writers: numbers of processes.
        records: number of records that each process adds.
        on_progress: receives the numbers of writers measured, their count, a description.

    Raises:
        ConfigError: no PostgreSQL server can be started here.
    """
    if reason := postgresql.missing():
        raise ConfigError(reason)
    content = next(iter(read_suite_file(RECORDS).runs.values())).record
    durable = dict.fromkeys(("fsync", "full_page_writes", "synchronous_commit"), "on")
    with tempfile.TemporaryDirectory() as name, postgresql.running(**durable) as server:
        folder = Path(name)
        write_record(folder / "record.json", content)
        rates = []
        for position, count in enumerate(writers):
            addresses = {"SQLite": f"{folder}/{count}.db", "PostgreSQL": server.create_store()}
            for store, address in addresses.items():
                on_progress(position, len(writers), f"{store}, {count} writers")
                seconds = _add(address, folder / "record.json", count, records)
                rates.append(Rate(store, count, count * records, seconds))
                _check(address, count * records)
        return rates


def _add(address: str, record: Path, writers: int, records: int) -> float:
    """Return the seconds that processes take to add records at once."""
    with contextlib.closing(open_store(address)):
        pass
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, address, str(record), f"w{number}r", str(records)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    times = [json.loads(f"[{process.communicate()[0].replace(' ', ',')}]") for process in processes]
    return float(max(end for _, end in times) - min(began for began, _ in times))


def _check(address: str, expected: int) -> None:
    with contextlib.closing(open_store(address)) as store:
        assert len(store.ids()) == expected


def stores_text(rates: Sequence[Rate]) -> str:
    """Return a table: writers, and records per second of each database."""
    by_writers: dict[int, dict[str, Rate]] = {}
    for rate in rates:
        by_writers.setdefault(rate.writers, {})[rate.store] = rate
    names = list(dict.fromkeys(rate.store for rate in rates))
    rows = [
        [str(count), *(f"{of[name].per_second:.0f}" for name in names)]
        for count, of in by_writers.items()
    ]
    return table(["writers", *(f"{name}, records/s" for name in names)], rows)
