"""The generated dataset ``synthetic`` and its variants.

A variant is written after a colon: settings of ``SyntheticConfig`` (numbers only), ``signal`` or a
published dataset to imitate in size and modality coverage, or both, separated by commas::

    synthetic                       a few hundred entities, learnable in seconds
    synthetic:entities=2000,train=40000,seed=3
    synthetic:signal                numbers that predict most relations, images that are noise
    synthetic:mkg-w                 as many entities, relations, triples and features as MKG-W
    synthetic:mkg-w,seed=1
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from harness.config.base import problems, show_path
from harness.data.card import DATASETS, DatasetCard, DatasetSource
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.data.synthetic import PlantedModality, SyntheticConfig, generate, imitate
from harness.errors import ConfigError, suggest

__all__ = ["SyntheticSource"]

SIGNAL = SyntheticConfig(
    name="synthetic:signal",
    modalities=(
        PlantedModality(name="numeric", dim=16, relations=6, noise=0.1),
        PlantedModality(name="image", dim=16, relations=0),
    ),
)
"""Configuration with known importance of the modalities; two of the eight relations are structural
only."""


class SyntheticSource(DatasetSource):
    """Source of a generated dataset.

    Args:
        config: configuration of the generator.
    """

    def __init__(self, config: SyntheticConfig) -> None:
        self.config = config
        self.card = _card(config)

    def graph(self) -> KnowledgeGraph:
        """Generate the graph."""
        return generate(self.config)[0]

    @property
    def feature_sets(self) -> Mapping[str, str]:
        """ "none" and "all"."""
        names = ", ".join(m.name for m in self.config.modalities)
        return {"none": "structure only", "all": f"generated: {names}"}

    def modalities(self, features: str) -> tuple[str, ...]:
        """Return the modalities of a set without generating it; see :class:`DatasetSource`."""
        self.check_feature_set(features)
        return tuple(m.name for m in self.config.modalities) if features == "all" else ()

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        """Generate the features.

        Raises:
            ConfigError: there is no such set.
        """
        self.check_feature_set(name)
        return generate(self.config)[1] if name == "all" else FeatureSet()

    def variant(self, text: str) -> SyntheticSource:
        """Return the source that ``synthetic:<text>`` names.

        Raises:
            ConfigError: an unknown setting or dataset, one that is given twice, or a value out of
                range.
        """
        base: SyntheticConfig | None = None
        settings: dict[str, str] = {}
        for item in text.split(","):
            key, equals, value = (piece.strip() for piece in item.partition("="))
            if key in settings:
                raise ConfigError(f"dataset 'synthetic:{text}': '{key}' is given twice")
            if equals:
                settings[_setting(key)] = value
            elif base is None:
                base = _imitation(key)
            else:
                raise ConfigError(f"dataset 'synthetic:{text}': imitates one dataset at most")
        name = f"synthetic:{','.join(p.strip() for p in text.split(','))}"
        try:
            values = (base or SyntheticConfig()).model_dump() | settings | {"name": name}
            return SyntheticSource(SyntheticConfig.model_validate(values))
        except ValidationError as error:
            first = problems(error, SyntheticConfig)[0]
            key = f"{show_path(first.path)}: " if first.path else ""
            raise ConfigError(f"dataset '{name}': {key}{first.message}") from error


def _setting(key: str) -> str:
    settings = [k for k in SyntheticConfig.model_fields if k not in ("name", "modalities")]
    if key not in settings:
        raise ConfigError(f"dataset 'synthetic': no setting '{key}'{suggest(key, settings)}")
    return key


def _imitation(name: str) -> SyntheticConfig:
    """Return the configuration with the statistics of a published dataset, or ``SIGNAL``."""
    if name == "signal":
        return SIGNAL
    cards = {dataset: DATASETS.get(dataset).card for dataset in DATASETS}
    choices = {dataset: card for dataset, card in cards.items() if card.modality_counts}
    if name not in choices:
        raise ConfigError(
            f"dataset 'synthetic:{name}': no published dataset '{name}' to imitate"
            f"{suggest(name, ['signal', *choices])}"
        )
    return imitate(f"synthetic:{name}", choices[name].counts, choices[name].modality_counts)


def _card(config: SyntheticConfig) -> DatasetCard:
    return DatasetCard(
        name=config.name,
        title=config.name.replace("synthetic", "Synthetic", 1),
        folder="synthetic",
        description=(
            "Generated: each relation is a rotation of hidden angles that one modality shows, or "
            "none does"
        ),
        licence="generated; no rights reserved",
        citation="",
        source=f"harness.data.synthetic, {config.model_dump_json(exclude={'name'})}",
    )


DATASETS.register("synthetic")(SyntheticSource(SyntheticConfig()))
