"""Vectors of a trained model, with the names of their rows, and the files they are saved as."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.config.listing import one_or_more
from harness.errors import ConfigError, suggest
from harness.store.files import write_whole

if TYPE_CHECKING:
    from harness.data.graph import KnowledgeGraph
    from harness.model import Model

__all__ = ["FORMATS", "Embeddings", "embeddings_of"]

Vectors = NDArray[np.float32]

INVERSE = "^-1"
"""Ending of the identifier of an inverse relation."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors of a trained model.

    Attributes:
        entities: identifiers of the N entities.
        relations: identifiers of the R relations.
        entity_labels, relation_labels: readable names, or identifiers where there are none.
        entity_tables: name -> [N, d]: the tables that the model encodes entities as, and one per
            modality where it has them, whose rows are zero for entities without the modality.
        relation_tables: name -> [R, d], or [2 R, d] for a model with inverse relations, which are
            the second half: the parameters called "relation", "relation.…" or "…_relation".
        parameters: name -> trained parameter of the model.
        source: run, model and dataset.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    entity_labels: tuple[str, ...]
    relation_labels: tuple[str, ...]
    entity_tables: Mapping[str, Vectors]
    relation_tables: Mapping[str, Vectors]
    parameters: Mapping[str, Vectors] = field(repr=False)
    source: Mapping[str, str]

    @property
    def tables(self) -> dict[str, Vectors]:
        """All tables: "entity.NAME" and "relation.NAME" -> vectors."""
        return {
            f"{kind}.{name}": vectors
            for kind, tables in (("entity", self.entity_tables), ("relation", self.relation_tables))
            for name, vectors in tables.items()
        }

    def select(self, names: Sequence[str] | str) -> Embeddings:
        """Return some of the tables.

        Args:
            names: one or several names as in ``tables``; "entity" and "relation" are all tables of
                a kind.

        Raises:
            ConfigError: there is no such table; the message offers the nearest.
        """
        names = one_or_more(names)
        choices = ("entity", "relation", *self.tables)
        for name in names:
            if name not in choices:
                raise ConfigError(f"no table is called '{name}'{suggest(name, choices)}")
        entity, relation = (
            {n: v for n, v in tables.items() if kind in names or f"{kind}.{n}" in names}
            for kind, tables in (("entity", self.entity_tables), ("relation", self.relation_tables))
        )
        return replace(self, entity_tables=entity, relation_tables=relation)

    def save(self, path: Path | str) -> list[Path]:
        """Write the tables with the names of their rows.

        ``x.safetensors``: tensors "entity.NAME" and "relation.NAME", with metadata "entities",
        "relations", "entity_labels" and "relation_labels" (JSON lists), "run", "model", "dataset".

        ``x.npz``: the same as arrays; names are arrays of text.

        ``x.tsv``: ``x.entity.NAME.vectors.tsv`` and ``x.entity.metadata.tsv`` (label, identifier),
        likewise for relations, as the TensorBoard projector reads them.

        Returns:
            The files.

        Raises:
            ConfigError: the ending is none of these, or there are no vectors.
            MachineError: a file cannot be written.
        """
        path = Path(path)
        write = FORMATS.get(path.suffix)
        if write is None:
            raise ConfigError(f"{path}: embeddings are written as {', '.join(FORMATS)}")
        if not self.tables:
            raise ConfigError(f"{self.source['model']} has no vectors of entities or relations")
        return write(self, path)


def embeddings_of(
    model: Model, graph: KnowledgeGraph, tables: Mapping[str, Tensor], source: Mapping[str, str]
) -> Embeddings:
    """Return the vectors of a model.

    Args:
        model: trained model.
        graph: graph of the run.
        tables: result of ``model.encode``.
        source: run, model and dataset.
    """
    parameters = {name: _array(parameter) for name, parameter in model.named_parameters()}
    modalities = {n: v for n, v in model.modality_tables().items() if n not in tables}
    entity_tables = {name: _array(table) for name, table in {**tables, **modalities}.items()}
    sizes = (graph.n_relations, 2 * graph.n_relations)
    relation_tables = {
        name: vectors
        for name, vectors in parameters.items()
        if _is_relation(name) and vectors.ndim == 2 and len(vectors) in sizes
    }
    return Embeddings(
        tuple(graph.entities),
        tuple(graph.relations),
        tuple(map(graph.entity_label, range(graph.n_entities))),
        tuple(map(graph.relation_label, range(graph.n_relations))),
        entity_tables,
        relation_tables,
        parameters,
        source,
    )


def _is_relation(parameter: str) -> bool:
    first = parameter.partition(".")[0]
    return first == "relation" or first.endswith("_relation")


def _array(tensor: Tensor) -> Vectors:
    array: Vectors = tensor.detach().cpu().float().contiguous().numpy()
    return array


# --- files --------------------------------------------------------------------------------------


def _rows(embeddings: Embeddings, kind: str, count: int) -> tuple[list[str], list[str]]:
    """Return identifiers and labels of the rows of a table; inverse relations are marked."""
    entity = kind == "entity"
    identifiers = embeddings.entities if entity else embeddings.relations
    labels = embeddings.entity_labels if entity else embeddings.relation_labels
    if count == len(identifiers):
        return list(identifiers), list(labels)
    return (
        [*identifiers, *(f"{name}{INVERSE}" for name in identifiers)],
        [*labels, *(f"{name} (inverse)" for name in labels)],
    )


def _names(embeddings: Embeddings) -> dict[str, Sequence[str]]:
    return {
        "entities": embeddings.entities,
        "relations": embeddings.relations,
        "entity_labels": embeddings.entity_labels,
        "relation_labels": embeddings.relation_labels,
    }


def _write_safetensors(embeddings: Embeddings, path: Path) -> list[Path]:
    from safetensors.numpy import save

    names = {name: json.dumps(list(texts)) for name, texts in _names(embeddings).items()}
    write_whole(path, save(embeddings.tables, {**names, **embeddings.source}))
    return [path]


def _write_npz(embeddings: Embeddings, path: Path) -> list[Path]:
    texts = {name: np.array(texts, dtype=str) for name, texts in _names(embeddings).items()}
    source = {name: np.array(text) for name, text in embeddings.source.items()}
    content = BytesIO()
    np.savez(content, **embeddings.tables, **texts, **source)  # type: ignore[arg-type]
    write_whole(path, content.getvalue())
    return [path]


def _write_tsv(embeddings: Embeddings, path: Path) -> list[Path]:
    written = []
    sizes: dict[tuple[str, int], None] = {}  # an ordered set
    for name, vectors in embeddings.tables.items():
        kind = name.partition(".")[0]
        sizes[kind, len(vectors)] = None
        content = BytesIO()
        np.savetxt(content, vectors, fmt="%.7g", delimiter="\t")
        safe_name = re.sub(r"[^\w.-]", "_", name)
        written.append(path.with_name(f"{path.stem}.{safe_name}.vectors.tsv"))
        write_whole(written[-1], content.getvalue())
    for kind, count in sizes:
        identifiers, labels = _rows(embeddings, kind, count)
        inverse = count != len(embeddings.entities if kind == "entity" else embeddings.relations)
        lines = ["label\tidentifier", *map(_metadata, labels, identifiers)]
        ending = "_with_inverse" * inverse
        written.append(path.with_name(f"{path.stem}.{kind}{ending}.metadata.tsv"))
        write_whole(written[-1], ("\n".join(lines) + "\n").encode())
    return written


def _metadata(label: str, identifier: str) -> str:
    """Return a line of metadata; blanks in names must not end a field or a line."""
    return f"{' '.join(label.split())}\t{' '.join(identifier.split())}"


FORMATS: Mapping[str, Callable[[Embeddings, Path], list[Path]]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".tsv": _write_tsv,
}
"""Ending of a file -> its writer."""
