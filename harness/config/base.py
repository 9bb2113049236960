"""The shared base of all configuration models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Config"]


class Config(BaseModel):
    """A frozen value object; unknown keys are refused, docstrings become descriptions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
