"""Numeric literals (population, birth year, height) as standardised columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from harness.data.encoders.base import ENCODERS, Encoded, Encoder
from harness.errors import DataError

__all__ = ["NumericLiterals"]

HEAVY_TAIL = 2.0
"""Skewness above which a non-negative attribute is put on a log scale (an exponential has 2)."""


@ENCODERS.register("numeric")
class NumericLiterals(Encoder[Mapping[str, float]]):
    """Encoder with one column per attribute, mean 0 and variance 1 over the entities that have it.

    A non-negative attribute with skewness above 2 becomes ln(1 + x) first. A missing value is 0,
    the mean; to tell the two apart, an attribute that some entities lack has a second column, 1
    where it is known and 0 elsewhere. Columns are in the order of the attributes' names, all values
    before all indicators.
    """

    name = "numeric"
    modality = "numeric"
    version = 1

    @property
    def fingerprint(self) -> str:
        """Version of the algorithm."""
        return f"numeric-v{self.version} log-above-skewness={HEAVY_TAIL:g}"

    def compute(self, inputs: Sequence[Mapping[str, float]]) -> Encoded:
        """Encode attribute -> value mappings; empty mappings are absent.

        Raises:
            DataError: no attribute at all, or a value that is NaN or infinite.
        """
        attributes = sorted({name for row in inputs for name in row})
        if not attributes:
            raise DataError("numeric literals: no entity has any attribute")
        raw = np.full((len(inputs), len(attributes)), np.nan)
        column = {name: i for i, name in enumerate(attributes)}
        for i, row in enumerate(inputs):
            for name, value in row.items():
                if not np.isfinite(value):
                    raise DataError(f"numeric literals: row {i}: '{name}' is {value}")
                raw[i, column[name]] = value
        is_known = np.isfinite(raw)
        values = np.stack([_standardise(raw[:, j]) for j in range(len(attributes))], axis=1)
        partial = is_known[:, ~is_known.all(0)].astype(np.float64)
        matrix = torch.from_numpy(np.concatenate([values, partial], axis=1)).float()
        return Encoded(matrix, torch.from_numpy(is_known.any(1)), 0.0)


def _standardise(
    column: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Scale a column to mean 0 and variance 1 over its known values; NaN becomes 0."""
    values = column[np.isfinite(column)]
    if values.min() >= 0 and _skewness(values) > HEAVY_TAIL:
        column, values = np.log1p(column), np.log1p(values)
    spread = values.std()
    scaled = (column - values.mean()) / (spread if spread > 0 else 1.0)
    return np.asarray(np.nan_to_num(scaled, nan=0.0))


def _skewness(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    centred = values - values.mean()
    spread = centred.std()
    return float((centred**3).mean() / spread**3) if spread > 0 else 0.0
