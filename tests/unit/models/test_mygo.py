"""MyGO: score and contrast by the paper's formulas, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness import kernels
from harness.catalog import build_model, load_models
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality, Side, Tokens
from harness.model import Model
from models._transformer import output_at
from models._transformer import transformer as torch_transformer
from models.mygo import MyGO, TokenTable, _info_nce, most_frequent
from tests.unit.models.attention import Weights, layer_norm, state_of, transformer

load_models()
N, R, D, H = 5, 2, 8, 2
OPTIONS = {"dim": D, "heads": H, "feedforward": 12, "decoder_layers": 1, "other_tokens": 3}
LISTS = {
    "image": [[4, 4, 1, 2, 1], [3], [], [2, 0], []],
    "text": [[5, 6, 5, 2, 1], [1, 2, 3, 4], [6], [], []],
}
USED = {
    "image": [[1, 2, 4], [3], [], [0, 2], []],
    "text": [[2, 5, 6], [1, 2, 3], [6], [], []],
}
"""The three most frequent ones, the first of equals, in ascending order."""
WIDTHS = {"image": 5, "numeric": 2, "text": 3}
HAS_NUMBERS = [True, False, True, False, False]
ORDER = ("image", "numeric", "text")
RNG = np.random.default_rng(3)
CODEBOOKS = {name: RNG.normal(size=(7, WIDTHS[name])) for name in LISTS}
FIRST = RNG.normal(size=(N, D))
NUMBERS = RNG.normal(size=(N, 2)) * np.array(HAS_NUMBERS)[:, None]


def modalities() -> dict[str, Modality]:
    found = {
        "numeric": Modality("numeric", torch.tensor(NUMBERS).float(), torch.tensor(HAS_NUMBERS))
    }
    for name, lists in LISTS.items():
        ids = torch.tensor([row + [-1] * (5 - len(row)) for row in lists])
        codebook = torch.tensor(CODEBOOKS[name]).float()
        present = (ids >= 0).any(1)
        # The vectors are not looked at where there are tokens.
        found[name] = Modality(name, torch.zeros(N, WIDTHS[name]), present, Tokens(codebook, ids))
    return found


def mygo(**options: Any) -> MyGO:
    heads = torch.arange(N)
    train = torch.stack([heads, heads % R, (heads + 1) % N], 1)
    index = GraphIndex(N, R, train)
    model = build_model("mygo", {"image_tokens": 3} | OPTIONS | options, index, modalities())
    assert isinstance(model, MyGO)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.6)
        for norm in (model.tucker.norm_in.batch, model.tucker.norm_out.batch):
            norm.running_mean.copy_(torch.randn(D, generator=generator))
            norm.running_var.copy_(torch.rand(D, generator=generator) + 0.5)
    return model.eval()


def vectors_of(number: int, name: str) -> list[np.ndarray]:
    if name == "numeric":
        return [NUMBERS[number]] if HAS_NUMBERS[number] else []
    return [CODEBOOKS[name][token] for token in USED[name][number]]


def placed(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    """Return a token of a modality as the encoder sees it."""
    place = f"modal.{ORDER.index(name)}"
    made = w[f"{place}.projection.weight"] @ x + w[f"{place}.projection.bias"]
    return layer_norm(made, w, f"{place}.norm") + w["kinds"][1 + ORDER.index(name)]


def outputs_of(w: Weights, number: int) -> tuple[np.ndarray, list[str]]:
    """Return what the encoder makes of an entity, and of which modality each place is."""
    sequence = [w["tokens"][0], layer_norm(w["entity"][number], w, "entity_norm") + w["kinds"][0]]
    names = ["", ""]
    for name in ORDER:
        sequence += [placed(x, w, name) for x in vectors_of(number, name)]
        names += [name] * len(vectors_of(number, name))
    return transformer(np.stack(sequence), w, "encoder", H), names


def normed(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    scale = np.sqrt(w[f"{name}.batch.running_var"] + 1e-5)
    made = (x - w[f"{name}.batch.running_mean"]) / scale
    return made * w[f"{name}.batch.weight"] + w[f"{name}.batch.bias"]


@pytest.mark.parametrize("side", ["tail", "head"])
def test_the_score_is_the_formula(side: Side) -> None:
    model = mygo()
    w = state_of(model)
    anchors, relations = torch.tensor([0, 3, 4]), torch.tensor([0, 1, 0])
    with torch.no_grad():
        found = model.score_all(model.encode(), anchors, relations, side)
    answers = np.stack([outputs_of(w, number)[0][0] for number in range(N)])
    for row, anchor, r in zip(found, anchors.tolist(), relations.tolist(), strict=True):
        relation = layer_norm(w["relation"][r], w, "relation_norm")
        asked = [answers[anchor], relation, w["tokens"][1]]
        asked = asked if side == "tail" else asked[::-1]
        decoded = transformer(np.stack(asked) + w["positions"], w, "decoder", H)
        context = normed(decoded[2 if side == "tail" else 0], w, "tucker.norm_in")
        made = np.einsum("k,i,kij->j", decoded[1], context, w["tucker.core"])
        expected = answers @ normed(made, w, "tucker.norm_out")
        assert row.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-3)


def contrast(first: np.ndarray, second: dict[int, np.ndarray], temperature: float) -> float:
    """Return the loss among the entities that have a second vector."""
    losses = []
    for i in second:
        cosines = {
            j: first[i] @ other / np.linalg.norm(first[i]) / np.linalg.norm(other)
            for j, other in second.items()
        }
        total = sum(np.exp(c / temperature) for c in cosines.values())
        losses.append(-np.log(np.exp(cosines[i] / temperature) / total))
    return float(np.mean(losses))


def test_the_contrast_is_among_the_entities_that_have_what_is_contrasted() -> None:
    model = mygo(temperature=0.3)
    w = state_of(model)
    outputs = [outputs_of(w, number) for number in range(N)]
    seconds = [
        {i: made[0] for i, (made, _) in enumerate(outputs)},
        {i: made.mean(0) for i, (made, _) in enumerate(outputs)},
    ]
    for name in ORDER:
        places = [[p for p, each in enumerate(names) if each == name] for _, names in outputs]
        seconds.append({i: outputs[i][0][mine].mean(0) for i, mine in enumerate(places) if mine})
    assert [len(second) for second in seconds] == [5, 5, 3, 2, 3]
    expected = np.mean([contrast(FIRST, second, 0.3) for second in seconds])
    found = model.contrast_of(torch.tensor(FIRST).float(), torch.arange(N))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


def test_the_released_contrast_is_among_all_and_counts_padding_but_for_the_last_place() -> None:
    model = mygo(variant="released")
    w = state_of(model)
    sizes = {"image": 3, "numeric": 1, "text": 3}
    everything = []
    for number in range(N):
        rows = [w["tokens"][0], layer_norm(w["entity"][number], w, "entity_norm") + w["kinds"][0]]
        seen = [0, 1]
        for name, size in sizes.items():
            mine = vectors_of(number, name)
            seen += range(len(rows), len(rows) + len(mine))
            filler = NUMBERS[0] if name == "numeric" else CODEBOOKS[name][0]
            rows += [placed(x, w, name) for x in mine + [filler] * (size - len(mine))]
        everything.append(transformer(np.stack(rows), w, "encoder", H, seen))
    ends = {"first": (0, 1), "all": (0, 9), "image": (2, 5), "numeric": (5, 6), "text": (6, 8)}
    expected = np.mean(
        [
            contrast(FIRST, {i: x[a:b].mean(0) for i, x in enumerate(everything)}, 0.5)
            for a, b in ends.values()
        ]
    )
    found = model.contrast_of(torch.tensor(FIRST).float(), torch.arange(N))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


def test_the_contrast_is_added_in_training_alone_and_with_its_weight() -> None:
    model, rows = mygo(contrast=0.5, contrasted=4, structure_dropout=0.0), torch.tensor([[0, 1]])
    tables, relations = model.encode(), torch.tensor([0])
    assert model.penalty(tables, rows, relations) is None
    model.draws = torch.Generator().manual_seed(7)
    some = torch.randperm(N, generator=torch.Generator().manual_seed(7))[:4]
    model.train()
    torch.manual_seed(0)
    added = model.penalty(tables, rows, relations)
    torch.manual_seed(0)
    again = model.contrast_of(tables["entity"][some], some)
    assert added is not None
    assert float(added.detach()) == pytest.approx(0.5 * float(again.detach()))
    assert mygo(contrast=0.0).train().penalty(tables, rows, relations) is None


def test_tokens_are_the_most_frequent_ones_in_ascending_order() -> None:
    for name, lists in LISTS.items():
        ids = torch.tensor([row + [-1] * (5 - len(row)) for row in lists])
        chosen = most_frequent(ids, 3)
        assert [[t for t in row if t >= 0] for row in chosen.tolist()] == USED[name]
    assert most_frequent(torch.tensor([[7, -1, -1], [-1, -1, -1]]), 3).tolist() == [[7], [-1]]


def test_a_codebook_is_kept_where_it_is_used_and_sequences_are_as_long_as_the_longest() -> None:
    (image, numeric, text) = mygo(other_tokens=8).modal
    assert isinstance(image, TokenTable)
    assert isinstance(text, TokenTable)
    assert image.codebook.tolist() == torch.tensor(CODEBOOKS["image"][:5]).float().tolist()
    assert len(text.codebook) == 7
    assert text.slots.shape == (N, 4)
    assert numeric.slots.shape == (N, 1)  # type: ignore[union-attr]


def test_a_part_of_the_entities_is_encoded_as_all_are() -> None:
    model = mygo()
    some = torch.tensor([3])  # fewer tokens than the codebook has rows in use
    torch.testing.assert_close(model.encode(some)["entity"], model.encode()["entity"][some])


@pytest.mark.parametrize("place", [0, 2])
def test_a_place_alone_is_that_of_the_whole_transformer(place: int) -> None:
    torch.manual_seed(0)
    encoder = torch_transformer(D, H, 12, 0.1, 2).eval()
    x, absent = torch.randn(6, 4, D), torch.zeros(6, 4, dtype=torch.bool)
    absent[2, 3] = absent[4, 1:] = True
    whole = encoder(x, src_key_padding_mask=absent)[:, place]
    torch.testing.assert_close(output_at(encoder, x, place, absent), whole)


@pytest.mark.parametrize("place", [0, 2])
def test_a_place_alone_has_the_dropouts_and_the_gradients_of_the_whole(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a dropout that everyone can repeat: it halves."""
    monkeypatch.setattr(kernels, "dropout", lambda x, rate, training: x * 0.5 if training else x)
    encoder = torch_transformer(D, H, 12, 0.1, 2).train()
    for layer in encoder.layers:
        layer.self_attn.dropout = 0.0  # torch's own, of the attention's weights
    x, absent = torch.randn(6, 4, D), torch.zeros(6, 4, dtype=torch.bool)
    absent[4, 1:] = place == 0
    found = []
    for made in (
        output_at(encoder, x, place, absent),
        encoder(x, src_key_padding_mask=absent)[:, place],
    ):
        found.append((made, *torch.autograd.grad(made.square().sum(), [*encoder.parameters()])))
    for alone, whole in zip(*found, strict=True):
        torch.testing.assert_close(alone, whole)


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="dim 8 is no multiple of heads 3"):
        mygo(heads=3)


def test_a_model_of_vectors_reads_the_vectors_of_what_has_tokens() -> None:
    index = GraphIndex(N, R, torch.tensor([[0, 0, 1]]))
    model: Model = build_model("vista", {"dim": 8, "heads": 2}, index, modalities())
    assert torch.isfinite(model.encode()["entity"]).all()


def test_contrastive_losses_have_fp32_cosines_under_autocast() -> None:
    first, second = torch.randn(2, 40, 64, generator=torch.Generator().manual_seed(0))
    everyone = torch.ones(40, dtype=torch.bool)
    exact = _info_nce(first, second, everyone, 0.01)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(_info_nce(first, second, everyone, 0.01), exact)
