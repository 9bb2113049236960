"""Checks of a model's declarations, and of its construction."""

from __future__ import annotations

import inspect

from harness.contract.comparing import demand
from harness.contract.core import Broken, check, fusing
from harness.contract.subject import Subject
from harness.errors import ConfigError
from harness.model import Capabilities, Model, ModelConfig

__all__ = ["declared", "declared_needs", "described"]


@check()
def declared(subject: Subject) -> None:
    """A Model with Capabilities and a ModelConfig."""
    model = subject.model_class
    demand(
        inspect.isclass(model) and issubclass(model, Model),
        f"what is registered as '{subject.name}' is {model!r}, no subclass of harness.model.Model",
    )
    demand(
        isinstance(getattr(model, "capabilities", None), Capabilities),
        "the class has no `capabilities = Capabilities(title=..., reference=..., formula=...)`",
    )
    demand(
        issubclass(model.Config, ModelConfig),
        f"Config is {model.Config!r}, no subclass of harness.model.ModelConfig",
    )
    counts = not model.capabilities.trainable
    demand(
        model.queries is not Model.queries or counts,
        "a model that is trained defines `queries`; one that only counts says so: "
        "Capabilities(..., trainable=False)",
    )


@check(declared)
def described(subject: Subject) -> None:
    """Title, formula, reference and every option are given."""
    model = subject.model_class
    for key in ("title", "formula", "reference"):
        demand(getattr(model.capabilities, key), f"`{key}` in capabilities is empty")
    demand("__doc__" in vars(model) and model.__doc__, "the class has no docstring")
    for key, option in model.Config.model_fields.items():
        demand(option.description, f"option '{key}' of {model.Config.__name__} has no docstring")


@check(declared, kind=fusing)
def declared_needs(subject: Subject) -> None:
    """Without features, built or refused as declared."""
    capabilities = subject.capabilities
    needs = capabilities.missing(())
    try:
        subject.make({})
    except ConfigError as error:
        demand(needs, f"it is refused though capabilities name no need: {error}")
        return
    except Exception as error:
        raise Broken(
            f"built without features it raises {type(error).__name__}: {error}; say in "
            "capabilities what it requires (`requires`), or `needs_features=True`"
        ) from error
    assert not needs  # build_model refuses it
