"""Results of another code base as a run: a kind of its own, marked wherever it is shown.

Formats are in ``docs/external_scores.md``. A run of this kind has the id ``ext-...``, no model, no
history and no validation; its test split counts as scored once, like any other's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from harness import provenance
from harness.data.feature_files import file_sha256
from harness.data.graph import KnowledgeGraph
from harness.data.load import load_dataset
from harness.data.parsing import read_lines
from harness.encoding import decoded
from harness.errors import ConfigError, DataError
from harness.evaluation.foreign import (
    RankRow,
    ids_of,
    permutation,
    ranks_of_rows,
    ranks_of_scores,
)
from harness.evaluation.ranks import Ranks
from harness.index import Side
from harness.plan.spec import DataSpec, ModelSpec, Protocol, RunSpec
from harness.splits import metrics_of, test_access_summary
from harness.store import accesses
from harness.store.files import RANKS, RECORD, write_record
from harness.store.records import EXTERNAL, RunRecord, external_id

__all__ = ["NAMINGS", "Given", "Naming", "judge", "keep", "read"]

ROWS = ("head", "relation", "tail", "side", "rank")
"""Columns of a file of ranks."""
KINDS = {"head": "iuU", "relation": "iuU", "tail": "iuU", "side": "U", "rank": "fiu"}
"""Kinds of NumPy's types that these columns may have as arrays."""
SIDES: tuple[Side, Side] = ("head", "tail")
ELSEWHERE = "elsewhere"
"""What stands for the features of a model that nobody here has seen."""

Naming = Literal["name", "id"]
NAMINGS: tuple[Naming, ...] = ("name", "id")
"""How a file names entities and relations: by identifier or label, or by number."""


@dataclass(frozen=True)
class Given:
    """Content of a file of scores or ranks.

    Attributes:
        kind: "ranks" that were made elsewhere, or "scores" that are ranked here.
        ranks: of the test split.
        columns: how the columns of scores are named, in words; "" for ranks.
    """

    kind: Literal["ranks", "scores"]
    ranks: Ranks
    columns: str = ""


def read(
    path: Path,
    graph: KnowledgeGraph,
    protocol: Protocol,
    *,
    naming: Naming = "name",
    entities: Path | None = None,
) -> Given:
    """Read ranks or scores of the test split and judge them under a protocol.

    Args:
        path: .csv, .tsv, .npz, .npy or .safetensors.
        graph: the dataset.
        protocol: sides, filter and tie rule.
        naming: how a file of ranks names entities and relations; numbers in .npz are ids.
        entities: of scores a text file with the identifier of each column, one a line; the columns
            are the dataset's ids when None.

    Raises:
        ConfigError: an unknown format, or ``entities`` beside ranks.
        DataError: the file is damaged or does not answer every question once; see
            ``harness.evaluation.foreign``.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    kinds: Mapping[str, Callable[[Path], Any]] = {
        ".csv": lambda p: _table(p, ","),
        ".tsv": lambda p: _table(p, "\t"),
        ".npz": _npz,
        ".npy": _npy,
        ".safetensors": _safetensors,
    }
    if path.suffix not in kinds:
        raise ConfigError(f"{path}: a format '{path.suffix}' is not known: {', '.join(kinds)}")
    arrays: Mapping[str, Any] = kinds[path.suffix](path)
    if "rank" in arrays:
        if entities is not None:
            raise ConfigError("--entities names the columns of scores; this file holds ranks")
        rows = list(_rows(path, arrays, graph, naming))
        return Given("ranks", ranks_of_rows(rows, graph, protocol))
    columns, order_note = None, f"the ids of the dataset, 0 to {graph.n_entities - 1}"
    if entities is not None:
        columns = permutation(read_lines(entities), graph.entities, str(entities))
        order_note = f"as {entities.name} lists them"
    scores = _by_side(path, arrays, len(graph.splits["test"]), protocol)
    return Given("scores", ranks_of_scores(scores, graph, protocol, columns, str(path)), order_note)


def judge(
    path: Path,
    dataset: str,
    name: str,
    *,
    seed: int = 0,
    naming: Naming = "name",
    entities: Path | None = None,
    runs: Path,
) -> tuple[RunRecord, Ranks]:
    """Return the record and the ranks of a file as a run; nothing is stored.

    Args:
        path: as ``read``.
        dataset: name of the dataset.
        name: what the row is called.
        seed: of the run that made the file.
        naming, entities: as ``read``.
        runs: the run folders: what was scored before is known there.

    Raises:
        ConfigError, DataError: as ``read``; another file was scored under this name and seed.
    """
    data = load_dataset(dataset)
    graph, protocol = data.graph, Protocol()
    run_id = external_id(name, seed, graph.digest, protocol.key)
    digest = file_sha256(path) if path.is_file() else ""
    earlier = accesses.scoring(accesses.read(runs / run_id))
    if earlier is not None and earlier.weights != digest:
        raise ConfigError(
            f"'{name}' with seed {seed} was scored on {earlier.when} from another file: a test "
            f"split is scored once; `harness runs rm {run_id}` forgets it, --name and --seed tell "
            "runs apart"
        )
    file_scores = read(path, graph, protocol, naming=naming, entities=entities)
    spec = RunSpec(
        model=ModelSpec.model_validate({"name": EXTERNAL, "label": name, "kind": file_scores.kind}),
        data=DataSpec(dataset=data.card.name, features=ELSEWHERE),
        protocol=protocol,
        seed=seed,
    )
    environment = provenance.describe(device="cpu", threads=1, kernels="reference")
    source = {"file": path.name, "sha256": digest, "columns": file_scores.columns}
    record = RunRecord(
        run_id=run_id,
        status="ok",
        spec=spec,
        model=EXTERNAL,
        dataset=data.card.name,
        dataset_digest=graph.digest,
        features=ELSEWHERE,
        seed=seed,
        protocol=protocol.key,
        metrics=metrics_of(file_scores.ranks, spec, "test"),
        provenance={**environment, **{key: value for key, value in source.items() if value}},
        notes=(*data.card.notes, *graph.notes),
    )
    return record, file_scores.ranks


def keep(record: RunRecord, ranks: Ranks, runs: Path) -> RunRecord:
    """Put a judged run into its folder and return its record, with the access it stands for."""
    folder = runs / record.run_id
    folder.mkdir(parents=True, exist_ok=True)
    if accesses.scoring(accesses.read(folder)) is None:
        queries = len(ranks.triples) * len(ranks.sides)
        accesses.note(folder, "test", queries, weights=record.provenance["sha256"])
    stored = record.model_copy(
        update={"provenance": record.provenance | test_access_summary(folder)}
    )
    ranks.save(folder / RANKS)
    write_record(folder / RECORD, stored)
    return stored


# --- formats --------------------------------------------------------------------------------


def _table(path: Path, delimiter: str) -> Mapping[str, Sequence[str]]:
    """Return the columns of a text file, "line" among them."""
    text = io.StringIO(decoded(path.read_bytes(), path, DataError), newline="")
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    columns: dict[str, list[str]] = {name: [] for name in (*ROWS, "line")}
    try:
        missing = [name for name in ROWS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}:1: the first line must name the columns {', '.join(ROWS)}; "
                f"{', '.join(missing)} is missing"
            )
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}:{reader.line_num}: not as many values as columns")
            for name in ROWS:
                columns[name].append(row[name])
            columns["line"].append(str(reader.line_num))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a text file of ranks: {error}") from None
    return columns


def _npz(path: Path) -> Mapping[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # numpy and zipfile have a dozen
        raise DataError(f"{path}: cannot be read: {error}") from None


def _npy(path: Path) -> Mapping[str, Any]:
    try:
        return {"scores": np.load(path, mmap_mode="r", allow_pickle=False)}
    except Exception as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {name: _array_of(tensor) for name, tensor in tensors.items()}
    except Exception as error:  # safetensors and torch have several, also for types of 4 bits
        raise DataError(f"{path}: cannot be read: {error}") from None


def _array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor's array; narrow floats, which numpy lacks, exactly as 32 bits."""
    narrow = tensor.is_floating_point() and tensor.element_size() < 4
    array: NDArray[Any] = (tensor.float() if narrow else tensor).numpy()
    return array


def _check_array(path: Path, name: str, values: Any, dimensions: int, *kinds: str) -> None:
    """Refuse an array that would have to be converted before it can be used.

    Args:
        path, name: the file and the array in it.
        values: the array.
        dimensions: those it must have.
        kinds: kinds of NumPy's types that it may have: f (16, 32 and 64 bits), i, u, U.

    Raises:
        DataError: another shape, type, or byte order.
    """
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path}: {name}: is no array in .npy format")
    shape = "[queries, entities]" if dimensions == 2 else "a value per query, [queries]"
    if values.ndim != dimensions:
        raise DataError(f"{path}: {name}: needs {shape}, has shape {values.shape}")
    allowed = {"f": "float16, float32 or float64", "i": "integers", "U": "text"}
    dtype = values.dtype
    if dtype.kind not in kinds or (dtype.kind == "f" and dtype.itemsize > 8):
        expected = ", ".join(text for kind, text in allowed.items() if kind in kinds)
        raise DataError(f"{path}: {name}: holds {dtype}; needs {expected}")
    if not dtype.isnative:
        raise DataError(
            f"{path}: {name}: holds {dtype} in the byte order of another machine; save it again "
            f"with .astype('{dtype.newbyteorder('=')}')"
        )


def _rows(
    path: Path, columns: Mapping[str, Any], graph: KnowledgeGraph, naming: Naming
) -> Iterator[RankRow]:
    """Yield the answered queries of columns."""
    if missing := [name for name in ROWS if name not in columns]:
        raise DataError(f"{path}: ranks need {', '.join(ROWS)}; {', '.join(missing)} is missing")
    if "line" not in columns:  # arrays; a text file has text in all columns
        for name, kinds in KINDS.items():
            _check_array(path, name, columns[name], 1, *kinds)
    sizes = {name: len(columns[name]) for name in ROWS}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{path}: columns of different lengths: {sizes}")
    lines = columns.get("line", [str(row) for row in range(sizes["rank"])])
    sign = ":" if "line" in columns else ": row "
    positions = [f"{path}{sign}{line}" for line in lines]
    ids = [
        _ids(columns[name], names, noun, positions, naming)
        for name, names, noun in (
            ("head", graph.entities, "entity"),
            ("relation", graph.relations, "relation"),
            ("tail", graph.entities, "entity"),
        )
    ]
    for position, head, relation, tail, side, rank in zip(
        positions, *ids, columns["side"], columns["rank"], strict=True
    ):
        if str(side) not in SIDES:
            raise DataError(
                f"{position}: side is head or tail, whichever was predicted; not {side}"
            )
        try:
            value = float(rank)
        except ValueError:
            raise DataError(f"{position}: rank '{rank}' is no number") from None
        answered: Side = "head" if str(side) == "head" else "tail"
        yield RankRow(position, (int(head), int(relation), int(tail)), answered, value)


def _ids(
    column: Any, valid_names: Sequence[str], noun: str, positions: Sequence[str], naming: Naming
) -> NDArray[np.int64]:
    values = np.asarray(column)
    if naming == "name" and values.dtype.kind not in "iu":
        names = [str(value) for value in values]
        known_names = set(valid_names)
        wrong = next((i for i, name in enumerate(names) if name not in known_names), 0)
        return ids_of(names, valid_names, noun, positions[wrong] if names else "")
    for position, value in zip(positions, values, strict=True):
        text = str(value)
        if not (text.isascii() and text.isdigit()) or int(text) >= len(valid_names):
            raise DataError(f"{position}: {noun} {value}: ids run from 0 to {len(valid_names) - 1}")
    return values.astype(np.int64)


def _by_side(
    path: Path, arrays: Mapping[str, Any], triples: int, protocol: Protocol
) -> Mapping[Side, Any]:
    """Return scores by the side that is predicted; one array holds tail queries, then head."""
    if set(arrays) <= set(SIDES):
        return {side: _matrix(path, side, arrays[side]) for side in SIDES if side in arrays}
    if set(arrays) != {"scores"}:
        raise DataError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; scores are arrays 'tail' and "
            f"'head', or one array 'scores'; ranks are {', '.join(ROWS)}"
        )
    scores = _matrix(path, "scores", arrays["scores"])
    order: list[Side] = [side for side in ("tail", "head") if side in protocol.sides]
    if len(scores) != triples * len(order):
        raise DataError(
            f"{path}: {triples} test triples need {triples * len(order)} rows, those of all "
            f"{' queries, then of all '.join(order)} queries; found {len(scores)}"
        )
    return {side: scores[i * triples : (i + 1) * triples] for i, side in enumerate(order)}


def _matrix(path: Path, name: str, values: Any) -> Any:
    _check_array(path, name, values, 2, *"fiu")
    if values.dtype.kind in "iu" and values.size and not _exact(values):
        raise DataError(
            f"{path}: {name}: holds integers beyond 2^53, which no float64 can tell apart"
        )
    return values


def _exact(values: NDArray[Any]) -> bool:
    """Tell whether integers are the same in 64-bit floats, in which they are ranked."""
    return int(values.max()) <= 2**53 and int(values.min()) >= -(2**53)
