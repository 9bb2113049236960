"""Adversarial training against a generator of modality embeddings.

The model learns to distinguish triples whose head, tail or both have generated modalities from true
ones; the generator, one step later, learns to raise their scores. It generates the embeddings of
``Model.modality_embeddings`` except the structure, so any model with this method and ``compare``
can be trained adversarially.

* ``wasserstein``: CoMAT of NativE (Zhang et al., SIGIR 2024): one generator with all embeddings as
  input. The released code adds a penalty on the norm of the distance's gradient by the head's
  vector. For a RotatE distance over d components this norm is always sqrt(d), so the penalty is a
  constant and omitted here.
* ``logistic``: MAT of AdaMF-MAT (Zhang et al., LREC-COLING 2024): a generator per modality with the
  structure as input. The released scripts have mu = 0, which disables it; in their code the weights
  of negatives are a softmax over the batch, here they are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from harness.errors import ConfigError
from harness.model import ModalityEmbeddings, Model
from harness.plan.spec import RunSpec
from harness.procedure import Learner
from harness.seeding import seed_for, seed_torch

__all__ = ["Adversary"]

Fake = tuple[ModalityEmbeddings, ModalityEmbeddings]
"""Embeddings of head and tail, at least one of them with generated modalities."""


class Adversary:
    """Generator of modality embeddings with its optimiser, and the losses of both sides.

    Args:
        model: model on ``device`` with ``modality_embeddings``.
        spec: run with ``adversary.kind`` other than "none".
        device: device of the computation.
        dataset: digest of the dataset, for the streams of random numbers.

    Raises:
        ConfigError: the model has no modality besides the structure.
    """

    def __init__(self, model: Model, spec: RunSpec, device: torch.device, dataset: str) -> None:
        self.model, self.spec, self.options = model, spec, spec.adversary
        self.dataset, self.device = dataset, device
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            seed_torch(seed_for(spec.seed, dataset, "adversary"))
            vectors, _ = model.modality_embeddings(torch.zeros(1, dtype=torch.long, device=device))
            self.generator = self._build(vectors.shape[1] - 1, vectors.shape[2]).to(device)
        self.learner = Learner(self.generator, self.options.lr)
        self.bf16 = spec.training.precision == "bf16"
        self.draws = torch.Generator(device)

    def _build(self, modalities: int, width: int) -> nn.ModuleList:
        """Build one generator for all modalities, or one per modality."""
        if not modalities:
            raise ConfigError("adversary.kind: without a modality there is nothing to fabricate")
        together = self.options.kind == "wasserstein"
        n_in = (1 + modalities if together else 1) * width + self.options.noise
        widths = [modalities * width] if together else [width] * modalities
        hidden = self.options.hidden
        return nn.ModuleList(
            nn.Sequential(nn.Linear(n_in, hidden), nn.LeakyReLU(), nn.Linear(hidden, out))
            for out in widths
        )

    def start_epoch(self, epoch: int) -> None:
        """Seed the noise of an epoch (from 0)."""
        self.draws.manual_seed(seed_for(self.spec.seed, self.dataset, "adversary", epoch + 1))

    def loss(self, batch: Tensor) -> Tensor:
        """Return the adversarial loss of the model for positives [B, 3], a scalar."""
        heads, tails = self._ends(batch)
        true = self.model.compare(heads, batch[:, 1], tails)
        total = true.new_zeros(())
        for head, tail in self._fakes(heads, tails):
            fake = self.model.compare(head, batch[:, 1], tail)
            if self.options.kind == "wasserstein":
                total = total + fake.mean() - true.mean()
            else:
                total = total + (softplus(-true).mean() + softplus(fake).mean()) / 2
        return self.options.mu * total

    def step(self, batch: Tensor) -> None:
        """Take one step of the generator against the current model."""
        with torch.no_grad():
            heads, tails = self._ends(batch)
        scores = [
            self.model.compare(head, batch[:, 1], tail)
            for head, tail in self._fakes(heads, tails, learn=True)
        ]
        if self.options.kind == "wasserstein":
            loss = -torch.stack([score.mean() for score in scores]).mean()
        else:
            loss = torch.stack([softplus(-score).mean() / 2 for score in scores]).sum()
        self.learner.step(loss)

    def _ends(self, batch: Tensor) -> tuple[ModalityEmbeddings, ModalityEmbeddings]:
        """Return the embeddings of heads and tails of triples [B, 3], computed in one call."""
        with self._autocast():
            vectors, present = self.model.modality_embeddings(torch.cat([batch[:, 0], batch[:, 2]]))
        (head, tail), (has_head, has_tail) = vectors.chunk(2), present.chunk(2)
        return (head, has_head), (tail, has_tail)

    def _fakes(
        self, heads: ModalityEmbeddings, tails: ModalityEmbeddings, *, learn: bool = False
    ) -> Iterator[Fake]:
        """Yield triples with a generated head, a generated tail, and both.

        Args:
            heads, tails: embeddings from which they are generated.
            learn: True for a gradient to the generator.
        """
        head, tail = (self._fabricated(embeddings, learn=learn) for embeddings in (heads, tails))
        yield head, tails
        yield heads, tail
        yield head, tail

    def _fabricated(self, embeddings: ModalityEmbeddings, *, learn: bool) -> ModalityEmbeddings:
        """Return embeddings with all modalities generated and the structure unchanged."""
        vectors, present = embeddings
        n, width = len(vectors), self.options.noise
        noise = torch.randn(n, width, generator=self.draws, device=vectors.device)
        with torch.set_grad_enabled(learn), self._autocast():
            if self.options.kind == "wasserstein":
                inputs = (vectors * present[:, :, None]).flatten(1)
            else:
                inputs = vectors[:, 0]
            fabricated = torch.cat(
                [network(torch.cat([noise, inputs], 1)) for network in self.generator], 1
            )
        fabricated = fabricated.float().view(n, vectors.shape[1] - 1, -1)
        return torch.cat([vectors[:, :1], fabricated], 1), torch.ones_like(present)

    def _autocast(self) -> torch.autocast:
        """Return the context of matrix products; scores and losses are float32 outside it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator and its optimiser."""
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.learner.load_state_dict(state)
