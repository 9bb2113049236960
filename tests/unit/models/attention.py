"""A transformer in numpy, for models that are made of them."""

from __future__ import annotations

import numpy as np

from harness.model import Model

Weights = dict[str, np.ndarray]


def state_of(model: Model) -> Weights:
    return {name: value.detach().double().numpy() for name, value in model.state_dict().items()}


def layer_norm(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def transformer(
    x: np.ndarray, w: Weights, name: str, count: int, seen: list[int] | None = None
) -> np.ndarray:
    """Return one post-norm layer over a sequence [s, d] (Vaswani et al. 2017).

    Args:
        x: the sequence.
        w, name: weights and what theirs begin with.
        count: heads.
        seen: places that are looked at, all when None.
    """
    name, width = f"{name}.layers.0", x.shape[1]
    packed, bias = w[f"{name}.self_attn.in_proj_weight"], w[f"{name}.self_attn.in_proj_bias"]
    parts = [slice(i * width, (i + 1) * width) for i in range(3)]
    q, k, v = (x @ packed[part].T + bias[part] for part in parts)
    if seen is not None:
        k, v = k[seen], v[seen]
    heads = []
    for h in range(count):
        part = slice(h * width // count, (h + 1) * width // count)
        logits = q[:, part] @ k[:, part].T / np.sqrt(width / count)
        weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        heads.append(weights @ v[:, part])
    out = np.concatenate(heads, 1) @ w[f"{name}.self_attn.out_proj.weight"].T
    x = layer_norm(x + out + w[f"{name}.self_attn.out_proj.bias"], w, f"{name}.norm1")
    hidden = np.maximum(x @ w[f"{name}.linear1.weight"].T + w[f"{name}.linear1.bias"], 0)
    made = hidden @ w[f"{name}.linear2.weight"].T + w[f"{name}.linear2.bias"]
    return layer_norm(x + made, w, f"{name}.norm2")
