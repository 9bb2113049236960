"""Records as files that can be committed, or sent to another machine: one file per suite.

``<suite>.jsonl.gz`` holds the suite's cells, its runs and its measurements, a JSON object per line
(``suite_file``); ``<suite>.ranks.npz`` the ranks of its runs (``rank_archive``). Each run is stored
once in a folder: the cells of a suite may name runs that another file holds. Everything that is
exported or imported is checked by ``audit``. The log of accesses to the test split stays where the
run was made; its summary is in the record's provenance.

Folders of earlier versions, one JSON file per run, are still imported (``single_files``).
"""

from __future__ import annotations

from harness.store.archive.exporting import export
from harness.store.archive.importing import Imported, import_records, merge

__all__ = ["Imported", "export", "import_records", "merge"]
