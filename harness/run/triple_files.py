"""Files of triples and of queries, scored and answered in batches of lines."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from harness.encoding import without_mark
from harness.errors import ConfigError, DataError, MissingDataError, suggest
from harness.external import NAMINGS
from harness.run.inference import MISSING, Prediction, Predictions, Run
from harness.run.scorer import SCORED

if TYPE_CHECKING:
    from harness.run.scorer import ScoredTriple

__all__ = ["answered_lines", "scored_lines", "triple_lines"]

ANSWERED = ("query", "rank", "head", "relation", "tail", "score", "known")

Ids = tuple[int | None, int, int | None]


def scored_lines(run: Run, file: Path, *, ids: str = "name") -> Iterator[str]:
    """Yield a heading, then each triple of a file with its score, in columns separated by tabs.

    Args:
        run: run with a trained model.
        file: lines of head, relation and tail, separated by tabs; "-" is the standard input.
        ids: how entities and relations are named: "name" (identifier or label) or "id" (number).

    Raises:
        ConfigError: ``ids`` is neither.
        DataError: the file is empty, a line has other than three columns, or a name is unknown;
            names file and line.
        MissingDataError: there is no such file.
    """
    waiting: deque[Sequence[str]] = deque()

    def triples() -> Iterator[tuple[int, int, int]]:
        for fields, (head, relation, tail) in _read(run, file, ids, missing=0):
            assert head is not None
            assert tail is not None
            waiting.append(fields)
            yield head, relation, tail

    scores = run.score_many(triples())
    yield from _headed(SCORED, (_line((*waiting.popleft(), f"{s:.7g}")) for s in scores))


def answered_lines(
    run: Run,
    file: Path,
    *,
    ids: str = "name",
    k: int = 10,
    exclude_known: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """Yield a heading, then the answers to each query of a file, best first, in columns.

    Columns: number of the query, rank of the answer, head, relation and tail with the identifier
    of the answer, score, and the split that has the triple.

    Args:
        run: run with a trained model.
        file: as for ``scored_lines``, with "?" for the missing entity.
        ids: as for ``scored_lines``.
        k: number of answers to each query.
        exclude_known: leave out answers whose triple is in the graph.
        as_json: whether to yield a JSON object per query instead, without a heading.

    Raises:
        ConfigError, DataError, MissingDataError: as ``scored_lines``.
    """
    waiting: deque[Sequence[str]] = deque()

    def queries() -> Iterator[Ids]:
        for fields, query in _read(run, file, ids, missing=1):
            waiting.append(fields)
            yield query

    answered = run.predict_many(queries(), k=k, exclude_known=exclude_known)
    if as_json:
        yield from map(_json, answered)
        return
    lines = (
        _line((str(number), str(rank), *_filled(fields, answer)))
        for number, predictions in enumerate(answered, 1)
        for fields in (waiting.popleft(),)
        for rank, answer in enumerate(predictions.answers, 1)
    )
    yield from _headed(ANSWERED, lines)


def triple_lines(triples: Iterable[ScoredTriple], *, as_json: bool = False) -> Iterator[str]:
    """Yield a heading, then triples with their scores as ``scored_lines``, or as JSON objects."""
    if not as_json:
        yield _line(SCORED)
    for triple in triples:
        if as_json:
            yield json.dumps(triple._asdict(), ensure_ascii=False) + "\n"
        else:
            yield _line((*triple[:3], f"{triple.score:.7g}"))


def _filled(fields: Sequence[str], answer: Prediction) -> Iterator[str]:
    for text in fields:
        yield answer.identifier if text == MISSING else text
    yield f"{answer.score:.7g}"
    yield answer.known or ""


def _json(predictions: Predictions) -> str:
    values = asdict(predictions)
    # Fusion weights are not computed for many queries.
    answers = [{n: v for n, v in answer.items() if n != "weights"} for answer in values["answers"]]
    return json.dumps({"query": values["query"], "answers": answers}, ensure_ascii=False) + "\n"


def _headed(columns: Sequence[str], lines: Iterator[str]) -> Iterator[str]:
    """Yield a heading and lines; nothing when the first line raises."""
    first = next(lines, "")
    yield _line(columns)
    yield first
    yield from lines


def _line(fields: Iterable[str]) -> str:
    return "\t".join(fields) + "\n"


# --- reading ------------------------------------------------------------------------------------


def _read(run: Run, file: Path, ids: str, *, missing: int) -> Iterator[tuple[Sequence[str], Ids]]:
    """Yield the fields and the ids of each line; exactly ``missing`` entities are "?" (None)."""
    if ids not in NAMINGS:
        raise ConfigError(f"--ids {ids}: by name or by id{suggest(ids, NAMINGS)}")
    is_empty = True
    with _opened(file) as lines:
        for number, raw in enumerate(lines, 1):
            try:
                text = (without_mark(raw) if number == 1 else raw).decode("utf-8")
                fields = text.rstrip("\r\n").split("\t")
                if fields == [""]:
                    continue
                is_empty = False
                yield fields, _ids(run, fields, ids, missing)
            except UnicodeDecodeError as error:
                raise DataError(f"{file}:{number}: not UTF-8 ({error.reason})") from error
            except ConfigError as error:
                raise DataError(f"{file}:{number}: {error}") from error
    if is_empty:
        raise DataError(f"{file}: the file is empty")


def _ids(run: Run, fields: Sequence[str], naming: str, missing: int) -> Ids:
    if len(fields) != 3:
        raise ConfigError(
            f"{len(fields)} columns; a line is head, relation and tail, separated by tabs"
        )
    head, relation, tail = fields
    if (head, tail).count(MISSING) != missing:
        what = f"head or tail must be {MISSING}, one of them" if missing else "no entity may be ?"
        raise ConfigError(f"({head}, {relation}, {tail}): {what}")
    entities = (
        None if name == MISSING else run.entity_id(_name(name, naming)) for name in (head, tail)
    )
    first, last = entities
    return first, run.relation_id(_name(relation, naming)), last


def _name(text: str, naming: str) -> int | str:
    if naming == "name":
        return text
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"'{text}' is no id; names need --ids name")
    return int(text)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as opened:
            yield opened
    except FileNotFoundError:
        raise MissingDataError(f"{file}: no such file") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
