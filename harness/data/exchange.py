"""Datasets as folders for others: files of triples, a dataset card, one file split into three."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.card import DatasetCard
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.load import source
from harness.data.readers import ENTITY_NAMES
from harness.data.split import split_triples
from harness.data.triple_files import TripleFile, read_triple_file
from harness.errors import ConfigError, MachineError, suggest

__all__ = ["FORMATS", "SplitFolder", "export_dataset", "split_file"]

FORMATS = ("tsv", "huggingface")
"""Formats of ``export_dataset``."""
_HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
REPORT = "split.json"
"""Settings and report of a split, in its folder."""


@dataclass(frozen=True)
class SplitFolder:
    """A folder that ``split_file`` wrote.

    Attributes:
        folder: the folder.
        report: what was read, moved and dropped, one sentence each.
    """

    folder: Path
    report: tuple[str, ...]


def split_file(
    path: Path,
    out: Path,
    *,
    seed: int = 0,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    kind: str = "transductive",
    cold: float = 0.5,
) -> SplitFolder:
    """Split a file of triples into a folder that ``import_dataset`` reads.

    Args:
        path: file in any format of ``harness.data.triple_files``.
        out: new folder: ``train.tsv``, ``valid.tsv``, ``test.tsv``, ``split.json``; numbers of RDF
            files in ``features/numeric.tsv``, labels in ``entity_names.tsv``.
        seed, ratios, kind, cold: see ``harness.data.split.split_triples``.

    Raises:
        ConfigError: an impossible setting, or ``out`` is not empty.
        MissingDataError: the file, or the package that reads it, is missing.
        DataError: the file is malformed, or too small for three splits.
        MachineError: the folder cannot be written.
    """
    _require_empty(out)
    content = read_triple_file(path)
    split = split_triples(content.triples, seed=seed, ratios=ratios, kind=kind, cold=cold)
    files = {f"{name}.tsv": _tsv(rows) for name, rows in split.triples.items()}
    entities = {e for rows in split.triples.values() for h, _, t in rows for e in (h, t)}
    report = [f"{path.name}: {len(content.triples):,} triples", *split.report]
    report += _extras(content, entities, files)
    settings: dict[str, Any] = {"file": path.name, "seed": seed, "ratios": list(ratios)}
    settings |= {"kind": kind, **({"cold": cold} if kind == "cold" else {})}
    files[REPORT] = json.dumps(settings | {"report": report}, indent=2, ensure_ascii=False) + "\n"
    _write(out, files)
    return SplitFolder(out, tuple(report))


def _extras(content: TripleFile, entities: set[str], files: dict[str, str]) -> list[str]:
    """Add the files of literals and names; return sentences on them."""
    report = []
    literals = sorted({item for item in content.literals if item[0] in entities})
    if literals:
        rows = [("entity", "attribute", "value"), *((e, a, repr(v)) for e, a, v in literals)]
        files["features/numeric.tsv"] = _tsv(rows)
        report.append(f"{len(literals):,} numbers of entities are in features/numeric.tsv")
    names = {e: name for e, name in content.names.items() if e in entities and name.strip()}
    if names:
        files[ENTITY_NAMES] = _tsv(sorted(names.items()))
        report.append(f"{len(names):,} entities have a name in {ENTITY_NAMES}")
    if content.left_out:
        report.append(f"{content.left_out:,} statements with texts or blank nodes were left out")
    return report


def export_dataset(name: str, out: Path, *, form: str = "tsv") -> list[Path]:
    """Write the triples of a dataset and its card to a folder.

    Args:
        name: name of the dataset.
        out: new folder.
        form: "tsv": ``train.tsv`` ..., which PyKEEN and this harness read; "huggingface":
            ``data/train-00000-of-00001.parquet`` ... for ``datasets.load_dataset``, ``.jsonl``
            where pyarrow is not installed. Both with ``README.md``, the dataset card.

    Returns:
        The files.

    Raises:
        ConfigError: an unknown name or form, or ``out`` is not empty.
        MissingDataError: the dataset is not on this machine.
        MachineError: the folder cannot be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"--to {form}: unknown format{suggest(form, FORMATS)}")
    _require_empty(out)
    entry = source(name)
    graph = entry.graph()
    rows = {split: _named(graph, split) for split in SPLITS}
    files: dict[str, str | bytes] = {}
    if form == "tsv":
        files |= {f"{split}.tsv": _tsv(triples) for split, triples in rows.items()}
        pattern = {split: f"{split}.tsv" for split in SPLITS}
    else:
        ending, encode = _record_format()
        pattern = {}
        for split, triples in rows.items():
            pattern[split] = f"data/{_HUB_SPLITS[split]}-00000-of-00001{ending}"
            files[pattern[split]] = encode(triples)
    named = [(e, n) for e, n in zip(graph.entities, graph.entity_names, strict=False) if n.strip()]
    if named:
        files[ENTITY_NAMES] = _tsv([(entity, " ".join(text.split())) for entity, text in named])
    files["README.md"] = _dataset_card(entry.card, graph, pattern, form)
    _write(out, files)
    return [out / file for file in files]


def _named(graph: KnowledgeGraph, split: str) -> list[tuple[str, str, str]]:
    return [
        (graph.entities[head], graph.relations[relation], graph.entities[tail])
        for head, relation, tail in graph.splits[split].tolist()
    ]


def _record_format() -> tuple[str, Any]:
    """Return the ending of record files, and the function that encodes triples."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return ".jsonl", _jsonl
    columns = ("head", "relation", "tail")

    def encode(triples: Sequence[tuple[str, str, str]]) -> bytes:
        values = {name: [triple[i] for triple in triples] for i, name in enumerate(columns)}
        schema = pa.schema([(name, pa.string()) for name in columns])
        stream = io.BytesIO()
        pq.write_table(pa.table(values, schema=schema), stream)
        return stream.getvalue()

    return ".parquet", encode


def _jsonl(triples: Sequence[tuple[str, str, str]]) -> str:
    lines = (
        json.dumps(dict(zip(("head", "relation", "tail"), triple, strict=True)), ensure_ascii=False)
        for triple in triples
    )
    return "".join(f"{line}\n" for line in lines)


def _dataset_card(
    card: DatasetCard, graph: KnowledgeGraph, files: dict[str, str], form: str
) -> str:
    """Return a dataset card: the header that Hugging Face reads, sizes, licence, citation."""
    header = [
        "---",
        f"pretty_name: {json.dumps(card.title, ensure_ascii=False)}",
        "tags: [knowledge-graph, link-prediction, multi-modal]",
    ]
    if form == "huggingface":
        header += ["configs:", "- config_name: default", "  data_files:"]
        for split, path in files.items():
            pattern = path.replace("-00000-of-00001", "-*")
            header += [f"  - split: {_HUB_SPLITS[split]}", f"    path: {pattern}"]
    sizes = {"entities": graph.n_entities, "relations": graph.n_relations}
    sizes |= {split: len(graph.splits[split]) for split in SPLITS}
    lines = [
        *header,
        "---",
        "",
        f"# {card.title}",
        "",
        f"{card.description[:1].upper()}{card.description[1:]}.".replace("..", "."),
        "",
        "| | |",
        "| --- | ---: |",
        *(f"| {name} | {count:,} |" for name, count in sizes.items()),
        "",
        f"Digest of identifiers and splits (mmkgc-harness): `{graph.digest}`.",
        "",
        f"* Source: {card.source or 'not recorded'}",
        f"* Licence: {card.licence or 'not recorded'}",
        f"* Citation: {card.citation or 'not recorded'}",
    ]
    if graph.notes:
        lines += ["", "## Remarks on the splits", "", *(f"* {note}" for note in graph.notes)]
    lines += ["", "## Read it", "", "```python", *_snippet(files, form), "```"]
    return "\n".join(lines) + "\n"


def _snippet(files: dict[str, str], form: str) -> list[str]:
    if form == "huggingface":
        return ["import datasets", "", 'splits = datasets.load_dataset("FOLDER_OR_REPOSITORY")']
    return [
        "from pykeen.triples import TriplesFactory",
        "",
        f'train = TriplesFactory.from_path("{files["train"]}")',
        f'test = TriplesFactory.from_path("{files["test"]}", entity_to_id=train.entity_to_id,',
        "                                relation_to_id=train.relation_to_id)",
    ]


def _tsv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(
        stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    writer.writerows(rows)
    return stream.getvalue()


def _require_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is there already and not empty; choose a new folder")


def _write(out: Path, files: dict[str, Any]) -> None:
    try:
        for name, content in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise MachineError(f"{error.filename or out}: {error.strerror or error}") from error
