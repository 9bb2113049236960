"""MoCME, a folder because its parts are swapped: backbones, estimators, fusions."""

from __future__ import annotations

from .model import MoCME

__all__ = ["MoCME"]
