"""MMRNS: negatives that resemble the positive in its modalities, by an attention that learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear, normalize

from harness.config.search import between
from harness.errors import ConfigError
from harness.index import Side
from harness.kernels import Gated, gated_cosines
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

    variant: Literal["paper", "released"] = "paper"
    """paper: either side of a cosine is made alike, the relation has a vector of the attention's
    own, a modality that an entity lacks compares as 0. released: the positive's image is not
    normalised before it is added, the modalities share a normalisation, linear maps start with
    Glorot's normal values, the relation's vector is the model's, a modality that an entity lacks is
    one of zeros."""
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

    In the released code a modality's vector x = lrelu(W features + b) becomes LN(x) + LN(x), with
    one layer normalisation LN for all, but the image of the positive LN(x) + x.
    """

    relation: nn.Parameter | None

    def __init__(self, config: MMRNSConfig, situation: Situation, structure: int) -> None:
        super().__init__()
        found = offered(situation.modalities)
        self.released = config.variant == "released"
        self.names = [m.name for m in found]
        self.tables = nn.ModuleList(FeatureTable(m, unit=False) for m in found)
        self.first = nn.ModuleList(nn.Linear(m.matrix.shape[1], config.dim) for m in found)
        norms = found[:1] if self.released else found
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in norms)
        self.last = nn.ModuleList(nn.Linear(config.dim, config.dim) for _ in found)
        self.model_relations = partial(relation_table, situation.model)
        if self.released:
            self.register_parameter("relation", None)
        else:
            self.relation = normal_table(situation.index.n_relations, config.dim, 1.0)
        relation = self.model_relations().shape[1] if self.released else config.dim
        self.of_entity = nn.Linear(structure, config.hidden)
        self.of_relation = nn.Linear(relation, config.hidden, bias=False)
        self.gate = nn.Linear(config.hidden, structure)
        if self.released:
            self._start_as_released()

    def _start_as_released(self) -> None:
        """Give linear maps Glorot's normal weights; W1 is one map of [e; r]."""
        for layer in (*self.first, *self.last, self.gate):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
        joint = torch.cat([self.of_entity.weight, self.of_relation.weight], 1)
        nn.init.xavier_normal_(joint)
        for layer, part in zip(
            (self.of_entity, self.of_relation),
            joint.split([self.of_entity.in_features, self.of_relation.in_features], 1),
            strict=True,
        ):
            layer.weight.copy_(part)

    def modalities(
        self, entities: Tensor, *, positive: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Return per modality vectors [n, dim] of norm 1 and who has it, [n].

        Args:
            entities: [n] ids.
            positive: they are the true answers, not candidates.
        """
        found = []
        for place, name in enumerate(self.names):
            table, first, last = self.tables[place], self.first[place], self.last[place]
            norm = self.norms[0 if self.released else place]
            assert isinstance(table, FeatureTable)
            values = leaky_relu(table.mapped(first, entities), 0.1)
            has = table.has(entities)
            if self.released:
                assert isinstance(first, nn.Linear)
                # Who has no features has zeros.
                values = torch.where(has, values, leaky_relu(first.bias, 0.1))
                has = torch.ones_like(has)
                raw = positive and name == "image"
                values = norm(values) + (values if raw else norm(values))
            else:
                values = norm(values)
            found.append((normalize(last(values), dim=1), has[:, 0]))
        return found

    def seen_by(self, relations: Tensor) -> Tensor:
        """Return the summands of relations (ids, [r]) in the gates' hidden layer, [r, hidden]."""
        table = self.model_relations() if self.relation is None else self.relation
        added: Tensor = self.of_relation(table[relations])
        return added

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of gates, without the bias of ``gate``.

        Args:
            hidden: ``of_entity + seen_by``, [..., hidden]; overwritten.
        """
        return linear(leaky_relu(hidden, 0.1, inplace=True), self.gate.weight)


def relation_table(model: Model) -> Tensor:
    """Return the vectors of a model's relations, [R, w] or more rows, without a gradient.

    Raises:
        ConfigError: the model has no such table.
    """
    table = getattr(model, "relation", None)
    if not isinstance(table, Tensor):
        raise ConfigError(
            f"negatives.strategy.variant=released: {type(model).__name__} has no table of relation "
            "vectors for the attention (rotate and transe have); use variant=paper"
        )
    return table.detach().float()


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
    every drawn vector by every candidate's, [batch, negatives, pool]), and the contrastive losses
    the model; both paths are left out, and cosines have a gradient by the norms too. Its loss
    weighs positives by the frequency of their pairs (``objective.subsampling``).
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
        """Return a mask of the known answers of each query in the pool, [B, pool]."""
        place = pool.new_full((self.situation.index.n_entities,), len(pool))
        place[pool] = torch.arange(len(pool), device=pool.device)
        true = torch.zeros(len(anchor), len(pool) + 1, dtype=torch.bool, device=pool.device)
        sides: tuple[tuple[Side, Tensor], ...] = ("tail", side), ("head", ~side)
        for name, mine in sides:
            answers = self.known.lookup(anchor[mine], relation[mine], name)
            true[mine.nonzero()[:, 0][answers.query_ids], place[answers.indices]] = True
        return true[:, :-1]  # the last column is who is not in the pool

    def _cosines(self, answer: Tensor, relation: Tensor, pool: Tensor) -> list[Tensor]:
        """Return per modality the cosines [B, pool] of true answers and candidates."""
        found = []
        of_answers = self.attention.modalities(answer, positive=True)
        of_pool = self.attention.modalities(pool)
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
            left, right = Gated(mine, mine_logits), Gated(others, logits)
            parts.append(gated_cosines(left, right, group, net.gate.bias))
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
