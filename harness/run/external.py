"""Ranks and scores of another code base, kept as a run beside the harness's own."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.base import check_suite_name
from harness.config.storable import LABEL, NAME, text_problem
from harness.environment import results_folder
from harness.errors import ConfigError, nearest, suggest
from harness.events import Message, OnEvent, ignore
from harness.external import NAMINGS, Naming, judge, keep
from harness.store import open_home
from harness.store.base import ResultStore
from harness.store.records import Cell, RunRecord

if TYPE_CHECKING:
    from harness.report.table import Table

__all__ = ["ScoredFile", "score_file"]

SUITE = "external"
"""Suite that rows stand in where none is named."""


@dataclass(frozen=True)
class ScoredFile:
    """Result of ``score_file``.

    Attributes:
        record: record of the run.
        queries: number of queries that the file answers.
        suite: suite that the run stands in.
        home: results folder.
    """

    record: RunRecord
    queries: int
    suite: str
    home: Path

    def make_table(self, on_event: OnEvent = ignore) -> Table:
        """Return the table of the suite; ``on_event`` as for ``harness.report.load_table``."""
        from harness.report.stored import open_reports

        with open_reports(self.home, on_event=on_event) as reports:
            return reports.suite_table(self.suite)


def score_file(
    file: Path,
    dataset: str,
    name: str,
    *,
    seed: int = 0,
    entities: Path | None = None,
    ids: str = "name",
    suite: str = SUITE,
    home: Path | str | None = None,
    on_event: OnEvent = ignore,
) -> ScoredFile:
    """Evaluate ranks or scores of another code base and store them as a run.

    Args:
        file: ranks (.csv, .tsv, .npz) or scores (.npz, .npy, .safetensors) of the test split.
        dataset: name of the dataset.
        name: label of the row.
        seed: seed of the run that made the file.
        entities: of scores, a file with the identifier of each column, one a line.
        ids: of ranks, whether entities and relations stand by "name" or by "id".
        suite: suite whose table gets the row.
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.
        on_event: receives a message where no suite of that name is stored yet.

    Raises:
        ConfigError: an argument is wrong, or another file was scored under this name and seed.
        DataError: the file is damaged or does not answer every query once.
    """
    if ids not in NAMINGS:
        raise ConfigError(f"--ids {ids}: by name or by id{suggest(ids, NAMINGS)}")
    for option, text, width in (("--name", name, LABEL), ("--suite", suite, NAME)):
        if problem := text_problem(text, width):
            raise ConfigError(f"{option} {text[:40]!a}: {problem}")
    folder = results_folder(home)
    naming: Naming = "id" if ids == "id" else "name"
    with contextlib.closing(open_home(folder)) as store:
        record, ranks = judge(
            file,
            dataset,
            name,
            seed=seed,
            naming=naming,
            entities=entities,
            runs=folder / "runs",
        )
        cell = cell_of(store, record, name, suite)
        names = {cell.suite for cell in store.cells()}
        record = keep(record, ranks, folder / "runs")
        store.add(record)
        store.add_cells([cell])
        if suite not in {*names, SUITE}:
            close = nearest(suite, names)
            hint = f"; the nearest stored one is '{close}'" if close else ""
            on_event(Message(f"no suite '{suite}' was stored: a new one is begun{hint}"))
    return ScoredFile(record, 2 * len(ranks.triples), suite, folder)


def cell_of(store: ResultStore, record: RunRecord, name: str, suite: str) -> Cell:
    """Return the cell of a run in a suite.

    Raises:
        ConfigError: another run stands there, or the suite's runs follow another protocol.
    """
    try:
        check_suite_name(suite)
    except ValueError as error:
        raise ConfigError(f"--suite: {error}") from None
    cells = store.cells(suite)
    stored = store.find(ids={cell.run_id for cell in cells} - {"", record.run_id}, status="ok")
    for earlier in stored:
        if earlier.protocol != record.protocol:
            raise ConfigError(
                f"--suite {suite}: its runs are ranked by {earlier.protocol}, this one by "
                f"{record.protocol}; one table never mixes them"
            )
    same_row = [c for c in cells if c.label.lower() == name.lower() and c.dataset == record.dataset]
    same_features = [c for c in same_row if c.features == record.features]
    occupied = any(c.seed == record.seed and c.run_id != record.run_id for c in same_features)
    if occupied or len(same_features) < len(same_row):
        raise ConfigError(
            f"--suite {suite} has a row '{name}' on {record.dataset} already; give another --name"
        )
    last = max((c.position for c in cells), default=-1)
    return Cell(
        suite=suite,
        position=same_features[0].position if same_features else last + 1,
        label=same_features[0].label if same_features else name,
        dataset=record.dataset,
        features=record.features,
        seed=record.seed,
        run_id=record.run_id,
    )
