"""KBGAN: a second model picks the negatives, and is rewarded for those that look true."""

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
    Situation,
    Strategy,
    StrategyConfig,
    register_strategy,
)


class KBGANConfig(StrategyConfig):
    """Options of KBGAN."""

    variant: Literal["paper", "released"] = "paper"
    """paper: rewards are divided by their standard deviation over the batch; the generator starts
    with the values of its model. released: rewards are the scores as they are; the generator starts
    with normal values of standard deviation (0.04 / dim)^(1/6); the positive is one of its pool
    while it learns alone; its optimiser and the baseline start anew when the models meet."""
    generator: str = "distmult"
    """Registered model that picks; it reads no features. Its score is a logit."""
    dim: Annotated[int, Field(ge=1)] = 50
    """Width of the generator (the repository's; complex components for complex)."""
    pool: Annotated[int, Field(ge=2), one_of(10, 20, 50)] = 20
    """Uniform corruptions of one side to pick from; each pick is drawn by itself, so that an entity
    may be picked more than once."""
    lr: Annotated[float, Field(gt=0), between(1e-4, 1e-2, log=True)] = 1e-3
    """Learning rate of the generator's Adam."""
    pretrain: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the epochs in which negatives are uniform and the generator learns to tell the
    positive from its pool (the repository: 1000 epochs of either model, then 5000 together)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the generator's scores."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of the generator's Adam, alone and with the model. The repository has lam / 100 for its 100
    batches in an epoch: 1e-2 on FB15k-237, 1e-3 on WN18 and WN18RR."""


@register_strategy("kbgan")
class KBGAN(Strategy):
    """Negatives are drawn from softmax(G / temperature) over a pool of uniform corruptions.

    Cai and Wang, KBGAN: Adversarial Learning for Knowledge Graph Embeddings (NAACL 2018). The
    generator G follows REINFORCE: with the model's score of a pick as its reward R and the mean
    reward of the epoch before as baseline b, it lowers

        - sum over picks of (R - b) log p(pick).

    The paper takes a TransE or TransD as model, a margin loss and one negative; here the model, the
    loss and the number of negatives are those of the run. Rewards are divided by their standard
    deviation over the batch, which keeps the scale of the model's score (0 to -90 with a distance)
    out of the learning rate; the repository does not (``variant: released``). Nor is its choice of
    the best epoch of either model alone by validation made here. Its rewards have no margin: in a
    model with one that matters in the first epoch, whose baseline is 0.
    """

    Config = KBGANConfig
    one_side = True

    def __init__(self, config: KBGANConfig, situation: Situation) -> None:
        super().__init__(config, situation)
        self.released = config.variant == "released"
        made = MODELS.get(config.generator)
        reads = made.capabilities.reads_features or not made.capabilities.trainable
        if reads or "dim" not in made.Config.model_fields:
            raise ConfigError(
                f"negatives.strategy.generator: '{config.generator}' is no model of structure "
                "alone with a dim; distmult and complex are"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(situation.seed(0))
            options = made.Config.model_validate({"dim": config.dim, **self._initial(made)})
            self.generator: Model = made(options, situation.index, {}).to(situation.device)
        self.learner = self._learner()
        self.pretrained = round(config.pretrain * situation.epochs)
        self.pretraining = True
        self.rewards = torch.zeros(2, device=situation.device)  # sum and number, this epoch
        self.baseline = torch.zeros((), device=situation.device)
        self._log_p: Tensor | None = None

    def _initial(self, generator: type[Model]) -> dict[str, float]:
        """Return the option of the generator's initial values that the variant has."""
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
        return max(pool, self.situation.count)

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
        count, tail = self.situation.count, negatives.tails > 0
        if self.pretraining:
            # The positive among its pool, as a class.
            others = logits[:, :-1] if self.released else logits
            both = torch.cat([true[:, None], others], 1)
            self.learner.step((both.logsumexp(1) - true).sum())
            return Negatives(negatives.candidates[:, :count], tail * count)
        log_p = logits.log_softmax(1)
        chances = log_p.detach().exp()
        picks = torch.multinomial(chances, count, replacement=True, generator=self.draws)
        self._log_p = log_p.gather(1, picks)
        return Negatives(negatives.candidates.gather(1, picks), tail * count)

    def learn(self, batch: Tensor, negatives: Negatives, scores: Tensor) -> None:
        self.rewards = self.rewards + torch.stack(
            [scores.sum(), scores.new_tensor(float(scores.numel()))]
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
            found = self.generator.score_pairs(tables, query, Pairs.from_matrix(rows))
            scores.append(found.view(len(batch), pool + 1))
        chosen = torch.where(replaces_tail[:, None], *scores) / self.config.temperature
        return chosen[:, 0], chosen[:, 1:]

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "rewards": self.rewards}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            self.learner.load_state_dict(state["learner"])
            self.rewards = state["rewards"].to(self.rewards.device)
