"""MANS: negatives that are another entity in its picture alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.config.search import between
from harness.errors import ConfigError
from harness.model import STRUCTURE, Term
from harness.procedure import Negatives, Situation, Strategy, StrategyConfig, register_strategy


class MANSConfig(StrategyConfig):
    """Options of MANS."""

    variant: Literal["paper", "released"] = "paper"
    """paper: each negative is visual or whole by itself. released: the first negatives of a batch
    are visual, in mode hybrid, a fraction ``share``, in mode adaptive as many as satisfy
    the inequality; two_stage switches at half of the epochs and ignores ``share``."""
    mode: Literal["visual", "two_stage", "hybrid", "adaptive"] = "hybrid"
    """visual: every negative has the structure of the positive and the other modalities of another
    entity; two_stage: so in the first epochs, whole entities after; hybrid: so a share of the
    negatives; adaptive: those whose structure and modalities the model does not yet tell apart."""
    share: Annotated[float, Field(ge=0, le=1), between(0.1, 0.9)] = 0.3
    """beta: of the epochs (two_stage) or of the negatives (hybrid); 0.3 in the repository's
    scripts. Ignored by the other modes, and by two_stage with ``variant: released``."""

    @model_validator(mode="after")
    def _without_idle_share(self) -> Self:
        """Take the default of a share that nothing looks at: it does not make another run."""
        if (self.variant, self.mode) == ("released", "two_stage"):
            object.__setattr__(self, "share", type(self).model_fields["share"].default)
        return self


@register_strategy("mans")
class MANS(Strategy):
    """Some negatives replace an entity in all modalities but the structure.

    Zhang et al., Modality-Aware Negative Sampling for Multi-modal Knowledge Graph Embedding (IJCNN
    2023). For a negative with entity c in the place of t the structure stays t's, so that the model
    has to align the modalities of an entity. In mode ``adaptive`` this is done where the model's
    energies f (distances) of the negative itself satisfy

        f(m, s) + f(s, m) < f(s, s) + f(m, m),

    with s the structure and m the other modality of head and tail: per negative, as the paper says.
    The repository counts how many do and makes the first ones of the batch visual instead
    (``variant: released``), where the first negative of every positive comes before any second one.

    Where a model has several such distances (QEB's two translations) either side is their mean;
    vectors that are never compared with the structure (s + m of TBKGC and QEB) do not count.

    A model that compares one vector per entity has nothing to replace apart and gets plain
    negatives: RotatE with this strategy is RotatE. In others t stands in the tables of the
    structure alone (``Model.structure_tables``), so that c's structure stays where a table mixes it
    with features: the sum s + m of TBKGC and QEB, what IMF and MoMoK fuse, and the vectors that
    stand for features which c lacks.

    The repository's model is ``ikrl`` with ``model.variant: mans``; it is trained with Adam and a
    learning rate of 1, whatever the option says.
    """

    Config = MANSConfig

    def __init__(self, config: MANSConfig, situation: Situation) -> None:
        super().__init__(config, situation)
        self.share = 1.0
        self.released = config.variant == "released"

    @property
    def compares(self) -> bool:
        adaptive: bool = self.config.mode == "adaptive"
        return adaptive

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if self.config.mode == "two_stage":
            share = 0.5 if self.released else self.config.share
            self.share = float(epoch < share * self.situation.epochs)
        elif self.config.mode == "hybrid":
            self.share = self.config.share

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        candidates = negatives.candidates
        own = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
        if self.share < 1 and self.released:
            first = _first(candidates, int(self.share * candidates.numel()))
            own = torch.where(first, own, candidates)
        elif self.share < 1:
            drawn = torch.rand(candidates.shape, generator=self.draws, device=candidates.device)
            own = torch.where(drawn < self.share, own, candidates)
        tables = self.situation.model.structure_tables
        return Negatives(candidates, negatives.tails, dict.fromkeys(tables, own))

    def compare(
        self, batch: Tensor, negatives: Negatives, terms: Sequence[tuple[Term, Tensor]]
    ) -> Tensor:
        compared = {term.table for term, _ in terms if term.anchor == STRUCTURE}
        apart = [
            (term.anchor == STRUCTURE, term.table == STRUCTURE, scores)
            for term, scores in terms
            if {term.anchor, term.table} <= compared
        ]
        if not all(term.anchor for term, _ in terms) or len({a[:2] for a in apart}) < 4:
            raise ConfigError(
                f"negatives.strategy.mode=adaptive: {type(self.situation.model).__name__} does not "
                "compare structure and modalities with each other (ikrl does); use hybrid"
            )
        # Scores are minus the energies.
        same = torch.stack([scores for anchor, table, scores in apart if anchor == table])
        mixed = torch.stack([scores for anchor, table, scores in apart if anchor != table])
        visual = mixed.mean(0) > same.mean(0)
        return _first(visual, visual.sum()) if self.released else visual


def _first(negatives: Tensor, count: Tensor | int) -> Tensor:
    """Return a mask of the first ``count`` negatives [B, n], counted column by column."""
    size, columns = negatives.shape
    places = torch.arange(columns * size, device=negatives.device).view(columns, size)
    first: Tensor = count > places.T
    return first
