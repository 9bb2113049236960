"""Checks of what a model's ``encode`` and ``queries`` and a strategy's ``choose`` return.

Shapes and types alone are checked in every step: reading values would make the host wait for the
device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from harness.errors import ConfigError, suggest
from harness.kernels import Op
from harness.model import Model, Query, Tables, Term
from harness.procedure import Negatives, Strategy

__all__ = ["check_negatives", "check_query", "check_tables", "check_values"]

OPS: tuple[str, ...] = get_args(Op)
INTEGERS = (torch.int64, torch.int32)
"""Types of ids; a tensor of bytes would be read as a mask."""


def check_tables(model: Model, tables: Tables, entities: Tensor | None) -> None:
    """Check that ``encode`` returned tables with a row for each of the entities (None: all).

    Raises:
        ConfigError: it returned no mapping, or a table is no tensor [n, width].
    """
    name = type(model).__name__
    if not isinstance(tables, Mapping):
        raise ConfigError(
            f"{name}: encode returned {_described(tables)}; a mapping of table names to tensors "
            'was expected, such as {"entity": vectors}'
        )
    expected = model.n_entities if entities is None else len(entities)
    for table_name, table in tables.items():
        if not isinstance(table, Tensor) or table.ndim != 2:
            raise ConfigError(
                f"{name}: encode made a table '{table_name}' that is {_described(table)}; a tensor "
                f"of shape ({expected}, width) was expected"
            )
        if len(table) != expected:
            raise ConfigError(
                f"{name}: encode made a table '{table_name}' of {len(table)} "
                f"rows for {expected} entities; a table has a row for each, what belongs to "
                "relations stays in the model"
            )


def check_query(model: Model, query: Query, tables: Tables, n_queries: int) -> None:
    """Check that ``queries`` returned terms that compare query vectors with rows of the tables.

    Args:
        model: model that returned the query.
        query: result of ``queries``.
        tables: result of ``encode``.
        n_queries: number of queries.

    Raises:
        ConfigError: it returned no ``Query``, or a term has an unknown comparison or table, or a
            query of another shape than the table's rows.
    """
    name = type(model).__name__
    if not isinstance(query, Query):
        raise ConfigError(
            f"{name}: queries returned {_described(query)}; a Query was expected, such as "
            'Query((Term("dot", vectors, "entity"),))'
        )
    terms: Any = query.terms
    if isinstance(terms, Term) or not isinstance(terms, Sequence) or not terms:
        raise ConfigError(
            f"{name}: the terms of queries() are {_described(terms)}; a tuple of Term was expected"
        )
    for term in terms:
        _check_term(name, term, tables, n_queries)


def _check_term(model: str, term: Any, tables: Tables, n_queries: int) -> None:
    if not isinstance(term, Term):
        raise ConfigError(f"{model}: a term of queries() is {_described(term)}, no Term")
    for noun, name, choices in (("op", term.op, OPS), ("table", term.table, tables)):
        if name not in choices:
            raise ConfigError(
                f"{model}: a term of queries() has the unknown {noun} {name!r}"
                f"{suggest(str(name), choices)}"
            )
    if term.fusion is not None:  # the table holds several vectors of the query's width
        return
    expected = (n_queries, tables[term.table].shape[1])
    if not isinstance(term.query, Tensor) or term.query.shape != expected:
        raise ConfigError(
            f"{model}: the term of queries() for table '{term.table}' has a query that is "
            f"{_described(term.query)}; the shape (queries, width of the table) = {expected} was "
            "expected"
        )


def check_negatives(strategy: Strategy, negatives: Negatives, n_positives: int) -> None:
    """Check types and shapes of the negatives that ``choose`` returned.

    Raises:
        ConfigError: it returned no ``Negatives``, another number of negatives than the setting
            ``negatives.count``, or a tensor of another type than ids have.
    """
    name, count = type(strategy).__name__, strategy.context.count
    if not isinstance(negatives, Negatives):
        raise ConfigError(
            f"{name}: choose returned {_described(negatives)}; Negatives were expected"
        )
    by_candidate = (n_positives, count)
    for tensor_name, tensor in _tensors(negatives).items():
        shape = (n_positives,) if tensor_name == "tails" else by_candidate
        is_valid = isinstance(tensor, Tensor) and tensor.dtype in INTEGERS
        if not is_valid or tensor.shape != shape:
            raise ConfigError(
                f"{name}: choose returned {tensor_name} that are {_described(tensor)}; int64 of "
                f"shape {shape} was expected: {n_positives} positives, negatives.count={count}"
            )


def check_values(strategy: Strategy, negatives: Negatives) -> None:
    """Check the values of negatives that passed ``check_negatives``; waits for the device.

    Raises:
        ConfigError: an id is no entity, or more negatives than there are replace the tail.
    """
    n_entities, count = strategy.context.index.n_entities, strategy.context.count
    for tensor_name, tensor in _tensors(negatives).items():
        maximum = count if tensor_name == "tails" else n_entities - 1
        low, high = (int(bound) for bound in tensor.aminmax())
        if low < 0 or high > maximum:
            raise ConfigError(
                f"{type(strategy).__name__}: choose returned {tensor_name} from {low} to {high}; "
                f"values from 0 to {maximum} were expected"
            )


def _tensors(negatives: Negatives) -> dict[str, Any]:
    """Return the tensors of negatives by the names that messages have for them."""
    substitutes = {f"substitutes['{t}']": ids for t, ids in negatives.substitutes.items()}
    return {"candidates": negatives.candidates, "tails": negatives.tails, **substitutes}


def _described(value: object) -> str:
    """Return the type of a value in words; of a tensor, its dtype and shape too."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"a tensor of {dtype} of shape {tuple(value.shape)}"
    return "None" if value is None else f"of type {type(value).__name__}"
