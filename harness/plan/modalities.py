"""Normal form of the features that a run sees."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.config.override import Setting
from harness.data.card import DatasetSource, unknown_feature_set
from harness.data.modality_names import MODALITIES
from harness.errors import ConfigError, MissingDataError, suggest
from harness.plan.resolve import SuiteRow
from harness.plan.settings import origin_of
from harness.plan.spec import DataSpec, RunSpec
from harness.procedure import STRATEGIES

__all__ = ["choose_data"]


def choose_data(
    spec: RunSpec, row: SuiteRow, source: DatasetSource, layers: Sequence[Setting]
) -> DataSpec | str:
    """Return the data of a cell, or why the cell cannot be run.

    Where neither the model nor the strategy of negatives reads features the cell gets "none", so
    that its run is shared between feature sets; so does a run that leaves out every modality. A
    model that reads certain modalities gets these. Modalities are listed only when they are not
    all.

    Args:
        spec: what the settings ask for.
        row: the row.
        source: the dataset.
        layers: the settings, for the place of an error.

    Raises:
        ConfigError: the dataset has no such feature set, or the feature set no such modality, or
            what is left out or corrupted is no modality.
        DataError: the feature set must be looked at and is wrong.
    """
    data, capabilities = spec.data, row.model.capabilities_of(spec.model.options)
    features, strategy = data.features, spec.negatives.strategy.name
    if features not in source.feature_sets:
        origin = origin_of(layers, ("data", "features"))
        reason = unknown_feature_set(source.card.name, features, source.feature_sets)
        raise ConfigError(f"{origin}: {reason}")
    strategic = bool(strategy) and STRATEGIES.get(strategy).uses_modalities
    if not (capabilities.reads_features or strategic):
        if row.drop:
            return f"the model reads no features, so '{row.drop[0]}' cannot be left out"
        return DataSpec(dataset=data.dataset)
    if data.corrupt and features == "none":
        return "feature set 'none' holds nothing to corrupt"
    corrupted = any(corruption.modality for corruption in data.corrupt)
    restricted = data.modalities is not None or row.drop or corrupted
    takes_all, required = capabilities.uses_modalities or strategic, capabilities.requires
    if takes_all and not (restricted or required or capabilities.needs_features):
        return data
    try:
        offered = () if features == "none" else source.modalities(features)
    except MissingDataError as error:
        return error.brief
    has = f"feature set '{features}' has {', '.join(offered) or 'no modality'}"
    if features == "none" and (named_sets := [s for s in source.feature_sets if s != "none"]):
        has += f"; data.features can be {', '.join(named_sets)}"
    for name in data.modalities or ():
        if name not in offered:
            origin = origin_of(layers, ("data", "modalities"))
            raise ConfigError(
                f"{origin}: no modality '{name}' on '{source.card.name}': "
                f"{has}{suggest(name, offered)}"
            )
    selected = offered if data.modalities is None else data.modalities
    for name in row.drop:
        _check_name(name, "leave out", row, offered)
        if name not in selected:
            return f"no modality '{name}' to leave out: {has}"
        if not (takes_all or name in required):
            return f"the model does not read '{name}', so it cannot be left out"
    read = [m for m in offered if m in selected and (takes_all or m in required)]
    modalities = tuple(m for m in read if m not in row.drop)
    missing = capabilities.missing(modalities)
    if missing:
        return f"needs {missing}: {has}"
    if not modalities:
        return DataSpec(dataset=data.dataset)
    for corruption in data.corrupt:
        if corruption.modality is not None:
            _check_name(corruption.modality, "corrupt", row, offered)
        if corruption.modality not in (None, *modalities):
            return f"no modality '{corruption.modality}' to corrupt: {has}"
    return data.model_copy(update={"modalities": None if modalities == offered else modalities})


def _check_name(name: str, use: str, row: SuiteRow, offered: Sequence[str]) -> None:
    """Refuse a name that is no modality here, nor one that other datasets may have.

    Raises:
        ConfigError: it is neither; the message offers the nearest.
    """
    modality = re.sub(r"_\d+$", "", name)  # "text_2" is a copy of "text" (``duplicate``)
    if modality not in {*MODALITIES, *offered}:
        raise ConfigError(
            f"row '{row.label}': no modality is called '{name}', to {use}{suggest(name, offered)}"
        )
