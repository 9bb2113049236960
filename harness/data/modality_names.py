"""The modalities that features can have."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["MODALITIES", "ModalityName"]

ModalityName = Literal["text", "image", "numeric", "audio", "video"]
MODALITIES: tuple[ModalityName, ...] = get_args(ModalityName)
