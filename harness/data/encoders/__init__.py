"""Encoders: from raw names and numbers to feature matrices.

One file per encoder, registered in ``ENCODERS`` (``harness.data.encoders.base``) by decorator;
every module of this package is loaded when it is imported.
"""

import importlib
import pkgutil

from harness.data.encoders.base import ENCODERS, Encoded, Encoder

__all__ = ["ENCODERS", "Encoded", "Encoder"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
