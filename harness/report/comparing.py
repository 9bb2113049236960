"""Answers the questions of tables: from the store, or from the ranks of the runs and kept there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from harness.errors import DataError, HarnessError
from harness.evaluation.metrics import METRICS
from harness.report.questions import Answer, Ask, Question, common_seeds
from harness.report.results import Entry
from harness.store.base import ResultStore
from harness.store.files import RANKS
from harness.store.records import Comparison

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.evaluation.ranks import Ranks, Ties

__all__ = ["Comparer", "Pair", "RankFiles", "Tell", "decide", "ties_of"]

METHOD = 1
"""Version of the tests: comparisons kept by another one are made anew."""
KEPT_FILES = 256
"""Rank files held in memory at once; a large one is 0.5 MB."""
TOLERANCE = 1e-6
"""A record's value is the mean of its ranks but for rounding."""


def ties_of(protocol: str) -> Ties:
    """Return the rule for equal scores that the key of a protocol begins with."""
    return cast("Ties", protocol.partition("/")[0])


class Tell(Protocol):
    """Hears how many of a table's questions are answered, where they take a while."""

    def __call__(self, table: str, done: int, total: int) -> None:
        """Be told."""


def _silent(table: str, done: int, total: int) -> None:
    pass


class Pair(NamedTuple):
    """Values of two rows' runs on the same triples: [seeds, triples] each, or as ``queries``."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]


class RankFiles:
    """The ranks of runs, ``<runs>/<run id>/ranks.npz``.

    Args:
        runs: the run folders.
        ties: rule for equal scores.
    """

    def __init__(self, runs: Path, ties: Ties) -> None:
        self.runs, self.ties = runs, ties
        self._load = lru_cache(KEPT_FILES)(self._read)
        # Asked of every run that is shown; making a Path of each would take longer than the rest.
        self._there = cache(lambda run_id: isfile(f"{runs}/{run_id}/{RANKS}"))

    def have(self, entry: Entry) -> bool:
        """Return whether all ranks of a row are there."""
        return all(self._there(run_id) for run_id, _ in entry.values())

    def pair(self, first: Entry, second: Entry, metric: str, bucket: str) -> Pair | None:
        """Return the values of two rows, one per triple, over the seeds that both have.

        A triple's value is the mean over its queries; returns and errors as ``queries``.
        """
        found = self.queries(first, second, metric, bucket)
        return Pair(*(values.mean(1) for values in found)) if found else None

    def queries(self, first: Entry, second: Entry, metric: str, bucket: str) -> Pair | None:
        """Return the values of two rows [seeds, sides, triples] over the seeds that both have.

        Returns:
            None when the files do not say which triples are in the bucket.

        Raises:
            DataError: a file is damaged, is not the one that a record's value came from, or the
                runs were tested on other triples.
        """
        import numpy as np

        seeds = common_seeds(first, second)
        rows = [
            [self._values(*row[seed], metric, bucket) for seed in seeds] for row in (first, second)
        ]
        if any(values is None for row in rows for values in row):
            return None
        expected = self._load(first[seeds[0]][0]).triples
        for row in (first, second):
            for run_id in (row[seed][0] for seed in seeds):
                if not np.array_equal(self._load(run_id).triples, expected):
                    raise DataError(
                        f"{self._path(run_id)}: ranks of other triples than its rivals'"
                    )
        return Pair(*(np.stack([v for v in row if v is not None]) for row in rows))

    def _path(self, run_id: str) -> Path:
        return self.runs / run_id / RANKS

    def _read(self, run_id: str) -> Ranks:
        from harness.evaluation.ranks import Ranks

        return Ranks.load(self._path(run_id))

    def _values(
        self, run_id: str, stored: float, metric: str, bucket: str
    ) -> NDArray[np.float64] | None:
        """Return a run's values [sides, triples], None when the bucket is not known."""
        import numpy as np

        from harness.evaluation.metrics import RANK_METRICS

        ranks = self._load(run_id)
        where = None if bucket == "all" else ranks.buckets.get(bucket)
        if bucket != "all" and where is None:
            return None
        values = RANK_METRICS[metric](*ranks.ranks(self.ties, where=where))
        mean = float(values.mean())
        if abs(mean - stored) > TOLERANCE * max(1.0, abs(stored)):
            raise DataError(
                f"{self._path(run_id)}: {metric} of these ranks is {mean:.6g}, the record says "
                f"{stored:.6g}; they are of another execution"
            )
        return np.asarray(values.reshape(len(ranks.sides), -1))


class Comparer:
    """Answers the questions of one store's tables.

    Args:
        store: keeps the answers; where it cannot be written they are made each time.
        runs: the run folders.
        tell: hears how far it is.
    """

    def __init__(self, store: ResultStore, runs: Path, tell: Tell = _silent) -> None:
        self.store, self.runs, self.tell = store, runs, tell
        self.problems: dict[str, None] = {}
        """What kept rank files from being used, each once."""

    def about(self, table: str, protocol: str) -> Ask:
        """Return what answers the questions of a table.

        Args:
            table: its name, with what was selected of it.
            protocol: key of the protocol of all its runs.
        """

        def ask(questions: Sequence[Question]) -> Sequence[Answer | None]:
            return self._answers(table, protocol, questions)

        return ask

    def _answers(
        self, table: str, protocol: str, questions: Sequence[Question]
    ) -> Sequence[Answer | None]:
        files = RankFiles(self.runs, ties_of(protocol))
        usable = [i for i, q in enumerate(questions) if all(map(files.have, (q.first, *q.rivals)))]
        chosen = [questions[i] for i in usable]
        if not chosen:
            return [None] * len(questions)
        family = _digest(protocol, chosen)
        kept = self.store.comparisons(table, family)
        if not kept:
            kept, complete = self._compare(table, files, chosen)
            if complete:
                self._keep(table, family, kept)
        found = {usable[i]: _answer(questions[usable[i]], c) for i, c in kept.items()}
        return [found.get(i) for i in range(len(questions))]

    def _compare(
        self, table: str, files: RankFiles, questions: Sequence[Question]
    ) -> tuple[dict[int, Comparison], bool]:
        """Return the deciding comparisons by position, and whether every file could be used."""
        from harness.report.significance import holm

        found: dict[int, Comparison] = {}
        complete = True
        for i, question in enumerate(questions):
            try:
                if decides := decide(files, question):
                    found[i] = decides
            except DataError as error:
                self.problems[str(error)] = None
                complete = False
            self.tell(table, i + 1, len(questions))
        adjusted = holm([c.p for c in found.values()])
        pairs = zip(found.items(), adjusted, strict=True)
        return {i: replace(c, adjusted=p) for (i, c), p in pairs}, complete

    def _keep(self, table: str, family: str, found: Mapping[int, Comparison]) -> None:
        # A store that can only be read: next time they are made again.
        with contextlib.suppress(HarnessError):
            self.store.keep_comparisons(table, family, found)


def decide(files: RankFiles, question: Question) -> Comparison | None:
    """Return the comparison with the rival that a row is hardest to tell from.

    A rival that is ahead on the seeds that both have counts as p = 1. The p-value is not adjusted.

    Returns:
        None when one of the comparisons cannot be made.

    Raises:
        DataError: a rank file is damaged or not of these runs.
    """
    compared = list(_each(files, question))
    if any(comparison is None for comparison in compared):
        return None
    return max((c for c in compared if c), key=lambda c: c.p)


def _each(files: RankFiles, question: Question) -> Iterator[Comparison | None]:
    from harness.report.significance import verdict

    sign = 1 if METRICS[question.metric].higher_is_better else -1
    for rival in question.rivals:
        pair = files.pair(question.first, rival, question.metric, question.bucket)
        if pair is None or pair.first.shape[1] < 2:
            yield None
            continue
        test = verdict(pair.first - pair.second)
        seeds = common_seeds(question.first, rival)
        p = float(test.p) if sign * test.difference > 0 else 1.0
        yield Comparison(
            first=tuple(question.first[seed][0] for seed in seeds),
            second=tuple(rival[seed][0] for seed in seeds),
            metric=question.metric,
            bucket=question.bucket,
            triples=pair.first.shape[1],
            difference=float(test.difference),
            low=float(test.low),
            high=float(test.high),
            p=p,
            adjusted=p,
        )


def _answer(question: Question, comparison: Comparison) -> Answer:
    ids = [
        tuple(rival[seed][0] for seed in common_seeds(question.first, rival))
        for rival in question.rivals
    ]
    return Answer(comparison, ids.index(comparison.second))


def _digest(protocol: str, questions: Sequence[Question]) -> str:
    """Return what tells a family of questions from others: runs, seeds and their stored values."""
    asked = [(q.metric, q.bucket, q.first, q.rivals) for q in questions]
    return hashlib.sha256(json.dumps([METHOD, protocol, asked]).encode()).hexdigest()[:32]
