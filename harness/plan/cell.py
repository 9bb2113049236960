"""A cell of a suite's table: a row on a dataset with a seed, and its run or the reason for none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from harness.config.base import Config, SuiteName, check_suite_name
from harness.config.storable import Int32, Int64, Label, Name, Text
from harness.plan.spec import RunSpec

__all__ = ["RUN_ID", "Cell", "RunId", "VariantName"]

RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
RunId = Annotated[str, Field(pattern=RUN_ID, max_length=64)]
"""Identity of a run. It names a folder, so it must not hold a path."""


def _variant(text: str) -> str:
    return check_suite_name(text) if text else text


VariantName = Annotated[str, AfterValidator(_variant)]
"""Digest of ``--set`` overrides ("" for the suite as it is in its file)."""


class Cell(Config):
    """A cell of a suite's table.

    A planned cell has a specification (``Cell.of``), also where a reason stands in place of a run.
    A stored cell has none: it has the id of the run, or the reason.
    """

    suite: SuiteName
    """Name of the suite."""
    variant: VariantName = ""
    position: Int32
    """Orders the rows of a table, dataset by dataset; the seeds of a row share one."""
    label: Label
    """Row label; no two rows of a suite share one."""
    dataset: Name
    features: Name = "none"
    seed: Int64
    run_id: RunId | Literal[""]
    """The run need not exist yet; "" when none is planned, or its id is not known yet."""
    reason: Text = ""
    """Why no run is planned: "needs image: ...", "... was not on the machine"; "" with a run."""
    _spec: RunSpec | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _run_or_reason(self) -> Cell:
        if bool(self.run_id) == bool(self.reason):
            raise ValueError(f"cell '{self.label}' needs either a run or the reason for none")
        return self

    @classmethod
    def of(
        cls,
        spec: RunSpec,
        label: str,
        position: int = 0,
        *,
        suite: str = "suite",
        variant: str = "",
        reason: str = "",
    ) -> Cell:
        """Return a planned cell; its id is not known yet. Nothing is checked a second time."""
        cell = cls.model_construct(
            suite=suite,
            variant=variant,
            position=position,
            label=label,
            dataset=spec.data.dataset,
            features=spec.data.features,
            seed=spec.seed,
            run_id="",
            reason=reason,
        )
        cell._spec = spec
        return cell

    @property
    def spec(self) -> RunSpec:
        """Specification of a planned cell."""
        assert self._spec is not None, f"cell '{self.label}' was stored, not planned"
        return self._spec

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Row label, dataset, feature set and seed: what tells the cells of a suite apart."""
        return self.label, self.dataset, self.features, self.seed

    @property
    def place(self) -> tuple[str, str, str, str, str, int]:
        """Key of the cell within all suites; ``position`` only orders cells."""
        return self.suite, self.variant, *self.key

    @property
    def order(self) -> tuple[str, str, int, str, str, int]:
        """Key that sorts cells as they stand in a table."""
        return self.suite, self.variant, self.position, self.dataset, self.features, self.seed

    @property
    def coordinates(self) -> dict[str, object]:
        """Values that ``--only`` selects a planned cell by."""
        cell = {"model": self.spec.model.name, "dataset": self.dataset, "label": self.label}
        return {**cell, "features": self.features, "seed": self.seed}

    def stored(self, run_id: str, reason: str = "") -> Cell:
        """Return the cell as stores keep it, with the run, else the reason."""
        values = self.model_dump(exclude={"run_id", "reason"})
        return Cell(**values, run_id=run_id, reason="" if run_id else " ".join(reason.split()))
