"""Settings that a model cannot be trained with, refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.model import Model
from harness.plan.spec import ObjectiveSpec, RunSpec

__all__ = ["Impossible", "impossible", "is_reciprocal", "usual_loss"]


class Impossible(NamedTuple):
    """A setting that a model, or another setting, rules out.

    Attributes:
        key: of the setting.
        reason: what is wrong with its value, and what to use instead.
    """

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


def is_reciprocal(model: type[Model], options: Mapping[str, Any]) -> bool:
    """Tell whether a model with these options asks for heads by reverse relations.

    Where a model has an option of that name, the option decides.
    """
    return bool(options.get("reciprocal", model.reciprocal))


def usual_loss(model: type[Model], options: Mapping[str, Any]) -> str:
    """Return the loss of a run that says nothing of it: the default, or one that is possible."""
    return "one_vs_all" if is_reciprocal(model, options) else ObjectiveSpec().loss


def impossible(spec: RunSpec, model: type[Model], *, reciprocal: bool) -> Impossible | None:
    """Return why a model cannot be trained as a run says, None where it can.

    Args:
        spec: the run.
        model: its model.
        reciprocal: whether the model, with its options, asks for heads by reverse relations.
    """
    if not model.capabilities.trainable:
        return None
    loss, kind = spec.objective.loss, spec.adversary.kind
    if reciprocal and not spec.objective.against_all:
        return Impossible(
            "objective.loss",
            f"{loss} asks each triple for its tail alone, so the reverse relations by which "
            f"{model.__name__} asks for heads would see no positive: use one_vs_all or k_vs_all",
        )
    if kind != "none" and model.modality_embeddings is Model.modality_embeddings:
        return Impossible(
            "adversary.kind",
            f"{kind}: {model.__name__} has no vectors of modalities to fabricate; use none",
        )
    if kind != "none" and loss == "k_vs_all":
        return Impossible(
            "adversary.kind", f"{kind} takes triples, which objective.loss=k_vs_all lacks; use none"
        )
    return None
