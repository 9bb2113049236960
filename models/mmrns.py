"""MMRNS: negatives that resemble the positive in its modalities, by an attention that learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear, normalize

from harness.config.search import between
from harness.errors import ConfigError
from harness.index import Side
from harness.kernels import gated_cosines
from harness.model import STRUCTURE, Model
from harness.procedure import (
    Learner,
    Negatives,
    Situation,
    Strategy,
    StrategyConfig,
    register_strategy,
)

from ._init import normal_table
from ._modal import FeatureTable, offered

TINY = 1e-12
GATES_AT_ONCE = 2**24
"""Gates of candidates (64 MiB), of as many relations, that are made together: few calls, and few
waits for threads."""


class MMRNSConfig(StrategyConfig):
    """Options of MMRNS; the defaults are the repository's example (TransE on DB15K)."""

    dim: Annotated[int, Field(ge=1)] = 50
    """a: width of what is compared."""
    hidden: Annotated[int, Field(ge=1)] = 100
    """Width of the hidden layer over structure and relation."""
    pool: Annotated[int, Field(ge=2)] = 1500
    """Random entities per batch, shared by its positives, that negatives are taken from."""
    temperature: Annotated[float, Field(gt=0), between(1.0, 30.0, log=True)] = 10.0
    """tau of the first step; at step s it is this over 1 + ln(s + 1)."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of the attention's Adam (README; its code's default is 1e-3)."""
    weight: Annotated[float, Field(ge=0), between(1e-3, 1e-1, log=True)] = 0.01
    """Of the contrastive losses."""
    adversarial: Annotated[float, Field(ge=0)] = 0.5
    """Temperature of the model's scores in the weights of the contrastive losses."""


class Attention(nn.Module):
    """What entities are to a relation in every modality.

    Each modality is one vector here, where the paper has 24 patches of an image and four sentences.
    Its cross-modal attention is then over one vector, and its relation gate a positive factor that
    the layer normalisation takes away again: they have nothing to decide and are left out. The
    structure depends on the relation as in the paper, e * sigmoid(W3 lrelu(W1 [e; r])).
    """

    def __init__(self, config: MMRNSConfig, situation: Situation, structure: int) -> None:
        super().__init__()
        found = offered(situation.modalities)
        self.tables = nn.ModuleList(FeatureTable(m, unit=False) for m in found)
        self.first = nn.ModuleList(nn.Linear(m.matrix.shape[1], config.dim) for m in found)
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in found)
        self.last = nn.ModuleList(nn.Linear(config.dim, config.dim) for _ in found)
        self.relation = normal_table(situation.index.n_relations, config.dim, 1.0)
        self.of_entity = nn.Linear(structure, config.hidden)
        self.of_relation = nn.Linear(config.dim, config.hidden, bias=False)
        self.gate = nn.Linear(config.hidden, structure)

    def modalities(self, entities: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per modality vectors [n, dim] of norm 1 and who has it, [n]."""
        found = []
        for table, first, norm, last in zip(
            self.tables, self.first, self.norms, self.last, strict=True
        ):
            assert isinstance(table, FeatureTable)
            values = norm(leaky_relu(table.mapped(first, entities), 0.1))
            found.append((normalize(last(values), dim=1), table.has(entities)[:, 0]))
        return found

    def seen_by(self, relations: Tensor) -> Tensor:
        """Return what relations (ids, [r]) add to ``of_entity`` of vectors, [r, hidden]."""
        added: Tensor = self.of_relation(self.relation[relations])
        return added

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of gates, without the bias of ``gate``.

        Args:
            hidden: ``of_entity + seen_by``, [..., hidden]; overwritten.
        """
        return linear(leaky_relu(hidden, 0.1, inplace=True), self.gate.weight)


@register_strategy("mmrns")
class MMRNS(Strategy):
    """Negatives are drawn without replacement from a pool, the likelier the more they resemble.

    Xu et al., Relation-enhanced Negative Sampling for Multimodal Knowledge Graph Completion (ACM
    MM 2022). With c_x the cosine of a candidate and the true answer in modality x (structure among
    them), the weights are the sum over x of softmax(c_x / tau); known answers have none. Drawing
    takes those whose weight over exponential noise is largest: the same as to add Gumbel noise to
    its logarithm. The attention learns by contrastive losses, weight / 3 each,

        - log( sum over true of u exp(c_x) / sum over others of u exp(c_x) ),

    with u = 1 / pool, for drawn negatives times their self-adversarial weight.

    The repository also lets the model's loss reach the attention through the draws (a gradient of
    every drawn vector by every candidate's, [batch, negatives, pool]); that path is left out. The
    relation has a vector of the attention's own. A modality that an entity lacks compares as 0.
    """

    Config = MMRNSConfig
    one_side = True
    uses_modalities = True

    def __init__(self, config: MMRNSConfig, situation: Situation) -> None:
        super().__init__(config, situation)
        there = min(config.pool, situation.index.n_entities)
        if situation.count > there // 2:
            raise ConfigError(
                f"negatives.count={situation.count}: mmrns takes at most half of its pool of "
                f"{there} (negatives.strategy.pool)"
            )
        self.known = situation.index.known.to(situation.device)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(situation.seed(0))
            width = self._structure(torch.zeros(1, dtype=torch.long, device=situation.device))
            self.attention = Attention(config, situation, width.shape[1]).to(situation.device)
        self.learner = Learner(self.attention, config.lr)
        self.steps = 0
        self._seen: tuple[list[Tensor], Tensor, Tensor] | None = None

    @property
    def drawn(self) -> int:
        return 1  # only the side is taken from the sampler

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        head, relation, tail = batch.unbind(1)
        side = negatives.tails > 0
        answer, anchor = torch.where(side, tail, head), torch.where(side, head, tail)
        everyone = torch.randperm(
            self.situation.index.n_entities, generator=self.draws, device=batch.device
        )
        pool = everyone[: self.config.pool]
        cosines = self._cosines(answer, relation, pool)
        true = self._true(anchor, relation, side, pool)
        tau = self.config.temperature / (1 + math.log(self.steps + 1))
        chances = torch.zeros_like(cosines[0])
        for cosine in cosines:
            chances += (cosine.detach() / tau).softmax(1)
        noise = torch.rand(chances.shape, generator=self.draws, device=batch.device)
        chances.div_(noise.log_().neg_()).masked_fill_(true, -1.0)
        picks = chances.topk(self.situation.count, dim=1).indices
        # Where fewer than that are free, the likeliest stands in for known answers.
        picks = torch.where(true.gather(1, picks), picks[:, :1], picks)
        self._seen = cosines, true, picks
        return Negatives(pool[picks], side * picks.shape[1])

    def learn(self, batch: Tensor, negatives: Negatives, scores: Tensor) -> None:
        assert self._seen is not None
        cosines, true, picks = self._seen
        self._seen = None
        self.steps += 1
        own = (self.config.adversarial * scores).softmax(1)
        even = 1 / cosines[0].shape[1]
        weights = torch.full_like(cosines[0], even).scatter(1, picks, own * even)
        places = true.nonzero(as_tuple=True)
        weights_of_true, others = weights[places], weights.masked_fill(true, 0.0)
        loss = torch.zeros((), device=batch.device)
        for cosine in cosines:
            mass = cosine.exp()
            of_true, of_others = weights_of_true @ mass[places], (others * mass).sum()
            loss = loss - (of_true + TINY).log() + of_others.log()
        self.learner.step(self.config.weight / 3 * loss)

    def _true(self, anchor: Tensor, relation: Tensor, side: Tensor, pool: Tensor) -> Tensor:
        """Return which of the pool are known answers of each query, [B, pool]."""
        place = pool.new_full((self.situation.index.n_entities,), len(pool))
        place[pool] = torch.arange(len(pool), device=pool.device)
        true = torch.zeros(len(anchor), len(pool) + 1, dtype=torch.bool, device=pool.device)
        sides: tuple[tuple[Side, Tensor], ...] = ("tail", side), ("head", ~side)
        for name, mine in sides:
            offsets, ids = self.known.lookup(anchor[mine], relation[mine], name)
            asked = mine.nonzero()[:, 0].repeat_interleave(offsets.diff(), output_size=len(ids))
            true[asked, place[ids]] = True
        return true[:, :-1]  # the last column is who is not in the pool

    def _cosines(self, answer: Tensor, relation: Tensor, pool: Tensor) -> list[Tensor]:
        """Return per modality the cosines [B, pool] of true answers and candidates."""
        found = []
        of_answers, of_pool = (self.attention.modalities(ids) for ids in (answer, pool))
        for (own, has), (others, have) in zip(of_answers, of_pool, strict=True):
            found.append((own @ others.T) * has[:, None] * have)
        # Side by side by relation: written to their places one by one, each would copy them all.
        order = relation.argsort(stable=True)
        asked, which, sizes = torch.unique_consecutive(
            relation[order], return_inverse=True, return_counts=True
        )
        with torch.no_grad():
            own, others = self._structure(answer[order]), self._structure(pool)
        net, many = self.attention, sizes.tolist()
        seen_by = net.seen_by(asked)
        own_logits = net.logits(net.of_entity(own) + seen_by[which])
        hidden = net.of_entity(others)
        at_once = max(1, GATES_AT_ONCE // others.numel())
        groups = [many[low : low + at_once] for low in range(0, len(many), at_once)]
        counts = [sum(group) for group in groups]
        parts = []
        for mine, mine_logits, some, group in zip(
            own.split(counts),
            own_logits.split(counts),
            seen_by.split(at_once),
            groups,
            strict=True,
        ):
            logits = net.logits(hidden + some[:, None])
            parts.append(gated_cosines(mine, mine_logits, group, others, logits, net.gate.bias))
        return [*found, torch.cat(parts)[order.argsort()]]

    def _structure(self, entities: Tensor) -> Tensor:
        """Return the structural vectors of entities, [n, w]: what the model has in their place.

        The model is asked as in a test: its own draws are not touched.
        """
        model = self.situation.model
        was_training = model.training
        model.eval()
        if type(model).parts is not Model.parts:
            vectors = model.parts(entities)[0][:, 0]
        else:
            tables = model.encode(entities)
            vectors = tables.get(STRUCTURE, next(iter(tables.values())))
        model.train(was_training)
        return vectors.detach().float()

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            self.learner.load_state_dict(state["learner"])
            self.steps = state["steps"]
