"""MANS negative sampling, which replaces an entity only in modalities other than structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.config.search import between
from harness.errors import ConfigError
from harness.model import STRUCTURE, Term
from harness.procedure import Negatives, SamplerContext, Strategy, StrategyConfig, register_strategy


class MANSConfig(StrategyConfig):
    """Options of MANS."""

    variant: Literal["paper", "released"] = "paper"
    """paper: each negative is independently visual or a whole entity. released: the first negatives
    of a batch are visual: in mode hybrid a fraction ``share``, in mode adaptive as many as satisfy
    the inequality; two_stage switches at half of the epochs and ignores ``share``."""
    mode: Literal["visual", "two_stage", "hybrid", "adaptive"] = "hybrid"
    """visual: every negative has the structure of the positive and the other modalities of another
    entity; two_stage: visual in the first epochs, then whole entities; hybrid: a share of the
    negatives is visual; adaptive: negatives whose structure and modalities are not yet aligned."""
    share: Annotated[float, Field(ge=0, le=1), between(0.1, 0.9)] = 0.3
    """beta, share of the epochs (two_stage) or of the negatives (hybrid); 0.3 in the repository's
    scripts. Ignored by the other modes, and by two_stage with ``variant: released``."""

    @model_validator(mode="after")
    def _without_idle_share(self) -> Self:
        """Reset a share without effect to its default, so that it does not change the run id."""
        if (self.variant, self.mode) == ("released", "two_stage"):
            object.__setattr__(self, "share", type(self).model_fields["share"].default)
        return self


@register_strategy("mans")
class MANS(Strategy):
    """Negatives that replace an entity in all modalities except the structure.

    Zhang et al., Modality-Aware Negative Sampling for Multi-modal Knowledge Graph Embedding (IJCNN
    2023). A negative with entity c in place of t keeps t's structure, so that the model must align
    the modalities of an entity. Mode ``adaptive`` does this where the model's energies f
    (distances) of the negative satisfy

        f(m, s) + f(s, m) < f(s, s) + f(m, m),

    with s the structure and m the other modality of head and tail: per negative, as in the paper.
    The repository counts these negatives and makes the same number of first ones visual instead
    (``variant: released``), with the first negative of every positive before any second one.

    With several such distances (QEB's two translations), each side is their mean; vectors that are
    never compared with the structure (s + m of TBKGC and QEB) are ignored.

    A model with one vector per entity has no separate structure and gets plain negatives: RotatE
    with this strategy is RotatE. In other models t replaces c in the tables of structure only
    (``Model.structure_tables``), so that c's structure remains in tables that mix it with features:
    the sum s + m of TBKGC and QEB, the fusion of IMF and MoMoK, and the vectors that replace absent
    features.

    The repository's model is ``ikrl`` with ``model.variant: mans``, trained with Adam and a fixed
    learning rate of 1.
    """

    Config = MANSConfig

    def __init__(self, config: MANSConfig, context: SamplerContext) -> None:
        super().__init__(config, context)
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
            self.share = float(epoch < share * self.context.epochs)
        elif self.config.mode == "hybrid":
            self.share = self.config.share

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        candidates = negatives.candidates
        structure = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
        if self.share < 1 and self.released:
            first = _first(candidates, int(self.share * candidates.numel()))
            structure = torch.where(first, structure, candidates)
        elif self.share < 1:
            drawn = torch.rand(candidates.shape, generator=self.draws, device=candidates.device)
            structure = torch.where(drawn < self.share, structure, candidates)
        tables = self.context.model.structure_tables
        return Negatives(candidates, negatives.tails, dict.fromkeys(tables, structure))

    def compare(
        self, batch: Tensor, negatives: Negatives, terms: Sequence[tuple[Term, Tensor]]
    ) -> Tensor:
        compared = {term.table for term, _ in terms if term.anchor == STRUCTURE}
        separate = [
            (term.anchor == STRUCTURE, term.table == STRUCTURE, scores)
            for term, scores in terms
            if {term.anchor, term.table} <= compared
        ]
        if not all(term.anchor for term, _ in terms) or len({a[:2] for a in separate}) < 4:
            raise ConfigError(
                f"negatives.strategy.mode=adaptive: {type(self.context.model).__name__} does not "
                "compare structure and modalities with each other (ikrl does); use hybrid"
            )
        # Scores are negative energies, so the inequality turns round.
        unmixed = torch.stack([scores for anchor, table, scores in separate if anchor == table])
        mixed = torch.stack([scores for anchor, table, scores in separate if anchor != table])
        visual = mixed.mean(0) > unmixed.mean(0)
        return _first(visual, visual.sum()) if self.released else visual


def _first(negatives: Tensor, count: Tensor | int) -> Tensor:
    """Return the mask bool [B, n] of the first ``count`` negatives, column by column."""
    size, columns = negatives.shape
    positions = torch.arange(columns * size, device=negatives.device).view(columns, size)
    first: Tensor = count > positions.T
    return first
