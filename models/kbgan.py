"""KBGAN negative sampling by a generator that is rewarded for plausible negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.config.search import between, one_of
from harness.errors import ConfigError
from harness.index import Pairs
from harness.model import MODELS, Model
from harness.procedure import (
    Learner,
    Negatives,
    SamplerContext,
    Strategy,
    StrategyConfig,
    register_strategy,
)


class KBGANConfig(StrategyConfig):
    """Options of KBGAN."""

    variant: Literal["paper", "released"] = "paper"
    """paper: rewards are divided by their standard deviation over the batch; the generator starts
    with its model's initial values. released: rewards are the raw scores; the generator starts with
    normal values of standard deviation (0.04 / dim)^(1/6); the positive is in its pool during
    pre-training; its optimiser and the baseline are reset afterwards."""
    generator: str = "distmult"
    """Registered model without features as generator; its score is the logit of a negative."""
    dim: Annotated[int, Field(ge=1)] = 50
    """Width of the generator (the repository's value; complex components for complex)."""
    pool: Annotated[int, Field(ge=2), one_of(10, 20, 50)] = 20
    """Number of uniform corruptions of one side to draw from, with replacement, so that an entity
    may be drawn several times."""
    lr: Annotated[float, Field(gt=0), between(1e-4, 1e-2, log=True)] = 1e-3
    """Learning rate of the generator's Adam."""
    pretrain: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the epochs with uniform negatives, in which the generator learns to distinguish the
    positive from its pool (the repository: 1000 epochs of each model, then 5000 of both)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the generator's scores."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the generator's Adam. The repository has lam / 100 for its 100 batches in an
    epoch: 1e-2 on FB15k-237, 1e-3 on WN18 and WN18RR."""


@register_strategy("kbgan")
class KBGAN(Strategy):
    """Draws negatives from softmax(G / temperature) over a pool of uniform corruptions.

    Cai and Wang, KBGAN: Adversarial Learning for Knowledge Graph Embeddings (NAACL 2018). The
    generator G is trained by REINFORCE: with the model's score of a pick as reward R and the mean
    reward of the previous epoch as baseline b, it minimises

        - sum over picks of (R - b) log p(pick).

    The paper uses TransE or TransD, a margin loss and one negative; here the model, the loss and
    the number of negatives are settings of the run. Rewards are divided by their standard deviation
    over the batch, so that the scale of the model's score (0 to -90 with a distance) does not
    affect the learning rate; the repository does not do so (``variant: released``). Its selection
    of each model's best pre-training epoch by validation is omitted. Its rewards have no margin:
    with a margin in the score, the first epoch differs, whose baseline is 0.
    """

    Config = KBGANConfig
    one_side = True

    def __init__(self, config: KBGANConfig, context: SamplerContext) -> None:
        super().__init__(config, context)
        self.released = config.variant == "released"
        model_class = MODELS.get(config.generator)
        reads = model_class.capabilities.reads_features or not model_class.capabilities.trainable
        if reads or "dim" not in model_class.Config.model_fields:
            raise ConfigError(
                f"negatives.strategy.generator: '{config.generator}' is no model of structure "
                "alone with a dim; distmult and complex are"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed(0))
            options = model_class.Config.model_validate(
                {"dim": config.dim, **self._initial(model_class)}
            )
            self.generator: Model = model_class(options, context.index, {}).to(context.device)
        self.learner = self._learner()
        self.pretrained = round(config.pretrain * context.epochs)
        self.pretraining = True
        self.rewards = torch.zeros(2, device=context.device)  # sum and number, this epoch
        self.baseline = torch.zeros((), device=context.device)
        self._log_p: Tensor | None = None

    def _initial(self, generator: type[Model]) -> dict[str, float]:
        """Return the generator's option for the initial values of the variant."""
        if not self.released:
            return {}
        if "scale" not in generator.Config.model_fields:
            raise ConfigError(
                f"negatives.strategy.generator: '{self.config.generator}' has no option scale for "
                "the initial values of variant=released; use distmult, complex or variant=paper"
            )
        return {"scale": (0.04 / self.config.dim) ** (1 / 6)}

    def _learner(self) -> Learner:
        return Learner(self.generator, self.config.lr, self.config.weight_decay)

    @property
    def drawn(self) -> int:
        pool: int = self.config.pool
        return max(pool, self.context.count)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self.pretraining = epoch < self.pretrained
        self.baseline = self.rewards[0] / self.rewards[1].clamp(min=1)
        self.rewards = torch.zeros_like(self.rewards)
        if self.released and epoch == self.pretrained:
            self.baseline = torch.zeros_like(self.baseline)
            self.learner = self._learner()

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        true, logits = self._logits(batch, negatives)
        count, tail = self.context.count, negatives.tails > 0
        if self.pretraining:
            # Cross-entropy of the positive against its pool.
            pool_logits = logits[:, :-1] if self.released else logits
            classes = torch.cat([true[:, None], pool_logits], 1)
            self.learner.step((classes.logsumexp(1) - true).sum())
            return Negatives(negatives.candidates[:, :count], tail * count)
        log_p = logits.log_softmax(1)
        chances = log_p.detach().exp()
        picks = torch.multinomial(chances, count, replacement=True, generator=self.draws)
        self._log_p = log_p.gather(1, picks)
        return Negatives(negatives.candidates.gather(1, picks), tail * count)

    def learn(self, batch: Tensor, negatives: Negatives, scores: Tensor) -> None:
        self.rewards = self.rewards + torch.stack(
            [scores.sum(), scores.new_full((), scores.numel())]
        )
        if self._log_p is None:
            return
        advantage = scores - self.baseline
        if not self.released:
            advantage = advantage / scores.std(correction=0).clamp(min=1e-6)
        self.learner.step(-(advantage * self._log_p).sum())
        self._log_p = None

    def _logits(self, batch: Tensor, negatives: Negatives) -> tuple[Tensor, Tensor]:
        """Return the generator's logits of the positives [B] and of their pools [B, pool]."""
        head, relation, tail = batch.unbind(1)
        replaces_tail = negatives.tails > 0
        tables = self.generator.encode()
        pool = self.config.pool
        scores = []
        for side, anchor, answer in (("tail", head, tail), ("head", tail, head)):
            query = self.generator.queries(tables, anchor, relation, side)  # type: ignore[arg-type]
            rows = torch.cat([answer[:, None], negatives.candidates[:, :pool]], 1)
            side_scores = self.generator.score_pairs(tables, query, Pairs.from_matrix(rows))
            scores.append(side_scores.view(len(batch), pool + 1))
        logits = torch.where(replaces_tail[:, None], *scores) / self.config.temperature
        return logits[:, 0], logits[:, 1:]

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "rewards": self.rewards}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            self.learner.load_state_dict(state["learner"])
            self.rewards = state["rewards"].to(self.rewards.device)
