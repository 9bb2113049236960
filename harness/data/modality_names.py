"""The modalities that features have; those of plug-in datasets may have others."""

from __future__ import annotations

__all__ = ["MODALITIES"]

MODALITIES = ("text", "image", "numeric", "audio", "video")
