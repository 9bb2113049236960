"""MMRNS negative sampling by similarity to the positive's modalities, with a trained attention."""

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
    SamplerContext,
    Strategy,
    StrategyConfig,
    register_strategy,
)

from ._init import normal_table
from ._modal import ModalityTable, offered

TINY = 1e-12
GATES_AT_ONCE = 2**24
"""Number of gate values (64 MiB) computed together, for several relations: few calls, and few
thread synchronisations."""


class MMRNSConfig(StrategyConfig):
    """Options of MMRNS; the defaults are the repository's example (TransE on DB15K)."""

    variant: Literal["paper", "released"] = "paper"
    """paper: both sides of a cosine are computed alike, the attention has its own relation vectors,
    an absent modality has cosine 0. released: the positive's image is not normalised before it is
    added, the modalities share a normalisation, linear maps start with Glorot's normal values,
    relation vectors are the model's, an absent modality is zeros."""
    dim: Annotated[int, Field(ge=1)] = 50
    """Width of the compared vectors, a."""
    hidden: Annotated[int, Field(ge=1)] = 100
    """Width of the hidden layer over structure and relation."""
    pool: Annotated[int, Field(ge=2)] = 1500
    """Number of random entities per batch from which the negatives of all positives are drawn."""
    temperature: Annotated[float, Field(gt=0), between(1.0, 30.0, log=True)] = 10.0
    """Initial tau; at step s it is divided by 1 + ln(s + 1)."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of the attention's Adam (README; its code's default is 1e-3)."""
    weight: Annotated[float, Field(ge=0), between(1e-3, 1e-1, log=True)] = 0.01
    """Weight of the contrastive losses."""
    adversarial: Annotated[float, Field(ge=0)] = 0.5
    """Temperature of the model's scores in the weights of the contrastive losses."""


class RelationAttention(nn.Module):
    """Vectors of entities by modality, given a relation.

    Each modality is one vector here; the paper has 24 patches of an image and four sentences. Its
    cross-modal attention would be over one vector, and its relation gate a positive factor that the
    layer normalisation cancels, so both are omitted. The structure depends on the relation as in
    the paper, e * sigmoid(W3 lrelu(W1 [e; r])).

    In the released code a modality's vector x = lrelu(W features + b) becomes LN(x) + LN(x), with
    one layer normalisation LN for all, but the image of the positive LN(x) + x.
    """

    relation: nn.Parameter | None

    def __init__(self, config: MMRNSConfig, context: SamplerContext, structure: int) -> None:
        super().__init__()
        present = offered(context.modalities)
        self.released = config.variant == "released"
        self.names = [m.name for m in present]
        self.tables = nn.ModuleList(ModalityTable(m, unit=False) for m in present)
        self.first = nn.ModuleList(nn.Linear(m.matrix.shape[1], config.dim) for m in present)
        norms = present[:1] if self.released else present
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in norms)
        self.last = nn.ModuleList(nn.Linear(config.dim, config.dim) for _ in present)
        self.model_relations = partial(relation_table, context.model)
        if self.released:
            self.register_parameter("relation", None)
        else:
            self.relation = normal_table(context.index.n_relations, config.dim, 1.0)
        relation = self.model_relations().shape[1] if self.released else config.dim
        self.of_entity = nn.Linear(structure, config.hidden)
        self.of_relation = nn.Linear(relation, config.hidden, bias=False)
        self.gate = nn.Linear(config.hidden, structure)
        if self.released:
            self._start_as_released()

    def _start_as_released(self) -> None:
        """Initialise linear maps with Glorot's normal weights; W1 is one map of [e; r]."""
        for layer in (*self.first, *self.last, self.gate):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
        joint = torch.cat([self.of_entity.weight, self.of_relation.weight], 1)
        nn.init.xavier_normal_(joint)
        for layer, weight in zip(
            (self.of_entity, self.of_relation),
            joint.split([self.of_entity.in_features, self.of_relation.in_features], 1),
            strict=True,
        ):
            layer.weight.copy_(weight)

    def modalities(
        self, entities: Tensor, *, positive: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Return, by modality, vectors [n, dim] of norm 1 and their mask [n].

        Args:
            entities: [n] ids.
            positive: True for the targets of positives, False for candidates.
        """
        vectors = []
        for i, name in enumerate(self.names):
            table, first, last = self.tables[i], self.first[i], self.last[i]
            norm = self.norms[0 if self.released else i]
            assert isinstance(table, ModalityTable)
            values = leaky_relu(table.mapped(first, entities), 0.1)
            has = table.has(entities)
            if self.released:
                assert isinstance(first, nn.Linear)
                # Entities without features have zero features here.
                values = torch.where(has, values, leaky_relu(first.bias, 0.1))
                has = torch.ones_like(has)
                raw = positive and name == "image"
                values = norm(values) + (values if raw else norm(values))
            else:
                values = norm(values)
            vectors.append((normalize(last(values), dim=1), has[:, 0]))
        return vectors

    def relation_terms(self, relations: Tensor) -> Tensor:
        """Return the relations' terms [r, hidden] in the gates' hidden layer."""
        table = self.model_relations() if self.relation is None else self.relation
        added: Tensor = self.of_relation(table[relations])
        return added

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the gate logits, without the bias of ``gate``.

        Args:
            hidden: ``of_entity + relation_terms`` [..., hidden]; overwritten.
        """
        return linear(leaky_relu(hidden, 0.1, inplace=True), self.gate.weight)


def relation_table(model: Model) -> Tensor:
    """Return a model's relation vectors, [R, w] or more rows, detached.

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
    """Draws negatives without replacement from a pool, with probability by similarity.

    Xu et al., Relation-enhanced Negative Sampling for Multimodal Knowledge Graph Completion (ACM MM
    2022). With c_x the cosine of a candidate and the target in modality x (including the
    structure), the weights are the sum over x of softmax(c_x / tau), and 0 for known answers. The
    draw takes the largest quotients of weight and exponential noise, which is equivalent to adding
    Gumbel noise to the logarithm. The attention is trained by contrastive losses, weight / 3 each,

        - log( sum over true of u exp(c_x) / sum over others of u exp(c_x) ),

    with u = 1 / pool, times the self-adversarial weight for drawn negatives.

    The repository also propagates the model's loss to the attention through the draws (a gradient
    of every drawn vector by every candidate's, [batch, negatives, pool]), and the contrastive
    losses the model; both are omitted, and cosines have a gradient through the norms. Its loss
    weights positives by the frequency of their pairs (``objective.subsampling``).
    """

    Config = MMRNSConfig
    one_side = True
    uses_modalities = True

    def __init__(self, config: MMRNSConfig, context: SamplerContext) -> None:
        super().__init__(config, context)
        pool = min(config.pool, context.index.n_entities)
        if context.count > pool // 2:
            raise ConfigError(
                f"negatives.count={context.count}: mmrns takes at most half of its pool of "
                f"{pool} (negatives.strategy.pool)"
            )
        self.train_filter = context.index.train_filter.to(context.device)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(context.seed(0))
            width = self._structure(torch.zeros(1, dtype=torch.long, device=context.device))
            self.attention = RelationAttention(config, context, width.shape[1]).to(context.device)
        self.learner = Learner(self.attention, config.lr)
        self.steps = 0
        self._drawn: tuple[list[Tensor], Tensor, Tensor] | None = None

    @property
    def drawn(self) -> int:
        return 1  # only the corrupted side of the sampler's negatives is used

    def choose(self, batch: Tensor, negatives: Negatives) -> Negatives:
        head, relation, tail = batch.unbind(1)
        side = negatives.tails > 0
        answer, anchor = torch.where(side, tail, head), torch.where(side, head, tail)
        everyone = torch.randperm(
            self.context.index.n_entities, generator=self.draws, device=batch.device
        )
        pool = everyone[: self.config.pool]
        with self.context.autocast():
            cosines = self._cosines(answer, relation, pool)
        true = self._true(anchor, relation, side, pool)
        tau = self.config.temperature / (1 + math.log(self.steps + 1))
        chances = torch.zeros_like(cosines[0])
        for cosine in cosines:
            chances += (cosine.detach() / tau).softmax(1)
        noise = torch.rand(chances.shape, generator=self.draws, device=batch.device)
        chances.div_(noise.log_().neg_()).masked_fill_(true, -1.0)
        picks = chances.topk(self.context.count, dim=1).indices
        # With too few free candidates, the likeliest one replaces known answers.
        picks = torch.where(true.gather(1, picks), picks[:, :1], picks)
        self._drawn = cosines, true, picks
        return Negatives(pool[picks], side * picks.shape[1])

    def learn(self, batch: Tensor, negatives: Negatives, scores: Tensor) -> None:
        assert self._drawn is not None
        cosines, true, picks = self._drawn
        self._drawn = None
        self.steps += 1
        adversarial = (self.config.adversarial * scores).softmax(1)
        even = 1 / cosines[0].shape[1]
        weights = torch.full_like(cosines[0], even).scatter(1, picks, adversarial * even)
        positions = true.nonzero(as_tuple=True)
        weights_of_true, other_weights = weights[positions], weights.masked_fill(true, 0.0)
        loss = torch.zeros((), device=batch.device)
        for cosine in cosines:
            mass = cosine.exp()
            of_true, of_others = weights_of_true @ mass[positions], (other_weights * mass).sum()
            loss = loss - (of_true + TINY).log() + of_others.log()
        self.learner.step(self.config.weight / 3 * loss)

    def _true(self, anchor: Tensor, relation: Tensor, side: Tensor, pool: Tensor) -> Tensor:
        """Return the mask bool [B, pool] of the known answers of each query in the pool."""
        column = pool.new_full((self.context.index.n_entities,), len(pool))
        column[pool] = torch.arange(len(pool), device=pool.device)
        true = torch.zeros(len(anchor), len(pool) + 1, dtype=torch.bool, device=pool.device)
        sides: tuple[tuple[Side, Tensor], ...] = ("tail", side), ("head", ~side)
        for name, on_side in sides:
            answers = self.train_filter.lookup(anchor[on_side], relation[on_side], name)
            true[on_side.nonzero()[:, 0][answers.query_ids], column[answers.indices]] = True
        return true[:, :-1]  # the last column stands for entities outside the pool

    def _cosines(self, answer: Tensor, relation: Tensor, pool: Tensor) -> list[Tensor]:
        """Return, by modality, the cosines [B, pool] of targets and candidates."""
        cosines = []
        of_answers = self.attention.modalities(answer, positive=True)
        of_pool = self.attention.modalities(pool)
        for (answer_vectors, has), (pool_vectors, have) in zip(of_answers, of_pool, strict=True):
            cosine = (answer_vectors @ pool_vectors.T).float()
            cosines.append(cosine * has[:, None] * have)
        # Sorted by relation and concatenated: in-place writes would copy the result each time.
        order = relation.argsort(stable=True)
        distinct, group_of, sizes = torch.unique_consecutive(
            relation[order], return_inverse=True, return_counts=True
        )
        with torch.no_grad():
            answer_vectors, pool_vectors = self._structure(answer[order]), self._structure(pool)
        net, group_sizes = self.attention, sizes.tolist()
        relation_terms = net.relation_terms(distinct)
        answer_logits = net.logits(net.of_entity(answer_vectors) + relation_terms[group_of])
        hidden = net.of_entity(pool_vectors)
        at_once = max(1, GATES_AT_ONCE // pool_vectors.numel())
        groups = [group_sizes[low : low + at_once] for low in range(0, len(group_sizes), at_once)]
        counts = [sum(group) for group in groups]
        blocks = []
        for vectors, gates, terms, group in zip(
            answer_vectors.split(counts),
            answer_logits.split(counts),
            relation_terms.split(at_once),
            groups,
            strict=True,
        ):
            logits = net.logits(hidden + terms[:, None])
            answers, candidates = Gated(vectors, gates), Gated(pool_vectors, logits)
            blocks.append(gated_cosines(answers, candidates, group, net.gate.bias))
        return [*cosines, torch.cat(blocks)[order.argsort()]]

    def _structure(self, entities: Tensor) -> Tensor:
        """Return the model's structural vectors of entities, detached float32 [n, w].

        The model is in evaluation mode, so that its random streams do not advance.
        """
        model = self.context.model
        was_training = model.training
        model.eval()
        if type(model).modality_embeddings is not Model.modality_embeddings:
            vectors = model.modality_embeddings(entities)[0][:, 0]
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
